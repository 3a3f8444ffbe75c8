"""Words in the pictures of chapter 04; ``kit.labels`` has those that other chapters use too."""

LABELS: dict[str, str] = {
    "query_token": "the token that looks (query)",
    "key_token": "the token looked at (key)",
    "largest_weight": "largest attention weight",
    "gradient_size": "gradient that passes the softmax",
    "looks_from": "what is seen from position",
}
