"""Words in the pictures of chapter 10; ``kit.labels`` has those that other chapters use too."""

LABELS: dict[str, str] = {
    "max_length": "cut after",
}
