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

_PRACTICE = {"block_size": 512, "save_every": 20}
_FULL_PRACTICE = {"preset": "minimind2-small", "max_digits": 0, "learning_rate": 3e-6, "cold_learning_rate": 1e-5,
                  "cold_steps": 4000, "habit_steps": 300, "habit_learning_rate": 5e-6,
                  "cold_micro_batch_size": 16, "cold_embedding_lr_ratio": 1.0, "precision": "bf16",
                  "total_steps": 1000, "max_new_tokens": 512, "save_every": 50, "eval_questions": 300}  # fmt: skip
_SMOKE_PRACTICE = SMOKE | {"cold_steps": 3, "habit_steps": 2, "micro_batch_size": 2, "group_size": 3,
                           "total_steps": 2, "eval_every": 0, "eval_questions": 4, "max_new_tokens": 6,
                           "save_every": 2}  # fmt: skip

TUNING: dict[str, dict[str, Any]] = {
    "moe": table(
        MoESettings(),
        colab=GPU
        | {"micro_batch_size": 32, "total_steps": 600, "learning_rate": 1e-3, "precision": "fp16"}
        | {"preset": "nano-moe"},
        full=GPU
        | {"preset": "minimind3-moe", "micro_batch_size": 32, "gradient_accumulation_steps": 8}
        | {"total_steps": 1000, "learning_rate": 5e-4, "precision": "bf16"},
        smoke=SMOKE | {"preset": "pico-moe", "collapse_steps": 4},
    ),
    # MiniMind2 trains an adapter of rank 8 at 1e-4; a quarter of its ten epochs of lora_medical, because of the replay.
    "lora": table(
        LoRASettings(),
        colab=GPU | {"micro_batch_size": 16, "learning_rate": 1e-3, "precision": "fp16"},
        full=GPU
        | {"preset": "minimind2-small", "micro_batch_size": 32, "rank": 8, "alpha": 16.0, "learning_rate": 1e-4}
        | {"total_steps": 500, "medical_steps": 2500, "precision": "bf16"}
        | {"max_new_tokens": 256, "medical_tokens": 256},
        smoke=SMOKE
        | {"eval_questions": 4, "max_new_tokens": 8, "medical_steps": 2, "medical_questions": 2, "medical_tokens": 8}
        | {"experiment_steps": 2},
    ),
    "dpo": table(
        DPOSettings(),
        colab=GPU
        | {"micro_batch_size": 16, "learning_rate": 5e-5, "reference_learning_rate": 5e-4, "precision": "fp16"},
        # MiniMind2's batch 4 and length 1024, two passes; its rate of 1e-8 moves nothing, the paper's own is 1e-6.
        full=GPU
        | {"preset": "minimind2-small", "block_size": 1024, "micro_batch_size": 4, "total_steps": 40_000}
        | {"learning_rate": 1e-6, "reference_steps": 0, "precision": "bf16", "max_new_tokens": 256},
        smoke=SMOKE
        | {"block_size": 512, "reference_steps": 4, "max_new_tokens": 6, "experiment_steps": 2}
        | {"eval_pairs": 6, "eval_questions": 4},
    ),
    # Half of the teacher's layers must find together again, so faster than MiniMind2's trained student (5e-6).
    "distill": table(
        DistillSettings(),
        colab=GPU | {"micro_batch_size": 32, "total_steps": 600, "learning_rate": 5e-4, "precision": "fp16"},
        full=GPU
        | {"preset": "minimind2-small", "alpha": 0.5, "temperature": 1.5, "chunk_size": 4096, "micro_batch_size": 32}
        | {"total_steps": 20_000, "learning_rate": 1e-4, "precision": "bf16", "eval_batches": 16}
        | {"max_new_tokens": 256},
        smoke=SMOKE | {"chunk_size": 16, "eval_questions": 4, "max_new_tokens": 8},
    ),
    "reason": table(
        ReasonSettings(),
        colab=GPU
        | {"block_size": 256, "micro_batch_size": 4, "total_steps": 3000, "embedding_lr_ratio": 12.0}
        | {"precision": "fp16"},
        # r1_mix is a mixture already, so nothing is replayed; MiniMind2's batch 8, length 1024, one pass, rate 1e-6.
        full=GPU
        | {"preset": "minimind2-small", "block_size": 1024, "micro_batch_size": 8, "total_steps": 12_000}
        | {"learning_rate": 1e-6, "replay_share": 0.0, "precision": "bf16", "max_new_tokens": 1024}
        | {"eval_batches": 16},
        smoke=SMOKE | {"micro_batch_size": 1, "eval_questions": 6, "max_new_tokens": 8, "experiment_steps": 2},
    ),
    # MiniMind's group of 6, KL weight 0.1 and clip of 0.2, on answers as long as its reasoning data.
    "grpo": table(
        GRPOSettings(),
        colab=_PRACTICE | {"total_steps": 60},
        full=_PRACTICE | _FULL_PRACTICE | {"group_size": 6, "kl_weight": 0.1},
        smoke=_SMOKE_PRACTICE,
    ),
    "ppo": table(
        PPOSettings(),
        colab=_PRACTICE | {"total_steps": 40},
        full=_PRACTICE | _FULL_PRACTICE,
        smoke=_SMOKE_PRACTICE | {"group_size": 2},
    ),
}

TUNING_MINUTES: dict[str, tuple[float, float, float]] = {
    "moe": (1.7, 6.0, 120.0),
    "lora": (2.0, 3.0, 10.0),
    "dpo": (3.0, 5.0, 60.0),
    "distill": (1.5, 5.0, 60.0),
    "reason": (2.7, 6.0, 60.0),
    "grpo": (2.5, 5.0, 60.0),
    "ppo": (1.0, 3.0, 30.0),
}
