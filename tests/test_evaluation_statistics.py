"""Intervals and paired tests, against published values, brute force, and how often they are right."""

import math
from itertools import product

import numpy as np
import pytest

from minimind_lite.evaluation.statistics import bootstrap_interval, paired_test, sign_test


@pytest.mark.parametrize(
    ("better", "worse", "p"),
    # R 4.3: binom.test(b, b + c)$p.value
    [(9, 1, 0.021484375), (5, 5, 1.0), (0, 0, 1.0), (0, 6, 0.03125), (15, 4, 0.0192108154296875), (1, 0, 1.0)],
)
def test_the_sign_test_is_the_exact_binomial(better: int, worse: int, p: float) -> None:
    assert sign_test(better, worse) == pytest.approx(p, abs=1e-15)
    assert sign_test(worse, better) == sign_test(better, worse)


@pytest.mark.parametrize("total", range(1, 9))
def test_the_sign_test_counts_coins(total: int) -> None:
    for better in range(total + 1):
        uneven = abs(2 * better - total)
        hits = sum(abs(2 * sum(coins) - total) >= uneven for coins in product((0, 1), repeat=total))
        assert sign_test(better, total - better) == pytest.approx(hits / 2**total)


def test_many_items_do_not_overflow() -> None:
    assert 0 < sign_test(6000, 5000) < 1e-20


def test_a_paired_test_sees_what_two_intervals_do_not() -> None:
    hard = np.random.default_rng(0).random(400) < 0.5
    first = hard.astype(float)
    second = first.copy()
    second[np.flatnonzero(first == 0)[:12]] = 1.0  # better on 12 items, worse on none
    test = paired_test(first.tolist(), second.tolist())
    assert (test.better, test.worse) == (12, 0)
    assert test.difference == pytest.approx(12 / 400)
    assert 0 < test.low < test.difference < test.high < 0.06
    assert test.p == pytest.approx(2 / 2**12)


def test_the_bootstrap_is_seeded_and_close_to_the_formula() -> None:
    values = np.random.default_rng(1).normal(3.0, 2.0, size=500)
    ones = np.ones(500)
    low, high = bootstrap_interval(values, ones)
    assert (low, high) == bootstrap_interval(values, ones)
    assert (low, high) != bootstrap_interval(values, ones, seed=1)
    half = 1.96 * values.std(ddof=1) / math.sqrt(500)
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.03)


def test_the_bootstrap_of_a_ratio_weights_its_items() -> None:
    low, high = bootstrap_interval([2.0, 4.0, 6.0], [1.0, 2.0, 3.0])
    assert (low, high) == pytest.approx((2.0, 2.0))


def test_equal_models_rarely_differ() -> None:
    random = np.random.default_rng(2)
    ps = []
    for _ in range(300):
        first, second = random.random((2, 60)) < 0.5
        ps.append(sign_test(int((second & ~first).sum()), int((first & ~second).sum())))
    assert np.mean(np.array(ps) < 0.05) < 0.06  # exact tests are conservative


def test_what_cannot_be_compared_is_an_error() -> None:
    with pytest.raises(ValueError, match="the same items for both, not 1 and 2"):
        paired_test([1.0], [1.0, 0.0])
    with pytest.raises(ValueError, match="the same items"):
        paired_test([], [])
    assert bootstrap_interval([1.0], [1.0]) == (-math.inf, math.inf)
