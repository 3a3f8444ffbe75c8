"""Chapter 13's interactive: a temperature, and how much it reveals of the teacher's opinion."""

from collections.abc import Mapping, Sequence
from typing import Any

from ...kit.labels import label
from .figures import softened

TEMPERATURES = (0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)


def temperature_explorer(places: Mapping[str, tuple[Sequence[str], Sequence[float], str]]) -> Any:
    """Choose a place in a text and a temperature; the tokens' probabilities follow.

    places: for each name the tokens, their logits, and the token that is there: the label.
    """
    import ipywidgets
    from IPython.display import display

    def draw(place: str, temperature: float) -> None:
        names, logits, truth = places[place]
        display(softened(names, logits, temperature, truth))

    return ipywidgets.interactive(
        draw,
        place=ipywidgets.Dropdown(options=list(places), description=label("place")),
        temperature=ipywidgets.SelectionSlider(
            options=TEMPERATURES, value=1.0, description="T", continuous_update=False
        ),
    )
