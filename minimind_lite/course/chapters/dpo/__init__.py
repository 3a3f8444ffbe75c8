"""Chapter 12: preferences (DPO)."""
