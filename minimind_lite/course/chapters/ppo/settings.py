"""Chapter 15b's settings: the cold start of chapter 15, then the options of PPOOptions."""

from dataclasses import dataclass

from minimind_lite.settings import Count, Share

from ...kit.profiles import Minutes, by_profile
from ...kit.settings import FULL_PRACTICE, PRACTICE, SMOKE_PRACTICE, PracticeSettings


@dataclass(frozen=True)
class PPOSettings(PracticeSettings):
    """Two answers per question, and a critic."""

    micro_batch_size: Count = 32
    group_size: Count = 2
    updates_per_rollout: Count = 2  # steps that learn from the same answers
    total_steps: Count = 16
    lam: Share = 0.95  # of generalised advantage estimation
    eval_questions: Count = 70


SETTINGS = by_profile(
    PPOSettings(),
    colab=PRACTICE | {"total_steps": 40},
    full=FULL_PRACTICE,
    smoke=SMOKE_PRACTICE | {"group_size": 2},
)
MINUTES = Minutes(quick=1.0, colab=3.0, full=30.0)
BUILDS = "`training/ppo.py`"  # in the README's table of chapters
