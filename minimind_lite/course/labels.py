"""Words that appear in pictures, in one place, so that another language's edition changes only this file."""

LABELS: dict[str, str] = {
    "step": "step",
    "tokens_seen": "tokens seen",
    "loss": "loss (nats per token)",
    "learning_rate": "learning rate",
    "position": "position",
    "dimension": "dimension",
    "head": "head",
    "layer": "layer",
    "seconds": "seconds",
    "bits_per_byte": "bits per byte",
    "before": "before",
    "after": "after",
    "train": "training",
    "held_out": "held out",
    "yours": "yours",
    "expected": "expected",
    "chance": "chance",
    "query_token": "the token that looks (query)",
    "key_token": "the token looked at (key)",
    "largest_weight": "largest attention weight",
    "gradient_size": "gradient that passes the softmax",
    "head_dim": "width of a head",
    "tokens_in_context": "tokens in the context",
    "kv_mebibytes": "keys and values, MiB",
    "looks_from": "what is seen from position",
}


def label(name: str) -> str:
    """The words for ``name``; the name itself, with spaces, where nobody has written any yet."""
    return LABELS.get(name, name.replace("_", " "))
