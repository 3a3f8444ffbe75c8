"""Chapter 07b's pictures: the way of the data, scores and thresholds, MinHash, bands, and what each step was worth."""

from collections.abc import Mapping, Sequence
from typing import Any

from ...kit.drawings import arrow, box
from ...kit.labels import label
from ...kit.language import say
from ...kit.sentences import amounts, listed, move, moves, short, spread
from ...kit.style import BLUE, GREEN, GREY, ORANGE, PALETTE, RED, described, style, subplots
from .experiments import Arm

SOURCE, STEP, KEPT, PLAIN = "#fbe3b5", "#b9d7ea", "#b5e0d2", "#e8e8e8"
STEPS_DRAWN = ("one_form", "repair_and_filter", "mask", "exams_out", "deduplicate", "tokenized")


@style()
def pipeline() -> Any:
    """Where training data comes from, and the steps that it passes before a model reads it."""
    figure, axis = subplots(width=9.4, height=2.9)
    sources = {"web_pages": "collected", "books": "collected", "larger_models": "distilled", "people": "written"}
    for row, (name, how) in enumerate(sources.items()):
        height = 2.7 - 0.9 * row
        box(axis, 0.0, height, 1.5, say("{name}\n({how})", name=label(name), how=label(how)), SOURCE)
        arrow(axis, (1.5, height), (2.75, 1.35), GREY)
    left, width = 2.8, 1.4
    for number, name in enumerate(STEPS_DRAWN):
        last = number == len(STEPS_DRAWN) - 1
        box(axis, left, 1.35, width - 0.25, label(name).replace(", ", ",\n"), KEPT if last else STEP)
        if not last:
            arrow(axis, (left + width - 0.25, 1.35), (left + width, 1.35), BLUE)
        if 0 < number < len(STEPS_DRAWN) - 1:
            arrow(axis, (left + width / 2 - 0.12, 1.0), (left + width / 2 - 0.12, 0.35), RED)
        left += width
    axis.set(xlim=(-0.1, left), ylim=(-0.4, 3.2))
    axis.axis("off")
    came = listed(say("{name} ({how})", name=label(name), how=label(how)) for name, how in sources.items())
    words = say("Texts from {came} pass through these steps: {steps}; an arrow down marks rejected ones.",
                came=came, steps=listed(label(name) for name in STEPS_DRAWN))  # fmt: skip
    return described(figure, words)


@style()
def score_histograms(scores: Mapping[str, tuple[Sequence[float], Sequence[float], float]]) -> Any:
    """One panel per score: its values on clean texts and on planted dirt, and the threshold between them."""
    figure, axes = subplots(1, len(scores), width=8.8, height=2.9, sharey=True, squeeze=False)
    edges = [number / 20 for number in range(21)]
    said = []
    for axis, (name, (clean, dirty, threshold)) in zip(axes[0], scores.items(), strict=True):
        for values, colour, words in ((clean, GREEN, "clean_texts"), (dirty, RED, "planted_dirt")):
            axis.hist(values, bins=edges, color=colour, alpha=0.65, label=label(words))
        axis.axvline(threshold, color="black", linestyle="--", linewidth=1.2, label=label("threshold"))
        axis.set(xlabel=label(name), yscale="symlog")
        said.append(say("{name} is {clean} in clean texts, {dirty} in planted dirt, with the threshold at {threshold}",
                        name=label(name), clean=spread(clean), dirty=spread(dirty),
                        threshold=short(threshold)))  # fmt: skip
    axes[0, 0].set_ylabel(label("texts_counted"))
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return described(figure, say("Histograms: {each}.", each=listed(said, "; ")))


