"""Chapter 08's settings. ``full`` follows MiniMind2's recipe: 32 x 8 x 512 tokens, one pass over pretrain_hq."""

from dataclasses import dataclass
from typing import Literal

from minimind_lite.settings import Count, Natural, NotNegative, Positive

from ...kit.profiles import Minutes, by_profile
from ...kit.settings import GPU, SMOKE, TrainingSettings


@dataclass(frozen=True)
class PretrainSettings(TrainingSettings):
    """The training run, and how much of the held-out text is measured."""

    optimizer: Literal["adamw", "muon"] = "muon"
    micro_batch_size: Count = 8
    total_steps: Count = 800
    learning_rate: Positive = 3e-3
    embedding_lr_ratio: NotNegative = 10.0
    eval_batches: Natural = 8
    eval_documents: Count = 1000  # at most so many held-out documents are measured


SETTINGS = by_profile(
    PretrainSettings(),
    colab=GPU | {"micro_batch_size": 32, "total_steps": 1500, "learning_rate": 1e-3, "precision": "fp16"},
    full=GPU
    | {"preset": "minimind2-small", "micro_batch_size": 32, "gradient_accumulation_steps": 8}
    | {"total_steps": 3500, "learning_rate": 5e-4, "precision": "bf16", "eval_documents": 2000},
    smoke=SMOKE | {"block_size": 512, "eval_documents": 4},
)
MINUTES = Minutes(quick=7.0, colab=10.0, full=70.0)
ARTIFACT = "model.safetensors"
DATA = ("pretrain",)  # published files that the profile full needs, by role
BUILDS = "`data/`, `training/loop.py`, `training/pretrain.py`"  # in the README's table of chapters
