"""Chapter 07's interactive: turn the sizes of a model, and see its parameters and its memory before it exists."""

from collections.abc import Callable, Mapping
from typing import Any

from minimind_lite.config import ConfigError, ModelConfig, default_intermediate_size
from minimind_lite.course.figures.transformer import explorer
from minimind_lite.course.labels import label

Parts = Callable[[ModelConfig], Mapping[str, int]]
Memory = Callable[[ModelConfig, int], Mapping[str, float]]


def model_explorer(parameter_parts: Parts, training_memory: Memory) -> Any:
    """Sliders for every size of a decoder; the counting is done by the two functions that the learner wrote.

    parameter_parts: config → parameters by part. training_memory: (config, tokens in a batch) → bytes by part.
    A combination that cannot be built shows its reason.
    """
    import ipywidgets
    from IPython.display import display

    def show(hidden: int, layers: int, heads: int, kv_heads: int, vocabulary: int, tokens: int) -> None:
        try:
            config = ModelConfig(
                vocab_size=vocabulary, hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=heads,
                num_key_value_heads=kv_heads, intermediate_size=default_intermediate_size(hidden),
            )  # fmt: skip
        except ConfigError as error:
            print(label("cannot_be_built"), error)
            return
        title = f"head_dim {config.head_dim}, intermediate_size {config.intermediate_size}"
        display(explorer(parameter_parts(config), training_memory(config, tokens), title))

    def choice(name: str, options: list[int], value: int) -> Any:
        return ipywidgets.SelectionSlider(
            options=options, value=value, description=label(name), continuous_update=False,
            style={"description_width": "9em"}, layout={"width": "28em"},
        )  # fmt: skip

    return ipywidgets.interactive(
        show,
        hidden=choice("hidden_size", [64, 128, 256, 384, 512, 576, 640, 768, 1024, 1536, 2048], 512),
        layers=choice("layers", [1, 2, 4, 6, 8, 12, 16, 24, 30, 32], 8),
        heads=choice("query_heads", [1, 2, 4, 8, 9, 12, 16], 8),
        kv_heads=choice("kv_heads", [1, 2, 3, 4, 8, 16], 2),
        vocabulary=choice("vocab_size", [256, 1024, 3072, 6400, 32000, 49152, 64000, 128000, 151643], 6400),
        tokens=choice("tokens_in_batch", [128, 512, 1024, 2048, 4096, 8192, 16384, 32768], 2048),
    )
