"""Chapter 07b: where data comes from, and how it is cleaned."""
