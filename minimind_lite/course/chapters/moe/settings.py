"""Chapter 06's settings."""

from dataclasses import dataclass

from minimind_lite.settings import Count, Natural, NotNegative, Positive

from ...kit.profiles import Minutes, by_profile
from ...kit.settings import GPU, SMOKE, TrainingSettings


@dataclass(frozen=True)
class MoESettings(TrainingSettings):
    """A small dense and a small mixture-of-experts model, trained side by side."""

    preset: str = "pico-moe"
    total_steps: Count = 450
    learning_rate: Positive = 8e-3
    embedding_lr_ratio: NotNegative = 6.0
    eval_batches: Natural = 0  # all held-out blocks: there are few
    collapse_steps: Count = 80  # of each of two short runs, with and without the balance loss


SETTINGS = by_profile(
    MoESettings(),
    colab=GPU
    | {"micro_batch_size": 32, "total_steps": 600, "learning_rate": 1e-3, "precision": "fp16"}
    | {"preset": "nano-moe"},
    full=GPU
    | {"preset": "minimind3-moe", "micro_batch_size": 32, "gradient_accumulation_steps": 8}
    | {"total_steps": 1000, "learning_rate": 5e-4, "precision": "bf16"},
    smoke=SMOKE | {"preset": "pico-moe", "collapse_steps": 4},
)
MINUTES = Minutes(quick=1.7, colab=6.0, full=120.0)
DATA = ("sft",)  # published files that the profile full needs, by role
BUILDS = "`model/moe.py`"  # in the README's table of chapters
