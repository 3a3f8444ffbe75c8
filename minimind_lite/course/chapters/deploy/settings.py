"""Chapter 17's settings."""

from dataclasses import dataclass

from minimind_lite.settings import Count, Length

from ...kit.profiles import Minutes, by_profile
from ...kit.settings import Settings


@dataclass(frozen=True)
class DeploySettings(Settings):
    """Nothing is trained: the numbers say how much is measured."""

    eval_documents: Count = 40  # held-out texts whose bits per byte are measured
    speed_preset: str = "minimind2-small"  # random weights: a step costs the same, whatever their values
    rounds: Count = 5  # timings of each thing, of which the shortest is kept
    longest_prompt: Count = 512  # tokens of the longest prompt that is timed
    clients: Count = 12  # questions that come at once
    slots: Count = 4  # answers that are made at the same time
    max_new_tokens: Length = 64


SETTINGS = by_profile(
    DeploySettings(),
    colab={"eval_documents": 100, "clients": 24},
    full={"eval_documents": 200, "speed_preset": "minimind2", "clients": 48, "slots": 8},
    smoke={"eval_documents": 2, "speed_preset": "pico", "rounds": 1, "longest_prompt": 16, "clients": 5, "slots": 2}
    | {"max_new_tokens": 6},
)
MINUTES = Minutes(quick=0.7, colab=1.5, full=4.0)
ALONE = True  # it measures speed, which a chapter beside it would change
BUILDS = "`model/quantization.py`, `interop/gguf_export.py`, `serving/`"  # in the README's table of chapters
