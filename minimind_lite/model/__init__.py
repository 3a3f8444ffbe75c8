"""The decoder, one layer a file: rmsnorm, rope, attention, swiglu, transformer; and its folder on disk, pretrained."""
