"""Chapter 05's settings."""

from ...kit.profiles import Minutes, by_profile
from ...kit.settings import SMOKE_MODEL, ModelSettings

SETTINGS = by_profile(ModelSettings(), smoke=SMOKE_MODEL)
MINUTES = Minutes(quick=0.5, colab=0.3, full=0.3)
BUILDS = "`SwiGLU` in `model/layers.py`"  # in the README's table of chapters
