"""Planted for the exercises on chapter 07b, cleaning data."""

from collections import Counter, defaultdict
from itertools import combinations
from typing import Any

from checks_kit import plant

from minimind_lite.course.chapters.cleaning import checks


def repeats(text: str, slip: str = "") -> float:
    units = [one if slip == "spaces" else one.strip() for one in text.split("\n")]
    units = units if slip == "spaces" else [one for one in units if one]
    counts, total = Counter(units), max(1, sum(map(len, units)))
    if slip == "lines":
        return (len(units) - len(counts)) / max(1, len(units))
    least = 0 if slip == "first" else 1
    again = sum(len(one) * (count - least) for one, count in counts.items() if count > 1)
    if slip == "once":
        again = sum(len(one) for one, count in counts.items() if count > 1)
    return {"new": 1 - again / total, "percent": 100 * again / total}.get(slip, again / total)


def by_hand(text: str) -> float:
    said: set[str] = set()
    again = total = 0
    for line in map(str.strip, text.splitlines()):
        total += len(line)
        again += len(line) if line in said else 0
        said.add(line)
    return again / total if total else 0.0


plant(
    checks.check_share_of_repeats,
    mistakes=[
        (lambda text: repeats(text, "first"), "the first time"),
        (lambda text: repeats(text, "lines"), "a share of lines"),
        (lambda text: repeats(text, "new"), "what is new"),
        (lambda text: repeats(text, "percent"), "percent"),
        (lambda text: repeats(text, "spaces"), "strip it first"),
        (lambda text: repeats(text, "once"), "counts once for each time after the first"),
    ],
    alternatives=[repeats, by_hand],
)


def jaccard(first: str, second: str, size: int, slip: str = "") -> float:
    step, stop = (size, size) if slip == "steps" else (1, 1 if slip == "last" else 0)
    lists = [[text[i : i + size] for i in range(0, len(text) - size + 1 - stop * (slip == "last"), step)]
             for text in (first, second)]  # fmt: skip
    if slip == "steps":
        lists = [[text[i : i + size] for i in range(0, len(text), size)] for text in (first, second)]
    if slip == "words":
        lists = [first.split(), second.split()]
    a, b = map(set, lists)
    if slip == "lists":
        return sum(one in b for one in lists[0]) / len(lists[0] + lists[1])
    below = {"sum": len(a) + len(b), "smaller": min(len(a), len(b)), "first": len(a)}.get(slip, len(a | b))
    share = len(a & b) / max(1, below)
    return 1 - share if slip == "distance" else share


plant(
    checks.check_jaccard,
    mistakes=[
        (lambda a, b, n: jaccard(a, b, n, "sum"), "counts the common ones twice"),
        (lambda a, b, n: jaccard(a, b, n, "smaller"), "the smaller text"),
        (lambda a, b, n: jaccard(a, b, n, "first"), "from both sides"),
        (lambda a, b, n: jaccard(a, b, n, "lists"), "use sets"),
        (lambda a, b, n: jaccard(a, b, n, "steps"), "do not overlap"),
        (lambda a, b, n: jaccard(a, b, n, "words"), "those are words"),
        (lambda a, b, n: jaccard(a, b, n, "last"), "the last piece is missing"),
        (lambda a, b, n: jaccard(a, b, n, "distance"), "the distance"),
    ],
    alternatives=[jaccard, lambda a, b, n: 1 - jaccard(a, b, n, "distance")],
)

Functions = list[tuple[int, int]]


def signature(numbers: set[int], functions: Functions, prime: int, slip: str = "") -> list[int]:
    table = [[(a * x + b) % prime for x in numbers] for a, b in functions]
    if slip == "columns":
        return [min(column) for column in zip(*([[(a * x + b) % prime for x in sorted(numbers)] for a, b in functions]),
                                             strict=True)]  # fmt: skip
    if slip == "remainder":
        return [min(a * x + b for x in numbers) for a, b in functions]
    if slip == "smallest":
        return [(a * min(numbers) + b) % prime for a, b in functions]
    if slip == "piece":
        return [min(numbers, key=lambda x: (a * x + b) % prime) for a, b in functions]
    if slip == "swapped":
        return [min((b * x + a) % prime for x in numbers) for a, b in functions]
    if slip == "one":
        return [min(table[0])] * len(functions)
    return [max(row) if slip == "largest" else min(row) for row in table]


