"""Planted for the exercises on chapter 16, evaluation."""

import math

import torch
from checks_kit import plant
from torch import Tensor

from minimind_lite.course.chapters.evaluation import checks


def logprob(logits: Tensor, ids: Tensor, given: int) -> float:
    rows = logits.log_softmax(-1)[given - 1 : -1]
    return float(rows.gather(1, ids[given:, None]).sum())


def late(logits: Tensor, ids: Tensor, given: int) -> float:
    return float(logits.log_softmax(-1)[given:].gather(1, ids[given:, None]).sum())


def raw(logits: Tensor, ids: Tensor, given: int) -> float:
    return float(logits[given - 1 : -1].gather(1, ids[given:, None]).sum())


plant(
    checks.check_continuation_logprob,
    mistakes=[
        (late, "row t predicts token t + 1"),
        (raw, "raw scores"),
        (lambda logits, ids, given: logprob(logits, ids, 1), "the context is counted too"),
        (lambda logits, ids, given: logprob(logits, ids, given + 1), "first token is missing"),
        (lambda logits, ids, given: logprob(logits, ids, given) / (len(ids) - given), "the mean over the tokens"),
        (lambda logits, ids, given: -logprob(logits, ids, given), "sign is wrong"),
        (lambda logits, ids, given: math.exp(logprob(logits, ids, given)), "probability itself"),
    ],
    alternatives=[
        logprob,
        lambda logits, ids, given: (
            -torch.nn.functional.cross_entropy(logits[given - 1 : -1], ids[given:], reduction="sum")
        ),
    ],
)


def credit(logprobs: list[float], lengths: list[int], answer: int, tie: str = "share") -> float:
    values = [a / b for a, b in zip(logprobs, lengths, strict=True)]
    best = [place for place, value in enumerate(values) if value == max(values)]
    if answer not in best:
        return 0.0
    return {"share": 1 / len(best), "all": 1.0, "none": float(len(best) == 1), "half": 1.0 if len(best) == 1 else 0.5}[
        tie
    ]


plant(
    checks.check_credit,
    mistakes=[
        (lambda a, b, key: credit(a, [1] * len(a), key), "you compared sums"),
        (lambda a, b, key: credit(a, b, key, "all"), "gave the right one everything"),
        (lambda a, b, key: credit(a, b, key, "none"), "you gave nothing"),
        (lambda a, b, key: credit([-one for one in a], b, key), "least likely choice"),
        (lambda a, b, key: credit(a, b, key, "half"), "only between two"),
        (lambda a, b, key: credit([x * y for x, y in zip(a, b, strict=True)], [1] * 4, key), "you multiplied"),
    ],
    alternatives=[
        credit,
        lambda a, b, key: (
            0.0
            if any(x / y > a[key] / b[key] for x, y in zip(a, b, strict=True))
            else 1 / sum(x / y == a[key] / b[key] for x, y in zip(a, b, strict=True))
        ),
    ],
)


def wilson(right: int, total: int, z: float = 1.96, slip: str = "") -> tuple[float, float]:
    p, w = right / total, z * z / total
    centre = (p + w / 2) / (1 + w)
    half = z * math.sqrt(p * (1 - p) / total + w / (4 * total)) / (1 + w)
    if slip == "centre":
        return p - half, p + half
    if slip == "undivided":
        return centre - half * (1 + w), centre + half * (1 + w)
    if slip == "one":
        return centre - half / z, centre + half / z
    return max(0.0, centre - half), min(1.0, centre + half)


def normal(right: int, total: int) -> tuple[float, float]:
    p = right / total
    half = 1.96 * math.sqrt(p * (1 - p) / total)
    return p - half, p + half


def by_search(right: int, total: int) -> tuple[float, float]:
    """Both ends of the defining inequality, by halving."""
    p = right / total

    def end(outside: float) -> float:
        inside = p
        for _ in range(80):
            middle = (inside + outside) / 2
            far = abs(p - middle) > 1.96 * math.sqrt(middle * (1 - middle) / total)
            inside, outside = (inside, middle) if far else (middle, outside)
        return inside

    return end(0.0), end(1.0)


