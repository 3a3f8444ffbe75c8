"""Chapter 13: distillation."""
