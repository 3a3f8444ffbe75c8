"""Chapter 17's interactives: rounding a matrix, and requests in slots."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from minimind_lite.model.quantization import Scheme

from ...kit.labels import label
from .experiments import WAYS, Moment, watched
from .figures import server_now, stored_values, timelines


def rounding_explorer(row: Tensor) -> Any:
    """Choose bits, group and minimum; see one row's weights (inputs,), and the values that its first group can have."""
    import ipywidgets
    from IPython.display import display

    def draw(bits: int, group: int, minimum: bool) -> None:
        scheme = Scheme(bits, group, minimum)
        display(stored_values(row, {label("per_group"): scheme}))

    groups = [size for size in (8, 16, 32, 64, 128, len(row)) if len(row) % size == 0]
    return ipywidgets.interactive(
        draw,
        bits=ipywidgets.IntSlider(value=4, min=2, max=8, description=label("bits_slider")),
        group=ipywidgets.SelectionSlider(
            options=sorted(set(groups)), value=min(32, *groups[-1:]), description=label("group_size")
        ),
        minimum=ipywidgets.Checkbox(value=False, description=label("has_minimum")),
    )


def slot_timeline(answers: list[tuple[int, int]]) -> Any:
    """Turn the number of slots, the time between arrivals and the longest answer; see both ways of filling slots."""
    import ipywidgets
    from IPython.display import display

    def draw(slots: int, apart: int, longest: int) -> None:
        scale = longest / max(tokens for _, tokens in answers)
        come = [(number * apart, max(1, round(tokens * scale))) for number, (_, tokens) in enumerate(answers)]
        display(timelines({way: fill(come, slots) for way, fill in WAYS.items()}, slots))

    return ipywidgets.interactive(
        draw,
        slots=ipywidgets.IntSlider(value=3, min=1, max=8, description=label("slots_slider")),
        apart=ipywidgets.IntSlider(value=1, min=0, max=6, description=label("apart")),
        longest=ipywidgets.IntSlider(value=12, min=4, max=40, description=label("longest_answer")),
    )


@contextmanager
def watch_live(address: str, model: str, slots: int, apart: float = 0.2) -> Iterator[list[Moment]]:
    """Show a server's slots, queue and tokens per second while the block below it runs; collects all moments.

    apart: seconds between two pictures, so that drawing takes nothing from the server, which shares the processor.
    """
    from IPython.display import HTML, display

    shown = display(HTML(""), display_id=True)
    last = 0.0

    def show(moments: list[Moment]) -> None:
        nonlocal last
        if shown and time.monotonic() - last >= apart:
            last = time.monotonic()
            shown.update(server_now(moments, slots))

    with watched(address, model, tell=show) as moments:
        yield moments
    if shown and moments:
        shown.update(server_now(moments, slots))
