"""Chapter 02's settings."""

from dataclasses import dataclass

from minimind_lite.settings import Count

from ...kit.profiles import Minutes, by_profile
from ...kit.settings import SMOKE_MODEL, ModelSettings


@dataclass(frozen=True)
class RMSNormSettings(ModelSettings):
    """Small networks, and a deep stack that a signal passes through."""

    width: Count = 512  # dimensions of a token's vector
    layers: Count = 16  # depth of the stack


SETTINGS = by_profile(RMSNormSettings(steps=60), smoke=SMOKE_MODEL)
MINUTES = Minutes(quick=0.3, colab=0.3, full=0.3)
BUILDS = "`RMSNorm` in `model/layers.py`"  # in the README's table of chapters