plant(
    checks.check_interval,
    mistakes=[
        (normal, "has no width at 0"),
        (lambda right, total: wilson(right, total, slip="one"), "one standard deviation"),
        (lambda right, total: wilson(right, total, slip="centre"), "not centred on the score"),
        (lambda right, total: wilson(right, total, slip="undivided"), "divided by 1 + z²/n"),
        (lambda right, total: tuple(100 * one for one in wilson(right, total)), "not percent"),
        (lambda right, total: wilson(right, total)[::-1], "the lower end comes first"),
        (lambda right, total: wilson(right, total, z=2.58), "not 1.96 standard deviations away"),
    ],
    alternatives=[wilson, by_search],
)


def counts(first: list[float], second: list[float]) -> tuple[int, int]:
    better = sum(b > a for a, b in zip(first, second, strict=True))
    return better, sum(a > b for a, b in zip(first, second, strict=True))


def tail(fewer: int, total: int) -> float:
    return sum(math.comb(total, one) for one in range(fewer + 1)) / 2**total


def sign_test(first: list[float], second: list[float]) -> float:
    better, worse = counts(first, second)
    return min(1.0, 2 * tail(min(better, worse), better + worse))


def with_ties(first: list[float], second: list[float]) -> float:
    return min(1.0, 2 * tail(min(counts(first, second)), len(first)))


def exactly(first: list[float], second: list[float]) -> float:
    better, worse = counts(first, second)
    return math.comb(better + worse, better) / 2 ** (better + worse)


def one_side(first: list[float], second: list[float]) -> float:
    better, worse = counts(first, second)
    return tail(min(better, worse), better + worse)


def uncapped(first: list[float], second: list[float]) -> float:
    better, worse = counts(first, second)
    return 2 * tail(min(better, worse), better + worse)


def by_coins(first: list[float], second: list[float]) -> float:
    """Σ over all splits that are at least as uneven."""
    better, worse = counts(first, second)
    total = better + worse
    uneven = [k for k in range(total + 1) if abs(2 * k - total) >= abs(better - worse)]
    return sum(math.comb(total, k) for k in uneven) / 2**total


plant(
    checks.check_paired,
    mistakes=[
        (with_ties, "ties were counted: items"),
        (exactly, "exactly this split"),
        (one_side, "one side only: the first"),
        (uncapped, "no probability is"),
        (lambda a, b: 1 - sign_test(a, b), "1 - p"),
        (lambda a, b: (sum(b) - sum(a)) / len(a), "difference of the two scores"),
    ],
    alternatives=[sign_test, by_coins],
)


def runs(text: str, n: int) -> set[tuple[str, ...]]:
    words = text.split()
    return {tuple(words[i : i + n]) for i in range(len(words) - n + 1)}


def overlap(questions: list[str], texts: list[str], n: int, short: bool = True, longest: int = 99) -> list[int]:
    found = []
    for number, question in enumerate(questions):
        size = min(n, longest, len(question.split())) if short else n
        if any(runs(question, size) & runs(text, size) for text in texts):
            found.append(number)
    return found


def single_words(questions: list[str], texts: list[str], n: int) -> list[int]:
    known = {word for text in texts for word in text.split()}
    return [i for i, one in enumerate(questions) if sum(word in known for word in one.split()) == len(one.split())]


def slowly(questions: list[str], texts: list[str], n: int) -> list[int]:
    found = []
    for number, question in enumerate(questions):
        words = question.split()
        size = min(n, len(words))
        padded = [f" {' '.join(text.split())} " for text in texts]
        pieces = [f" {' '.join(words[i : i + size])} " for i in range(len(words) - size + 1)]
        if any(piece in text for piece in pieces for text in padded):
            found.append(number)
    return found


plant(
    checks.check_overlap,
    mistakes=[
        (lambda q, t, n: overlap(q, t, n, short=False), "shorter than n"),
        (lambda q, t, n: overlap(q, t, n, longest=4), "by one word in its middle"),
        (single_words, "in another order"),
        (lambda q, t, n: [i for i, one in enumerate(q) if one in t], "stands inside a longer text"),
        (lambda q, t, n: list(range(len(q))), "shares no word with any text"),
        (lambda q, t, n: [i for i, one in enumerate(q) if any(one in text for text in t)], "even if its beginning"),
        (lambda q, t, n: [i + 0 for i in overlap(q, t, n)][::-1], "once, in order"),
    ],
    alternatives=[overlap, slowly],
)
