"""Chapter 03: rotary position embedding."""
