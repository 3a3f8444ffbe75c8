"""Chapter 18's settings."""

from dataclasses import dataclass

from minimind_lite.settings import Count

from ...kit.profiles import Minutes, by_profile
from ...kit.settings import Settings


@dataclass(frozen=True)
class ScaleSettings(Settings):
    """Experiments in two processes of one machine, at every profile alike: more cards are planned on paper."""

    micro_batches: Count = 4  # in one step, where exchanges are counted
    largest_kibibytes: Count = 16384  # of the tensors whose exchange is timed
    rounds: Count = 9  # timings of each size, of which the median is kept
    gain_rounds: Count = 3  # timings of each gain, with it and without it
    total_steps: Count = 4  # of the run that the command line trains in two processes


SETTINGS = by_profile(
    ScaleSettings(), smoke={"largest_kibibytes": 256, "rounds": 3, "gain_rounds": 1, "total_steps": 2}
)
MINUTES = Minutes(quick=1.0, colab=1.0, full=1.0)
ALONE = True  # it measures speed, which a chapter beside it would change
BUILDS = "`training/scaling.py`, `training/launch/`"  # in the README's table of chapters
