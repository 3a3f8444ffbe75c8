"""Chapter 15's settings. ``full`` has MiniMind's group of 6, its KL weight of 0.1 and its clip of 0.2."""

from ...kit.profiles import Minutes, by_profile
from ...kit.settings import FULL_PRACTICE, PRACTICE, SMOKE_PRACTICE, PracticeSettings

SETTINGS = by_profile(
    PracticeSettings(),
    colab=PRACTICE | {"total_steps": 60},
    full=FULL_PRACTICE | {"group_size": 6, "kl_weight": 0.1},
    smoke=SMOKE_PRACTICE,
)
MINUTES = Minutes(quick=2.5, colab=5.0, full=60.0)
BUILDS = "`training/grpo.py`, `training/rewards.py`"  # in the README's table of chapters
