"""Chapter 05's settings."""

from dataclasses import dataclass

from minimind_lite.settings import Positive

from ...kit.profiles import Minutes, by_profile
from ...kit.settings import SMOKE_MODEL, ModelSettings


@dataclass(frozen=True)
class SwiGLUSettings(ModelSettings):
    """Small networks of several kinds, trained alike."""

    learning_rate: Positive = 5e-3  # the same for all of them


SETTINGS = by_profile(SwiGLUSettings(), smoke=SMOKE_MODEL)
MINUTES = Minutes(quick=0.5, colab=0.3, full=0.3)
BUILDS = "`SwiGLU` in `model/layers.py`"  # in the README's table of chapters
