"""Words in the pictures of chapter 13; ``kit.labels`` has those that other chapters use too."""

LABELS: dict[str, str] = {
    "probability": "probability",
    "student": "student, with the teacher",
    "labels_only": "same student, labels alone",
    "untrained_half": "half the teacher, not trained",
    "token_rank": "tokens, the likeliest first",
    "outcome": "outcome",
    "forward": "forward KL(teacher ‖ student)",
    "reverse": "reverse KL(student ‖ teacher)",
    "held_out_answer_loss": "held-out loss on answers (nats per token)",
    "gradient_length": "length of the gradient",
    "with_t_squared": "T² · KL",
    "without_t_squared": "KL alone",
    "besides_the_first": "besides the first token:",
    "place": "place",
}
