"""Words in the pictures of chapter 12; ``kit.labels`` has those that other chapters use too."""

LABELS: dict[str, str] = {
    "pair_loss": "loss of a pair",
    "gradient_weight": "weight of the gradient",
    "margin_nats": "margin (nats)",
    "margin": "margin",
    "prefers_chosen": "P(chosen is better)",
    "chosen": "chosen",
    "rejected": "rejected",
    "answer_logprob": "log-probability of the answer (nats)",
    "kl_answer": "KL to the reference (nats per answer)",
    "style_percent": "answers in the preferred style, %",
    "answers_summed": "chosen answer is likelier",
    "answers_per_token": "… counted per token",
    "facts_percent": "answer holds the right fact, %",
    "percent_held_out": "held-out items, %",
    "sampled_before": "before, sampled",
    "sampled_after": "after, sampled",
    "logprob_change": "change against the reference (nats)",
}
