"""Chapter 07's drawings: where one block's parameters are, and what each position has to predict."""

from collections.abc import Sequence
from typing import Any

from minimind_lite.config import ModelConfig

from ...kit.drawings import (
    FAINT,
    PALE_BLUE,
    PALE_GREEN,
    PALE_ORANGE,
    PALE_PURPLE,
    arrow,
    sheet,
    squares,
    words,
)  # fmt: skip
from ...kit.labels import label
from ...kit.language import say
from ...kit.sentences import amounts
from ...kit.style import GREY, described, style


def _matrices(config: ModelConfig) -> dict[str, tuple[int, int, str]]:
    """Name → (rows, columns, colour) of a block's matrices."""
    hidden, inner = config.hidden_size, config.intermediate_size
    queries = config.num_attention_heads * config.head_dim
    keys = config.num_key_value_heads * config.head_dim
    return {
        "q": (hidden, queries, PALE_BLUE), "k": (hidden, keys, PALE_BLUE), "v": (hidden, keys, PALE_BLUE),
        "o": (queries, hidden, PALE_BLUE), "gate": (hidden, inner, PALE_ORANGE), "up": (hidden, inner, PALE_ORANGE),
        "down": (inner, hidden, PALE_GREEN),
    }  # fmt: skip


@style()
def block_to_scale(config: ModelConfig) -> Any:
    """A block's matrices as rectangles to scale: an area is a number of parameters. ``down`` lies on its side."""
    from matplotlib.patches import Rectangle

    found = _matrices(config)
    wide = {name: max(rows, columns) if name == "down" else columns for name, (rows, columns, _) in found.items()}
    scale = (8.4 - 0.22 * len(found)) / sum(wide.values())
    height = config.hidden_size * scale
    figure, axis = sheet(8.8, height + 0.95)
    left = 0.2
    for name, (rows, columns, colour) in found.items():
        width = wide[name] * scale
        axis.add_patch(Rectangle((left, 0.45), width, height, facecolor=colour, edgecolor="#888"))
        words(axis, left + width / 2, 0.45 + height / 2, name, size=8.5)
        words(axis, left + width / 2, 0.6 + height, f"{rows * columns / 1e6:.2f}", FAINT, size=7.5)
        left += width + 0.22
    sizes = {name: rows * columns for name, (rows, columns, _) in found.items()}
    words(axis, 4.4, 0.18, label("block_total").format(total=sum(sizes.values()) / 1e6,
                                                      layers=config.num_hidden_layers), size=8.5)  # fmt: skip
    return described(figure, say("The matrices of one block, drawn to scale; their parameters: {sizes}.",
                                 sizes=amounts(sizes)))  # fmt: skip


@style()
def next_tokens(tokens: Sequence[str]) -> Any:
    """What each position reads and what it has to predict: the same text, shifted by one."""
    figure, axis = sheet(8.8, 2.0)
    side = min(7.0 / len(tokens), 0.9)
    for top, names, colour, name in (
        (1.85, tokens[:-1], PALE_BLUE, "reads"), (0.75, tokens[1:], PALE_PURPLE, "predicts"),
    ):  # fmt: skip
        words(axis, 0.1, top - 0.22, label(name), align="left")
        for place, token in enumerate(names):
            squares(axis, 1.7 + place * side, top, [[colour]], 0.44)
            words(axis, 1.7 + place * side + 0.22, top - 0.22, token, size=8.5)
    for place in range(len(tokens) - 1):
        arrow(axis, (1.92 + place * side, 1.38), (1.92 + place * side, 0.8), GREY)
    words(axis, 4.4, 0.12, label("all_at_once"), FAINT)
    return described(figure, say("The tokens {read} in a row, and below each of them what it has to predict, the next "
                                 "one: {predicted}.", read=" ".join(tokens[:-1]),
                                 predicted=" ".join(tokens[1:])))  # fmt: skip
