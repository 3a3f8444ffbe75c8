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
    "router": "router",
    "in_order": "as they come",
    "in_piles": "one pile each",
    "back_in_order": "back in order",
    "all_of_it": "a token meets all of it",
    "some_of_it": "a token meets {active} of {all}",
}

# What the chapter's cells call their lines, bars and columns; {0}, {1} … stand for numbers.
NAMES = (
    "layer {0}", "on", "off", "on, layer {0}", "off, layer {0}", "balance loss on, layer {0}",
    "balance loss off, layer {0}", "mixed", "Chinese, layer {0}", "English, layer {0}", "mixed, layer {0}",
)  # fmt: skip
