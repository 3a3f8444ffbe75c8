"""Chapter 05's interactive: one gated neuron. Bend its gate, tilt what wants to pass, and see what passes."""

from typing import Any

from ...kit.labels import label
from .figures import gated_line


def one_neuron() -> Any:
    """Four sliders: slope and shift of the gate, slope and shift of the way up."""
    import ipywidgets
    from IPython.display import display

    def draw(gate_slope: float, gate_shift: float, up_slope: float, up_shift: float) -> None:
        display(gated_line(gate_slope, gate_shift, up_slope, up_shift))

    def slider(name: str, value: float) -> Any:
        return ipywidgets.FloatSlider(
            value=value, min=-4, max=4, step=0.25, description=label(name), continuous_update=False
        )

    return ipywidgets.interactive(
        draw,
        gate_slope=slider("gate_slope", 2.0),
        gate_shift=slider("gate_shift", 0.0),
        up_slope=slider("up_slope", 1.0),
        up_shift=slider("up_shift", 0.0),
    )
