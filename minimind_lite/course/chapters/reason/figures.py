"""Chapter 14's pictures: what each token of a thought weighs, thoughts against difficulty, answers side by side."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from torch import Tensor

from minimind_lite.evaluation.reasoning import ReasonedAnswers
from minimind_lite.tokenizer import Rendered, Tokenizer

from ...kit.labels import label, named
from ...kit.language import say
from ...kit.sentences import listed, short, spread
from ...kit.style import BLUE, GREEN, GREY, ORANGE, chip, described, html, subplots
from ...kit.tokens import CONTEXT, TARGET

HEAVY = "#f3a76b"  # a token that counts more than the others


def weighted_tokens(tokenizer: Tokenizer, rendered: Rendered, weights: Tensor) -> Any:
    """A conversation token by token, coloured by what it weighs in the loss; the mouse shows the weight."""
    lines, counts = [""], {"only_read": 0, "counts_once": 0, "counts_more": 0}
    for token, trained in zip(rendered.ids, rendered.loss_mask, strict=True):
        weight = float(weights[token]) * trained
        name, colour = _class_of(weight)
        counts[name] += 1
        lines[-1] += chip(tokenizer.token_label(token), colour, f"{label('weight')} {weight:g}")
        if tokenizer.token_bytes(token) == b"\n":
            lines.append("")
    heaviest = f"{label('counts_more')} × {float(weights.max()):g}"
    names = {"only_read": label("only_read"), "counts_once": label("counts_once"), "counts_more": heaviest}
    colours = {"only_read": CONTEXT, "counts_once": TARGET, "counts_more": HEAVY}
    legend = " ".join(
        chip(f"{counts[key]} · {name}".replace(" ", "\u00a0"), colours[key]) for key, name in names.items()
    )
    return html("<br>".join(filter(None, lines)) + f'<div style="margin-top:8px">{legend}</div>')


def _class_of(weight: float) -> tuple[str, str]:
    if weight == 0:
        return "only_read", CONTEXT
    return ("counts_once", TARGET) if weight == 1 else ("counts_more", HEAVY)


def by_difficulty(measured: Mapping[str, Mapping[str, ReasonedAnswers]], title: str) -> Any:
    """Right answers in groups of questions, one colour per way of answering, each with its 95 % interval."""
    figure, axis = subplots(height=3.4)
    title, groups = named(title), list(next(iter(measured.values())))
    width = 0.8 / len(measured)
    for number, ((name, found), colour) in enumerate(zip(measured.items(), (GREEN, BLUE, ORANGE), strict=False)):
        at = np.arange(len(groups)) + (number - (len(measured) - 1) / 2) * width
        share = np.array([found[group].share for group in groups])
        limits = np.array([found[group].interval for group in groups]).T  # (2, groups)
        axis.bar(at, 100 * share, width * 0.94, color=colour, label=label(name))
        error = 100 * np.abs(limits - share)
        axis.errorbar(at, 100 * share, yerr=error, fmt="none", ecolor="#333", elinewidth=1, capsize=3)
    axis.set_xticks(range(len(groups)), [f"{group}\n(n = {len(found[group].answers)})" for group in groups])
    axis.grid(axis="x", visible=False)
    axis.set(xlabel=title, ylabel=label("right_percent"), ylim=(0, None))
    axis.legend(loc="upper right")
    ways = listed((say("{what}: {each}", what=label(name), each=_percents(found))
                   for name, found in measured.items()), "; ")  # fmt: skip
    return described(figure, say("Bars of {what}, by {groups}, with 95 % intervals: {ways}.",
                                 what=label("right_percent"), groups=title, ways=ways))  # fmt: skip


def _percents(found: Mapping[str, ReasonedAnswers]) -> str:
    return listed(f"{group} {one.share:.0%}" for group, one in found.items())


def _ranges(lengths: Mapping[str, Sequence[int]]) -> str:
    return listed(say("{group} {mean} ({range})", group=group, mean=short(float(np.mean(one))), range=spread(one))
                  for group, one in lengths.items())  # fmt: skip


def thought_lengths(teacher: Mapping[str, Sequence[int]], model: Mapping[str, Sequence[int]], title: str) -> Any:
    """Tokens in a thought for each group of questions: the mean, and the range from shortest to longest."""
    figure, axis = subplots(height=3.2)
    title = named(title)
    for shift, (name, lengths, colour) in enumerate(
        (("teacher_thought", teacher, GREY), ("model_thought", model, GREEN))
    ):
        at = np.arange(len(lengths)) + (shift - 0.5) * 0.18
        mean = np.array([np.mean(values) for values in lengths.values()])
        spread = np.array([[np.min(values), np.max(values)] for values in lengths.values()]).T
        axis.errorbar(at, mean, yerr=np.abs(spread - mean), fmt="o", color=colour, capsize=3, label=label(name))
    axis.set_xticks(range(len(teacher)), list(teacher))
    axis.grid(axis="x", visible=False)
    axis.set(xlabel=title, ylabel=label("tokens_in_thought"), ylim=(0, None))
    axis.legend(loc="upper left")
    words = say("{what} by {groups}, mean and range: the teacher's: {teacher}; the model's: {model}.",
                what=label("tokens_in_thought"), groups=title, teacher=_ranges(teacher),
                model=_ranges(model))  # fmt: skip
    return described(figure, words)


def answers(columns: Mapping[str, ReasonedAnswers], places: Sequence[int]) -> Any:
    """Some questions with the answer of each way of answering, tags included, right answers marked."""
    marks = {True: "✓ ", False: "✗ "}
    first = next(iter(columns.values()))
    rows = [
        [first.answers[place].question]
        + [marks[one.answers[place].right] + one.answers[place].given for one in columns.values()]
        for place in places
    ]
    return said_table(("question", *columns), rows)


def said_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Any:
    """What was said to each question (the first column), tags coloured, line ends kept."""
    look = 'style="text-align:left;vertical-align:top;padding:4px 10px 4px 0"'
    head = "".join(f"<th {look}>{escape(label(name))}</th>" for name in header)
    body = "".join("<tr>" + "".join(f"<td {look}>{said(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return html(f"<table><tr>{head}</tr>{body}</table>")


def said(text: str) -> str:
    """An answer as HTML: tags coloured, line ends kept."""
    shown = escape(text).replace("\n", "<br>")
    for tag in ("think", "answer"):
        for written in (f"&lt;{tag}&gt;", f"&lt;/{tag}&gt;"):
            shown = shown.replace(written, f'<span style="background:{HEAVY};border-radius:3px">{written}</span>')
    return shown
