"""Chapter 07's interactive: turn the sizes of a model, and see its parameters and its memory before it exists."""

from collections.abc import Callable, Mapping
from typing import Any

from minimind_lite.config import ConfigError, ModelConfig, default_intermediate_size

from ...kit.labels import label
from .figures import explorer

Parts = Callable[[ModelConfig], Mapping[str, int]]
Memory = Callable[[ModelConfig, int], Mapping[str, float]]


# What each slider offers, and where it starts: MiniMind2-Small with 4 × 512 tokens.
CHOICES: dict[str, tuple[list[int], int]] = {
    "hidden_size": ([64, 128, 256, 384, 512, 576, 640, 768, 1024, 1536, 2048], 512),
    "layers": ([1, 2, 4, 6, 8, 12, 16, 24, 30, 32], 8),
    "query_heads": ([1, 2, 4, 8, 9, 12, 16], 8),
    "kv_heads": ([1, 2, 3, 4, 8, 16], 2),
    "vocab_size": ([256, 1024, 3072, 6400, 32000, 49152, 64000, 128000, 151643], 6400),
    "tokens_in_batch": ([128, 512, 1024, 2048, 4096, 8192, 16384, 32768], 2048),
}


def model_explorer(parameter_parts: Parts, training_memory: Memory) -> Any:
    """Sliders for every size of a decoder; the counting is done by the two functions that the learner wrote.

    parameter_parts: config → parameters by part. training_memory: (config, tokens in a batch) → bytes by part.
    For a combination that cannot be built, the reason is shown.
    """
    import ipywidgets
    from IPython.display import display

    def show(tokens_in_batch: int, **sizes: int) -> None:
        try:
            config = _config(**sizes)
        except ConfigError as error:
            print(label("cannot_be_built"), error)
            return
        title = f"head_dim {config.head_dim}, intermediate_size {config.intermediate_size}"
        display(explorer(parameter_parts(config), training_memory(config, tokens_in_batch), title))

    return ipywidgets.interactive(show, **{name: _slider(name) for name in CHOICES})


def _config(hidden_size: int, layers: int, query_heads: int, kv_heads: int, vocab_size: int) -> ModelConfig:
    return ModelConfig(
        vocab_size=vocab_size, hidden_size=hidden_size, num_hidden_layers=layers, num_attention_heads=query_heads,
        num_key_value_heads=kv_heads, intermediate_size=default_intermediate_size(hidden_size),
    )  # fmt: skip


def _slider(name: str) -> Any:
    import ipywidgets

    options, value = CHOICES[name]
    return ipywidgets.SelectionSlider(
        options=options, value=value, description=label(name), continuous_update=False,
        style={"description_width": "9em"}, layout={"width": "28em"},
    )  # fmt: skip
