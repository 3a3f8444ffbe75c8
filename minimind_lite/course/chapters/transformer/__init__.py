"""Chapter 07: the whole model."""
