"""Chapter 16's pictures: what a score is, letters, intervals, paired answers, progress, a leak, an adapter."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from minimind_lite.evaluation.closed_book import wilson_interval

from ...kit.drawings import arrow, box, rounded
from ...kit.labels import label
from ...kit.language import say
from ...kit.sentences import amounts, listed, move, short, spread
from ...kit.style import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, described, style, subplots
from .experiments import LETTERS, Milestone

CHOICES = ("#b9d7ea", "#fbe3b5", "#b5e0d2", "#f3c3ac")
_GIVEN = "#eeeeee"


@style()
def scored_tokens(given: Sequence[str], choices: Mapping[str, Sequence[tuple[str, float]]]) -> Any:
    """Boxes of tokens: what is given, then each choice with the log-probability of every one of its tokens."""
    figure, axis = subplots(width=8.6, height=0.9 + 0.75 * len(choices))
    start = len(given) * 1.15 + 0.4
    totals = {name: sum(value for _, value in tokens) for name, tokens in choices.items()}
    best, longest = max(totals, key=totals.__getitem__), max(len(tokens) for tokens in choices.values())
    middle = (len(choices) - 1) / 2
    for place, text in enumerate(given):
        box(axis, place * 1.15, middle, 1.05, text.replace(" ", "␣"), _GIVEN)
    for row, (name, tokens) in enumerate(reversed(list(choices.items()))):
        arrow(axis, (start - 0.5, middle), (start - 0.05, row), GREY)
        for place, (text, value) in enumerate(tokens):
            left = start + place * 1.25
            box(axis, left, row, 1.15, text.replace(" ", "␣"), CHOICES[2] if name == best else CHOICES[0])
            axis.text(left + 0.57, row - 0.48, f"{value:.1f}", ha="center", va="center", fontsize=8)
        words = f"{label('nats_sum')}: {totals[name]:.1f}"
        axis.text(start + longest * 1.25 + 0.1, row, words, va="center", fontsize=9,
                  fontweight="bold" if name == best else "normal")  # fmt: skip
    axis.text(0, len(choices) - 0.35, label("given"), fontsize=9)
    axis.text(start, len(choices) - 0.35, label("scored"), fontsize=9)
    axis.set(xlim=(-0.1, start + longest * 1.25 + 2.6), ylim=(-0.7, len(choices)))
    axis.axis("off")
    words = say("After the same {given} tokens, each of {choices} choices is scored by the sum of its tokens' "
                "log-probabilities: {totals}; {best} is the likeliest.", given=len(given), choices=len(choices),
                totals=amounts(totals), best=best.strip())  # fmt: skip
    return described(figure, words)


@style()
def four_orders(right: int = 0) -> Any:
    """The same four choices in four orders: each stands under each letter once, so an average favours no letter."""
    figure, axis = subplots(width=7.6, height=2.9)
    size = len(LETTERS)
    for letter in range(size):
        axis.text(letter * 1.3 + 0.6, size - 0.35, LETTERS[letter], ha="center", fontsize=11, fontweight="bold")
    for turn in range(size):
        row = size - 1 - turn
        axis.text(-0.15, row, f"{label('order')} {turn + 1}", ha="right", va="center", fontsize=9)
        for place in range(size):
            choice = (place - turn) % size
            mark = " ✓" if choice == right else ""
            box(axis, place * 1.3, row, 1.2, f"{label('answer')} {choice + 1}{mark}", CHOICES[choice])
        arrow(axis, (5.3, row), (5.8, row), GREY)
    for choice in range(size):
        box(axis, 6.0, size - 1 - choice, 2.0, f"{label('average')}: {label('answer')} {choice + 1}", CHOICES[choice])
    axis.set(xlim=(-1.1, 8.2), ylim=(-0.6, size))
    axis.axis("off")
    words = say("A grid of {size} orders of the same {size} answers: from row to row each moves on by one letter, so "
                "that every answer stands under every letter once, and its average favours no letter.",
                size=size)  # fmt: skip
    return described(figure, words)


@style()
def letters(shares: Mapping[str, Sequence[float]]) -> Any:
    """Where the right answers are and which letters a model picks, in bars: {"right_letters": four shares, …}."""
    figure, axis = subplots(height=3.0)
    width = 0.8 / len(shares)
    for number, ((name, values), colour) in enumerate(zip(shares.items(), (GREY, RED, BLUE), strict=False)):
        places = [place - 0.4 + (number + 0.5) * width for place in range(len(values))]
        axis.bar(places, [100 * one for one in values], width * 0.92, color=colour, label=label(name))
    axis.axhline(100 / len(LETTERS), color="black", linestyle="--", linewidth=1)
    axis.set_xticks(range(len(LETTERS)), list(LETTERS))
    axis.set(xlabel=label("letter"), ylabel=label("share_picked"))
    axis.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=len(shares), fontsize=9)
    said = (say("{what}: {each}", what=label(name), each=listed(f"{letter} {short(100 * one)}" for letter, one
                in zip(LETTERS, values, strict=True))) for name, values in shares.items())  # fmt: skip
    return described(figure, say("Bars of the share of questions for each letter, in %: {each}.",
                                 each=listed(said, "; ")))  # fmt: skip


@style()
def scores(found: Mapping[str, tuple[float, int]], chance: float, chosen: str = "") -> Any:
    """Shares of right answers with 95 % intervals, over the line of guessing: {name: (right, of how many)}."""
    found = {say("{name} (chosen)", name=label(name)) if name == chosen else label(name): one
             for name, one in found.items()}  # fmt: skip
    figure, axis = subplots(height=0.9 + 0.42 * len(found))
    names = list(found)[::-1]
    for row, name in enumerate(names):
        right, total = found[name]
        low, high = wilson_interval(right, total)
        colour = GREEN if low > chance else GREY
        axis.barh(row, 100 * right / total, color=colour, height=0.6)
        axis.plot([100 * low, 100 * high], [row, row], color="black", linewidth=1.4)
        axis.text(100 * high + 1, row, f"{100 * right / total:.0f}", va="center", fontsize=9)
    axis.axvline(100 * chance, color="black", linestyle="--", linewidth=1, label=label("guessing"))
    axis.set_yticks(range(len(names)), names, fontsize=9)
    axis.set(xlabel=label("share_right"), xlim=(0, 108))
    axis.grid(axis="y", visible=False)
    axis.legend(loc="lower right")
    above = [name for name, (right, total) in found.items() if wilson_interval(right, total)[0] > chance]
    lengths = amounts({name: 100 * right / total for name, (right, total) in found.items()})
    words = say("Bars of right answers in %: {lengths}; wholly above {chance} %, which is guessing: {above}.",
                lengths=lengths, chance=short(100 * chance), above=listed(above))  # fmt: skip
    return described(figure, words)


Limits = tuple[float, float]


@style()
def two_measures(found: Mapping[str, tuple[float, float]], limits: Mapping[str, tuple[Limits, Limits]]) -> Any:
    """Perplexity per token and bits per byte of the same models, side by side: {name: (perplexity, bits)}.

    limits: of the 95 % interval of each; an infinite one is not drawn.
    """
    figure, axes = subplots(1, 2, width=8.2, height=1.1 + 0.4 * len(found), sharey=True)
    said = []
    for axis, part, colour in zip(axes, (0, 1), (PURPLE, BLUE), strict=True):
        values = {name: found[name][part] for name in list(found)[::-1]}
        axis.barh([label(name) for name in values], list(values.values()), color=colour, height=0.6)
        ends, told = [], []
        for row, (name, value) in enumerate(values.items()):
            low, high = (one if math.isfinite(one) else value for one in limits[name][part])
            axis.plot([low, high], [row, row], color="black", linewidth=1.4)
            axis.annotate(short(value), (high, row), xytext=(3, 0), textcoords="offset points", va="center", fontsize=9)
            ends.append(high)
            told.append(say("{name} {share} (from {low} to {high})", name=label(name), share=short(value),
                            low=short(low), high=short(high)))  # fmt: skip
        title = label("perplexity" if part == 0 else "bits_per_byte")
        axis.set(xlabel=title, xlim=(0, 1.2 * max(ends)))
        axis.grid(axis="y", visible=False)
        said.append(say("{what}: {each}", what=title, each=listed(told)))
    return described(figure, say("Two charts of the same models. {first}; {second}.", first=said[0], second=said[1]))


@style()
def interval_width(exams: Mapping[str, int], share: float = 0.25) -> Any:
    """Half of Wilson's 95 % interval around ``share`` over the number of questions; named exams are marked."""
    figure, axis = subplots(height=3.2)
    sizes = np.unique(np.geomspace(10, 20_000, 60).astype(int)).tolist()
    widths = [_half_width(share, size) for size in sizes]
    axis.plot(sizes, widths, color=BLUE)
    marks = {name: _half_width(share, size) for name, size in exams.items()}
    for (name, size), colour in zip(exams.items(), (RED, ORANGE, GREEN, PURPLE, GREY), strict=False):
        axis.plot(size, marks[name], "o", color=colour)
        axis.annotate(f"{name}: ±{marks[name]:.1f}", (size, marks[name]), xytext=(5, 7), textcoords="offset points",
                      fontsize=9, color=colour)  # fmt: skip
    axis.set(xscale="log", xlabel=label("questions"), ylabel=label("half_width"), ylim=(0, None), xlim=(9, 80_000))
    said = listed(f"{name} ±{short(one)}" for name, one in marks.items())
    words = say("{what} around a score of {share} %, over the questions: {line}; {exams}.",
                what=label("half_width_percent"), share=short(100 * share), line=move(say("it"), widths),
                exams=said)  # fmt: skip
    return described(figure, words)


