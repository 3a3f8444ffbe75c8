"""Chapter 00: the whole course at toy size."""
