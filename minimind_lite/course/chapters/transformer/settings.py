"""Chapter 07's settings."""

from dataclasses import dataclass

from ...kit.profiles import Minutes, by_profile
from ...kit.settings import SMOKE_MODEL, ModelSettings


@dataclass(frozen=True)
class TransformerSettings(ModelSettings):
    """A small experiment, and a published model."""

    preset: str = "nano"  # a name from minimind_lite.config.PRESETS
    load_smollm2: bool = True  # let SmolLM2-135M answer, if its package is installed


SETTINGS = by_profile(TransformerSettings(), smoke=SMOKE_MODEL | {"preset": "pico", "load_smollm2": False})
MINUTES = Minutes(quick=1.0, colab=0.5, full=0.5)
BUILDS = "`model/transformer.py`"  # in the README's table of chapters
