"""The learning rate over a run: up in a line, down in a cosine."""

import math


def warmup_cosine(step: int, total_steps: int, warmup_steps: int = 0, min_ratio: float = 0.1) -> float:
    """Factor for the peak learning rate at ``step`` (0 .. total_steps - 1), between 0 and 1.

    It rises in ``warmup_steps`` equal steps, the first of which is not 0 (a step of size 0 wastes a batch), reaches 1,
    and falls along half a cosine to ``min_ratio`` at the last step. Source: Loshchilov & Hutter 2017 (SGDR,
    arXiv 1608.03983), eq. 5, without restarts; warm-up: Goyal et al. 2017 (arXiv 1706.02677), section 2.2.

    >>> [round(warmup_cosine(step, 6, warmup_steps=2), 3) for step in range(6)]
    [0.5, 1.0, 0.868, 0.55, 0.232, 0.1]
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    # The peak stands on the last warm-up step (or on step 0), so the way down starts there.
    peak = max(0, warmup_steps - 1)
    progress = min(1.0, (step - peak) / max(1, total_steps - 1 - peak))
    return min_ratio + (1 - min_ratio) * (1 + math.cos(math.pi * progress)) / 2
