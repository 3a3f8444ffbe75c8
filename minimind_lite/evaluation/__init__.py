"""How good a model is, in numbers that can be compared and carry their uncertainty."""
