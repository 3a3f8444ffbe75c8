"""Chapter 02's interactive: make a vector louder or shift it, and watch what each norm lets through."""

from typing import Any

import torch
import torch.nn.functional as F

from minimind_lite.model.layers import RMSNorm

from ...kit.labels import label
from .figures import bars

VECTOR = torch.tensor([1.2, -0.4, 0.1, 2.0, -1.1, 0.3, -0.6, 0.9])


def picture(loudness: float, shift: float) -> Any:
    """The vector made ``loudness`` times as large, ``shift`` added everywhere, before and after both norms."""
    x = VECTOR * loudness + shift
    return bars(x, RMSNorm(len(x))(x).detach(), F.layer_norm(x, (len(x),)))


def loudness_and_shift() -> Any:
    """Two sliders over ``picture``."""
    import ipywidgets
    from IPython.display import display

    def draw(loudness: float, shift: float) -> None:
        display(picture(loudness, shift))

    return ipywidgets.interactive(
        draw,
        loudness=ipywidgets.FloatLogSlider(
            value=1.0, base=10, min=-2, max=3, step=0.25, description=label("loudness"), continuous_update=False
        ),
        shift=ipywidgets.FloatSlider(
            value=0.0, min=-5, max=5, step=0.5, description=label("shift"), continuous_update=False
        ),
    )
