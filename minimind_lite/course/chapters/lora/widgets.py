"""Chapter 11's interactives: adapters switched on one base, and what a rank costs."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from minimind_lite.config import ModelConfig

from ...kit.labels import label
from ...kit.language import say
from .figures import adapter_parameters, memory, side_by_side, training_bytes


def adapter_switch(answer: Callable[[str, str | None], str], questions: Sequence[str], names: Sequence[str]) -> Any:
    """Choose a question and an adapter; ``answer(question, adapter or None)`` switches and generates."""
    import ipywidgets
    from IPython.display import display

    none = label("no_adapter")

    def draw(question: str, adapter: str) -> None:
        said = answer(question, None if adapter == none else adapter)
        display(side_by_side([question], {adapter: [said]}))

    return ipywidgets.interactive(
        draw,
        question=ipywidgets.Dropdown(options=list(questions), description=label("question")),
        adapter=ipywidgets.ToggleButtons(options=[none, *names], description=label("adapter")),
    )


def rank_explorer(models: Mapping[str, tuple[ModelConfig, int]], ranks: Sequence[int], rank: int) -> Any:
    """Choose a model and a rank: parameters that train, the adapter's file, and the memory of training."""
    import ipywidgets
    from IPython.display import display

    def draw(model: str, rank: int) -> None:
        config, total = models[model]
        trained = adapter_parameters(config, rank)
        size = f"{4 * trained / 2**20:,.2f} MiB {label('in_fp32')}"
        print(say("{trained} of {total} parameters are trained ({share}); the adapter's file: {size}",
                  trained=f"{trained:,}", total=f"{total:,}", share=f"{trained / total:.2%}", size=size))  # fmt: skip
        runs = {"full_fine_tuning": training_bytes(total, total), "lora": training_bytes(total + trained, trained)}
        display(memory(runs))

    return ipywidgets.interactive(
        draw,
        model=ipywidgets.Dropdown(options=list(models), description=label("model")),
        rank=ipywidgets.SelectionSlider(
            options=list(ranks), value=rank, description=label("rank"), continuous_update=False
        ),
    )
