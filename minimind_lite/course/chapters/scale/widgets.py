"""Chapter 18's interactive: the calculator."""

from typing import Any, get_args

from minimind_lite.training.scaling import Cluster, Sharding, efficiency, memory_per_rank, step_bytes

from ...kit.labels import label
from ...kit.language import say
from .figures import memory_bars


def calculator(activation_bytes_per_token: float, cluster: Cluster) -> Any:
    """Choose model, cards, sharding and tokens; see memory per card, traffic per step, expected efficiency."""
    import ipywidgets
    from IPython.display import display

    def draw(millions: float, cards: int, sharding: Sharding, tokens: int) -> None:
        parameters = round(millions * 1e6)
        kept = memory_per_rank(parameters, cards, sharding, activations=tokens * activation_bytes_per_token)
        share = efficiency(parameters, tokens, cards, cluster, sharding)
        traffic = step_bytes(parameters, cards, sharding) / 1e9
        print(say("{kept} GB per card · {sent} GB sent per card and step · efficiency {share}",
                  kept=f"{kept.total / 1e9:.2f}", sent=f"{traffic:.2f}", share=f"{share:.0%}"))  # fmt: skip
        display(memory_bars({f"{cards} × {sharding}": kept}, 24))

    return ipywidgets.interactive(
        draw,
        millions=ipywidgets.FloatLogSlider(value=104, base=10, min=1, max=4, step=0.1, readout_format=".0f",
                                           description=label("million_parameters_slider")),
        cards=ipywidgets.SelectionSlider(options=[2**n for n in range(10)], value=8, description=label("cards")),
        sharding=ipywidgets.Dropdown(options=get_args(Sharding), value="ddp", description=label("sharding")),
        tokens=ipywidgets.SelectionSlider(options=[2**n for n in range(9, 18)], value=8192,
                                          description=label("tokens")),
    )  # fmt: skip
