"""Chapter 03's settings."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from ...kit.profiles import Minutes, by_profile
from ...kit.settings import SMOKE_MODEL, ModelSettings


@dataclass(frozen=True)
class RopeSettings(ModelSettings):
    """A small network that must remember."""

    trained_length: Annotated[int, Field(ge=17)] = 64  # of the texts it learns from: 16 keys and a query


SETTINGS = by_profile(RopeSettings(), smoke=SMOKE_MODEL)
MINUTES = Minutes(quick=0.3, colab=0.3, full=0.3)
BUILDS = "RoPE in `model/layers.py`"  # in the README's table of chapters
