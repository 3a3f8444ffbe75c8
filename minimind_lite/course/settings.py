"""Which numbers each stage has: one frozen dataclass a stage, whose defaults are the quick profile."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any


class CourseError(ValueError):
    """A chapter cannot run as asked; the message says why and what to do."""


def changed(base: Any, changes: Mapping[str, Any], owner: str) -> Any:
    """The dataclass ``base`` with the changes that are not None.

    Raises CourseError for a name it does not have (with those it has), or a value of the wrong type.
    """
    known = base.__dataclass_fields__
    unknown = sorted(set(changes) - set(known))
    if unknown:
        raise CourseError(f"{owner} has no setting called {', '.join(unknown)}; it has: {', '.join(known)}")
    wanted = {name: _as_type(name, value, getattr(base, name)) for name, value in changes.items() if value is not None}
    return replace(base, **wanted)


def _as_type(name: str, value: Any, example: Any) -> Any:
    """``value`` if it is of the example's kind; a whole number may stand for a float."""
    if isinstance(example, float) and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not type(example):
        raise CourseError(
            f"{name} must be of type {type(example).__name__}, as in {name}={example!r}; "
            f"it is {value!r}, of type {type(value).__name__}"
        )
    return value


@dataclass(frozen=True)
class Settings:
    """What every stage has."""

    seed: int = 0  # `course.begin` seeds Python, NumPy and torch with it


@dataclass(frozen=True)
class TokenizerSettings(Settings):
    """Chapter 01."""

    vocab_size: int = 5120  # entries, specials and the 256 bytes included
    max_token_bytes: int = 9  # keeps unspaced Chinese from becoming whole sentences in one token
    max_characters: int = 4_000_000  # how much text the trained tokenizer sees at most
    own_merges: int = 300  # merges of the byte-pair encoding that the chapter writes itself


@dataclass(frozen=True)
class ModelSettings(Settings):
    """The chapters that build one layer, 02–05, and the whole model, 07."""

    preset: str = "nano"  # a name from minimind_lite.config.PRESETS
    steps: int = 200  # length of the chapter's small experiments


@dataclass(frozen=True)
class TransformerSettings(ModelSettings):
    """Chapter 07."""

    load_smollm2: bool = True  # hear SmolLM2-135M answer, where its package is installed


@dataclass(frozen=True)
class TrainingSettings(Settings):
    """What every training stage has; names as in training.config.TrainConfig."""

    preset: str = "nano"
    block_size: int = 256  # tokens in one packed row
    micro_batch_size: int = 4  # rows in one forward pass
    gradient_accumulation_steps: int = 1  # forward passes in one optimizer step
    total_steps: int = 1000  # optimizer steps
    learning_rate: float = 1e-3  # its peak
    embedding_lr_ratio: float = 20.0  # the embeddings' peak is this many times as high
    warmup_ratio: float = 0.05  # share of the steps that warm up
    min_lr_ratio: float = 0.1  # the cosine ends at this share of the peak
    weight_decay: float = 0.1
    max_grad_norm: float = 1.0
    log_every: int = 10
    eval_every: int = 150
    eval_batches: int = 16  # micro-batches in an evaluation along the way
    save_every: int = 100
    precision: str = "fp32"  # fp32, fp16 or bf16


@dataclass(frozen=True)
class PretrainSettings(TrainingSettings):
    """Chapter 08."""

    eval_documents: int = 1000  # held-out documents that are measured, at most


@dataclass(frozen=True)
class SFTSettings(TrainingSettings):
    """Chapter 10."""

    total_steps: int = 800
    learning_rate: float = 3e-3
    embedding_lr_ratio: float = 6.0
    eval_questions: int = 500  # held-out questions that are asked
    max_new_tokens: int = 64  # an answer's longest length


@dataclass(frozen=True)
class WelcomeSettings(TrainingSettings):
    """Chapter 00: all stages at toy size."""

    preset: str = "pico"
    vocab_size: int = 1024
    total_steps: int = 150  # pretraining
    sft_steps: int = 120
    learning_rate: float = 8e-3
    sft_learning_rate: float = 5e-3
    embedding_lr_ratio: float = 1.0
    max_new_tokens: int = 32
    log_every: int = 2
    eval_every: int = 0
    save_every: int = 0


@dataclass(frozen=True)
class GenerationSettings(Settings):
    """Chapter 09."""

    max_new_tokens: int = 64
    repeats: int = 3  # timings are medians of this many
