"""Chapter 01: the tokenizer."""
