"""Words in the pictures of chapter 01; ``kit.labels`` has those that other chapters use too."""

LABELS: dict[str, str] = {
    "chars_per_token": "characters per token",
    "vocabulary": "entries in the vocabulary",
    "embedding_millions": "embedding, million parameters",
    "from_prose": "learned from poems and prose alone",
    "from_everything": "learned from everything",
    "tokens_counted": "tokens",
    "generation_prompt": "open an answer",
    "bpe_text": "text",
    "bpe_bytes": "UTF-8 bytes",
    "bpe_merge": "merge {number}",
    "bpe_ids": "ids: {ids}",
    "bpe_round": "round {number}: count, then merge",
    "bpe_cut_now": "the words, and what will be merged",
}

# What the chapter's cells call their lines, bars and columns; {0}, {1} … stand for numbers.
NAMES = (
    "English, {0} merges", "中文, {0} merges", "templates, no bound: fact", "templates, no bound: question",
    "templates, bound: fact", "templates, bound: question", "everything, bound: fact", "everything, bound: question",
    "Chinese", "English", "pasted", "rendered", "id", "in tokenizer.json", "bytes", "meaning", "vocabulary of",
    "entries", "embedding at hidden size {0}", "share of the model",
)  # fmt: skip
