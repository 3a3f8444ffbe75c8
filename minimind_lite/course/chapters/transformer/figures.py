"""Chapter 07's pictures: the decoder as a diagram, where its parameters and its memory are, how the stream grows."""

from collections.abc import Mapping, Sequence
from typing import Any

from minimind_lite.config import ModelConfig

from ...kit.curves import loss_curves
from ...kit.drawings import arrow, box, rounded
from ...kit.labels import label
from ...kit.language import say
from ...kit.sentences import amounts, listed, moves, short
from ...kit.style import BLUE, GREEN, GREY, ORANGE, PALETTE, RED, SKY, described, style, subplots

__all__ = ["block_diagram", "explorer", "loss_curves", "parameter_bars", "stacked_bars", "stream_growth"]


@style()
def block_diagram(config: ModelConfig) -> Any:
    """The decoder from token ids to logits: the stream runs left to right, each branch reads it and adds to it."""
    figure, axis = subplots(width=9.6, height=3.1)
    axis.set(xlim=(-0.9, 11.6), ylim=(-0.95, 2.1))
    axis.axis("off")
    axis.add_patch(rounded(2.0, -0.55, 5.75, 2.25, "#f4f4f4", "--"))
    axis.text(4.9, 1.86, f"{label('block')} × {config.num_hidden_layers}", ha="center", color="#555")
    for start, end in ((0.0, 0.45), (1.55, 8.0), (9.0, 9.3), (10.65, 10.95)):
        arrow(axis, (start, 0), (end, 0), BLUE)
    axis.text(
        4.9, -0.38, label("residual_stream").format(width=config.hidden_size), ha="center", color=BLUE, fontsize=9
    )
    _branch(axis, 2.35, 4.65, label("attention"), ORANGE)
    _branch(axis, 5.15, 7.45, label("swiglu"), GREEN)
    axis.text(-0.05, 0, label("token_ids"), ha="right", va="center")
    box(axis, 0.5, 0, 1.05, f"{label('embedding')}\n{config.vocab_size} × {config.hidden_size}", "#e8e8e8")
    box(axis, 8.05, 0, 0.9, label("rmsnorm_short"), SKY)
    head = label("same_matrix") if config.tie_word_embeddings else f"{config.hidden_size} × {config.vocab_size}"
    box(axis, 9.35, 0, 1.3, f"{label('output_head')}\n{head}", "#e8e8e8")
    axis.text(11.0, 0, label("logits"), va="center")
    words = say("The decoder as a diagram: token ids, an embedding of {vocabulary} × {width}, {blocks} blocks whose "
                "attention and SwiGLU each read the stream through a norm and add to it, a last norm, and the output "
                "head ({head}), which gives logits.", vocabulary=config.vocab_size, width=config.hidden_size,
                blocks=config.num_hidden_layers, head=head)  # fmt: skip
    return described(figure, words)


def _branch(axis: Any, left: float, plus: float, name: str, colour: str) -> None:
    """Off the stream at ``left``, through a norm and a layer, and back onto it at ``plus``."""
    axis.plot([left, left], [0, 1.1], color=GREY, linewidth=1.4)
    arrow(axis, (left, 1.1), (left + 0.12, 1.1), GREY)
    box(axis, left + 0.14, 1.1, 0.9, label("rmsnorm_short"), SKY)
    box(axis, left + 1.14, 1.1, 0.95, name, colour)
    axis.plot([left + 2.09, plus], [1.1, 1.1], color=GREY, linewidth=1.4)
    arrow(axis, (plus, 1.1), (plus, 0.16), GREY)
    circle = {"boxstyle": "circle", "facecolor": "white", "edgecolor": BLUE}
    axis.text(plus, 0, "+", ha="center", va="center", fontsize=12, bbox=circle)


