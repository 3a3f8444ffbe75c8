"""Chapter 02's settings."""

from ...kit.profiles import Minutes, by_profile
from ...kit.settings import SMOKE_MODEL, ModelSettings

SETTINGS = by_profile(ModelSettings(steps=60), smoke=SMOKE_MODEL)
MINUTES = Minutes(quick=0.3, colab=0.3, full=0.3)
BUILDS = "`RMSNorm` in `model/layers.py`"  # in the README's table of chapters
