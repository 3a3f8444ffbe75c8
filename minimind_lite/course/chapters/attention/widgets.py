"""Chapter 04's interactive: choose a layer, a head and a token, and see what it looks at."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from ...kit.labels import label
from .figures import row_bars


def head_viewer(weights: Tensor, words: Sequence[str]) -> Any:
    """Sliders for layer, head and query token over ``weights`` (layers, heads, seq, seq); ``words`` name the tokens."""
    import ipywidgets
    from IPython.display import display

    layers, heads, length = weights.shape[:3]

    def show(layer: int, head: int, query: int) -> None:
        title = f"{label('layer')} {layer}, {label('head')} {head}"
        display(row_bars(weights[layer, head], words, query, title))

    def slider(name: str, size: int, value: int) -> Any:
        return ipywidgets.IntSlider(value, 0, size - 1, description=label(name), continuous_update=False)

    return ipywidgets.interactive(
        show,
        layer=slider("layer", layers, layers - 1),
        head=slider("head", heads, 0),
        query=slider("position", length, length - 2),
    )
