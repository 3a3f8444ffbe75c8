"""Chapter 06's interactives: a text coloured by its experts, layer by layer, and the collapse switch."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from minimind_lite.model.moe import Routing
from minimind_lite.tokenizer import Tokenizer

from ...kit.labels import label, named
from .figures import collapse, routed_text, routing


def routing_viewer(tokenizer: Tokenizer, texts: Mapping[str, tuple[Sequence[int], Sequence[Routing]]]) -> Any:
    """Choose a text and a layer. texts: name → (ids, the routing of each layer, for that text alone)."""
    import ipywidgets
    from IPython.display import display

    def draw(text: str, layer: int) -> None:
        ids, routings = texts[text]
        probabilities, chosen = routings[layer]
        body = routed_text(tokenizer, ids, probabilities[0], chosen[0])
        display(routing({f"{text}, layer {layer}": body}, probabilities.shape[-1]))

    layers = len(next(iter(texts.values()))[1])
    return ipywidgets.interactive(
        draw,
        text=ipywidgets.Dropdown(options=[(named(one), one) for one in texts], description=label("text")),
        layer=ipywidgets.IntSlider(value=layers - 1, min=0, max=layers - 1, description=label("layer")),
    )


def collapse_switch(runs: Mapping[str, Mapping[str, Sequence[Tensor]]]) -> Any:
    """The switch: each run's loads over its steps. runs: name of the setting → {name of a layer → loads per step}."""
    import ipywidgets
    from IPython.display import display

    def draw(balance: str, step: int) -> None:
        display(collapse(runs[balance], step))

    steps = min(len(history) for layers in runs.values() for history in layers.values())
    return ipywidgets.interactive(
        draw,
        balance=ipywidgets.ToggleButtons(options=[(named(one), one) for one in runs], description=label("balance")),
        step=ipywidgets.IntSlider(value=steps - 1, min=0, max=steps - 1, description=label("step")),
    )
