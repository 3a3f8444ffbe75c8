"""The numbers of chapter 06 and of the stages after instruction tuning; the defaults are the quick profile."""

from dataclasses import dataclass
from typing import Any

from .settings import SFTSettings, TrainingSettings


@dataclass(frozen=True)
class MoESettings(TrainingSettings):
    """Chapter 06: a small dense and a small mixture-of-experts model, trained side by side."""

    preset: str = "pico-moe"
    total_steps: int = 450
    learning_rate: float = 8e-3
    embedding_lr_ratio: float = 6.0
    eval_batches: int = 0  # all held-out blocks: there are few
    collapse_steps: int = 80  # of each of two short runs, with and without the balance loss


@dataclass(frozen=True)
class LoRASettings(SFTSettings):
    """Chapter 11: two adapters on the model of chapter 10."""

    rank: int = 4
    alpha: float = 64.0
    dropout: float = 0.05
    replay_share: float = 0.5  # of the training tokens: conversations of chapter 10, so that they are not forgotten
    micro_batch_size: int = 2
    total_steps: int = 600  # of the identity adapter
    learning_rate: float = 3e-3
    embedding_lr_ratio: float = 1.0  # nothing to scale: the embeddings are frozen
    weight_decay: float = 0.0
    eval_every: int = 0  # once, at the end
    medical_steps: int = 300  # of the medical adapter
    medical_questions: int = 50  # held-out questions that are asked
    medical_tokens: int = 160  # the longest length of an answer to one
    disclaimer_characters: int = 20  # this much of the expected answers' end is their disclaimer
    experiment_steps: int = 30  # of the chapter's short runs


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
    eval_pairs: int = 120  # held-out pairs that are measured
    eval_questions: int = 150
    max_new_tokens: int = 96
    experiment_steps: int = 12  # length of the chapter's small experiments

    def reference_changes(self) -> dict[str, Any]:
        """What is different while the reference is fine-tuned, in the words of TrainConfig."""
        rates = {"learning_rate": self.reference_learning_rate, "embedding_lr_ratio": self.reference_embedding_lr_ratio}
        return rates | {"total_steps": self.reference_steps, "micro_batch_size": self.reference_micro_batch_size}


@dataclass(frozen=True)
class DistillSettings(SFTSettings):
    """Chapter 13; what DistillOptions says, with the teacher of chapter 10."""

    student: str = "half"  # every second layer of the teacher; ``preset`` is the teacher's
    alpha: float = 0.1  # the labels' share of the loss
    temperature: float = 2.0  # both distributions are softened by it
    direction: str = "forward"  # of the KL
    chunk_size: int = 256  # trained positions whose logits are in memory at a time
    total_steps: int = 150
    eval_every: int = 30
    eval_batches: int = 0  # all the held-out questions: this is the chapter's figure
    log_every: int = 5


@dataclass(frozen=True)
class ReasonSettings(SFTSettings):
    """Chapter 14: thoughts, and a control of as many positions with answers alone."""

    micro_batch_size: int = 1  # small steps: many updates out of few tokens
    total_steps: int = 1600
    learning_rate: float = 1e-3
    embedding_lr_ratio: float = 12.0
    min_lr_ratio: float = 0.02
    tag_weight: float = 10.0  # how much more than another token a tag counts
    off_share: float = 0.05  # share of the blocks with thinking switched off
    replay_share: float = 0.1  # share of the blocks with conversations of chapter 10
    log_every: int = 20
    eval_every: int = 0  # once, at the end
    eval_batches: int = 0
    save_every: int = 400
    eval_questions: int = 300  # held-out sums
    max_new_tokens: int = 96
    experiment_steps: int = 160  # length of the chapter's small experiments


@dataclass(frozen=True)
class GRPOSettings(SFTSettings):
    """Chapter 15: a supervised cold start, then what GRPOOptions says."""

    cold_steps: int = 750  # small steps on worked sums, before the practice
    habit_steps: int = 90  # then these, on sums mostly answered at once
    habit_learning_rate: float = 3e-4
    cold_learning_rate: float = 2.5e-3
    cold_embedding_lr_ratio: float = 6.0
    cold_micro_batch_size: int = 1
    max_digits: int = 4  # in a question: sums of two numbers with at most two digits
    micro_batch_size: int = 16  # questions in a step
    group_size: int = 8  # answers to each
    total_steps: int = 24
    learning_rate: float = 3e-4
    embedding_lr_ratio: float = 1.0
    min_lr_ratio: float = 0.3
    weight_decay: float = 0.0
    kl_weight: float = 0.02  # how hard the starting model pulls back
    format_weight: float = 0.0  # right or wrong is all that the chapter's run pays for
    length_weight: float = 0.0
    eval_questions: int = 140  # held-out sums of that kind that are asked
    max_new_tokens: int = 56
    log_every: int = 1
    eval_every: int = 0
    save_every: int = 10


@dataclass(frozen=True)
class PPOSettings(GRPOSettings):
    """Chapter 15b: the cold start of chapter 15, then what PPOOptions says."""

    micro_batch_size: int = 32
    group_size: int = 2
    updates_per_rollout: int = 2  # steps that learn from the same answers
    total_steps: int = 16
    lam: float = 0.95  # of generalised advantage estimation
    eval_questions: int = 70
