"""Words in the pictures of chapter 06 and of the chapters after instruction tuning: the other half of labels.py."""

TUNING_LABELS: dict[str, str] = {
    "probability": "probability",
    "reward": "reward",
}
