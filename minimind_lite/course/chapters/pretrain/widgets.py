"""Chapter 08's interactives: the waste meter and the learning-rate schedule."""

from typing import Any

from minimind_lite.data.packing import Documents, PackedDataset, PaddedDataset

from ...kit.labels import label
from ...kit.language import say
from .figures import blocks, fill_shares, schedule


def waste_meter(documents: Documents) -> Any:
    """A slider for the block size and a switch between padding and packing, over the blocks themselves."""
    import ipywidgets
    from IPython.display import display

    lengths = [len(documents[index]) - 1 for index in range(len(documents))]

    def draw(block_size: int, packed: bool) -> None:
        padded_share, packed_share = fill_shares(lengths, block_size)
        share = packed_share if packed else padded_share
        positions = round(sum(lengths) / share)
        print(say("{share} of all positions are padding: {positions} positions for {tokens}",
                  share=f"{1 - share:.1%}", positions=f"{positions:,}", tokens=f"{sum(lengths):,}"))  # fmt: skip
        display(blocks((PackedDataset if packed else PaddedDataset)(documents, block_size)))

    return ipywidgets.interactive(
        draw,
        block_size=ipywidgets.SelectionSlider(
            options=[64, 128, 256, 512, 1024], value=256, description=label("block_size"), continuous_update=False
        ),
        packed=ipywidgets.ToggleButtons(options={label("padded"): False, label("packed"): True}, value=False),
    )


def schedule_slider(total_steps: int, peak: float) -> Any:
    """Sliders for peak, warm-up and floor, over the schedule's curve."""
    import ipywidgets
    from IPython.display import display

    def draw(learning_rate: float, warmup: float, floor: float) -> None:
        display(schedule(total_steps, learning_rate, [warmup], floor))

    return ipywidgets.interactive(
        draw,
        learning_rate=ipywidgets.FloatLogSlider(
            value=peak, base=10, min=-5, max=-1, step=0.1, description=label("peak"), continuous_update=False
        ),
        warmup=ipywidgets.SelectionSlider(
            options=[0.0, 0.02, 0.05, 0.1, 0.2, 0.5], value=0.05, description=label("warmup"), continuous_update=False
        ),
        floor=ipywidgets.FloatSlider(
            value=0.1, min=0, max=1, step=0.05, description=label("floor"), continuous_update=False
        ),
    )
