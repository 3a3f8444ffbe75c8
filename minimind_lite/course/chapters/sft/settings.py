"""Chapter 10's settings: those that the chapters after it start from."""

from ...kit.profiles import Minutes, by_profile
from ...kit.settings import GPU, SMOKE, SFTSettings

SETTINGS = by_profile(
    SFTSettings(),
    colab=GPU | {"micro_batch_size": 32, "total_steps": 1000, "learning_rate": 5e-4, "precision": "fp16"},
    full=GPU
    | {"preset": "minimind2-small", "micro_batch_size": 16, "gradient_accumulation_steps": 2}
    | {"total_steps": 40_000, "learning_rate": 1e-5, "precision": "bf16", "max_new_tokens": 256},
    smoke=SMOKE | {"eval_questions": 4, "max_new_tokens": 8},
)
MINUTES = Minutes(quick=3.0, colab=8.0, full=65.0)
ARTIFACT = "model.safetensors"
DATA = ("sft",)  # published files that the profile full needs, by role
BUILDS = "`training/sft.py`, `evaluation/closed_book.py`"  # in the README's table of chapters
