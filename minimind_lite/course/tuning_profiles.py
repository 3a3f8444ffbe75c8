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
    "moe": table(
        MoESettings(),
        colab=GPU | {"micro_batch_size": 32, "total_steps": 600, "learning_rate": 1e-3, "precision": "fp16"},
        full=GPU
        | {"preset": "minimind3-moe", "micro_batch_size": 32, "gradient_accumulation_steps": 8}
        | {"total_steps": 1000, "learning_rate": 5e-4, "precision": "bf16"},
        smoke=SMOKE | {"preset": "pico-moe", "collapse_steps": 4},
    ),
    "lora": table(LoRASettings(), colab=GPU, full=GPU, smoke=SMOKE),
    "dpo": table(
        DPOSettings(),
        colab=GPU
        | {"micro_batch_size": 16, "learning_rate": 5e-5, "reference_learning_rate": 5e-4, "precision": "fp16"},
        # MiniMind2's batch 4 and length 1024, two passes; its rate of 1e-8 moves nothing, the paper's own is 1e-6.
        full=GPU
        | {"preset": "minimind2-small", "block_size": 1024, "micro_batch_size": 4, "total_steps": 40_000}
        | {"learning_rate": 1e-6, "reference_steps": 0, "precision": "bf16", "max_new_tokens": 256},
        smoke=SMOKE
        | {"block_size": 512, "reference_steps": 4, "max_new_tokens": 6, "experiment_steps": 2, "eval_questions": 4},
    ),
    # The student starts from random weights, so its learning rate is pretraining's; MiniMind2's 5e-6 fine-tunes one.
    "distill": table(
        DistillSettings(),
        colab=GPU | {"micro_batch_size": 32, "total_steps": 1000, "learning_rate": 2e-3, "precision": "fp16"},
        full=GPU
        | {"preset": "minimind2-small", "student": "nano", "alpha": 0.5, "temperature": 1.5, "chunk_size": 4096}
        | {"micro_batch_size": 32, "total_steps": 20_000, "learning_rate": 5e-4, "precision": "bf16"}
        | {"eval_batches": 16, "max_new_tokens": 256},
        smoke=SMOKE | {"student": "pico", "chunk_size": 16, "eval_questions": 4, "max_new_tokens": 8},
    ),
    "reason": table(ReasonSettings(), colab=GPU, full=GPU, smoke=SMOKE),
    "grpo": table(GRPOSettings(), colab=GPU, full=GPU, smoke=SMOKE),
    "ppo": table(PPOSettings(), colab=GPU, full=GPU, smoke=SMOKE),
}

TUNING_MINUTES: dict[str, tuple[float, float, float]] = {
    "moe": (1.7, 6.0, 120.0),
    "lora": (1.5, 3.0, 10.0),
    "dpo": (2.0, 5.0, 60.0),
    "distill": (1.8, 6.0, 60.0),
    "reason": (2.5, 5.0, 60.0),
    "grpo": (2.5, 5.0, 60.0),
    "ppo": (1.0, 3.0, 30.0),
}