@style()
def shingle_rows(first: str, second: str, size: int) -> Any:
    """Two texts cut into overlapping pieces of ``size`` characters; those that both have are green."""
    pieces = [[text[start : start + size] for start in range(len(text) - size + 1)] for text in (first, second)]
    both, either = set(pieces[0]) & set(pieces[1]), set(pieces[0]) | set(pieces[1])
    width = max(map(len, pieces))
    figure, axis = subplots(width=9.0, height=2.1)
    for row, (text, own) in enumerate(zip((first, second), pieces, strict=True)):
        axis.text(-0.15, 1.9 - 1.6 * row, text, fontsize=10, va="center", family="monospace")
        for column, piece in enumerate(own):
            shown = piece.replace(" ", "␣")
            box(axis, column, 1.25 - 1.6 * row, 0.92, shown, KEPT if piece in both else SOURCE)
    axis.set(xlim=(-0.2, width), ylim=(-0.8, 2.3))
    axis.axis("off")
    share = f"{len(both)} / {len(either)} = {len(both) / len(either):.2f}"
    axis.set_title(f"J = {share}", fontsize=10)
    words = say("Two texts cut into overlapping pieces of {size} characters, {first} and {second} different ones: "
                "{both} are in both, {rest} only in one; the Jaccard similarity is {share}.",
                size=size, first=len(set(pieces[0])), second=len(set(pieces[1])), both=len(both),
                rest=len(either) - len(both), share=share)  # fmt: skip
    return described(figure, words)


@style()
def minima(names: Sequence[str], table: Sequence[Sequence[int]], first: Sequence[bool], second: Sequence[bool]) -> Any:
    """Every piece's number under each hash function, and the smallest of each text.

    table[function][piece]; first, second: which pieces a text has.
    """
    figure, axis = subplots(width=8.8, height=0.9 + 0.36 * (len(table) + 1))
    columns = [*(name.replace(" ", "␣") for name in names), label("smallest_first"), label("smallest_second")]
    shades = [KEPT if a and b else STEP if a else SOURCE for a, b in zip(first, second, strict=True)] + [PLAIN] * 2
    for column, (words, shade) in enumerate(zip(columns, shades, strict=True)):
        box(axis, column, 0, 0.94, words, shade)
    same = 0
    for row, numbers in enumerate(table, start=1):
        mins = [min(n for n, own in zip(numbers, has, strict=True) if own) for has in (first, second)]
        same += mins[0] == mins[1]
        axis.text(-0.1, -row, f"{label('hash_function')} {row}", ha="right", va="center", fontsize=8.5)
        for column, number in enumerate([*numbers, *mins]):
            smallest = column >= len(numbers) or number in mins
            colour = GREEN if smallest and mins[0] == mins[1] else RED if smallest else "#777"
            axis.text(column + 0.47, -row, f"{number}", ha="center", va="center", fontsize=9, color=colour,
                      fontweight="bold" if smallest else "normal")  # fmt: skip
    axis.set(xlim=(-1.2, len(columns)), ylim=(-len(table) - 0.6, 0.6))
    axis.axis("off")
    both = sum(a and b for a, b in zip(first, second, strict=True))
    said = say("A table of {pieces} pieces under {functions} hash functions, {both} of them in both: the smallest "
               "numbers of the two texts are the same in {same} of {functions} rows.",
               pieces=len(names), functions=len(table), both=both, same=same)  # fmt: skip
    return described(figure, said)


