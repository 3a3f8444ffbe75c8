"""Chapter 09's interactives: what a cache costs, and what each sampling rule keeps of a real distribution."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from minimind_lite.config import ModelConfig
from minimind_lite.generation.sampling import SamplingConfig
from minimind_lite.tokenizer import Tokenizer

from ...kit.labels import label
from .figures import cache_account, candidates, side_by_side

BYTES = {"float32": 4, "float16, bfloat16": 2, "int8": 1}


def cache_calculator(configs: Mapping[str, ModelConfig]) -> Any:
    """Choose a model, a length, a batch and a number format; the cache's formula is worked out with its numbers."""
    import ipywidgets
    from IPython.display import display

    def show(model: str, length: int, batch: int, precision: str) -> None:
        display(cache_account(configs[model], length, batch, BYTES[precision]))

    return ipywidgets.interactive(
        show,
        model=ipywidgets.Dropdown(options=list(configs), description=label("model")),
        length=ipywidgets.SelectionSlider(
            options=[2**n for n in range(5, 18)], value=2048, description=label("tokens")
        ),
        batch=ipywidgets.IntSlider(value=1, min=1, max=64, description=label("batch")),
        precision=ipywidgets.Dropdown(options=list(BYTES), value="float16, bfloat16", description=label("format")),
    )


def sampling_explorer(tokenizer: Tokenizer, logits: Mapping[str, Tensor]) -> Any:
    """Turn temperature, top-k, top-p and min-p over the model's next-token logits, (vocab,) for each prompt."""
    import ipywidgets
    from IPython.display import display

    def show(prompt: str, temperature: float, top_k: int, top_p: float, min_p: float) -> None:
        config = SamplingConfig(temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p)
        display(side_by_side({prompt: candidates(tokenizer, logits[prompt], config)}))

    def slider(name: str, value: float, low: float, high: float, step: float) -> Any:
        numbers = {"value": value, "min": low, "max": high, "step": step}
        wide = {"description_width": "90px"}  # the default cuts "temperature" short
        return ipywidgets.FloatSlider(**numbers, description=label(name), continuous_update=False, style=wide)

    return ipywidgets.interactive(
        show,
        prompt=ipywidgets.Dropdown(options=list(logits), description=label("prompt")),
        temperature=slider("temperature", 1.0, 0.0, 3.0, 0.1),
        top_k=ipywidgets.IntSlider(value=0, min=0, max=50, description="top-k", continuous_update=False),
        top_p=slider("top-p", 1.0, 0.05, 1.0, 0.05),
        min_p=slider("min-p", 0.0, 0.0, 1.0, 0.02),
    )
