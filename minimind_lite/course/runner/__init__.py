"""Runs the chapters in order, remembers what is done, and writes the report."""
