"""How a stage's sizes are written down: the quick ones as a dataclass, the others as changes to it."""

from dataclasses import replace
from typing import Any


def table(quick: Any, *, colab: dict[str, Any], full: dict[str, Any], smoke: dict[str, Any]) -> dict[str, Any]:
    """The same dataclass at each size; fields that are not named stay as in quick."""
    changes = {"colab": colab, "full": full, "smoke": smoke}
    return {"quick": quick} | {name: replace(quick, **changed) for name, changed in changes.items()}


GPU = {"block_size": 512, "eval_every": 250, "eval_batches": 0, "save_every": 500, "embedding_lr_ratio": 1.0}
SMOKE = {"preset": "pico", "block_size": 128, "micro_batch_size": 2, "total_steps": 4, "log_every": 1,
         "eval_every": 2, "eval_batches": 2, "save_every": 2}  # fmt: skip
