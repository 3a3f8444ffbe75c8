"""Models in the file formats of other projects."""
