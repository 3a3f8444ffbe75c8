"""Scores as tables: every figure with n, chance and a 95 % interval; models on the same items by a paired test.

Right answers are shares with Wilson's interval. A tie between choices is worth what a guess among them is: half for a
minimal pair. Perplexity and bits per byte have the interval of a bootstrap over items, which are documents there.
"""

import dataclasses
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minimind_lite.data.reasoning import final_answer
from minimind_lite.evaluation.closed_book import wilson_interval
from minimind_lite.evaluation.harness import Candidate, ScoredItem, Scores
from minimind_lite.evaluation.statistics import PairedTest, bootstrap_interval, paired_test
from minimind_lite.evaluation.suites import Suite
from minimind_lite.files import write_text, written_whole

Value = Callable[[ScoredItem], float]


@dataclass(frozen=True)
class Score:
    """One model's figure on one suite. low, high: the 95 % interval, None where one item alone says nothing."""

    suite: str
    metric: str
    model: str
    n: int
    value: float
    low: float | None
    high: float | None
    chance: float | None  # None for a perplexity and for bits per byte
    cut: int  # items of which the model's window had no room for a part
    groups: dict[str, tuple[int, float]]  # subject → (n, value)


@dataclass(frozen=True)
class Comparison:
    """A model against the first one, on the same items, higher being better: nats for a perplexity, bits saved."""

    suite: str
    metric: str
    first: str
    second: str
    test: PairedTest


@dataclass(frozen=True)
class Report:
    """All figures of a run."""

    scores: Sequence[Score]
    comparisons: Sequence[Comparison]


def credit(scored: ScoredItem, lengths: Sequence[int] | None = None) -> float:
    """1 if the right choice has the highest score, 0 if not, 1 / k if k choices share it.

    lengths: what each choice's log-likelihood is divided by; None = nothing.
    """
    values = [one / max(1, length) for one, length in zip(scored.logprobs, lengths or [1] * 99, strict=False)]
    best = [index for index, value in enumerate(values) if value == max(values)]
    return (scored.answer in best) / len(best)


METRICS: dict[str, dict[str, Value]] = {
    "letter": {"accuracy": credit},
    "answer": {
        "accuracy": credit,
        "accuracy per character": lambda one: credit(one, one.characters),
        "accuracy per byte": lambda one: credit(one, one.bytes),
        "accuracy per token": lambda one: credit(one, one.tokens),
    },
    "pairs": {"accuracy": credit, "accuracy per token": lambda one: credit(one, one.tokens)},
    "cloze": {"accuracy": lambda one: float(one.greedy[0]), "perplexity": lambda one: one.logprobs[0]},
    "text": {
        "bits per byte": lambda one: one.logprobs[0] / math.log(2),
        "perplexity per token": lambda one: one.logprobs[0],
    },
    "exact": {"exact match": lambda one: float(one.said.strip() == one.expected.strip())},
    "sums": {"pass@1": lambda one: float(final_answer(one.said) == one.expected)},
}
_WEIGHTS: dict[str, Value] = {  # what a total is divided by; 1 for every other metric
    "bits per byte": lambda one: float(one.bytes[0]),
    "perplexity per token": lambda one: float(one.tokens[0]),
}
_READINGS: dict[str, Callable[[float], float]] = {  # from a mean log-likelihood to the figure; lower is better
    "perplexity": lambda mean: math.exp(-mean),
    "perplexity per token": lambda mean: math.exp(-mean),
    "bits per byte": lambda mean: -mean,
}


def make_report(candidates: Sequence[Candidate], suites: Sequence[Suite], found: Scores) -> Report:
    """Every metric of every suite for every model, and every later model against the first."""
    scores, comparisons = [], []
    for suite in suites:
        for metric, value in METRICS[suite.scoring].items():
            items = {one.name: found[one.digest, suite.key] for one in candidates}
            values = {name: [value(item) for item in its] for name, its in items.items()}
            weights = {name: [_weight(metric, item) for item in its] for name, its in items.items()}
            for name in items:
                scores.append(_score(suite, metric, name, items[name], values[name], weights[name]))
            first, *others = items
            for other in others:
                if weights[first] == weights[other]:  # per token they differ, unless the tokenizers are the same
                    test = paired_test(values[first], values[other], weights=weights[first])
                    comparisons.append(Comparison(suite.key, metric, first, other, test))
    return Report(scores, comparisons)


