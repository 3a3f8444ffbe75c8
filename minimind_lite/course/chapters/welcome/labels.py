"""Words in the pictures of chapter 00; ``kit.labels`` has those that other chapters use too."""

# What the chapter's cells call their lines, bars and columns; {0}, {1} … stand for numbers.
NAMES = (
    "from prose", "from the facts too",
)  # fmt: skip
