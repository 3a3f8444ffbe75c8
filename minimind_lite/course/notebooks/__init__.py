"""Notebooks as files: find them, read and write them, clean them, stamp their setup cell and badge."""
