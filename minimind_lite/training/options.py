"""What a training run is asked to do: the settings of the loop, and how one particular run is carried out."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field
from torch import nn

from minimind_lite.data.records import MAX_BAD_SHARE
from minimind_lite.settings import (
    Checked,
    ConfigError,
    Count,
    Length,
    Natural,
    NotNegative,
    Positive,
    Share,
    ShareBelow1,
)
from minimind_lite.training.callbacks import Callback

Precision = Literal["auto", "fp32", "bf16", "fp16"]
Device = Literal["auto", "cpu", "cuda", "mps"]
OptimizerName = Literal["adamw", "muon"]
Resume = Literal["strict", "if_unfinished", "never"]

# Changing these does not change what is learned, so a run may be continued with other values (for `epochs` and
# `total_steps`, the resulting number of steps is compared).
_FREE = {
    "epochs", "log_every", "eval_every", "eval_batches", "save_every", "num_workers", "device", "trackers", "progress",
}  # fmt: skip


@dataclass(frozen=True)
class FromSettings(Checked):
    """A dataclass of options that can be filled from a larger one."""

    @classmethod
    def from_settings(cls, settings: object, **changes: Any) -> Self:
        """Copy every field that ``settings`` has under the same name, then apply ``changes``."""
        names = {field.name for field in fields(cls)}
        return cls(**{name: getattr(settings, name) for name in names if hasattr(settings, name)} | changes)


@dataclass(frozen=True)
class TrainConfig(FromSettings):
    """Settings of the loop; a *step* is one update of the weights.

    Raises ConfigError for a value that cannot work.
    """

    optimizer: OptimizerName = "adamw"  # muon: for the matrices of the layers; see optimizer.py
    learning_rate: Positive = 5e-4  # at the peak
    embedding_lr_ratio: NotNegative = 1.0  # the embeddings learn at this multiple of it
    total_steps: Natural = 0  # 0 means: as many as `epochs` need
    epochs: NotNegative = 1.0  # passes over the data, when total_steps is 0
    warmup_ratio: Share = 0.05  # share of the steps in which the learning rate rises
    min_lr_ratio: Share = 0.1  # the cosine ends at this share of the peak
    micro_batch_size: Count = 4  # examples in one forward pass: what memory allows
    gradient_accumulation_steps: Count = 1  # forward passes in one step: what the recipe asks for
    max_grad_norm: NotNegative = 1.0  # longer gradients are shortened to this; 0 means never
    weight_decay: NotNegative = 0.1  # on matrices only: see optimizer.py
    betas: tuple[ShareBelow1, ShareBelow1] = (
        0.9,
        0.95,
    )  # AdamW's: how long gradients and their squares are remembered
    seed: Natural = 0  # of the data order, and of everything else that is random
    log_every: Natural = 10  # steps between lines of metrics.jsonl
    eval_every: Natural = 0  # steps between held-out evaluations; there is always one at the end
    eval_batches: Natural = 0  # micro-batches in an evaluation, always the same ones; 0 means all of them
    save_every: Natural = 0  # steps between checkpoints; 0 means none
    precision: Precision = "auto"  # auto: bf16 or fp16 on a GPU, fp32 on a CPU
    device: Device = "auto"  # auto: the one that MINIMIND_DEVICE names, else cuda if there is one, else cpu
    num_workers: Annotated[int, Field(ge=0, le=1024)] = 0  # processes that prepare batches
    trackers: tuple[str, ...] = ()  # accelerate's: "tensorboard", "wandb", "swanlab", …; each must be installed
    progress: bool = True  # show a progress bar

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (self.total_steps or self.epochs):
            raise ConfigError("give total_steps, or epochs: a run of 0 steps learns nothing")

    def steps(self, steps_per_epoch: int) -> int:
        """Optimizer steps of the whole run."""
        return self.total_steps or math.ceil(self.epochs * steps_per_epoch)

    def recipe(self) -> dict[str, Any]:
        """The fields that must be the same when a run is continued.

        How a step's examples are divided into micro-batches may differ: a run that ran out of memory goes on with
        smaller ones.
        """
        fields = {name: value for name, value in asdict(self).items() if name not in _FREE}
        fields["examples_per_step"] = fields.pop("micro_batch_size") * fields.pop("gradient_accumulation_steps")
        return fields


@dataclass(frozen=True)
class StageOptions(FromSettings):
    """Options shared by every stage that packs or cuts its documents. Raises ConfigError for a bad value."""

    block_size: Length = 512  # tokens in one packed row; a longer conversation is cut to it


@dataclass(frozen=True)
class RunOptions(Checked):
    """How one run of a stage is carried out; none of it belongs to the recipe."""

    eval_data: str | Path | None = None  # held-out data of the stage's kind; its loss is logged as eval_loss
    strict: bool = False  # stop at the first bad line of the data instead of skipping it
    max_bad_share: Share = MAX_BAD_SHARE  # of a file's lines that may be bad and are skipped; more, and it is refused
    resume: Resume = "strict"  # see training.loop.train
    callbacks: Sequence[Callback] = ()
    measure: Callable[[nn.Module], dict[str, float]] | None = None  # after each evaluation, instead of the stage's own