def _half_width(share: float, size: int) -> float:
    """In points."""
    low, high = wilson_interval(share * size, size)
    return 50 * (high - low)


@style()
def drawn_scores(found: Sequence[float], skill: float, questions: int) -> Any:
    """The scores of many pretended exams, and the interval around the true skill."""
    figure, axis = subplots(height=2.8)
    low, high = wilson_interval(skill * questions, questions)
    percent = [100 * one for one in found]
    axis.hist(percent, bins=30, color=BLUE, weights=[100 / len(percent)] * len(percent))
    axis.axvspan(100 * low, 100 * high, color=GREEN, alpha=0.2)
    axis.axvline(100 * skill, color="black", linestyle="--", linewidth=1)
    axis.set(xlim=(0, 100), xlabel=label("score"), ylabel=label("exams_share"))
    words = say("Scores on {exams} pretended exams of {questions} questions by a model with a true skill of {skill} %: "
                "{spread} %; its 95 % interval goes from {low} to {high} %.", exams=len(found), questions=questions,
                skill=short(100 * skill), spread=spread(percent), low=short(100 * low),
                high=short(100 * high))  # fmt: skip
    return described(figure, words)


@style()
def paired_answers(first: Sequence[float], second: Sequence[float], names: tuple[str, str]) -> Any:
    """Four fields for the four ways in which two models can answer an item; the two that decide are coloured."""
    figure, axis = subplots(width=7.2, height=2.9)
    names = (label(names[0]), label(names[1]))
    fields = {
        (True, True): (label("both_right"), _GIVEN, 0.0, 1.0),
        (True, False): (say("✓ {right}, ✗ {wrong}", right=names[0], wrong=names[1]), CHOICES[3], 1.0, 1.0),
        (False, True): (say("✗ {wrong}, ✓ {right}", wrong=names[0], right=names[1]), CHOICES[2], 0.0, 0.0),
        (False, False): (label("both_wrong"), _GIVEN, 1.0, 0.0),
    }
    counts = {which: sum((a > 0.5, b > 0.5) == which for a, b in zip(first, second, strict=True)) for which in fields}
    for which, (words, colour, column, row) in fields.items():
        axis.add_patch(rounded(column * 3.1, row + 0.04, 3.0, 0.92, colour))
        axis.text(column * 3.1 + 1.5, row + 0.62, words, ha="center", va="center", fontsize=9)
        bold = "bold" if which[0] != which[1] else "normal"
        axis.text(column * 3.1 + 1.5, row + 0.3, f"{counts[which]}", ha="center", fontsize=13, fontweight=bold)
    axis.set(xlim=(-0.1, 6.2), ylim=(-0.1, 2.1))
    axis.axis("off")
    said = listed((f"{words} {counts[which]}" for which, (words, *_) in fields.items()), "; ")
    return described(figure, say("Four fields for how two models answered the same items: {fields}.", fields=said))


