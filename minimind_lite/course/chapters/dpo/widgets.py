"""Chapter 12's interactive: how a pair's margin and β determine its loss and its gradient."""

import math
from typing import Any

from ...kit.labels import label
from .figures import margin


def margin_explorer() -> Any:
    """Sliders for β and for the margin of one pair, over the two curves."""
    import ipywidgets
    from IPython.display import display

    def draw(beta: float, nats: float) -> None:
        reward = beta * nats
        weight = beta / (1 + math.exp(reward))
        print(f"{label('pair_loss')}: {math.log1p(math.exp(-reward)):.3f}; {label('gradient_weight')}: {weight:.4f}; "
              f"{label('prefers_chosen')}: {1 / (1 + math.exp(-reward)):.1%}")  # fmt: skip
        display(margin([beta], nats))

    return ipywidgets.interactive(
        draw,
        beta=ipywidgets.FloatLogSlider(
            value=0.1, base=10, min=-2, max=0, step=0.1, description="β", continuous_update=False
        ),
        nats=ipywidgets.FloatSlider(
            value=0, min=-60, max=60, step=1, description=label("margin"), continuous_update=False
        ),
    )
