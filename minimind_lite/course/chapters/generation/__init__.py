"""Chapter 09: generation."""
