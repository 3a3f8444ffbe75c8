"""One training loop for every stage; a stage brings its data, its loss and its measurement."""
