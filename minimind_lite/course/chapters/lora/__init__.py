"""Chapter 11: LoRA."""
