"""Words in the pictures of chapter 04; ``kit.labels`` has those that other chapters use too."""

LABELS: dict[str, str] = {
    "query_token": "the token that looks (query)",
    "key_token": "the token looked at (key)",
    "largest_weight": "largest attention weight",
    "without_gradient": "share of queries with next to no gradient",
    "cut": "cut",
    "join": "join",
    "shape_in": "({seq}, {hidden})\ntokens, width",
    "shape_heads": "({heads}, {seq}, {dim})\nheads, tokens, width of a head",
    "shape_out": "({seq}, {hidden})\nthen $W_o$",
    "each_head_alone": "each head attends on its own",
    "one_square_is_cached": "every coloured square is a key and a value that are kept for each token of the text",
    "texts_at_once": "texts at once",
    "the_prompt": "the prompt",
    "token_number": "written token {number}",
    "read_and_new": "{read} read, {new} computed",
    "computed_now": "keys and values computed now",
    "kept_from_before": "kept from before, only read",
    "one_token_x": "one token: x",
    "looks_for": "query: what it looks for",
    "is_found_by": "key: what it is found by",
    "hands_over": "value: what it hands over when it is found",
}

# What the chapter's cells call their lines, bars and columns; {0}, {1} … stand for numbers.
NAMES = (
    "without the division", "divided by √d", "scores", "after the mask (grey: −∞)", "weights",
    "output t reacts to token s (grey: zero)", "masked after the softmax", "one layer", "two layers",
    "guessing among {0}: ln {1} = {2}", "before {0}% · induction {1}%", "layer {0}, head {1}", "MHA ({0} kv heads)",
    "GQA ({0}, as shipped)",
)  # fmt: skip
