"""Words in the pictures of chapter 18; ``kit.labels`` has those that other chapters use too."""

LABELS: dict[str, str] = {
    "rank_number": "rank",
    "reduce_scatter": "add on the way round",
    "all_gather": "hand on what is complete",
    "optimizer_states": "optimizer",
    "activations": "activations",
    "forward_pass": "forward",
    "backward_pass": "backward",
    "exchange": "exchange",
    "update": "update",
    "exchange_afterwards": "exchange after the backward pass",
    "exchange_meanwhile": "exchange during the backward pass",
    "gigabytes": "GB per card",
    "bytes_exchanged": "bytes",
    "seconds": "seconds",
    "fitted": "latency + traffic / bandwidth",
    "timed": "measured",
    "cards": "cards",
    "efficiency_percent": "of n cards' throughput, %",
    "largest_distance": "largest difference from one process",
    "not_divided": "summed, not divided",
    "mean_of_means": "mean of means",
    "not_exchanged": "not exchanged",
    "ring": "ring, by hand",
    "all_reduce": "gloo's all-reduce",
    "computed": "computed",
    "card_memory": "memory of the card",
    "million_parameters_slider": "million p.",
    "sharding": "sharding",
    "time": "time",
    "times_as_long": "times as long without it",
}

# What the chapter's cells call their lines, bars and columns; {0}, {1} … stand for numbers.
NAMES = (
    "tokens per card fixed", "batch fixed", "{0} per card", "{0}M tokens", "{0}B, {1} cards, DDP",
    "{0}B, {1} cards, ZeRO {2}", "{0}B, {1} cards, ZeRO {2}, FSDP",
    "packing", "loss in chunks", "trained positions only", "assembled blocks", "fused AdamW", "KV cache",
    "weights laid out", "continuous batching", "eight at a time", "int8",
)  # fmt: skip
