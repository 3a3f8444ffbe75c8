"""The numbers of chapter 06 and of the stages after instruction tuning; the defaults are the quick profile."""

from dataclasses import dataclass
from typing import Any

from .settings import SFTSettings, TrainingSettings


@dataclass(frozen=True)
class MoESettings(TrainingSettings):
    """Chapter 06: a small dense and a small mixture-of-experts model, trained side by side."""

    preset: str = "nano-moe"
    total_steps: int = 200
    learning_rate: float = 4e-3
    embedding_lr_ratio: float = 5.0
    eval_every: int = 100
    eval_batches: int = 0  # all held-out blocks: there are few
    collapse_steps: int = 80  # of each of two short runs, with and without the balance loss


@dataclass(frozen=True)
class LoRASettings(SFTSettings):
    """Chapter 11."""

    total_steps: int = 200


@dataclass(frozen=True)
class DPOSettings(SFTSettings):
    """Chapter 12: the reference is fine-tuned first, with numbers of its own, then the preferences."""

    micro_batch_size: int = 8  # pairs
    total_steps: int = 120
    learning_rate: float = 2e-4
    embedding_lr_ratio: float = 1.0
    warmup_ratio: float = 0.1
    eval_every: int = 0  # once, at the end
    eval_batches: int = 0
    beta: float = 0.1
    loss_type: str = "sigmoid"  # sigmoid, sigmoid_norm or ipo
    reference_steps: int = 300  # fine-tuning on both endings; 0: the model of chapter 10 is the reference
    reference_learning_rate: float = 3e-3
    reference_embedding_lr_ratio: float = 6.0
    reference_micro_batch_size: int = 4  # packed rows
    max_new_tokens: int = 96
    experiment_steps: int = 12  # length of the chapter's small experiments

    def reference_changes(self) -> dict[str, Any]:
        """What is different while the reference is fine-tuned, in the words of TrainConfig."""
        rates = {"learning_rate": self.reference_learning_rate, "embedding_lr_ratio": self.reference_embedding_lr_ratio}
        return rates | {"total_steps": self.reference_steps, "micro_batch_size": self.reference_micro_batch_size}


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
