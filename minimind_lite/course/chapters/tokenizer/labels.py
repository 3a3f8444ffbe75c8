"""Words in the pictures of chapter 01; ``kit.labels`` has those that other chapters use too."""

LABELS: dict[str, str] = {
    "chars_per_token": "characters per token",
    "vocabulary": "entries in the vocabulary",
    "embedding_millions": "embedding, million parameters",
    "modern_zh": "modern Chinese",
    "modern_en": "modern English",
    "classics": "Chinese classics",
    "speeches": "presidents' speeches",
    "chat_zh": "Chinese chat",
    "chat_en": "English chat",
    "generation_prompt": "open an answer",
}
