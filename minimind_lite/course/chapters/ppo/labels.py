"""Words in the pictures of chapter 15b; ``kit.labels`` has those that other chapters use too."""

LABELS: dict[str, str] = {
    "value": "value",
    "value_loss": "value loss",
}
