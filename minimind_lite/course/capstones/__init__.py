"""The capstones: larger pieces of work, two for each part of the course, graded by properties alone."""
