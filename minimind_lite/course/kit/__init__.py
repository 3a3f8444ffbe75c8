"""What the chapters share: settings and profiles, paths and data, the look of pictures, curves, bands, labels."""
