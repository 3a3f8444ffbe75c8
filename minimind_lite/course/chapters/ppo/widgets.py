"""Chapter 15b's interactive: λ of generalised advantage estimation."""

from collections.abc import Sequence
from typing import Any

import torch

from minimind_lite.training.policy_gradient import gae

from .figures import gae_lines


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
