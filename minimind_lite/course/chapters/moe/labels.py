"""Words in the pictures of chapter 06; ``kit.labels`` has those that other chapters use too."""

LABELS: dict[str, str] = {
    "expert": "expert",
    "load": "share of the visits",
    "load_percent": "share of the visits, %",
    "dense": "dense",
    "moe": "experts",
    "active": "a token meets",
    "idle": "others",
    "balance": "balance loss",
}
