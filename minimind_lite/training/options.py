"""What a training run is asked to do: the settings of the loop, and how one particular run is carried out."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, Self

from torch import nn

from minimind_lite.config import ConfigError
from minimind_lite.training.callbacks import Callback

Precision = Literal["auto", "fp32", "bf16", "fp16"]
Resume = Literal["strict", "if_unfinished", "never"]

# Changing these does not change what is learned, so a run may be continued with other values (for `epochs` and
# `total_steps`, the resulting number of steps is compared).
_FREE = {
    "epochs", "log_every", "eval_every", "eval_batches", "save_every", "num_workers", "device", "trackers", "progress",
}  # fmt: skip


class FromSettings:
    """A dataclass of options that can be filled from a larger one."""

    @classmethod
    def from_settings(cls, settings: object, **changes: Any) -> Self:
        """Copy every field that ``settings`` has under the same name, then apply ``changes``."""
        names = {field.name for field in fields(cls)}  # type: ignore[arg-type]
        return cls(**{name: getattr(settings, name) for name in names if hasattr(settings, name)} | changes)


@dataclass(frozen=True)
class TrainConfig(FromSettings):
    """Settings of the loop; a *step* is one update of the weights.

    Raises ConfigError for a value that cannot work.
    """

    learning_rate: float = 5e-4  # at the peak
    embedding_lr_ratio: float = 1.0  # the embeddings learn at this multiple of it
    total_steps: int = 0  # 0 means: as many as `epochs` need
    epochs: float = 1.0  # passes over the data, when total_steps is 0
    warmup_ratio: float = 0.05  # share of the steps in which the learning rate rises
    min_lr_ratio: float = 0.1  # the cosine ends at this share of the peak
    micro_batch_size: int = 4  # examples in one forward pass: what memory allows
    gradient_accumulation_steps: int = 1  # forward passes in one step: what the recipe asks for
    max_grad_norm: float = 1.0  # longer gradients are shortened to this; 0 means never
    weight_decay: float = 0.1  # on matrices only: see optimizer.py
    betas: tuple[float, float] = (0.9, 0.95)  # of AdamW: how long gradients and their squares are remembered
    seed: int = 0  # of the data order, and of everything else that is random
    log_every: int = 10  # steps between lines of metrics.jsonl
    eval_every: int = 0  # steps between held-out evaluations; there is always one at the end
    eval_batches: int = 0  # micro-batches in an evaluation, always the same ones; 0 means all of them
    save_every: int = 0  # steps between checkpoints; 0 means none
    precision: Precision = "auto"  # auto: bf16 or fp16 on a GPU, fp32 on a CPU
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"  # auto: cuda if there is one, else cpu
    num_workers: int = 0  # processes that prepare batches
    trackers: tuple[str, ...] = ()  # accelerate's: "tensorboard", "wandb", "swanlab", …
    progress: bool = True  # show a progress bar

    def __post_init__(self) -> None:
        positive = {"learning_rate", "micro_batch_size", "gradient_accumulation_steps"}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, (int, float)) and not (value > 0 or (value == 0 and field.name not in positive)):
                limit = "above 0" if field.name in positive else "0 or more"
                raise ConfigError(f"{field.name} must be {limit}, not {value}")
        if not (self.total_steps or self.epochs):
            raise ConfigError("give total_steps, or epochs: a run of 0 steps learns nothing")
        if self.warmup_ratio > 1 or self.min_lr_ratio > 1:
            raise ConfigError("warmup_ratio and min_lr_ratio are shares, from 0 to 1")
        if self.device not in ("auto", "cpu", "cuda", "mps"):
            raise ConfigError(f"device must be one of auto, cpu, cuda, mps, not {self.device!r}")
        if self.precision not in ("auto", "fp32", "bf16", "fp16"):
            raise ConfigError(f"precision must be auto, fp32, bf16 or fp16, not {self.precision!r}")

    def steps(self, steps_per_epoch: int) -> int:
        """Optimizer steps of the whole run."""
        return self.total_steps or math.ceil(self.epochs * steps_per_epoch)

    def recipe(self) -> dict[str, Any]:
        """The fields that must be the same when a run is continued."""
        return {name: value for name, value in asdict(self).items() if name not in _FREE}


@dataclass(frozen=True)
class StageOptions(FromSettings):
    """Options shared by every stage that packs or cuts its documents. Raises ConfigError for a bad value."""

    block_size: int = 512  # tokens in one packed row; a longer conversation is cut to it

    def __post_init__(self) -> None:
        if self.block_size < 1:
            raise ConfigError(f"block_size must be 1 or more, not {self.block_size}")


@dataclass(frozen=True)
class RunOptions:
    """How one run of a stage is carried out; none of it belongs to the recipe."""

    eval_data: str | Path | None = None  # held-out data of the stage's kind; its loss is logged as eval_loss
    strict: bool = False  # stop at the first bad line of the data instead of skipping it
    resume: Resume = "strict"  # see training.loop.train
    callbacks: Sequence[Callback] = ()
    measure: Callable[[nn.Module], dict[str, float]] | None = None  # called after each evaluation; adds to its metrics

    def __post_init__(self) -> None:
        if self.resume not in ("strict", "if_unfinished", "never"):
            raise ConfigError(f"resume must be strict, if_unfinished or never, not {self.resume!r}")
        if not isinstance(self.callbacks, Sequence) or not all(isinstance(one, Callback) for one in self.callbacks):
            raise ConfigError(f"callbacks must be a list of Callback objects, not {self.callbacks!r}")
        if self.measure is not None and not callable(self.measure):
            raise ConfigError(f"measure must be a function of the model, not {self.measure!r}")