CHANCE = {"pairs_zh": 0.5, "pairs_en": 0.5, "cloze": 0.0, "exam_answers": 0.25, "exam_letters": 0.25}


@style()
def progress(found: Sequence[Milestone]) -> Any:
    """One model over its training, six measures: each with its interval, and with what guessing would give."""
    figure, axes = subplots(2, 3, width=9.0, height=5.0, sharex=True)
    tokens = [max(one.tokens, found[1].tokens / 3) for one in found]  # the beginning has a place on a log axis
    lower, upper = ([one.limits[side] for one in found] for side in (0, 1))
    axes.flat[0].fill_between(tokens, lower, upper, where=np.isfinite(upper).tolist(), color=BLUE, alpha=0.2)
    axes.flat[0].plot(tokens, [one.bits for one in found], "o-", color=BLUE, markersize=4)
    axes.flat[0].set_title(label("bits_per_byte"), fontsize=10)
    lines = {label("bits_per_byte"): [one.bits for one in found]}
    for axis, (name, chance) in zip(axes.flat[1:], CHANCE.items(), strict=True):
        shares = [100 * one.right[name][0] / one.right[name][1] for one in found]
        limits = [wilson_interval(*one.right[name]) for one in found]
        low, high = ([100 * limit[side] for limit in limits] for side in (0, 1))
        axis.fill_between(tokens, low, high, color=BLUE, alpha=0.2)
        axis.plot(tokens, shares, "o-", color=BLUE, markersize=4)
        axis.axhline(100 * chance, color="black", linestyle="--", linewidth=1)
        axis.set_title(say("{what}, %", what=label(name)), fontsize=10)
        axis.set_ylim(0, 100)
        lines[label(name)] = shares
    for axis in axes[1]:
        axis.set(xscale="log", xlabel=label("tokens_seen"))
    said = listed((move(name, values) for name, values in lines.items()), "; ")
    words = say("Six charts of one model over {first} to {last} tokens of training: {lines}.",
                first=f"{found[0].tokens:,}", last=f"{found[-1].tokens:,}", lines=said)  # fmt: skip
    return described(figure, words)


