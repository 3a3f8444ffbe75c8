"""Chapter 02: RMSNorm."""
