"""Chapter 18: scale out, from one process to many machines."""
