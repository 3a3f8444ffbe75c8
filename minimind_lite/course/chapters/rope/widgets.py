"""Chapter 03's interactive, the rotation dial: move query and key, together or apart, and watch the angle between."""

from typing import Any

from minimind_lite.config import preset
from minimind_lite.model.layers import inverse_frequencies

from ...kit.labels import label
from .figures import dials

PAIRS = (0, 2, 4, 8)  # of 16: from one that tells neighbours apart to one that hardly moves


def picture(query: int, key: int, shift: int = 0, rope_theta: float = 1e4) -> Any:
    """Four dials of a head of width 32, with query and key at the given positions, both moved on by ``shift``."""
    config = preset("nano", rope_theta=rope_theta)
    return dials(inverse_frequencies(config), PAIRS, [(query + shift, key + shift)])


def rotation_dial() -> Any:
    """Sliders for the query's and the key's position, for moving both, and for RoPE's base."""
    import ipywidgets
    from IPython.display import display

    def draw(query: int, key: int, shift: int, rope_theta: float) -> None:
        display(picture(query, key, shift, rope_theta))

    def slider(name: str, value: int, high: int) -> Any:
        return ipywidgets.IntSlider(value, 0, high, description=label(name), continuous_update=False)

    theta = ipywidgets.SelectionSlider(
        options=[1e2, 1e3, 1e4, 1e5, 1e6], value=1e4, description="θ", continuous_update=False
    )
    return ipywidgets.interactive(
        draw,
        query=slider("query", 9, 60),
        key=slider("key", 4, 60),
        shift=slider("move_both", 0, 500),
        rope_theta=theta,
    )
