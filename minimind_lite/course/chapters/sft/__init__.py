"""Chapter 10: supervised fine-tuning."""
