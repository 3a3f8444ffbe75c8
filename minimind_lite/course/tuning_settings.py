"""The numbers of chapter 06 and of the stages after instruction tuning; the defaults are the quick profile."""

from dataclasses import dataclass

from .settings import SFTSettings, TrainingSettings


@dataclass(frozen=True)
class MoESettings(TrainingSettings):
    """Chapter 06: a small dense and a small mixture-of-experts model, trained side by side."""

    preset: str = "nano-moe"
    total_steps: int = 250


@dataclass(frozen=True)
class LoRASettings(SFTSettings):
    """Chapter 11."""

    total_steps: int = 200


@dataclass(frozen=True)
class DPOSettings(SFTSettings):
    """Chapter 12."""

    total_steps: int = 120


@dataclass(frozen=True)
class DistillSettings(SFTSettings):
    """Chapter 13; what DistillOptions says, with the teacher of chapter 10."""

    student: str = "micro"  # the student's preset; ``preset`` is the teacher's
    alpha: float = 0.1  # the labels' share of the loss
    temperature: float = 1.0  # both distributions are softened by it
    direction: str = "forward"  # of the KL
    chunk_size: int = 256  # trained positions whose logits are in memory at a time
    total_steps: int = 350
    learning_rate: float = 8e-3
    eval_every: int = 100
    eval_batches: int = 0  # all the held-out questions: this is the chapter's figure


@dataclass(frozen=True)
class ReasonSettings(SFTSettings):
    """Chapter 14."""

    total_steps: int = 400


@dataclass(frozen=True)
class GRPOSettings(SFTSettings):
    """Chapter 15."""

    total_steps: int = 40


@dataclass(frozen=True)
class PPOSettings(SFTSettings):
    """Chapter 15b."""

    total_steps: int = 20
