"""Interactives of chapters 15 and 15b: the advantage explorer, and λ of generalised advantage estimation."""

from collections.abc import Sequence
from typing import Any

import torch

from ...training.policy_gradient import all_equal, gae, group_advantages
from ..figures.grpo import advantages, gae_lines
from ..labels import label


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


def gae_slider(rewards: Sequence[float], values: Sequence[float]) -> Any:
    """Move λ from trusting the critic to trusting the rewards."""
    import ipywidgets
    from IPython.display import display

    def draw(lam: float) -> None:
        mask = torch.ones(1, len(values), dtype=torch.bool)
        found = gae(torch.tensor([list(rewards)]), torch.tensor([list(values)]), mask, lam=lam)[0].tolist()
        print([round(value, 3) for value in found])
        display(gae_lines(rewards, values, {f"λ = {lam:g}": found}))

    return ipywidgets.interactive(
        draw, lam=ipywidgets.FloatSlider(value=0.95, min=0, max=1, step=0.05, description="λ", continuous_update=False)
    )
