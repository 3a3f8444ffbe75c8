"""The concept drawings: words stay on the sheet and apart from one another, and each has its alternative text."""

import re
import warnings
from collections.abc import Callable
from typing import Any

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.patches import Arc, Circle
from matplotlib.path import Path as MatplotlibPath
from matplotlib.text import Annotation

from minimind_lite.config import preset
from minimind_lite.course.chapters.attention import drawings as attention
from minimind_lite.course.chapters.moe import drawings as moe
from minimind_lite.course.chapters.rmsnorm import drawings as rmsnorm
from minimind_lite.course.chapters.rope import drawings as rope
from minimind_lite.course.chapters.sft import drawings as sft
from minimind_lite.course.chapters.swiglu import drawings as swiglu
from minimind_lite.course.chapters.transformer import drawings as transformer
from minimind_lite.course.kit import language
from minimind_lite.course.kit.drawings import sheet, words
from minimind_lite.course.kit.style import style

SMALL, NANO = preset("minimind2-small"), preset("nano")
DRAWN = (
    (rmsnorm.one_vector, lambda: rmsnorm.one_vector([3.0, 4.0])),
    (rmsnorm.norm_beside_the_stream, rmsnorm.norm_beside_the_stream),
    (rope.what_is_turned, rope.what_is_turned),
    (rope.same_distance, rope.same_distance),
    (attention.three_projections, attention.three_projections),
    (attention.heads_and_shapes, lambda: attention.heads_and_shapes(SMALL)),
    (attention.heads_and_shapes, lambda: attention.heads_and_shapes(NANO)),
    (attention.shared_keys, lambda: attention.shared_keys(8, {"MHA": 8, "GQA": 2, "MQA": 1})),
    (attention.cache_over_time, attention.cache_over_time),
    (swiglu.gate_drawing, lambda: swiglu.gate_drawing(512, 1408)),
    (swiglu.same_weights, swiglu.same_weights),
    (sft.rings, sft.rings),
    (moe.one_token, lambda: moe.one_token([0.1, 0.55, 0.05, 0.3], 2)),
    (moe.sorted_by_expert, lambda: moe.sorted_by_expert([1, 3, 1, 0, 2, 1, 3, 0], 4)),
    (moe.sorted_by_expert, lambda: moe.sorted_by_expert([3, 5, 1, 2, 5, 4, 5, 4], 6)),
    (moe.stored_and_active, lambda: moe.stored_and_active(4, 2)),
    (transformer.block_to_scale, lambda: transformer.block_to_scale(SMALL)),
    (transformer.next_tokens, lambda: transformer.next_tokens(["once", "upon", "a", "time", "there", "was"])),
)
CONCEPTS = [function for function, _ in DRAWN]


def strokes(axis: Any) -> list[MatplotlibPath]:
    """The lines and the arrows of a drawing, as paths on the canvas."""
    arrows = [(one.xyann, one.xy) for one in axis.texts if isinstance(one, Annotation)]
    lines = [list(zip(*one.get_data(), strict=True)) for one in axis.lines]
    return [MatplotlibPath(axis.transData.transform(points)) for points in (*arrows, *lines)]


def problems(figure: Any) -> list[str]:
    """Words that run out of the sheet, over one another, over a line, or over the edge of a box."""
    canvas, edge = FigureCanvasAgg(figure), figure.bbox
    canvas.draw()
    renderer = canvas.get_renderer()
    placed = [(one.get_text(), one.get_window_extent(renderer)) for one in figure.axes[0].texts if one.get_text()]
    boxes = [one.get_window_extent(renderer) for one in figure.axes[0].patches if not isinstance(one, Circle | Arc)]
    out = [f"{text!r} crosses the edge of a box" for text, where in placed for one in boxes
           if where.overlaps(one) and not (one.x0 <= where.x0 and where.x1 <= one.x1)]  # fmt: skip
    out += [f"{text!r} is crossed by a line" for text, where in placed if len(text) > 1
            for one in strokes(figure.axes[0]) if one.intersects_bbox(where, filled=False)]  # fmt: skip
    out += [f"{text!r} runs out" for text, where in placed
           if where.x0 < 0 or where.y0 < 0 or where.x1 > edge.x1 or where.y1 > edge.y1]  # fmt: skip
    return out + [f"{text!r} and {other!r} overlap" for i, (text, where) in enumerate(placed)
                  for other, there in placed[:i] if where.overlaps(there)]  # fmt: skip


@pytest.mark.parametrize("draw", [draw for _, draw in DRAWN], ids=[one.__name__ for one in CONCEPTS])
@pytest.mark.parametrize("speech", language.LANGUAGES)
def test_words_stay_on_the_sheet_and_apart(draw: Callable[[], Any], speech: str) -> None:
    with language.speaking(speech), warnings.catch_warnings():
        warnings.filterwarnings("error", message="Glyph")
        figure = draw()
        assert problems(figure) == []
    if speech == "en":
        assert not figure.alt[0].islower() and figure.alt.endswith(".") and 60 < len(figure.alt) < 700
    else:
        assert figure.alt.endswith("。") and not re.search(r"\b(the|of|and|from|to|with|is|in|at)\b", figure.alt)


def test_words_that_run_out_or_overlap_are_found() -> None:
    with style():
        figure, axis = sheet(2, 1)
        words(axis, 1.9, 0.5, "far too long")
        words(axis, 1.8, 0.5, "on top of it")
    assert len(problems(figure)) == 3
