"""Words in the pictures of chapter 08; ``kit.labels`` has those that other chapters use too."""

LABELS: dict[str, str] = {
    "padding": "padding",
    "padded": "padded",
    "packed": "packed",
    "block_size": "block size (positions)",
    "waste_percent": "padding, % of positions",
    "of_positions_padding": "of all positions are padding",
    "positions_for": "positions for",
    "warmup": "warm-up",
    "peak": "peak",
    "direction": "direction, the longest first",
    "singular_value": "singular value",
    "floor": "floor",
    "unigram": "unigram: how often",
    "bigram": "bigram: after one token",
    "trigram": "interpolated trigram",
    "stories_pairs_zh": "Chinese stories, trained wordings",
    "stories_pairs_en": "English stories, trained wordings",
    "untrained": "this model, untrained",
    "trained": "this model, trained",
}
