"""Words in the pictures of chapter 08; ``kit.labels`` has those that other chapters use too."""

LABELS: dict[str, str] = {
    "padding": "padding",
    "padded": "padded",
    "packed": "packed",
    "block_size": "block size (positions)",
    "waste_percent": "padding, % of positions",
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
    "row_positions": "position",
    "row_reads": "the token of a row\nreads those of\nthe columns",
    "document_of": "document {number}: {length} tokens",
    "padding_of": "padding: {length} positions",
    "closed_by_documents": "another document:\nclosed by the document mask",
    "closed_by_causal": "comes later:\nclosed by the causal mask",
    "warmup_percent": "warm-up, %",
    "floor_percent": "floor, %",
    "rate_at_step": "learning rate at step {step}: {rate}",
    "step_number": "step {number}",
}

# What the chapter's cells call their lines, bars and columns; {0}, {1} … stand for numbers.
NAMES = (
    "real tokens", "padding counted", "guess {0}",
)  # fmt: skip
