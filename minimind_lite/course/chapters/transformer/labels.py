"""Words in the pictures of chapter 07; ``kit.labels`` has those that other chapters use too."""

LABELS: dict[str, str] = {
    "block": "block",
    "residual_stream": "residual stream, {width} wide",
    "attention": "attention",
    "rmsnorm_short": "RMSNorm",
    "token_ids": "token ids",
    "same_matrix": "same matrix",
    "output_head": "head",
    "logits": "logits",
    "blocks": "blocks",
    "training_memory": "training",
    "cannot_be_built": "This cannot be built:",
    "layers": "layers",
    "query_heads": "query heads",
    "tokens_in_batch": "tokens in a batch",
    "block_total": "one block: {total:.1f} million parameters, and {layers} of them",
    "reads": "it reads",
    "predicts": "it predicts",
    "all_at_once": "one pass asks all of these questions at once; no position sees to its right",
}

# What the chapter's cells call their lines, bars and columns; {0}, {1} … stand for numbers.
NAMES = (
    "embedding", "attention", "norms", "router", "gradients", "activations", "weights", "all {0}", "scaled by depth",
    "minimind{0}-small, {1} × {2} tokens, float{3}", "ln {0}: knows nothing", "two poems",
)  # fmt: skip
