"""Chapter 06: mixture of experts."""
