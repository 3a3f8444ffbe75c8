"""Chapter 07b's interactive: how a signature is cut into bands."""

from collections.abc import Sequence
from typing import Any

from ...kit.labels import label
from ...kit.language import say
from .figures import banding_curves


def banding_dial(pairs: Sequence[float]) -> Any:
    """Choose rows, bands and the threshold; see which share of pairs at each similarity is compared at all.

    pairs: the similarities of real pairs of texts, of which it counts those that would be missed.
    """
    import ipywidgets
    from IPython.display import display

    similarities = [number / 100 for number in range(101)]

    def draw(rows: int, bands: int, threshold: float) -> None:
        curve = [1 - (1 - one**rows) ** bands for one in similarities]
        copies = [one for one in pairs if one >= threshold]
        missed = sum((1 - one**rows) ** bands for one in copies)
        others = sum(1 - (1 - one**rows) ** bands for one in pairs if one < threshold)
        print(say("{numbers} numbers a text · of {copies} copies {missed} missed · {wasted} of {others} other pairs "
                  "compared for nothing", numbers=rows * bands, copies=len(copies), missed=f"{missed:.1f}",
                  wasted=f"{others:.1f}", others=len(pairs) - len(copies)))  # fmt: skip
        name = label("rows_and_bands").format(bands=bands, rows=rows)
        display(banding_curves({name: curve}, similarities, threshold))

    return ipywidgets.interactive(
        draw,
        rows=ipywidgets.IntSlider(value=5, min=1, max=12, description=label("rows_slider")),
        bands=ipywidgets.IntSlider(value=12, min=1, max=40, description=label("bands_slider")),
        threshold=ipywidgets.FloatSlider(value=0.8, min=0.3, max=1, step=0.05, description=label("threshold")),
    )
