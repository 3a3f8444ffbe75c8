"""The numbers that several chapters have: frozen dataclasses whose defaults are the quick profile.

A chapter's own ``settings.py`` uses one of them as it is, or derives its own from it.
"""

from dataclasses import dataclass
from typing import Any, Literal

from minimind_lite.settings import Checked, Count, Finite, Length, Natural, NotNegative, Positive, Share


@dataclass(frozen=True)
class Settings(Checked):
    """What every chapter has."""

    seed: Natural = 0  # `course.begin` seeds Python, NumPy and torch with it


@dataclass(frozen=True)
class ModelSettings(Settings):
    """The chapters that build one layer (02–05) and the whole model (07)."""

    steps: Count = 200  # length of the chapter's small experiments


@dataclass(frozen=True)
class TrainingSettings(Settings):
    """What every training chapter has; names as in training.options.TrainConfig."""

    preset: str = "nano"  # a name from minimind_lite.config.PRESETS
    block_size: Length = 256  # tokens in one packed row
    micro_batch_size: Count = 4  # rows in one forward pass
    gradient_accumulation_steps: Count = 1  # forward passes in one optimizer step
    total_steps: Count = 1000  # optimizer steps
    optimizer: Literal["adamw", "muon"] = "adamw"  # muon: for the matrices of the layers
    learning_rate: Positive = 1e-3  # its peak
    embedding_lr_ratio: NotNegative = 20.0  # the embeddings' peak is this many times as high
    warmup_ratio: Share = 0.05  # share of the steps spent warming up
    min_lr_ratio: Share = 0.1  # the cosine ends at this share of the peak
    weight_decay: NotNegative = 0.1
    max_grad_norm: NotNegative = 1.0
    log_every: Natural = 10
    eval_every: Natural = 150
    eval_batches: Natural = 16  # micro-batches in an evaluation during training
    save_every: Natural = 100
    precision: Literal["fp32", "fp16", "bf16"] = "fp32"


@dataclass(frozen=True)
class SFTSettings(TrainingSettings):
    """Chapter 10, and the chapters that continue from its model."""

    total_steps: Count = 800
    learning_rate: Positive = 3e-3
    embedding_lr_ratio: NotNegative = 6.0
    eval_questions: Count = 500  # held-out questions that are asked
    max_new_tokens: Length = 64  # maximum length of an answer


@dataclass(frozen=True)
class PracticeSettings(SFTSettings):
    """Chapters 15 and 15b: a supervised cold start, then practice on sums (the options of GRPO, PPO)."""

    cold_steps: Count = 750  # small steps on worked sums, before the practice
    habit_steps: Count = 90  # then these, on sums mostly answered at once
    habit_learning_rate: Positive = 3e-4
    cold_learning_rate: Positive = 2.5e-3
    cold_embedding_lr_ratio: NotNegative = 6.0
    cold_micro_batch_size: Count = 1
    max_digits: Natural = 4  # in a question: sums of two numbers of up to two digits
    micro_batch_size: Count = 16  # questions per step
    group_size: Count = 8  # answers to each
    total_steps: Count = 24
    learning_rate: Positive = 3e-4
    embedding_lr_ratio: NotNegative = 1.0
    min_lr_ratio: Share = 0.3
    weight_decay: NotNegative = 0.0
    kl_weight: NotNegative = 0.02  # how hard the starting model pulls back
    format_weight: Finite = 0.0  # the chapter rewards right answers and nothing else
    length_weight: Finite = 0.0
    eval_questions: Count = 140  # held-out sums of that kind that are asked
    max_new_tokens: Length = 56
    log_every: Natural = 1
    eval_every: Natural = 0
    save_every: Natural = 10


# What the larger profiles, and the tests, change in every chapter of a kind.
GPU: dict[str, Any] = {"block_size": 512, "eval_every": 250, "eval_batches": 0, "save_every": 500,
                       "optimizer": "adamw", "embedding_lr_ratio": 1.0}  # fmt: skip
SMOKE: dict[str, Any] = {"preset": "pico", "block_size": 128, "micro_batch_size": 2, "total_steps": 4, "log_every": 1,
                         "eval_every": 2, "eval_batches": 2, "save_every": 2}  # fmt: skip
SMOKE_MODEL: dict[str, Any] = {"steps": 3}
PRACTICE: dict[str, Any] = {"block_size": 512, "save_every": 20}
FULL_PRACTICE: dict[str, Any] = PRACTICE | {
    "preset": "minimind2-small", "max_digits": 0, "learning_rate": 3e-6, "cold_learning_rate": 1e-5,
    "cold_steps": 4000, "habit_steps": 300, "habit_learning_rate": 5e-6, "cold_micro_batch_size": 16,
    "cold_embedding_lr_ratio": 1.0, "precision": "bf16", "total_steps": 1000, "max_new_tokens": 512,
    "save_every": 50, "eval_questions": 300,
}  # fmt: skip
SMOKE_PRACTICE: dict[str, Any] = SMOKE | {
    "cold_steps": 3, "habit_steps": 2, "group_size": 3, "total_steps": 2, "eval_every": 0, "eval_questions": 4,
    "max_new_tokens": 6,
}  # fmt: skip
