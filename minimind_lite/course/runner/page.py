"""The page index.html: one file, nothing external, light and dark, works on phones and with a screen reader."""

from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from ..kit.labels import label
from .progress_bar import minutes
from .questions import Answer

TEMPLATE = Path(__file__).with_name("report.html")
_MARKS = {"done": "✓", "skipped": "✓", "failed": "✗", "stale": "↻", "missing": "–", "not run": "–"}
_MEANING = {
    "done": "done in this run",
    "skipped": "done before, inputs unchanged",
    "failed": "stopped with an error",
    "stale": "its inputs have changed since",
    "missing": "not run yet",
    "not run": "not reached",
}


@dataclass(frozen=True)
class ChapterView:
    """What the page shows of one chapter."""

    path: Path
    title: str
    status: str
    seconds: float
    figures: dict[str, Any]
    claims: dict[str, bool]  # what its text says of this run: whether it held
    plot: str  # a data: URL, or ""
    alt: str = ""  # what the plot shows, in words
    counts: dict[str, tuple[int, int]] = field(default_factory=dict)  # of a claim: held in so many of so many runs


def page(data: dict[str, Any], views: list[ChapterView], answers: list[Answer], error: str) -> str:
    """The whole page as text."""
    finished = sum(view.status in ("done", "skipped") for view in views)
    at_a_time = f", {data['jobs']} chapters at a time" if data["jobs"] > 1 else ""
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        finished=finished,
        chapters=len(views),
        time=minutes(data["total_seconds"]),
        profile=escape(data["profile"]),
        device=escape(data["device"]) + at_a_time,
        commit=escape(data["commit"][:12]),
        error=f'<section class="error" role="alert"><h2>Stopped</h2><pre>{escape(error)}</pre></section>'
        if error
        else "",
        answers=_answers(answers),
        contents="".join(_line(view) for view in views),
        cards="".join(_card(view) for view in views),
    )


def _answers(answers: list[Answer]) -> str:
    if not answers:
        return '<p class="quiet">Chapter 10 has not trained the chat model yet.</p>'
    return "".join(
        f'<div class="talk"><p class="asked"><span>asked</span>{escape(one.question)}</p>'
        f'<p class="said"><span>answered</span>{escape(one.answer) or "(nothing)"}</p>'
        f'<p class="quiet">held-out answer: {escape(one.expected)}</p></div>'
        for one in answers
    )


def _line(view: ChapterView) -> str:
    name = escape(view.path.stem)
    time = minutes(view.seconds) if view.seconds else ""
    return (
        f'<tr><th scope="row"><a href="#{name}">{escape(view.title)}</a></th><td>{_pill(view.status)}</td>'
        f'<td class="number">{time}</td></tr>'
    )


def _pill(status: str) -> str:
    kind = {"skipped": "done", "not run": "missing"}.get(status, status)
    return f'<span class="pill {kind}" title="{_MEANING[status]}">{_MARKS[status]} {status}</span>'


def _card(view: ChapterView) -> str:
    name, title = escape(view.path.stem), escape(view.title)
    alt = escape(view.alt) or f"The main plot of the chapter {title}"
    picture = f'<img src="{view.plot}" alt="{alt}" loading="lazy">' if view.plot else ""
    time = f'<span class="quiet">{minutes(view.seconds)}</span>' if view.seconds else ""
    return (
        f'<article id="{name}"><header><h3>{title}</h3><p>{_pill(view.status)} {time}</p></header>'
        f"{figure_table(view.figures)}{_claims(view.claims, view.counts)}{picture}</article>"
    )


def _claims(claims: dict[str, bool], counts: dict[str, tuple[int, int]]) -> str:
    """What the chapter's text says of this run, each with whether it held, and in how many of the recorded runs."""
    if not claims:
        return ""
    marks = {True: ("done", "✓ held"), False: ("stale", "✗ not here")}
    lines = "".join(
        f'<li><span class="pill {marks[held][0]}">{marks[held][1]}</span> {escape(text)}{_count(counts.get(text))}</li>'
        for text, held in claims.items()
    )
    return f'<p class="quiet">What the chapter says of this run:</p><ul class="claims">{lines}</ul>'


def _count(count: tuple[int, int] | None) -> str:
    if count is None:
        return ""
    held, of = count
    return f' <span class="quiet">held in {held} of {of} recorded run{"s" if of > 1 else ""}</span>'


def figure_table(figures: dict[str, Any], at_once: int = 6) -> str:
    """Figures as a table: first those with a before and an after, one row each; those beyond ``at_once`` folded away.

    ``x_before`` belongs to ``x`` or to ``x_after``. Lists are for pictures and are left out.
    """
    plain = {key: value for key, value in figures.items() if not isinstance(value, (list, tuple))}
    pairs: list[str] = []
    single: list[str] = []
    for key, value in plain.items():
        base = key.removesuffix("_before")
        if base != key and (base in plain or f"{base}_after" in plain):
            continue
        before = plain.get(f"{key.removesuffix('_after')}_before")
        if before is None:
            single.append(_row(key, "", value))
        else:
            pairs.append(_row(key.removesuffix("_after"), f"{shown(before)} → ", value))
    rows = pairs + single
    if len(rows) <= at_once + 2:
        return _table(rows)
    more = f"<summary>{len(rows) - at_once} more figures</summary>{_table(rows[at_once:])}"
    return f"{_table(rows[:at_once])}<details>{more}</details>"


def _row(key: str, before: str, value: Any) -> str:
    text = f'<span class="quiet">{before}</span>{shown(value)}'
    return f'<tr><th scope="row">{escape(label(key))}</th><td class="number">{text}</td></tr>'


def _table(rows: list[str]) -> str:
    return f'<table class="figures"><tbody>{"".join(rows)}</tbody></table>' if rows else ""


def shown(value: Any) -> str:
    """A figure formatted for reading: whole numbers grouped, others to four significant digits, long words cut."""
    if isinstance(value, (bool, str)):
        text = str(value)
        return escape(text if len(text) <= 32 else f"{text[:16]}…")
    if isinstance(value, int) or (float(value).is_integer() and abs(value) >= 1000):
        return f"{int(value):,}"
    return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}"
