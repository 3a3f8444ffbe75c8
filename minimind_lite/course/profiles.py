"""The sizes at which a chapter runs: quick, colab, full, and the smoke size of the tests.

The dataclasses of settings.py say which numbers a stage has, with the quick profile as their defaults; the tables here
change what the other profiles need. A chapter reads ``course.begin(...).settings`` and holds no sizes of its own.
"""

import os
from typing import Any

from .settings import (
    CourseError,
    GenerationSettings,
    ModelSettings,
    PretrainSettings,
    Settings,
    SFTSettings,
    TokenizerSettings,
    TransformerSettings,
    WelcomeSettings,
    changed,
)
from .tables import GPU, SMOKE, table
from .tuning_profiles import TUNING, TUNING_MINUTES

PROFILES = ("quick", "colab", "full")


_EXPERIMENT = table(ModelSettings(), colab={}, full={}, smoke={"preset": "pico", "steps": 3})
# One row a stage. `full` follows MiniMind2's published recipe (batch 32 x 8 x 512 tokens, one pass over pretrain_hq).
SETTINGS: dict[str, dict[str, Any]] = {
    "welcome": table(
        WelcomeSettings(), colab={}, full={}, smoke=SMOKE | {"vocab_size": 512, "sft_steps": 4, "max_new_tokens": 8}
    ),
    "tokenizer": table(
        TokenizerSettings(),
        colab={"vocab_size": 6400},
        full={"vocab_size": 6400, "max_characters": 200_000_000},
        smoke={"vocab_size": 512, "max_characters": 60_000, "own_merges": 40},
    ),
    "rmsnorm": table(ModelSettings(steps=60), colab={}, full={}, smoke={"preset": "pico", "steps": 3}),
    "rope": _EXPERIMENT,
    "attention": _EXPERIMENT,
    "swiglu": _EXPERIMENT,
    "transformer": table(
        TransformerSettings(), colab={}, full={}, smoke={"preset": "pico", "steps": 3, "load_smollm2": False}
    ),
    "pretrain": table(
        PretrainSettings(),
        colab=GPU | {"micro_batch_size": 32, "total_steps": 1500, "learning_rate": 1e-3, "precision": "fp16"},
        full=GPU
        | {"preset": "minimind2-small", "micro_batch_size": 32, "gradient_accumulation_steps": 8}
        | {"total_steps": 3500, "learning_rate": 5e-4, "precision": "bf16", "eval_documents": 2000},
        smoke=SMOKE | {"block_size": 512, "eval_documents": 4},
    ),
    "generation": table(
        GenerationSettings(), colab={}, full={"max_new_tokens": 256}, smoke={"max_new_tokens": 8, "repeats": 1}
    ),
    "sft": table(
        SFTSettings(),
        colab=GPU | {"micro_batch_size": 32, "total_steps": 1000, "learning_rate": 5e-4, "precision": "fp16"},
        full=GPU
        | {"preset": "minimind2-small", "micro_batch_size": 16, "gradient_accumulation_steps": 2}
        | {"total_steps": 40_000, "learning_rate": 1e-5, "precision": "bf16", "max_new_tokens": 256},
        smoke=SMOKE | {"eval_questions": 4, "max_new_tokens": 8},
    ),
    **TUNING,
}

# Minutes a chapter takes. quick: measured on 2 CPU cores; colab (one T4) and full (one 24 GB card): estimates.
MINUTES: dict[str, tuple[float, float, float]] = {
    "welcome": (0.5, 1.0, 1.0),
    "tokenizer": (0.5, 1.0, 5.0),
    "rmsnorm": (0.3, 0.3, 0.3),
    "rope": (0.3, 0.3, 0.3),
    "attention": (0.5, 0.3, 0.3),
    "swiglu": (0.5, 0.3, 0.3),
    "transformer": (1.0, 0.5, 0.5),
    "pretrain": (4.0, 10.0, 70.0),
    "generation": (0.3, 0.5, 0.5),
    "sft": (3.0, 8.0, 65.0),
    **TUNING_MINUTES,
}


def is_smoke() -> bool:
    """Whether the tests asked for the size that takes seconds (``MINIMIND_SMOKE=1``)."""
    return os.environ.get("MINIMIND_SMOKE") == "1"


def check_profile(profile: str) -> str:
    """``profile`` itself, or CourseError with the list of those there are."""
    if profile not in PROFILES:
        raise CourseError(f"no profile is called {profile!r}; there are: {', '.join(PROFILES)}")
    return profile


def expected_minutes(stage: str, profile: str) -> float | None:
    """How long the stage's chapter takes at this profile; None where nobody has said."""
    return MINUTES[stage][PROFILES.index(check_profile(profile))] if stage in MINUTES else None


def settings_for(stage: str, profile: str, **changes: Any) -> Any:
    """The stage's settings at this profile (at smoke size in the tests), with the changes that are not None.

    Raises CourseError for an unknown profile, an unknown name (with the known ones), or a value of the wrong type.
    """
    check_profile(profile)
    base = SETTINGS.get(stage, {}).get("smoke" if is_smoke() else profile, Settings())
    return changed(base, changes, stage)
