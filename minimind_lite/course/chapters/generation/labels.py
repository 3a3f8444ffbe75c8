"""Words in the pictures of chapter 09; ``kit.labels`` has those that other chapters use too."""

LABELS: dict[str, str] = {
    "milliseconds_per_token": "milliseconds per new token",
    "every_head_its_own": "if every query head kept its own",
    "grouped_as_built": "grouped, as built",
    "keys_and_values": "(keys, values)",
    "per_token": "per token",
    "other_tokens": "other tokens",
    "tokens_kept": "tokens can be drawn",
    "bytes": "bytes",
    "prefill": "prefill",
    "decode": "decode",
    "pass_number": "pass {number}",
    "token_comes_out": "comes out",
    "reads_with_cache": "tokens read, with the cache",
    "reads_without_cache": "without the cache",
    "computed_and_kept": "computed and kept",
    "in_the_cache": "in the cache, only read",
    "tokens_in_all": "= {total} tokens in all",
    "tokens_after_these": "{count} others",
    "step_logits": "logits",
    "step_temperature": "softmax, T = {temperature}",
    "step_whole_again": "renormalised",
    "step_draw": "draw: {luck}",
}

# What the chapter's cells call their lines, bars and columns; {0}, {1} … stand for numbers.
NAMES = (
    "a poem", "a speech", "a story", "speech", "no cache", "cache, torch.cat", "cache, reserved", "temperature {0}",
    "greedy", "temperature {0}, top-p {1}", "temperature {0}, min-p {1}", "greedy, penalty {0}", "right",
    "padded on the right", "padding not masked", "positions jump",
)  # fmt: skip
