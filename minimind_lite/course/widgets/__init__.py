"""Interactives made of core ipywidgets and inline matplotlib; each has a static figure beside it."""
