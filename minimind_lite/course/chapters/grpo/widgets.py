"""Chapter 15's interactive: the advantage explorer."""

from collections.abc import Sequence
from typing import Any

import torch

from minimind_lite.training.policy_gradient import all_equal, group_advantages

from ...kit.labels import label
from .figures import advantages


def advantage_explorer(rewards: Sequence[float]) -> Any:
    """A slider for each answer's reward over the group's advantages; says when the group is dead."""
    import ipywidgets
    from IPython.display import display

    def draw(**chosen: float) -> None:
        group = torch.tensor([list(chosen.values())])
        found = [round(value, 2) for value in group_advantages(group)[0].tolist()]
        print(label("dead_group") if all_equal(group)[0] else f"{label('over_std')}: {found}")
        display(advantages(list(chosen.values())))

    sliders = {
        f"answer_{number}": ipywidgets.FloatSlider(
            value=reward, min=0, max=1, step=0.1, description=f"{label('answer')} {number}", continuous_update=False
        )
        for number, reward in enumerate(rewards, start=1)
    }
    return ipywidgets.interactive(draw, **sliders)
