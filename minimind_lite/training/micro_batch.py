"""How many examples fit into memory at once: chosen from what is free, and what to do when it was too many.

A step's examples, micro_batch_size × gradient_accumulation_steps, are the recipe; how they are divided is a matter of
memory alone, so a run may be continued with another division (see ``TrainConfig.recipe``).
"""

from dataclasses import replace
from pathlib import Path

import torch

from minimind_lite.config import ModelConfig
from minimind_lite.training.memory import training_memory
from minimind_lite.training.options import TrainConfig

_USED = 0.9  # share of the free memory that may be planned with


class OutOfMemory(RuntimeError):
    """A step did not fit into memory; the message has the next smaller setting."""


def divisions(config: TrainConfig) -> list[tuple[int, int]]:
    """Every (micro_batch_size, gradient_accumulation_steps) with the step's examples, the largest micro-batch first.

    >>> divisions(TrainConfig(micro_batch_size=6, gradient_accumulation_steps=2))
    [(12, 1), (6, 2), (4, 3), (3, 4), (2, 6), (1, 12)]
    """
    examples = config.micro_batch_size * config.gradient_accumulation_steps
    return [(examples // n, n) for n in range(1, examples + 1) if examples % n == 0]


def next_smaller(config: TrainConfig) -> tuple[int, int] | None:
    """The next division with a smaller micro-batch; None if there is none."""
    return next((pair for pair in divisions(config) if pair[0] < config.micro_batch_size), None)


def fitted(config: TrainConfig, model: ModelConfig, block_size: int, free: int, *, half: bool) -> TrainConfig:
    """``config`` with the largest micro-batch that fits into ``free`` bytes by the formula of ``memory.py``.

    The examples of a step stay the same. If even one row does not fit, one row is what is tried.
    """

    def fits(rows: int) -> bool:
        return training_memory(model, rows, block_size, half=half).total <= _USED * free

    every = divisions(config)
    rows, accumulation = next((pair for pair in every if fits(pair[0])), every[-1])
    return replace(config, micro_batch_size=rows, gradient_accumulation_steps=accumulation)


def is_out_of_memory(error: Exception) -> bool:
    """Whether memory ran out: a GPU's, or this machine's, for which torch has no error of its own."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "DefaultCPUAllocator: can't" in str(error)


def out_of_memory(error: Exception, config: TrainConfig, folder: Path) -> OutOfMemory:
    """torch's error as one that says which setting to take, and where the run in ``folder`` would go on."""
    smaller, steps = next_smaller(config), sorted((folder / "checkpoints").glob("step-*"))
    advice = "one example at a time is the least there is: take a smaller block_size or model"
    if smaller is not None:
        advice = (
            f"run the same command again with -p micro_batch_size={smaller[0]} -p gradient_accumulation_steps="
            f"{smaller[1]}, which makes the same steps out of smaller pieces"
        )
    kept = f"it goes on from the checkpoint of step {int(steps[-1].name[5:])}" if steps else "it starts at step 0"
    said = (str(error).splitlines() or [""])[0]
    return OutOfMemory(
        f"memory ran out with micro_batch_size={config.micro_batch_size}: {advice}; {kept}. torch says: {said}"
    )
