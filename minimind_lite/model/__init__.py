"""The decoder: its layers and experts, LoRA adapters, losses, and the model folder on disk."""
