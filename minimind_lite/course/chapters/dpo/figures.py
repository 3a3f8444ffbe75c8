"""Chapter 12's pictures: loss and gradient against the margin, log-probabilities over time, style and KL, answers."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from ...kit.labels import label
from ...kit.language import say, say_count
from ...kit.sentences import listed, move, moves, short
from ...kit.style import BLUE, GREEN, GREY, ORANGE, described, html, subplots


def margin(betas: Sequence[float], chosen: float | None = None) -> Any:
    """DPO's loss and the weight of its gradient against the margin in nats, one line per β; ``chosen`` is marked."""
    figure, (left, right) = subplots(columns=2, height=3.0)
    margins = np.linspace(-60, 60, 241)
    for beta in betas:
        left.plot(margins, np.logaddexp(0, -beta * margins), label=f"β = {beta:g}")
        right.plot(margins, beta / (1 + np.exp(beta * margins)), label=f"β = {beta:g}")
    for axis, name in ((left, "pair_loss"), (right, "gradient_weight")):
        axis.axvline(0, color=GREY, linewidth=0.8)
        if chosen is not None:
            axis.axvline(chosen, color=ORANGE, linestyle=":")
        axis.set(xlabel=label("margin_nats"), ylabel=label(name))
    left.set_ylim(0, 8)
    left.legend()
    losses = moves({f"β = {beta:g}": np.logaddexp(0, -beta * margins).tolist() for beta in betas})
    weights = moves({f"β = {beta:g}": (beta / (1 + np.exp(beta * margins))).tolist() for beta in betas})
    here = "" if chosen is None else say("; the margin {margin} is marked", margin=short(chosen))
    words = say("Two charts over margins from {first} to {last} nats: {loss}: {losses}; {weight}: {weights}{marked}.",
                first=short(margins[0]), last=short(margins[-1]), loss=label("pair_loss"), losses=losses,
                weight=label("gradient_weight"), weights=weights, marked=here)  # fmt: skip
    return described(figure, words)


def logprobs(history: Sequence[Mapping[str, Any]], ylabel: str = "answer_logprob") -> Any:
    """Log-probabilities of chosen and rejected answers over a run, or their change."""
    figure, axis = subplots(height=3.2)
    steps = [row["step"] for row in history]
    for name, colour in (("chosen", BLUE), ("rejected", ORANGE)):
        axis.plot(steps, [row[f"logps/{name}"] for row in history], marker="o", color=colour, label=label(name))
    axis.set(xlabel=label("step"), ylabel=label(ylabel))
    axis.legend()
    curves = {label(name): [row[f"logps/{name}"] for row in history] for name in ("chosen", "rejected")}
    return described(figure, say_count(
        "{what} over {count} logged step: {lines}.", "{what} over {count} logged steps: {lines}.", len(history),
        what=label(ylabel), lines=moves(curves),
    ))  # fmt: skip


def lines(histories: Mapping[str, Sequence[Mapping[str, Any]]], key: str, ylabel: str = "pair_loss") -> Any:
    """One metric of several runs over their steps."""
    figure, axis = subplots(height=2.8)
    for name, history in histories.items():
        axis.plot([row["step"] for row in history], [row[key] for row in history], marker=".", label=name)
    axis.set(xlabel=label("step"), ylabel=label(ylabel))
    axis.legend()
    curves = {name: [row[key] for row in history] for name, history in histories.items()}
    return described(figure, say("{what} over the steps: {lines}.", what=label(ylabel), lines=moves(curves)))


def _percents(report: Any) -> list[float]:
    return [100 * share for share in (report.accuracy.summed, report.accuracy.per_token, report.style, report.facts)]


def before_after(before: Any, after: Any) -> Any:
    """Two PreferenceReports as pairs of bars: which answers are likelier, how it speaks, what it still knows."""
    figure, axis = subplots(height=3.4)
    rows = ("answers_summed", "answers_per_token", "style_percent", "facts_percent")
    for offset, colour, name, one in ((0.2, GREY, "before", before), (-0.2, GREEN, "after", after)):
        shares = _percents(one)
        places = [len(rows) - 1 - row + offset for row in range(len(rows))]
        bars = axis.barh(places, shares, height=0.38, color=colour, label=label(name))
        axis.bar_label(bars, fmt="%.0f %%", padding=3)
    axis.set_yticks(range(len(rows)), [label(name) for name in reversed(rows)])
    axis.grid(axis="y", visible=False)
    axis.set(xlim=(0, 115), xlabel=label("percent_held_out"))
    axis.legend(loc="lower center", bbox_to_anchor=(0.4, 1.0), ncols=2)
    pairs = zip(rows, _percents(before), _percents(after), strict=True)
    changes = listed((move(label(name), (old, new)) for name, old, new in pairs), "; ")
    return described(figure, say("Bars in percent of held-out items, before and after: {changes}.", changes=changes))


def kl(measured: Mapping[float, tuple[float, float, float]]) -> Any:
    """For each β: how far the model drifted (KL per answer, nats), and what it gained in style and kept of the facts.

    measured: KL, share of sampled answers in the preferred style, share of answers that hold the right fact.
    """
    figure, (left, right) = subplots(columns=2, width=8.2, height=1.2 + 0.55 * len(measured), sharey=True)
    places = range(len(measured), 0, -1)
    distances = [one[0] for one in measured.values()]
    bars = left.barh(list(places), distances, height=0.5, color=BLUE)
    left.bar_label(bars, fmt="%.1f", padding=3)
    left.set_yticks(list(places), [f"β = {beta:g}" for beta in measured])
    left.set(xlabel=label("kl_answer"), xlim=(0, 1.2 * max(*distances, 1e-6)))
    for column, name, colour, shift in ((1, "style_percent", GREEN, 0.19), (2, "facts_percent", ORANGE, -0.19)):
        shares = [100 * one[column] for one in measured.values()]
        bars = right.barh([at + shift for at in places], shares, height=0.36, color=colour, label=label(name))
        right.bar_label(bars, fmt="%.0f %%", padding=3, fontsize=8)
    right.set(xlabel=label("percent_held_out"), xlim=(0, 115))
    figure.legend(*right.get_legend_handles_labels(), loc="outside upper right", ncols=2)
    for axis in (left, right):
        axis.grid(axis="y", visible=False)
    told = listed((
        say("β = {beta}: KL {distance}, style {style} %, facts {facts} %", beta=f"{beta:g}", distance=short(distance),
            style=short(100 * style), facts=short(100 * facts))
        for beta, (distance, style, facts) in measured.items()), "; ")  # fmt: skip
    return described(figure, say("Bars for each β, of {distance} and of {what}: {told}.", distance=label("kl_answer"),
                                 what=label("percent_held_out"), told=told))  # fmt: skip


def answers(questions: Sequence[str], said: Mapping[str, Sequence[str]], closings: Sequence[str]) -> Any:
    """Sampled answers side by side, a column for each model; a tick marks the preferred style."""
    head = "".join(f'<th style="text-align:left">{label(name)}</th>' for name in ("question", *said))
    rows = "".join(
        f"<tr>{_cell(question)}{''.join(_cell(_marked(column[row], closings)) for column in said.values())}</tr>"
        for row, question in enumerate(questions)
    )
    return html(f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>")


def _marked(text: str, closings: Sequence[str]) -> str:
    return ("✓ " if text.strip().endswith(tuple(closings)) else "✗ ") + text


def _cell(text: str) -> str:
    shown = escape(text if len(text) <= 140 else text[:139] + "…").replace("\n", " ⏎ ")
    return f'<td style="text-align:left;vertical-align:top;max-width:24em">{shown}</td>'
