"""Chapter 09's settings."""

from dataclasses import dataclass

from minimind_lite.settings import Count, Length

from ...kit.profiles import Minutes, by_profile
from ...kit.settings import Settings


@dataclass(frozen=True)
class GenerationSettings(Settings):
    """How much is generated, and how often it is timed."""

    max_new_tokens: Length = 64
    repeats: Count = 3  # timings are medians of this many


SETTINGS = by_profile(GenerationSettings(), full={"max_new_tokens": 256}, smoke={"max_new_tokens": 8, "repeats": 1})
MINUTES = Minutes(quick=0.3, colab=0.5, full=0.5)
ALONE = True  # it measures speed, which a chapter beside it would change
BUILDS = "`generation/`"  # in the README's table of chapters