def _weight(metric: str, item: ScoredItem) -> float:
    return _WEIGHTS[metric](item) if metric in _WEIGHTS else 1.0


def _score(
    suite: Suite,
    metric: str,
    model: str,
    items: Sequence[ScoredItem],
    values: Sequence[float],
    weights: Sequence[float],
) -> Score:
    groups: dict[str, list[tuple[float, float]]] = {}
    for item, value, weight in zip(items, values, weights, strict=True):
        groups.setdefault(item.group, []).append((value, weight))
    cut = sum(item.cut > 0 for item in items)
    read = _READINGS.get(metric, float)
    by_group = {
        name: (len(its), read(sum(value for value, _ in its) / sum(weight for _, weight in its)))
        for name, its in groups.items()
    }
    low: float | None
    high: float | None
    if metric in _READINGS:
        high, low = (
            read(one) if math.isfinite(one) else None  # one item says nothing about the spread
            for one in bootstrap_interval(values, weights)
        )
    else:
        low, high = wilson_interval(sum(values), len(values))
    value, chance = read(sum(values) / sum(weights)), None if metric in _READINGS else suite.chance
    return Score(suite.key, metric, model, len(values), value, low, high, chance, cut, by_group)


def markdown(report: Report) -> str:
    """The figures as Markdown: a table of scores, and one of paired tests if there are several models."""
    models = list(dict.fromkeys(one.model for one in report.scores))
    lines = [f"| suite | metric | n | chance | {' | '.join(map(_cell, models))} |", "|---" * (4 + len(models)) + "|"]
    rows: dict[tuple[str, str], list[Score]] = {}
    for one in report.scores:
        rows.setdefault((one.suite, one.metric), []).append(one)
    for (suite, metric), scores in rows.items():
        chance = "" if scores[0].chance is None else f"{scores[0].chance:.1%}"
        lines.append(f"| {suite} | {metric} | {scores[0].n} | {chance} | {' | '.join(map(_with_interval, scores))} |")
    lines += ["", f"In parentheses: 95 % intervals ({_intervals(report)})."]
    if any(one.metric in ("exact match", "pass@1") for one in report.scores):
        lines += [
            "",
            "Chance of an exact match and of pass@1: what the most frequent answer would get, given every time.",
        ]
    cut = max((one.cut for one in report.scores), default=0)
    if cut:
        lines += ["", f"Up to {cut} items of a suite were longer than a model's window; their beginning was left out."]
    if report.comparisons:
        lines += ["", "| suite | metric | compared | difference | better on | worse on | p |", "|---" * 7 + "|"]
        lines += [_comparison_row(one) for one in report.comparisons]
        lines += [
            "",
            "Item by item: paired bootstrap, and the exact sign test's p, not corrected for many comparisons.",
        ]
    return "\n".join(lines) + "\n"


def _intervals(report: Report) -> str:
    bits = any(one.metric == "bits per byte" for one in report.scores)
    return f"Wilson; of a perplexity{' and of bits per byte' if bits else ''}: bootstrap over items"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _with_interval(score: Score) -> str:
    form = ".4g" if score.chance is None else ".1%"
    if score.low is None or score.high is None:
        return format(score.value, form)
    return f"{score.value:{form}} ({score.low:{form}} to {score.high:{form}})"


def _comparison_row(one: Comparison) -> str:
    test, unit, times = one.test, "points", 100
    if one.metric in _READINGS:
        unit, times = "bits saved" if one.metric == "bits per byte" else "nats", 1
    limits = f" ({test.low * times:+.3g} to {test.high * times:+.3g})" if math.isfinite(test.low) else ""
    difference = f"{test.difference * times:+.3g} {unit}{limits}"
    compared = f"{_cell(one.second)} − {_cell(one.first)}"
    return f"| {one.suite} | {one.metric} | {compared} | {difference} | {test.better} | {test.worse} | {test.p:.2g} |"