@style()
def stacked_bars(rows: Mapping[str, Mapping[str, float]], unit: str, divide_by: float = 1.0) -> Any:
    """One horizontal bar per row, made of its named parts, with the total at its end."""
    figure, axis = subplots(width=8.4, height=0.9 + 0.42 * len(rows))
    _stack(axis, rows, divide_by)
    axis.set_xlabel(unit)
    return described(figure, say("Stacked bars, {unit}: {bars}.", unit=unit, bars=_stack_words(rows, divide_by)))


def _stack_words(rows: Mapping[str, Mapping[str, float]], divide_by: float) -> str:
    """Each bar's total and parts, in words."""
    return listed(
        (say("{name} {total} ({parts})", name=name, total=short(sum(parts.values()) / divide_by),
             parts=amounts({part: size / divide_by for part, size in parts.items()}))
         for name, parts in rows.items()), "; "
    )  # fmt: skip


def _stack(axis: Any, rows: Mapping[str, Mapping[str, float]], divide_by: float) -> None:
    parts = list(dict.fromkeys(part for row in rows.values() for part in row))
    left = dict.fromkeys(rows, 0.0)
    for part, colour in zip(parts, PALETTE, strict=False):
        widths = [row.get(part, 0) / divide_by for row in rows.values()]
        axis.barh(list(rows), widths, left=list(left.values()), color=colour, label=part)
        left = {name: left[name] + width for name, width in zip(rows, widths, strict=True)}
    for name, total in left.items():
        axis.text(total, name, f" {total:,.1f}", va="center", fontsize=9)
    axis.set_xlim(0, max(left.values()) * 1.14)
    axis.invert_yaxis()
    axis.grid(False, axis="y")
    axis.legend(loc="lower center", bbox_to_anchor=(0.45, 0.99), ncols=len(parts))


def parameter_bars(parts_by_name: Mapping[str, Mapping[str, int]]) -> Any:
    """Where each model's parameters are, in millions."""
    return stacked_bars(parts_by_name, label("million_parameters"), 1e6)


@style()
def stream_growth(depths: Sequence[int], sizes: Mapping[str, Sequence[float]], start: float) -> Any:
    """Root mean square of the stream after the last block, by number of blocks; one line per initialisation."""
    figure, axis = subplots(width=6.4, height=3.2)
    for (name, values), colour in zip(sizes.items(), (RED, BLUE), strict=False):
        axis.plot(depths, values, "o-", color=colour, label=name)
    axis.axhline(start, color=GREY, linestyle="--", linewidth=1.2, label=label("embedding"))
    axis.set_xscale("log", base=2)
    axis.set_xticks(depths, [str(depth) for depth in depths])
    axis.set_ylim(bottom=0)
    axis.set_xlabel(label("blocks"))
    axis.set_ylabel(label("stream_rms"))
    axis.legend()
    words = say("{what} for {first} to {last} blocks, starting from {start}: {lines}.", what=label("stream_rms"),
                first=depths[0], last=depths[-1], start=short(start), lines=moves(sizes))  # fmt: skip
    return described(figure, words)


@style()
def explorer(parameters: Mapping[str, int], memory: Mapping[str, float], title: str = "") -> Any:
    """One model's parameters (millions) above, and the memory of training it (MiB) below. memory in bytes."""
    figure, axes = subplots(2, 1, width=8.4, height=3.4)
    _stack(axes[0], {label("parameters"): parameters}, 1e6)
    axes[0].set_xlabel(label("million_parameters"))
    _stack(axes[1], {label("training_memory"): memory}, 2**20)
    axes[1].set_xlabel(label("mebibytes"))
    figure.suptitle(title, fontsize=11)
    below = _stack_words({label("training_memory"): memory}, 2**20)
    words = say("Two stacked bars of one model, {millions}: {above}; {mebibytes}: {below}.",
                millions=label("million_parameters"), above=_stack_words({label("parameters"): parameters}, 1e6),
                mebibytes=label("mebibytes"), below=below)  # fmt: skip
    return described(figure, words)
