"""The pictures and interactives of chapter 09: they show what is sampled from, and tokens cannot become HTML."""

import re
from typing import Any

import pytest
import torch
from generation_kit import small_model

from minimind_lite.config import PRESETS
from minimind_lite.course.chapters.generation import figures, widgets
from minimind_lite.generation.sampling import GREEDY, SamplingConfig
from minimind_lite.model.attention import cache_bytes


class Labels:
    """What pictures need of a tokenizer; every label is a trap."""

    def token_label(self, token: int) -> str:
        return f"<b>{token}&"


LABELS: Any = Labels()
LOGITS = torch.tensor([0.45, 0.30, 0.15, 0.07, 0.03]).log()


@pytest.mark.parametrize(
    ("rule", "kept", "shares"),
    [
        (SamplingConfig(), 5, ["45.0%", "30.0%", "25.0%"]),
        (SamplingConfig(top_k=2), 2, ["60.0%", "40.0%"]),
        (SamplingConfig(top_p=0.8), 3, ["50.0%", "33.3%", "16.7%"]),
        (GREEDY, 1, ["100.0%"]),
    ],
)
def test_bars_show_what_is_drawn_from(rule: SamplingConfig, kept: int, shares: list[str]) -> None:
    page = figures.candidates(LABELS, LOGITS, rule, shown=2)
    assert re.findall(r"<b>([\d.]+%)</b>", page) == shares
    assert f"{kept} / 5" in page
    assert page.count("<s>") == 3 - len(shares)  # two tokens, and the row for the rest
    assert "&lt;b&gt;0&amp;" in page and "<b>0" not in page


def test_memory_figure_and_account_say_what_a_cache_takes() -> None:
    config = PRESETS["minimind2"]
    page = figures.cache_account(config, length=2048, batch=16, bytes_per_value=2).data
    assert figures.size_text(cache_bytes(config, 16, 2048, 2)) in page and "(× 4)" in page
    assert [figures.size_text(size) for size in (0, 1023, 1024, 3 * 2**29)] == [
        "0 bytes",
        "1023 bytes",
        "1.0 KiB",
        "1.5 GiB",
    ]
    axis = figures.cache_memory({"minimind2": config}, length=32768).axes[0]
    assert [round(bar.get_width()) for bar in axis.patches] == [4 * 384, 384]


def test_time_figure_draws_every_way() -> None:
    axis = figures.time_per_token([16, 32], {"slow": [1.0, 2.0], "fast": [1.0, 1.0]}).axes[0]
    assert [line.get_label() for line in axis.lines] == ["slow: 2.0 ms", "fast: 1.0 ms"]


def test_texts_are_escaped() -> None:
    page = figures.continuations([("<i>", "<script>", "湖&")]).data
    assert "<script>" not in page and "&lt;script&gt;" in page and "湖&amp;" in page


def test_interactives_work_at_every_edge_of_their_sliders(capsys: pytest.CaptureFixture[str]) -> None:
    explorer = widgets.sampling_explorer(LABELS, {"a": small_model().logits(torch.ones(64)).detach()})
    calculator = widgets.cache_calculator(PRESETS)
    for interactive in (explorer, calculator):
        for control in interactive.children[:-1]:
            edges = control.options if hasattr(control, "options") else (control.min, control.max)
            for value in edges:
                keywords = {**interactive.kwargs, control._kwarg: value[1] if isinstance(value, tuple) else value}
                assert interactive.f(**keywords) is None  # raises an error if a value cannot be shown
    assert capsys.readouterr().out.count("HTML") >= 20
