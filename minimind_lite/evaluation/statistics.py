"""How certain a score is, and whether two models on the same items really differ.

A share has Wilson's interval (``closed_book.wilson_interval``). Two models that answered the same items are compared
item by item, because what makes an item hard for both cancels: by the exact sign test (where an item is right or wrong
this is McNemar's test, 1947), with the interval of the paired bootstrap (Efron & Tibshirani 1993, chapter 13).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 2000


@dataclass(frozen=True)
class PairedTest:
    """A second model minus a first on the same items, with a 95 % interval."""

    difference: float  # of the means
    low: float
    high: float
    better: int  # items on which the second is better
    worse: int
    p: float  # how often chance alone gives a split at least as uneven, were both equally good


def sign_test(better: int, worse: int) -> float:
    """Exact two-sided p of at least so uneven a split of ``better + worse`` fair coins; 1 where there are none.

    >>> sign_test(9, 1)
    0.021484375
    """
    total, fewer = better + worse, min(better, worse)
    tail = sum(math.comb(total, count) for count in range(fewer + 1))
    p: float = 2 * tail / 2**total
    return min(1.0, p)


def paired_test(
    first: Sequence[float], second: Sequence[float], seed: int = 0, weights: Sequence[float] | None = None
) -> PairedTest:
    """Compare two models' values on the same items, higher being better.

    weights: of the items, for values that are totals: the difference is then that of Σ values / Σ weights.
    The interval is that of the paired bootstrap: whole items are drawn again, RESAMPLES times, with ``seed``.
    Raises ValueError unless both have a value for each of the same items, at least one.
    """
    if len(first) != len(second) or not first:
        raise ValueError(f"a paired test needs the same items for both, not {len(first)} and {len(second)}")
    differences = np.asarray(second, dtype=np.float64) - np.asarray(first, dtype=np.float64)
    shares = [1.0] * len(first) if weights is None else weights
    low, high = bootstrap_interval(differences.tolist(), shares, seed)
    better, worse = int((differences > 0).sum()), int((differences < 0).sum())
    return PairedTest(float(differences.sum() / sum(shares)), low, high, better, worse, sign_test(better, worse))


def bootstrap_interval(totals: Sequence[float], weights: Sequence[float], seed: int = 0) -> tuple[float, float]:
    """95 % interval of Σ totals / Σ weights when items are drawn again: of a mean, or of nats per byte.

    Percentiles of RESAMPLES draws. One item says nothing about the spread: (-inf, inf).
    """
    above, below = np.asarray(totals, dtype=np.float64), np.asarray(weights, dtype=np.float64)
    if len(above) < 2:
        return -math.inf, math.inf
    random = np.random.default_rng(seed)
    drawn = np.empty(RESAMPLES)
    for index in range(RESAMPLES):
        rows = random.integers(len(above), size=len(above))
        drawn[index] = above[rows].sum() / below[rows].sum()
    low, high = np.quantile(drawn, (0.025, 0.975))
    return float(low), float(high)