def write_report(report: Report, folder: Path, about: dict[str, Any]) -> list[Path]:
    """Write results.json, results.md and, for shares, with matplotlib, results.png; return what was written.

    With three suites or more, radar.png is drawn too, as an extra: bars alone show how certain a figure is.

    about: how the figures came about (models with digests, suites, settings, versions), for results.json.
    """
    written = [folder / "results.json", folder / "results.md"]
    content = about | {
        "scores": [dataclasses.asdict(one) for one in report.scores],
        "comparisons": [_finite(dataclasses.asdict(one)) for one in report.comparisons],
    }
    write_text(written[0], json.dumps(content, ensure_ascii=False, indent=1, allow_nan=False) + "\n")
    write_text(written[1], markdown(report))
    try:
        import matplotlib  # noqa: F401
    except ModuleNotFoundError:
        return written
    if all(one.chance is None for one in report.scores):
        (folder / "results.png").unlink(missing_ok=True)  # of an earlier run with shares
        return written
    draw(report, folder / "results.png")
    written.append(folder / "results.png")
    if draw_radar(report, folder / "radar.png"):
        written.append(folder / "radar.png")
    else:
        (folder / "radar.png").unlink(missing_ok=True)  # of an earlier run with more suites
    return written


def _finite(comparison: dict[str, Any]) -> dict[str, Any]:
    """With null for the interval of a single item: JSON has no infinity."""
    test = {key: value if math.isfinite(value) else None for key, value in comparison["test"].items()}
    return comparison | {"test": test}


def draw(report: Report, path: Path) -> None:
    """One bar per model and suite, for shares only: the interval as a whisker, chance as a dashed line."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shares = [one for one in report.scores if one.chance is not None]
    rows = list(dict.fromkeys((one.suite, one.metric) for one in shares))
    models = list(dict.fromkeys(one.model for one in shares))
    figure = Figure(figsize=(7.2, 1.2 + 0.32 * len(rows) * (len(models) + 0.6)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    height = 0.8 / len(models)
    for index, model in enumerate(models):
        own = [one for one in shares if one.model == model]
        places = [rows.index((one.suite, one.metric)) - 0.4 + (index + 0.5) * height for one in own]
        below = [max(0.0, one.value - (one.low or 0.0)) for one in own]  # at 100 % the interval's end is 1 - 1e-16
        above = [max(0.0, (one.high or 1.0) - one.value) for one in own]
        values = [one.value for one in own]
        axes.barh(places, values, height * 0.9, xerr=(below, above), label=model, capsize=2, error_kw={"elinewidth": 1})
    for one in shares:
        place = rows.index((one.suite, one.metric))
        axes.vlines(one.chance or 0.0, place - 0.45, place + 0.45, colors="black", linestyles="dashed", linewidth=1.2)
    axes.set_yticks(range(len(rows)), [f"{suite}\n{metric}" for suite, metric in rows], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.set_xlabel("share of right answers, 95 % interval; dashed: chance")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    figure.legend(loc="outside upper right", ncols=min(3, len(models)), fontsize=8, frameon=False)
    with written_whole(path) as part:
        figure.savefig(part, dpi=130, format="png")


def draw_radar(report: Report, path: Path) -> bool:
    """One axis for each suite, from chance in the middle (0) to every answer right (1); False with fewer than three.

    A suite's first metric is shown. What lies below chance is drawn at 0: there is nothing further in.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    first: dict[tuple[str, str], Score] = {}
    for one in report.scores:
        if one.chance is not None:
            first.setdefault((one.model, one.suite), one)
    suites = list(dict.fromkeys(suite for _, suite in first))
    if len(suites) < 3:
        return False
    figure = Figure(figsize=(6.4, 6.0), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(projection="polar")
    angles = [2 * math.pi * index / len(suites) for index in range(len(suites))]
    for model in dict.fromkeys(model for model, _ in first):
        values = [above_chance(first[model, suite]) for suite in suites]
        axes.plot([*angles, angles[0]], [*values, values[0]], marker="o", markersize=3, label=model)
    axes.set_xticks(angles, [suite.replace("/", "\n") for suite in suites], fontsize=8)
    axes.tick_params(axis="x", pad=18)
    axes.set_ylim(0, 1)
    axes.set_yticks([0.25, 0.5, 0.75, 1.0], ["25 %", "50 %", "75 %", "all right"], fontsize=7)
    figure.suptitle("share of the way from chance to every answer right", fontsize=9)
    figure.legend(loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    with written_whole(path) as part:
        figure.savefig(part, dpi=130, format="png")
    return True


def above_chance(score: Score) -> float:
    """Where a share lies between chance (0) and 1; 0 below chance."""
    chance = score.chance or 0.0
    return max(0.0, (score.value - chance) / (1 - chance))
