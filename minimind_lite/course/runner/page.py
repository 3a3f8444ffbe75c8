"""The page index.html: one file, nothing external, light and dark, works on phones and with a screen reader."""

import re
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from ..kit.labels import label
from ..kit.language import language, say, spaced, speaking
from .progress_bar import minutes
from .questions import Answer

TEMPLATE = Path(__file__).with_name("report.html")
_MARKS = {"done": "✓", "skipped": "✓", "failed": "✗", "stale": "↻", "missing": "–", "not run": "–"}
_CORES = re.compile(r"(\w+), (\d+) cores?")  # as report.json names a CPU


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
    page: str = ""  # the address of the chapter as a web page, if it has been made
    exercises: str = ""  # and that of its exercises
    problem: str = ""  # why the page could not be made


def page(data: dict[str, Any], views: list[ChapterView], answers: list[Answer], error: str) -> str:
    """The whole page as text, in the language that the course was run with."""
    with speaking(data.get("language", "en")):
        return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
            _headings(),
            language=language(),
            summary=_summary(data, views),
            origin=_origin(data["commit"][:12]),
            error=_stopped(error),
            answers=_answers(answers),
            contents="".join(_line(view) for view in views),
            cards="".join(_card(view) for view in views),
        )


def _origin(commit: str) -> str:
    """Which code ran, and that the page shows nothing else."""
    words = say("Commit {commit}.", commit=commit), say("Every number and every picture below was made by that run.")
    return escape(spaced(" ".join(words)))


def _headings() -> dict[str, str]:
    """What stands on every page."""
    return {
        "title": escape(say("MiniMind Lite: the course, as it ran here")),
        "heading": escape(say("The course, as it ran here")),
        "questions": escape(say("Questions for the model trained in chapter 10")),
        "how_asked": escape(say("Held-out wordings, greedy answers, nothing picked by hand.")),
        "chapters": escape(say("Chapters")),
        "chapter": escape(say("Chapter")),
        "status": escape(say("Status")),
        "time": escape(say("Time")),
        "measured": escape(say("What each chapter measured")),
    }


def _summary(data: dict[str, Any], views: list[ChapterView]) -> str:
    """How much was run, how long it took, and on what."""
    finished = sum(view.status in ("done", "skipped") for view in views)
    device = data["device"]
    if cores := _CORES.fullmatch(device):
        device = say("{device}, 1 core" if cores[2] == "1" else "{device}, {cores} cores",
                     device=cores[1], cores=cores[2])  # fmt: skip
    if data["jobs"] > 1:
        device = say("{device}, {jobs} chapters at a time", device=device, jobs=data["jobs"])
    text = say("{finished} of {chapters} chapters finished in {time}. Profile {profile}, on {device}.",
               finished=finished, chapters=len(views), time=minutes(data["total_seconds"]), profile=data["profile"],
               device=device)  # fmt: skip
    return escape(text)


def _stopped(error: str) -> str:
    if not error:
        return ""
    return f'<section class="error" role="alert"><h2>{escape(say("Stopped"))}</h2><pre>{escape(error)}</pre></section>'


def _answers(answers: list[Answer]) -> str:
    if not answers:
        return f'<p class="quiet">{escape(say("Chapter 10 has not trained the chat model yet."))}</p>'
    asked, answered, nothing = escape(say("asked")), escape(say("answered")), escape(say("(nothing)"))
    return "".join(
        f'<div class="talk"><p class="asked"><span>{asked}</span>{escape(one.question)}</p>'
        f'<p class="said"><span>{answered}</span>{escape(one.answer) or nothing}</p>'
        f'<p class="quiet">{escape(say("held-out answer: {answer}", answer=one.expected))}</p></div>'
        for one in answers
    )


def _line(view: ChapterView) -> str:
    name = escape(view.path.stem)
    time = escape(minutes(view.seconds)) if view.seconds else ""
    address = escape(view.page) or f"#{name}"
    return (
        f'<tr><th scope="row"><a href="{address}">{escape(view.title)}</a></th><td>{_pill(view.status)}</td>'
        f'<td class="number">{time}</td></tr>'
    )


def _pill(status: str) -> str:
    word, meaning = _status_words()[status]
    kind = {"skipped": "done", "not run": "missing"}.get(status, status)
    return f'<span class="pill {kind}" title="{escape(meaning)}">{_MARKS[status]} {escape(word)}</span>'


