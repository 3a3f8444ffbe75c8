"""Chapter 10's pictures: what is in the conversations, all kinds of held-out questions before and after, answers."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from minimind_lite.evaluation.closed_book import ShareRight
from minimind_lite.evaluation.sample_world import FALSE_REFUSALS, JudgedAnswer

from ...kit.labels import label
from ...kit.language import say
from ...kit.sentences import listed, short
from ...kit.style import BLUE, GREEN, GREY, ORANGE, described, html, subplots

LONGEST = 110  # characters of a text in a table
PANELS = {"zh": "chinese", "en": "english"}


def kind_label(kind: str) -> str:
    """The words for a kind of question, as ``ask_world`` calls it."""
    return label(kind.replace(" ", "_").replace("-", "_"))


def contents(counts: Mapping[str, Mapping[str, int]], examples: Mapping[str, Mapping[str, str]]) -> Any:
    """A row for each kind of conversation: how many in each language, and one of them; both by kind and language."""
    languages = list(PANELS)
    names = [label(PANELS[one]) for one in languages]
    head = [label("kind_of_conversation"), *names, *names]
    rows = [
        [kind, *(f"{counts[kind][one]:,}" for one in languages), *(examples[kind][one] for one in languages)]
        for kind in counts
    ]
    return _table(head, [[_cell(text) for text in row] for row in rows])


def kinds(before: Mapping[str, ShareRight], after: Mapping[str, ShareRight]) -> Any:
    """The share of right answers of every kind as dots before and after, with the 95 % interval of the latter.

    Both by "KIND LANGUAGE", one panel a language. False refusals are orange: there, fewer are better.
    """
    names = list(dict.fromkeys(name.rpartition(" ")[0] for name in after))[::-1]
    figure, axes = subplots(1, 2, width=8.2, height=1.1 + 0.31 * len(names), sharey=True)
    for axis, (language, title) in zip(axes, PANELS.items(), strict=True):
        for row, kind in enumerate(names):
            if (old := before.get(f"{kind} {language}")) is None or (new := after.get(f"{kind} {language}")) is None:
                continue
            colour, (low, high) = ORANGE if kind == FALSE_REFUSALS else GREEN, new.interval
            axis.plot([100 * old.share, 100 * new.share], [row, row], color=colour, linewidth=1, alpha=0.5)
            axis.plot([100 * low, 100 * high], [row, row], color="black", linewidth=1)
            axis.plot(100 * old.share, row, "o", color=GREY, label=label("before") if row == 0 else "")
            axis.plot(100 * new.share, row, "o", color=colour, markersize=8, label=label("after") if row == 0 else "")
        axis.set(title=label(title), xlabel=label("exact_percent"), xlim=(-3, 103))
    axes[0].set_yticks(range(len(names)), [kind_label(kind) for kind in names])
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    told, shown = listed((_told(kind, before, after) for kind in names[::-1]), "; "), map(label, PANELS.values())
    return described(figure, say("Dots, per cent right after (and before) fine-tuning, {languages}: {shares}.",
                                 languages=listed(shown), shares=told))  # fmt: skip


def _told(kind: str, before: Mapping[str, ShareRight], after: Mapping[str, ShareRight]) -> str:
    """A kind's shares in each language: "small talk 90 (2), 85 (0)"."""
    names = [name for name in (f"{kind} {language}" for language in PANELS) if name in before and name in after]
    return f"{kind_label(kind)} " + ", ".join(
        f"{100 * after[name].share:.0f} ({100 * before[name].share:.0f})" for name in names
    )


def kept_and_learned(text: Mapping[str, float], answers: Mapping[str, Mapping[str, float]]) -> Any:
    """What several models have kept and what they have learned: bars of bits per byte beside bars of nats per token.

    text: bits per byte on plain text; the model that starts comes first and is blue. answers: by the label's key of a
    kind of answers, the loss of the same models on them.
    """
    figure, (left, right) = subplots(1, 2, width=8.2, height=1.2 + 0.42 * len(text), sharey=True)
    colours = [GREY if place else BLUE for place in range(len(text))]
    left.bar_label(left.barh(range(len(text)), list(text.values()), color=colours), fmt="%.2f", padding=3)
    thick = 0.8 / len(answers)
    for place, (kind, colour) in enumerate(zip(answers, (GREEN, ORANGE), strict=False)):
        rows = [row - 0.4 + (place + 0.5) * thick for row in range(len(text))]
        losses = [answers[kind][name] for name in text]
        drawn = right.barh(rows, losses, height=0.95 * thick, color=colour, label=label(kind))
        right.bar_label(drawn, fmt="%.2f", padding=3, fontsize=8)
    left.set_yticks(range(len(text)), [label(name) for name in text])
    left.invert_yaxis()  # for both: the first model on top
    for axis, what in ((left, "text_kept"), (right, "answers_learned")):
        axis.grid(axis="y", visible=False)
        axis.set(xlabel=label(what), xlim=(0, 1.17 * axis.get_xlim()[1] / 1.05))
    figure.legend(loc="outside lower right", ncols=2)
    panels = {label("text_kept"): text}
    panels |= {f"{label('answers_learned')} ({label(kind)})": losses for kind, losses in answers.items()}
    told = [say("Two panels of bars, where shorter is better.")]
    for what, values in panels.items():
        bars = listed((f"{label(name)} {short(values[name])}" for name in text), "; ")
        told.append(say("{what}: {lengths}.", what=what[:1].upper() + what[1:], lengths=bars))
    return described(figure, " ".join(told))


def judged(answers: Sequence[tuple[str, JudgedAnswer]]) -> Any:
    """Answers, each with its "KIND LANGUAGE", as a table; right ones and wrong ones are marked."""
    head = [label("kind_of_question"), label("question"), label("answer"), label("expected_answer")]
    rows = [
        [
            _cell(_named(kind)),
            _cell(one.question),
            _cell(("✓ " if one.right else "✗ ") + one.given),
            _cell(one.expected),
        ]
        for kind, one in answers
    ]
    return _table(head, rows)


def _named(kind: str) -> str:
    """The words for "KIND LANGUAGE"."""
    name, _, language = kind.rpartition(" ")
    return f"{kind_label(name)} ({label(PANELS[language])})"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Any:
    """A table of cells that are HTML already."""
    top = "".join(f'<th scope="col" style="text-align:left">{escape(name)}</th>' for name in head)
    body = "".join(f"<tr>{''.join(row)}</tr>" for row in rows)
    return html(f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>")


def _cell(text: str) -> str:
    """A text in a cell, cut where it is too long."""
    shown = text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
    look = "text-align:left;vertical-align:top;max-width:20em;white-space:normal"
    return f'<td style="{look}">{escape(shown).replace(chr(10), " ⏎ ")}</td>'
