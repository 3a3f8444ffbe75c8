"""Pictures of closed-book answers: the share of right ones, and what was said before and after."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from ...evaluation.closed_book import Answer, ShareRight
from .labels import label
from .language import say
from .sentences import listed
from .style import GREEN, GREY, described, html, subplots


def shares(measured: Mapping[str, ShareRight]) -> Any:
    """The share of right answers of several models as bars, each with its 95 % interval."""
    figure, axis = subplots(height=0.9 + 0.5 * len(measured))
    names = list(measured)[::-1]
    for row, name in enumerate(names):
        share, (low, high) = measured[name].share, measured[name].interval
        axis.barh(row, 100 * share, color=GREEN if row == 0 else GREY)
        axis.errorbar(100 * share, row, xerr=[[100 * (share - low)], [100 * (high - share)]], color="black", capsize=4)
        axis.annotate(f"{share:.1%}", (100 * high, row), xytext=(6, -4), textcoords="offset points")
    axis.set_yticks(range(len(names)), [label(name) for name in names])
    axis.grid(axis="y", visible=False)
    axis.set(xlabel=label("exact_percent"), xlim=(0, 112))
    seen = listed(
        (say("{name} {share} (from {low} to {high})", name=label(name), share=f"{one.share:.1%}",
             low=f"{one.interval[0]:.1%}", high=f"{one.interval[1]:.1%}")
         for name, one in measured.items()), "; "
    )  # fmt: skip
    return described(figure, say("Bars of {what}, with 95 % intervals: {lengths}.", what=label("exact_percent"),
                                 lengths=seen))  # fmt: skip


def answers(before: Sequence[Answer], after: Sequence[Answer]) -> Any:
    """Question by question: what was said before and after, right answers marked."""
    head = "".join(f'<th style="text-align:left">{label(name)}</th>' for name in ("question", "before", "after"))
    rows = "".join(
        f"<tr>{_cell(old.question)}{_cell(old.given, old.right)}{_cell(new.given, new.right)}</tr>"
        for old, new in zip(before, after, strict=True)
    )
    return html(f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>")


def _cell(text: str, right: bool | None = None) -> str:
    mark = {True: "✓ ", False: "✗ ", None: ""}[right]
    shown = escape(text if len(text) <= 80 else text[:79] + "…").replace("\n", " ⏎ ") or "∅"
    return f'<td style="text-align:left;vertical-align:top;max-width:24em">{mark}{shown}</td>'