def _status_words() -> dict[str, tuple[str, str]]:
    """Each status as a word, and what it means."""
    return {
        "done": (say("done"), say("done in this run")),
        "skipped": (say("skipped"), say("done before, inputs unchanged")),
        "failed": (say("failed"), say("stopped with an error")),
        "stale": (say("stale"), say("its inputs have changed since")),
        "missing": (say("missing"), say("not run yet")),
        "not run": (say("not run"), say("not reached")),
    }


def _card(view: ChapterView) -> str:
    name, title = escape(view.path.stem), escape(view.title)
    alt = escape(view.alt or say("The main plot of the chapter {title}", title=view.title))
    picture = f'<img src="{view.plot}" alt="{alt}" loading="lazy">' if view.plot else ""
    time = f'<span class="quiet">{escape(minutes(view.seconds))}</span>' if view.seconds else ""
    return (
        f'<article id="{name}"><header><h3>{title}</h3><p>{_pill(view.status)} {time}</p></header>'
        f"{_pages(view)}{figure_table(view.figures)}{_claims(view.claims, view.counts)}{picture}</article>"
    )


def _pages(view: ChapterView) -> str:
    """Links to the chapter with its outputs and to its exercises, or why there is no such page."""
    words = ((view.page, say("Read the chapter")), (view.exercises, say("Exercises")))
    links = " · ".join(f'<a href="{escape(address)}">{escape(text)}</a>' for address, text in words if address)
    problem = say("The chapter could not be made into a web page: {error}", error=view.problem) if view.problem else ""
    shown = f'<p class="links">{links}</p>' if links else ""
    return shown + (f'<p class="problem">{escape(problem)}</p>' if problem else "")


def _claims(claims: dict[str, bool], counts: dict[str, tuple[int, int]]) -> str:
    """What the chapter's text says of this run, each with whether it held, and in how many of the recorded runs."""
    if not claims:
        return ""
    marks = {True: ("done", f"✓ {say('held')}"), False: ("stale", f"✗ {say('not here')}")}
    lines = "".join(
        f'<li><span class="pill {marks[held][0]}">{escape(marks[held][1])}</span> {escape(say(text))}'
        f"{_count(counts.get(text))}</li>"
        for text, held in claims.items()
    )
    return f'<p class="quiet">{escape(say("What the chapter says of this run:"))}</p><ul class="claims">{lines}</ul>'


def _count(count: tuple[int, int] | None) -> str:
    if count is None:
        return ""
    held, of = count
    text = say("held in {held} of {of} recorded runs" if of > 1 else "held in {held} of {of} recorded run",
               held=held, of=of)  # fmt: skip
    return f' <span class="quiet">{escape(text)}</span>'


def figure_rows(figures: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    """(name, value before or None, value) of every figure in its order; ``x_before`` belongs to ``x`` or ``x_after``.

    Lists are for pictures and are left out.
    """
    plain = {key: value for key, value in figures.items() if not isinstance(value, (list, tuple))}
    rows = []
    for key, value in plain.items():
        base = key.removesuffix("_before")
        if base != key and (base in plain or f"{base}_after" in plain):
            continue
        name = key.removesuffix("_after")
        before = plain.get(f"{name}_before")
        rows.append((key if before is None else name, before, value))
    return rows


def figure_table(figures: dict[str, Any], at_once: int = 6) -> str:
    """Figures as a table: first those with a before and an after, in one row; those beyond ``at_once`` folded away."""
    found = figure_rows(figures)
    pairs = [_row(name, f"{shown(before)} → ", value) for name, before, value in found if before is not None]
    single = [_row(name, "", value) for name, before, value in found if before is None]
    rows = pairs + single
    if len(rows) <= at_once + 2:
        return _table(rows)
    summary = escape(say("{count} more figures", count=len(rows) - at_once))
    more = f"<summary>{summary}</summary>{_table(rows[at_once:])}"
    return f"{_table(rows[:at_once])}<details>{more}</details>"


def _row(key: str, before: str, value: Any) -> str:
    text = f'<span class="quiet">{before}</span>{shown(value)}'
    return f'<tr><th scope="row">{escape(label(key))}</th><td class="number">{text}</td></tr>'


def _table(rows: list[str]) -> str:
    return f'<table class="figures"><tbody>{"".join(rows)}</tbody></table>' if rows else ""


def shown(value: Any) -> str:
    """A figure formatted for reading: whole numbers grouped, others to four significant digits, long words cut."""
    if isinstance(value, bool):
        return escape(say("True" if value else "False"))
    if isinstance(value, str):
        return escape(value if len(value) <= 32 else f"{value[:16]}…")
    if isinstance(value, int) or (float(value).is_integer() and abs(value) >= 1000):
        return f"{int(value):,}"
    return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}"
