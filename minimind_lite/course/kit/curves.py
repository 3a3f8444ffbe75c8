"""Curves over training steps: the learner's loss over its expected band, and plain lines."""

from collections.abc import Mapping, Sequence
from typing import Any

from .bands import inside
from .labels import label, named
from .language import say, say_count
from .sentences import listed, move, moves, short
from .style import BLUE, GREEN, GREY, ORANGE, PALETTE, RED, described, style, subplots


def loss_band(history: Sequence[Mapping[str, Any]], band: Mapping[str, Any] | None, ylabel: str = "loss") -> Any:
    """The learner's loss, step by step and held out, over the band that holds 19 of 20 steps of other seeds."""
    figure, axis = subplots(height=3.8)
    if band is not None:
        axis.fill_between(band["steps"], band["low"], band["high"], color=GREEN, alpha=0.25, label=label("expected"))
    axis.plot([row["step"] for row in history], [row["loss"] for row in history],
              color=BLUE, linewidth=1, label=label("yours"))  # fmt: skip
    held_out = [(row["step"], row["eval_loss"]) for row in history if "eval_loss" in row]
    if held_out:
        axis.plot(*zip(*held_out, strict=True), color=ORANGE, marker="o", label=label("held_out"))
    axis.set(xlabel=label("step"), ylabel=label(ylabel))
    axis.legend()
    curves = {label("yours"): [row["loss"] for row in history]}
    if held_out:
        curves[label("held_out")] = [loss for _, loss in held_out]
    words = listed((move(name, values) for name, values in curves.items()), "; ")
    return described(figure, say_count(
        "{what} over {count} logged step: {lines}{band}.", "{what} over {count} logged steps: {lines}{band}.",
        len(history), what=label(ylabel), lines=words, band=_band_words(history, band),
    ))  # fmt: skip


def _band_words(history: Sequence[Mapping[str, Any]], band: Mapping[str, Any] | None) -> str:
    """How much of the loss is inside the band, in words."""
    if band is None or not {row["step"] for row in history} & set(band["steps"]):
        return ""
    return say("; {share} of the steps are inside the expected band", share=f"{inside(history, band):.0%}")


def lines(curves: Mapping[str, Sequence[float]], ylabel: str = "loss", *, log: bool = False) -> Any:
    """Several curves over the steps, on the same scale; with ``log`` a logarithmic one."""
    figure, axis = subplots(height=3.0)
    curves = {named(name): values for name, values in curves.items()}
    for name, values in curves.items():
        axis.plot(range(1, len(values) + 1), values, label=name)
    axis.set(xlabel=label("step"), ylabel=label(ylabel), yscale="log" if log else "linear")
    axis.legend()
    return described(figure, say("{what} over the steps: {lines}.", what=label(ylabel), lines=moves(curves)))


@style()
def loss_curves(curves: dict[str, Sequence[float]], level: float, level_name: str) -> Any:
    """Training losses over steps, with one dashed level to compare them with (what guessing costs)."""
    figure, axis = subplots(width=6.8, height=3.2)
    curves, level_name = {named(name): losses for name, losses in curves.items()}, named(level_name)
    for (name, losses), colour in zip(curves.items(), (RED, BLUE, *PALETTE[2:]), strict=False):
        axis.plot(losses, color=colour, label=name)
    axis.axhline(level, color=GREY, linestyle="--", linewidth=1.2, label=level_name)
    axis.set_ylim(bottom=0)
    axis.set_xlabel(label("step"))
    axis.set_ylabel(label("loss"))
    axis.legend()
    return described(figure, say("{what} over the steps, beside {name} at {level}: {lines}.", what=label("loss"),
                                 name=level_name, level=short(level), lines=moves(curves)))  # fmt: skip


def held_out(histories: Mapping[str, Sequence[Mapping[str, Any]]]) -> Any:
    """Held-out cross-entropy on answers of two runs over their steps: a model, and its control.

    The legend names the last step of each beside its loss: the runs need not be equally long.
    """
    figure, axis = subplots(height=3.6)
    for colour, (name, history) in zip((GREEN, GREY), histories.items(), strict=False):
        seen = [(row["step"], row["eval_loss"]) for row in history if "eval_loss" in row]
        at_end = say("{name}, step {step}: {loss}", name=label(name), step=seen[-1][0], loss=f"{seen[-1][1]:.3f}")
        axis.plot(*zip(*seen, strict=True), color=colour, marker="o", label=at_end)
    axis.set(xlabel=label("step"), ylabel=label("held_out_answer_loss"))
    axis.legend()
    losses = {
        label(name): [row["eval_loss"] for row in history if "eval_loss" in row] for name, history in histories.items()
    }
    return described(figure, say("{what} over the steps: {lines}.", what=label("held_out_answer_loss"),
                                 lines=moves(losses)))  # fmt: skip


def practice_curves(
    history: Sequence[Mapping[str, Any]],
    names: Sequence[str] = ("correctness_reward", "kl", "answer_tokens", "dead_groups"),
) -> Any:
    """Some metrics of a run over its steps: single steps pale, a mean over five of them in full colour."""
    figure, axes = subplots(2, -(-len(names) // 2), height=4.6, sharex=True)
    steps = [row["step"] for row in history]
    smoothed: dict[str, list[float]] = {}
    for axis, name in zip(axes.flat, names, strict=False):
        values = [row[name] for row in history]
        smooth = [sum(values[max(0, i - 4) : i + 1]) / len(values[max(0, i - 4) : i + 1]) for i in range(len(values))]
        smoothed[name] = smooth
        axis.plot(steps, values, color=GREY, linewidth=0.8)
        axis.plot(steps, smooth, color=BLUE)
        axis.set_title(label(name))
        axis.set_ylim(bottom=0)
    for axis in axes[-1]:
        axis.set_xlabel(label("step"))
    means = listed((move(label(name), values) for name, values in smoothed.items()), "; ")
    return described(figure, say_count(
        "Curves of a run over {count} logged step: {lines}.",
        "Curves of a run over {count} logged steps, means over five: {lines}.", len(history), lines=means,
    ))  # fmt: skip
