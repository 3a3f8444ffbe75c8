"""The exercises: masters and what is generated from them, the machinery of checks, what is solved, grading."""
