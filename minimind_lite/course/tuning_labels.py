"""Words in the pictures of chapter 06 and of the chapters after instruction tuning: the other half of labels.py."""

TUNING_LABELS: dict[str, str] = {
    "probability": "probability",
    "reward": "reward",
    "teacher": "teacher",
    "student": "student, with the teacher",
    "labels_only": "same student, labels alone",
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
