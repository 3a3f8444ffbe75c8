"""The sizes of chapter 06 and of the stages after instruction tuning, one row a stage, as in profiles.py."""

from typing import Any

from .tables import GPU, SMOKE, table
from .tuning_settings import (
    DistillSettings,
    DPOSettings,
    GRPOSettings,
    LoRASettings,
    MoESettings,
    PPOSettings,
    ReasonSettings,
)

TUNING: dict[str, dict[str, Any]] = {
    "moe": table(MoESettings(), colab=GPU, full=GPU, smoke=SMOKE),
    "lora": table(LoRASettings(), colab=GPU, full=GPU, smoke=SMOKE),
    "dpo": table(DPOSettings(), colab=GPU, full=GPU, smoke=SMOKE),
    "distill": table(DistillSettings(), colab=GPU, full=GPU, smoke=SMOKE),
    "reason": table(ReasonSettings(), colab=GPU, full=GPU, smoke=SMOKE),
    "grpo": table(GRPOSettings(), colab=GPU, full=GPU, smoke=SMOKE),
    "ppo": table(PPOSettings(), colab=GPU, full=GPU, smoke=SMOKE),
}

TUNING_MINUTES: dict[str, tuple[float, float, float]] = {
    "moe": (2.0, 5.0, 60.0),
    "lora": (1.5, 3.0, 10.0),
    "dpo": (2.0, 5.0, 60.0),
    "distill": (2.0, 5.0, 60.0),
    "reason": (2.5, 5.0, 60.0),
    "grpo": (2.5, 5.0, 60.0),
    "ppo": (1.0, 3.0, 30.0),
}