@style()
def estimates(
    exact: Sequence[float], found: Mapping[str, Sequence[float]], counts: Sequence[int], errors: Sequence[float]
) -> Any:
    """Estimated over exact similarity for pairs of texts, and the typical error over the number of hash functions."""
    figure, (left, right) = subplots(1, 2, width=8.2, height=3.0)
    for (name, values), colour, marker in zip(found.items(), (BLUE, ORANGE), "ox", strict=False):
        left.plot(exact, values, marker, color=colour, markersize=5, alpha=0.8, label=label(name))
    left.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1)
    left.set(xlabel=label("exact_jaccard"), ylabel=label("estimated_jaccard"), xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
    left.legend()
    law = sum((value * (1 - value)) for value in exact) / len(exact)
    expected = [(law / count) ** 0.5 for count in counts]
    right.plot(counts, errors, marker="o", color=BLUE, label=label("by_hand"))
    right.plot(counts, expected, color=GREY, linestyle="--", label=label("square_root_law"))
    right.set(xscale="log", yscale="log", xlabel=label("hash_functions"), ylabel=label("typical_error"))
    right.legend()
    gaps = {label(name): max(abs(a - b) for a, b in zip(exact, values, strict=True)) for name, values in found.items()}
    words = say("Estimated over exact similarity of {pairs} pairs, largest errors: {gaps}; and the typical error from "
                "{first} to {last} hash functions: {found}, {expected}.",
                pairs=len(exact), gaps=amounts(gaps), first=counts[0], last=counts[-1],
                found=move(label("by_hand"), errors), expected=move(label("square_root_law"), expected))  # fmt: skip
    return described(figure, words)


@style()
def bands(first: Sequence[int], second: Sequence[int], rows: int) -> Any:
    """Two signatures cut into bands of ``rows`` numbers; a band that agrees in all its rows is a shared bucket."""
    count = len(first) // rows
    figure, axis = subplots(width=9.0, height=2.2)
    shared = []
    for band in range(count):
        parts = [signature[band * rows : (band + 1) * rows] for signature in (first, second)]
        if same := list(parts[0]) == list(parts[1]):
            shared.append(band + 1)
        left = band * (rows + 0.5)
        axis.text(left + rows / 2, 2.6, label("band_number").format(number=band + 1), ha="center", fontsize=8.5,
                  color=GREEN if same else "#777")  # fmt: skip
        for row, numbers in enumerate(parts):
            for place, number in enumerate(numbers):
                equal = parts[0][place] == parts[1][place]
                box(axis, left + place, 1.8 - row, 0.92, f"{number}", KEPT if same else SOURCE if equal else PLAIN)
    for row, name in enumerate("AB"):
        axis.text(-0.2, 1.8 - row, name, ha="right", va="center")
    axis.set(xlim=(-0.6, count * (rows + 0.5)), ylim=(0.2, 3.0))
    axis.axis("off")
    agree = sum(a == b for a, b in zip(first, second, strict=True))
    whole = say("these bands agree as a whole: {bands}" if shared else "no band agrees as a whole",
                bands=listed(shared))  # fmt: skip
    words = say("Two signatures of {count} numbers, of which {agree} are the same, cut into {bands} bands of {rows}: "
                "{whole}.", count=len(first), agree=agree, bands=count, rows=rows, whole=whole)  # fmt: skip
    return described(figure, words)


@style()
def banding_curves(
    curves: Mapping[str, Sequence[float]], similarities: Sequence[float], threshold: float,
    measured: Sequence[tuple[float, float]] = (),
) -> Any:  # fmt: skip
    """How likely a pair becomes a candidate, over its similarity, for several ways of cutting a signature."""
    figure, axis = subplots(height=3.3)
    for (name, values), colour in zip(curves.items(), PALETTE, strict=False):
        axis.plot(similarities, [100 * value for value in values], color=colour, label=name)
    if measured:
        axis.plot([x for x, _ in measured], [100 * y for _, y in measured], "o", color="black", markersize=4,
                  label=label("measured_pairs"))  # fmt: skip
    axis.axvline(threshold, color=RED, linestyle="--", linewidth=1.2, label=label("threshold"))
    axis.set(xlabel=label("similarity"), ylabel=label("candidate_percent"), xlim=(0, 1), ylim=(-3, 103))
    axis.legend(fontsize=8.5)
    near = min(range(len(similarities)), key=lambda place: abs(similarities[place] - threshold))
    at = amounts({name: 100 * values[near] for name, values in curves.items()})
    points = say("; {count} measured shares, {spread}", count=len(measured),
                 spread=spread([100 * y for _, y in measured])) if measured else ""  # fmt: skip
    words = say("{what} over {similarity}, at {threshold}: {curves}{points}.", what=label("candidate_percent"),
                similarity=label("similarity"), threshold=short(threshold), curves=at, points=points)  # fmt: skip
    return described(figure, words)


@style()
def run_lengths(lengths: Sequence[int], found: Sequence[float], lost: Mapping[str, Sequence[float]]) -> Any:
    """What a shorter or longer common run with an exam finds, and what it takes away by mistake, both as shares."""
    figure, axis = subplots(height=3.1)
    lines = {label("questions_found"): found} | {
        say("{what}: {which}", what=label("clean_lost"), which=label(name)): values for name, values in lost.items()
    }
    for (name, values), colour in zip(lines.items(), (GREEN, RED, ORANGE, BLUE), strict=False):
        axis.plot(lengths, [100 * value for value in values], marker="o", markersize=4, color=colour, label=name)
    axis.set(xlabel=label("run_of_tokens"), ylabel=label("percent"), ylim=(-3, 103), xticks=lengths)
    axis.legend()
    words = say("For runs of {first} to {last}, in %: {lines}.", first=lengths[0], last=lengths[-1],
                lines=moves({name: [100 * value for value in values] for name, values in lines.items()}))  # fmt: skip
    return described(figure, words)


@style()
def funnel(read: int, rejected: Mapping[str, int], clean: int) -> Any:
    """How many texts are left after each step, beside the number of clean texts that the dirt was planted in."""
    left, rest = {label("as_planted"): read}, read
    for name, count in rejected.items():
        rest -= count
        left[name] = rest
    figure, axis = subplots(height=0.8 + 0.32 * len(left))
    names = list(left)[::-1]
    bars = axis.barh(names, [left[name] for name in names], color=BLUE)
    gone = {label("as_planted"): 0} | dict(rejected)
    axis.bar_label(bars, labels=[f"−{gone[name]}" if gone[name] else "" for name in names], padding=3, fontsize=8.5)
    axis.axvline(clean, color=GREEN, linestyle="--", label=label("clean_texts"))
    axis.set(xlabel=label("texts_left"), xlim=(0, 1.1 * read))
    axis.grid(axis="y", visible=False)
    axis.legend(loc="lower right")
    took = amounts({name: count for name, count in rejected.items() if count})
    words = say("Bars of the texts that are left after each step: {read} at first, {rest} at the end, of {clean} clean "
                "texts; rejected: {took}.", read=read, rest=rest, clean=clean, took=took)  # fmt: skip
    return described(figure, words)


@style()
def worth(arms: Sequence[Arm], questions: int) -> Any:
    """Bits per byte of held-out texts, and right answers to questions planted and not, for each way of cleaning."""
    figure, (left, right) = subplots(1, 2, width=8.4, height=3.2)
    names = [label(arm.name.replace(" ", "_")) for arm in arms]
    bits = [arm.bits_per_byte for arm in arms]
    left.plot(names, bits, "o-", color=BLUE)
    for place, value in enumerate(bits):
        left.annotate(f"{value:.3f}", (place, value), xytext=(6, 5), textcoords="offset points")
    margin = max(max(bits) - min(bits), 0.02)
    left.set(
        title=label("bits_per_byte_held_out"),
        xlim=(-0.4, len(arms) - 0.6),
        ylim=(min(bits) - 0.3 * margin, max(bits) + 0.4 * margin),
    )
    for shift, field, colour in ((-0.2, "seen", RED), (0.2, "unseen", GREY)):
        shares = [100 * getattr(arm, field) for arm in arms]
        errors = [100 * (share / 100 * (1 - share / 100) / questions) ** 0.5 for share in shares]
        words = label("planted_questions" if field == "seen" else "other_questions")
        right.bar([place + shift for place in range(len(arms))], shares, width=0.38, color=colour, yerr=errors,
                  error_kw={"elinewidth": 1}, label=words)  # fmt: skip
    right.axhline(25, color="black", linestyle="--", linewidth=1, label=label("guessing"))
    right.set_title(label("exact_percent"))
    right.legend(fontsize=8, loc="upper right")
    right.set(ylim=(0, 75))
    for axis in (left, right):
        axis.set_xticks(range(len(arms)), names, rotation=20, ha="right", fontsize=8.5)
    gaps = amounts({name: 100 * arm.dishonesty for name, arm in zip(names, arms, strict=True)})
    words = say("{bits}, from {first} to {last}: {line}; right answers to planted questions minus other questions, in "
                "points: {gaps}.", bits=label("bits_per_byte_held_out"), first=names[0], last=names[-1],
                line=move(say("it"), bits), gaps=gaps)  # fmt: skip
    return described(figure, words)
