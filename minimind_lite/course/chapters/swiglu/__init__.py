"""Chapter 05: SwiGLU."""