@style()
def leak(shares: Mapping[str, Mapping[str, tuple[float, int]]], overlaps: Mapping[str, Sequence[float]]) -> Any:
    """Left: scores on both halves of an exam, before and after a leak. Right: what a search of the texts finds."""
    figure, axes = subplots(1, 2, width=9.0, height=3.3)
    said = _grouped(axes[0], shares, (GREY, RED))
    axes[0].axhline(25, color="black", linestyle="--", linewidth=1)
    axes[0].set(ylabel=label("share_right"), ylim=(0, 135))
    axes[0].legend(loc="upper right", fontsize=8)
    bins = np.linspace(0, 100, 21)
    for (name, values), colour in zip(overlaps.items(), (RED, BLUE), strict=True):
        axes[1].hist([100 * one for one in values], bins=list(bins), color=colour, alpha=0.6, label=label(name))
    axes[1].set(xlabel=label("overlap_percent"), ylabel=label("number_of_questions"))
    axes[1].xaxis.label.set_size(8)
    axes[1].legend(loc="upper center", fontsize=8)
    found = listed((f"{label(name)} {spread([100 * one for one in v])}" for name, v in overlaps.items()), "; ")
    words = say("Right answers in %: {scores}. {what}: {found}.", scores=said, what=label("overlap_percent"),
                found=found)  # fmt: skip
    return described(figure, words)


@style()
def adapter(shares: Mapping[str, Mapping[str, tuple[float, int]]]) -> Any:
    """What a model and the same one with an adapter do with letters: {model: {measure: (right, total)}}."""
    figure, axis = subplots(width=7.6, height=3.1)
    said = _grouped(axis, shares, (GREY, ORANGE))
    axis.axhline(25, color="black", linestyle="--", linewidth=1)
    axis.set(ylabel=label("share_picked"), ylim=(0, 118))
    axis.legend(loc="upper right")
    return described(figure, say("Bars of {what}: {lengths}; guessing is 25.", what=label("share_picked"),
                                 lengths=said))  # fmt: skip


def _grouped(axis: Any, shares: Mapping[str, Mapping[str, tuple[float, int]]], colours: Sequence[str]) -> str:
    """Bars with intervals, a group for each measure and a colour for each model; says what they show."""
    measures = list(next(iter(shares.values())))
    width = 0.8 / len(shares)
    for number, ((name, values), colour) in enumerate(zip(shares.items(), colours, strict=False)):
        places = [place - 0.4 + (number + 0.5) * width for place in range(len(measures))]
        heights = [100 * right / total for right, total in values.values()]
        axis.bar(places, heights, width * 0.92, color=colour, label=label(name))
        for place, height, (right, total) in zip(places, heights, values.values(), strict=True):
            low, high = wilson_interval(right, total)
            axis.plot([place, place], [100 * low, 100 * high], color="black", linewidth=1.2)
            axis.text(place, 100 * high + 2, f"{height:.0f}", ha="center", fontsize=9)
    axis.set_xticks(range(len(measures)), [label(one) for one in measures], fontsize=9)
    axis.grid(axis="x", visible=False)
    return listed(
        (
            say(
                "{what}: {each}",
                what=label(name),
                each=listed(f"{label(one)} {short(100 * r / n)}" for one, (r, n) in values.items()),
            )
            for name, values in shares.items()
        ),
        "; ",
    )
