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
class DistillSettings(TrainingSettings):
    """Chapter 13."""

    preset: str = "pico"  # the student's shape
    total_steps: int = 300


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
