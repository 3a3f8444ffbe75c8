"""Words in the pictures of chapter 01; ``kit.labels`` has those that other chapters use too."""

LABELS: dict[str, str] = {
    "chars_per_token": "characters per token",
    "vocabulary": "entries in the vocabulary",
    "embedding_millions": "embedding, million parameters",
    "from_prose": "learned from poems and prose alone",
    "from_everything": "learned from everything",
    "generation_prompt": "open an answer",
}
