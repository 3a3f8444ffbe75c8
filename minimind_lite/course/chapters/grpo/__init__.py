"""Chapter 15: practice with GRPO."""
