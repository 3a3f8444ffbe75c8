"""Chapter 17: deploy, files that others open and a server that many can ask."""
