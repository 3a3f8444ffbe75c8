"""The numbers that several chapters have: frozen dataclasses whose defaults are the quick profile.

A chapter's own ``settings.py`` uses one of them as it is, or derives its own from it.
"""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Settings:
    """What every chapter has."""

    seed: int = 0  # `course.begin` seeds Python, NumPy and torch with it


@dataclass(frozen=True)
class ModelSettings(Settings):
    """The chapters that build one layer (02–05) and the whole model (07)."""

    preset: str = "nano"  # a name from minimind_lite.config.PRESETS
    steps: int = 200  # length of the chapter's small experiments


@dataclass(frozen=True)
class TrainingSettings(Settings):
    """What every training chapter has; names as in training.config.TrainConfig."""

    preset: str = "nano"
    block_size: int = 256  # tokens in one packed row
    micro_batch_size: int = 4  # rows in one forward pass
    gradient_accumulation_steps: int = 1  # forward passes in one optimizer step
    total_steps: int = 1000  # optimizer steps
    learning_rate: float = 1e-3  # its peak
    embedding_lr_ratio: float = 20.0  # the embeddings' peak is this many times as high
    warmup_ratio: float = 0.05  # share of the steps spent warming up
    min_lr_ratio: float = 0.1  # the cosine ends at this share of the peak
    weight_decay: float = 0.1
    max_grad_norm: float = 1.0
    log_every: int = 10
    eval_every: int = 150
    eval_batches: int = 16  # micro-batches in an evaluation during training
    save_every: int = 100
    precision: str = "fp32"  # fp32, fp16 or bf16


@dataclass(frozen=True)
class SFTSettings(TrainingSettings):
    """Chapter 10, and the chapters that continue from its model."""

    total_steps: int = 800
    learning_rate: float = 3e-3
    embedding_lr_ratio: float = 6.0
    eval_questions: int = 500  # held-out questions that are asked
    max_new_tokens: int = 64  # maximum length of an answer


@dataclass(frozen=True)
class PracticeSettings(SFTSettings):
    """Chapters 15 and 15b: a supervised cold start, then practice on sums (the options of GRPO, PPO)."""

    cold_steps: int = 750  # small steps on worked sums, before the practice
    habit_steps: int = 90  # then these, on sums mostly answered at once
    habit_learning_rate: float = 3e-4
    cold_learning_rate: float = 2.5e-3
    cold_embedding_lr_ratio: float = 6.0
    cold_micro_batch_size: int = 1
    max_digits: int = 4  # in a question: sums of two numbers of up to two digits
    micro_batch_size: int = 16  # questions per step
    group_size: int = 8  # answers to each
    total_steps: int = 24
    learning_rate: float = 3e-4
    embedding_lr_ratio: float = 1.0
    min_lr_ratio: float = 0.3
    weight_decay: float = 0.0
    kl_weight: float = 0.02  # how hard the starting model pulls back
    format_weight: float = 0.0  # the chapter rewards right answers and nothing else
    length_weight: float = 0.0
    eval_questions: int = 140  # held-out sums of that kind that are asked
    max_new_tokens: int = 56
    log_every: int = 1
    eval_every: int = 0
    save_every: int = 10


# What the larger profiles, and the tests, change in every chapter of a kind.
GPU: dict[str, Any] = {"block_size": 512, "eval_every": 250, "eval_batches": 0, "save_every": 500,
                       "embedding_lr_ratio": 1.0}  # fmt: skip
SMOKE: dict[str, Any] = {"preset": "pico", "block_size": 128, "micro_batch_size": 2, "total_steps": 4, "log_every": 1,
                         "eval_every": 2, "eval_batches": 2, "save_every": 2}  # fmt: skip
SMOKE_MODEL: dict[str, Any] = {"preset": "pico", "steps": 3}
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
