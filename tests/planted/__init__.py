"""Mistakes that people make, and right answers written differently, for every check of the exercises."""
