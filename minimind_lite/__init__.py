"""MiniMind Lite: the small library that the course builds."""
