"""How a training run ends: with a result, or with numbers that are none."""

from dataclasses import dataclass
from typing import Any


class TrainingDiverged(RuntimeError):
    """A loss or gradient that is not a number; the message names the step and the examples."""


@dataclass(frozen=True)
class TrainResult:
    """How a run went; steps, items and seconds include what was done before a resume."""

    history: list[dict[str, Any]]  # the rows of metrics.jsonl
    steps: int  # optimizer steps
    items: int  # what the loss function counted: trained tokens, or pairs
    seconds: float  # wall time of the steps
    resumed_from: int | None  # the step at which this call took up an earlier run
