"""Every sampling rule against transformers' own, draws against their claimed distribution, and bad settings."""

import math
from typing import Any

import pytest
import torch
from transformers import (
    LogitsProcessorList,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from minimind_lite.config import ConfigError
from minimind_lite.generation.sampling import (
    GREEDY,
    GenerationError,
    SamplingConfig,
    row_generator,
    sample,
    sampling_logits,
)

CASES: dict[str, tuple[dict[str, Any], list[Any]]] = {
    "temperature": ({"temperature": 0.7}, [TemperatureLogitsWarper(0.7)]),
    "hot": ({"temperature": 3.0}, [TemperatureLogitsWarper(3.0)]),
    "top_k": ({"top_k": 5}, [TopKLogitsWarper(5)]),
    "top_k 1": ({"top_k": 1}, [TopKLogitsWarper(1)]),
    "top_k over the vocabulary": ({"top_k": 500}, [TopKLogitsWarper(500)]),
    "top_p": ({"top_p": 0.8}, [TopPLogitsWarper(0.8)]),
    "tiny top_p": ({"top_p": 1e-6}, [TopPLogitsWarper(1e-6)]),
    "min_p": ({"min_p": 0.1}, [MinPLogitsWarper(0.1)]),
    "min_p 1": ({"min_p": 1.0}, [MinPLogitsWarper(1.0)]),
    "penalty": ({"repetition_penalty": 1.3}, [RepetitionPenaltyLogitsProcessor(1.3)]),
    "reward": ({"repetition_penalty": 0.8}, [RepetitionPenaltyLogitsProcessor(0.8)]),
    "all at once": (
        {"repetition_penalty": 1.2, "temperature": 0.8, "top_k": 40, "top_p": 0.9, "min_p": 0.02},
        [
            RepetitionPenaltyLogitsProcessor(1.2), TemperatureLogitsWarper(0.8), TopKLogitsWarper(40),
            TopPLogitsWarper(0.9), MinPLogitsWarper(0.02),
        ],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("seed", range(5))
def test_filters_equal_transformers(case: str, seed: int) -> None:
    settings, reference = CASES[case]
    random = torch.Generator().manual_seed(seed)
    logits = torch.randn(4, 200, generator=random) * 3
    previous = torch.randint(0, 200, (4, 30), generator=random)
    ours = sampling_logits(logits, SamplingConfig(**settings), previous).softmax(-1)
    theirs = LogitsProcessorList(reference)(previous, logits.clone()).softmax(-1)
    assert torch.equal(ours > 0, theirs > 0)  # the same tokens are masked
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-4)


def test_ties_at_the_border_of_top_k_all_stay() -> None:
    logits = torch.tensor([[1.0, 3.0, 2.0, 2.0, 0.0]])
    assert sampling_logits(logits, SamplingConfig(top_k=2)).isfinite().tolist() == [[False, True, True, True, False]]


def test_penalty_does_not_see_padding() -> None:
    logits = torch.tensor([[2.0, -2.0, 2.0], [2.0, -2.0, 2.0]])
    previous = torch.tensor([[-1, -1, 1], [0, 1, 0]])
    penalised = sampling_logits(logits, SamplingConfig(temperature=0, repetition_penalty=2.0), previous)
    assert penalised.tolist() == [[2.0, -4.0, 2.0], [1.0, -4.0, 2.0]]


@pytest.mark.parametrize("settings", [{}, {"temperature": 0.5}, {"temperature": 2.0, "top_k": 6}, {"top_p": 0.9}])
def test_draws_follow_the_distribution(settings: dict[str, Any]) -> None:
    config = SamplingConfig(**settings)
    logits = torch.tensor([2.0, 1.5, 1.0, 0.5, 0.0, -0.5, -1.0, -1.5])
    drawn = sample(logits.expand(40_000, -1), config, torch.Generator().manual_seed(7))
    counts = torch.bincount(drawn.ids, minlength=8).double()
    expected = sampling_logits(logits[None], config)[0].softmax(-1).double() * 40_000
    possible = expected > 0
    assert counts[~possible].sum() == 0
    expected = expected[possible] * (40_000 / expected[possible].sum())  # fp32's last digit
    statistic = ((counts[possible] - expected) ** 2 / expected).sum()
    freedom = torch.tensor(len(expected) - 1.0, dtype=torch.float64)
    assert torch.special.gammaincc(freedom / 2, statistic / 2) > 0.001  # chi-square: the p-value


def test_rare_tokens_are_drawn_too() -> None:
    logits = torch.tensor([[0.0, -7.0, -7.0]]).expand(200_000, -1)
    counts = torch.bincount(sample(logits, SamplingConfig(), torch.Generator().manual_seed(1)).ids, minlength=3)
    assert 120 < counts[1] < 250 and 120 < counts[2] < 250  # 182 expected


@pytest.mark.parametrize("temperature", [0, 0.0, 1e-45, 1e-300, 1e-7, 1e-4, 1e30])
def test_no_temperature_crashes(temperature: float) -> None:
    logits = torch.tensor([[1e4, -1e4, 9.9e3, 0.0]])
    ids, logprobs = sample(logits, SamplingConfig(temperature=temperature), torch.Generator().manual_seed(0))
    assert logprobs.isfinite().all()
    if temperature < 1:
        assert ids.tolist() == [0]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_logits_are_summed_in_full_precision(dtype: torch.dtype) -> None:
    logits = torch.linspace(-6, 6, 5000)[None].to(dtype)
    config = SamplingConfig(temperature=0.9, top_p=0.95, min_p=0.001)
    assert torch.equal(sampling_logits(logits, config), sampling_logits(logits.float(), config))


def test_logprobs_belong_to_the_distribution_drawn_from() -> None:
    config = SamplingConfig(temperature=0.6, top_k=3)
    logits = torch.randn(2, 50)
    ids, logprobs = sample(logits, config, torch.Generator().manual_seed(3))
    kept = TopKLogitsWarper(3)(None, TemperatureLogitsWarper(0.6)(None, logits)).log_softmax(-1)
    torch.testing.assert_close(logprobs, kept.gather(1, ids[:, None])[:, 0])
    greedy = sample(logits, GREEDY)
    torch.testing.assert_close(greedy.logprobs, logits.log_softmax(-1).amax(-1))


def test_row_generators_are_repeatable_and_differ() -> None:
    first = {
        (seed, row): torch.rand(2, generator=row_generator(seed, row)).tolist() for seed in (0, 1) for row in (0, 1)
    }
    assert len({tuple(numbers) for numbers in first.values()}) == 4
    assert torch.rand(2, generator=row_generator(1, 0)).tolist() == first[1, 0]
    torch.manual_seed(5)
    unseeded = row_generator(None, 0).initial_seed()
    torch.manual_seed(5)
    assert row_generator(None, 0).initial_seed() == unseeded  # torch.manual_seed applies if there is no other seed


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"temperature": -0.1}, "temperature must be a number, 0 or more"),
        ({"temperature": math.nan}, "temperature"),
        ({"temperature": math.inf}, "temperature"),
        ({"top_k": -1}, "top_k must be a whole number"),
        ({"top_k": 2.5}, "top_k must be a whole number"),
        ({"top_p": 0.0}, "top_p must be a number, above 0 and at most 1"),
        ({"top_p": 1.01}, "at most 1, not 1.01"),
        ({"min_p": -0.1}, "min_p must be a number, 0 or more and at most 1"),
        ({"min_p": 1.5}, "min_p must be"),
        ({"repetition_penalty": 0.0}, "repetition_penalty must be a number, above 0"),
        ({"seed": -1}, "seed must be a whole number, 0 or more, or None, not -1"),
    ],
)
def test_bad_settings_are_refused_with_the_reason(settings: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        SamplingConfig(**settings)


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_logits_that_are_not_finite_are_reported(broken: float) -> None:
    logits = torch.zeros(2, 5)
    logits[1, 3] = broken
    with pytest.raises(GenerationError, match="NaN or infinity"):
        sample(logits, SamplingConfig(), torch.Generator().manual_seed(0))


def test_the_lowest_number_draws_the_first_token_that_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """A filtered token has probability 0: its interval is empty, and even 0.0 does not fall into it."""
    monkeypatch.setattr(torch, "rand", lambda *size, generator=None: torch.zeros(size))
    logits = torch.tensor([[1.0, 2.0, 5.0, 4.0], [5.0, 4.0, 1.0, 2.0]])
    assert sample(logits, SamplingConfig(top_k=2)).ids.tolist() == [2, 0]