plant(
    checks.check_signature,
    mistakes=[
        (lambda x, f, p: signature(x, f, p, "largest"), "the largest"),
        (lambda x, f, p: signature(x, f, p, "columns"), "the smallest number of each piece"),
        (lambda x, f, p: signature(x, f, p, "remainder"), "the remainder is missing"),
        (lambda x, f, p: signature(x, f, p, "smallest"), "hash all of them"),
        (lambda x, f, p: signature(x, f, p, "piece"), "keep the hash itself"),
        (lambda x, f, p: signature(x, f, p, "swapped"), "swapped"),
        (lambda x, f, p: signature(x, f, p, "one"), "its own a and b"),
    ],
    alternatives=[
        signature,
        lambda x, f, p: tuple(sorted((a * one + b) % p for one in x)[0] for a, b in f),
    ],
)

Pairs = set[tuple[int, int]]


def candidates(signatures: list[list[int]], rows: int, slip: str = "") -> Any:
    buckets: dict[Any, list[int]] = defaultdict(list)
    last = len(signatures[0]) - (rows if slip == "last" else 0)
    for number, one in enumerate(signatures):
        for start in range(0, rows if slip == "first" else last, 1 if slip == "overlap" else rows):
            band = tuple(one[start : start + rows])
            if len(band) == rows:
                buckets[band if slip == "mixed" else (start, band)].append(number)
    pairs = [pair for together in buckets.values() for pair in combinations(together, 2)]
    if slip == "twice":
        return pairs
    if slip == "itself":
        return {(i, j) for together in buckets.values() for i in together for j in together if i <= j}
    if slip == "both":
        return {(i, j) for together in buckets.values() for i in together for j in together if i != j}
    return {(i, j) for i, j in pairs if i != j}


def compared(signatures: list[list[int]], rows: int, whole: bool) -> Pairs:
    pairs = combinations(range(len(signatures)), 2)
    agree = all if whole else any
    return {(i, j) for i, j in pairs if agree(a == b for a, b in zip(signatures[i], signatures[j], strict=True))}


plant(
    checks.check_candidates,
    mistakes=[
        (lambda s, r: compared(s, r, whole=True), "agree as a whole"),
        (lambda s, r: compared(s, r, whole=False), "one number in common"),
        (lambda s, r: candidates(s, r, "first"), "only the first band"),
        (lambda s, r: candidates(s, r, "mixed"), "another band"),
        (lambda s, r: candidates(s, r, "itself"), "for itself"),
        (lambda s, r: candidates(s, r, "both"), "smaller number first"),
        (lambda s, r: candidates(s, r, "twice"), "use a set"),
    ],
    alternatives=[
        candidates,
        lambda s, r: sorted(candidates(s, r)),
    ],
)

Words = list[str]


def runs(words: Words, n: int) -> set[tuple[str, ...]]:
    return {tuple(words[i : i + n]) for i in range(len(words) - n + 1)}


def holds(text: Words, question: Words, n: int, slip: str = "") -> bool:
    size = n if slip == "short" else min(n, len(question))
    if slip == "bag":
        return len(set(text) & set(question)) >= size
    if slip == "begins":
        return tuple(text[:size]) in runs(question, size)
    if slip == "first":
        return tuple(question[:size]) in runs(text, size)
    if slip == "whole":
        return tuple(question) in runs(text, len(question))
    if slip == "stop":
        return bool(runs(text[:-1], size) & runs(question, size))
    if slip == "order":
        return bool({frozenset(one) for one in runs(text, size)} & {frozenset(one) for one in runs(question, size)})
    return bool(runs(text, size) & runs(question, size))


plant(
    checks.check_holds_question,
    mistakes=[
        (lambda t, q, n: holds(t, q, n, "begins"), "every place of the text"),
        (lambda t, q, n: holds(t, q, n, "stop"), "one too early"),
        (lambda t, q, n: holds(t, q, n, "first"), "not only its first"),
        (lambda t, q, n: holds(t, q, n, "whole"), "need not be there as a whole"),
        (lambda t, q, n: holds(t, q, n, "bag"), "no five neighbouring"),
        (lambda t, q, n: holds(t, q, n, "order"), "the order of the words"),
        (lambda t, q, n: holds(t, q, n, "short"), "fewer than n words"),
    ],
    alternatives=[
        holds,
        lambda t, q, n: f" {' '.join(q)} " in f" {' '.join(t)} " if len(q) < n else holds(t, q, n),
    ],
)
