"""Chapter 00's settings."""

from dataclasses import dataclass

from minimind_lite.settings import Count, Length, Natural, NotNegative, Positive

from ...kit.profiles import Minutes, by_profile
from ...kit.settings import SMOKE, TrainingSettings


@dataclass(frozen=True)
class WelcomeSettings(TrainingSettings):
    """All stages at toy size."""

    preset: str = "pico"
    vocab_size: Count = 1024
    total_steps: Count = 150  # pretraining
    sft_steps: Count = 120
    learning_rate: Positive = 8e-3
    sft_learning_rate: Positive = 5e-3
    embedding_lr_ratio: NotNegative = 1.0
    max_new_tokens: Length = 32
    log_every: Natural = 2
    eval_every: Natural = 0
    save_every: Natural = 0


SETTINGS = by_profile(WelcomeSettings(), smoke=SMOKE | {"vocab_size": 512, "sft_steps": 4, "max_new_tokens": 8})
MINUTES = Minutes(quick=0.5, colab=1.0, full=1.0)
BUILDS = "the whole pipeline, at toy size"  # in the README's table of chapters
