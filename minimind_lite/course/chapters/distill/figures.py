"""Chapter 13's pictures: what a label hides, temperatures, two ways to miss, the student beside its control."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from minimind_lite.evaluation.closed_book import ShareRight

from ...kit.labels import label
from ...kit.language import say
from ...kit.sentences import amounts, listed, moves, short
from ...kit.style import BLUE, GREEN, GREY, ORANGE, PALETTE, chip, described, html, subplots


def top_tokens(names: Sequence[str], probabilities: Sequence[float], truth: str = "", note: str = "") -> Any:
    """Tokens with their probabilities as chips and bars; ``truth``, the label's token, is green."""
    rows = "".join(_bar(name, share, name == truth) for name, share in zip(names, probabilities, strict=True))
    return html(f"<div>{note}</div><table>{rows}</table>")


def _bar(name: str, share: float, right: bool) -> str:
    colour = GREEN if right else GREY
    bar = f"background:{colour};height:12px;width:{max(1.0, 320 * share):.0f}px;display:inline-block"
    look = "text-align:left;border:none;padding:0 6px"
    return (
        f'<tr><td style="{look}">{chip(name, "#bfe8d7" if right else "#e8e8e8")}</td>'
        f'<td style="{look}"><span style="{bar}"></span> {share:.1%}</td></tr>'
    )


def temperatures(logits: Tensor, values: Sequence[float]) -> Any:
    """The same logits, softened: probabilities of the likeliest tokens by rank, one line per temperature."""
    figure, axis = subplots(height=3.2)
    ranked = logits.sort(descending=True).values
    for number, value in enumerate(values):
        shares = (ranked / value).softmax(dim=-1)[:20].numpy()
        axis.plot(range(1, len(shares) + 1), shares, marker=".", color=PALETTE[number], label=f"T = {value:g}")
    axis.set(xlabel=label("token_rank"), ylabel=label("probability"), yscale="log", xticks=[1, 5, 10, 15, 20])
    axis.legend()
    softened = {f"T = {value:g}": (ranked / value).softmax(dim=-1)[:20].tolist() for value in values}
    return described(figure, say("Probability by rank, the likeliest token first: {lines}.", lines=moves(softened)))


def fits(places: Tensor, target: Tensor, fitted: Mapping[str, Tensor]) -> Any:
    """A distribution with two peaks, and the single peak closest to it for each direction of the KL."""
    figure, axis = subplots(height=3.2)
    axis.fill_between(places.numpy(), target.numpy(), color=GREY, alpha=0.35, label=label("teacher"))
    for colour, (name, probabilities) in zip((BLUE, ORANGE), fitted.items(), strict=False):
        axis.plot(places.numpy(), probabilities.numpy(), color=colour, label=label(name))
    axis.set(xlabel=label("outcome"), ylabel=label("probability"), ylim=(0, None))
    axis.legend()
    rows = {label("teacher"): target} | {label(name): one for name, one in fitted.items()}
    peaks = listed(
        (say("{name} is highest at {place}, with {value}", name=name, place=short(places[one.argmax()]),
             value=short(one.max())) for name, one in rows.items()), "; "
    )  # fmt: skip
    return described(figure, say("A distribution, and the single peak closest to it for each direction of the KL: "
                                 "{peaks}.", peaks=peaks))  # fmt: skip


def three_ways(losses: Mapping[str, float], exact: Mapping[str, ShareRight]) -> Any:
    """The same student taught in several ways: its held-out loss, and the share of right answers with its interval."""
    names = list(losses)[::-1]
    colours = [GREEN if name == "student" else ORANGE if name == "texts_only" else GREY for name in names]
    figure, (left, right) = subplots(columns=2, width=8.2, height=0.9 + 0.45 * len(names), sharey=True)
    bars = left.barh(range(len(names)), [losses[name] for name in names], color=colours)
    left.bar_label(bars, fmt="%.3f", padding=3)
    left.set_yticks(range(len(names)), [label(name) for name in names])
    left.set(xlabel=label("held_out_answer_loss"), xlim=(0, 1.25 * max(losses.values())))
    for row, (name, colour) in enumerate(zip(names, colours, strict=True)):
        share, (low, high) = exact[name].share, exact[name].interval
        right.barh(row, 100 * share, color=colour)
        right.errorbar(100 * share, row, xerr=[[100 * (share - low)], [100 * (high - share)]], color="black", capsize=4)
        right.annotate(f"{share:.1%}", (100 * high, row), xytext=(6, -4), textcoords="offset points")
    right.set(xlabel=label("exact_percent"), xlim=(0, 118))
    for axis in (left, right):
        axis.grid(axis="y", visible=False)
    shares = {label(name): 100 * exact[name].share for name in losses}
    return described(figure, say("Bars for each student: {loss}: {losses}; {exact}: {shares}.",
                                 loss=label("held_out_answer_loss"), exact=label("exact_percent"),
                                 losses=amounts({label(name): value for name, value in losses.items()}),
                                 shares=amounts(shares)))  # fmt: skip


def gradients(sizes: Mapping[str, Sequence[float]], temperatures: Sequence[float]) -> Any:
    """The gradient's length against the temperature, with T² and without."""
    figure, axis = subplots(height=3.0)
    for colour, (name, values) in zip((GREEN, ORANGE), sizes.items(), strict=False):
        axis.plot(temperatures, values, marker="o", color=colour, label=label(name))
    axis.set(xscale="log", yscale="log", xlabel=label("temperature"), ylabel=label("gradient_length"))
    axis.set_xticks(list(temperatures), [f"{value:g}" for value in temperatures])
    axis.minorticks_off()
    axis.legend()
    lengths = moves({label(name): values for name, values in sizes.items()})
    words = say("{what} for temperatures from {first} to {last}: {lines}.", what=label("gradient_length"),
                first=short(temperatures[0]), last=short(temperatures[-1]), lines=lengths)  # fmt: skip
    return described(figure, words)


def softened(names: Sequence[str], logits: Sequence[float], temperature: float, truth: str = "") -> Any:
    """The interactive's picture: tokens at this temperature, and the probability left to all but the likeliest."""
    shares = torch.tensor(logits).div(temperature).softmax(dim=-1).numpy()
    entropy = float(-(shares * np.log(np.maximum(shares, 1e-30))).sum())
    left = (
        f"T = {temperature:g} · {label('besides_the_first')} {1 - shares.max():.1%} · {label('entropy')} {entropy:.2f}"
    )
    return top_tokens(names, shares.tolist(), truth, left)
