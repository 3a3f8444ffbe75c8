"""Chapter 16: measure it, from one likelihood to a score that can be trusted."""
