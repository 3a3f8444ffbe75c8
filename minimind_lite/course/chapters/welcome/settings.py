"""Chapter 00's settings."""

from dataclasses import dataclass

from ...kit.profiles import Minutes, by_profile
from ...kit.settings import SMOKE, TrainingSettings


@dataclass(frozen=True)
class WelcomeSettings(TrainingSettings):
    """All stages at toy size."""

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


SETTINGS = by_profile(WelcomeSettings(), smoke=SMOKE | {"vocab_size": 512, "sft_steps": 4, "max_new_tokens": 8})
MINUTES = Minutes(quick=0.5, colab=1.0, full=1.0)
BUILDS = "the whole pipeline, at toy size"  # in the README's table of chapters
