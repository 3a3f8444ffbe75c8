"""Chapter 14: visible reasoning."""
