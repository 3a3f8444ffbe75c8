"""PPO: advantages by hand, losses in float64, and a run with a critic that resumes exactly."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from reinforce_kit import Interrupt, config, make_base, make_prompts, make_rollout, many_letters
from training_kit import same_weights

from minimind_lite.config import ConfigError
from minimind_lite.model.losses import token_logprobs
from minimind_lite.model.pretrained import load_pretrained
from minimind_lite.tokenizer import Tokenizer
from minimind_lite.training import ppo
from minimind_lite.training.callbacks import Callback
from minimind_lite.training.loop import Trainer
from minimind_lite.training.options import RunOptions
from minimind_lite.training.policy_gradient import gae, value_loss
from minimind_lite.training.ppo import ActorCritic, PPOLoss, PPOOptions, PPORollout, _moments, run_ppo, token_rewards
from minimind_lite.training.rollouts import read_prompts

LETTERS = [(many_letters, 1.0)]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def prompts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_prompts(tmp_path_factory.mktemp("data") / "sums.jsonl")


def test_gae_by_hand() -> None:
    """Three tokens, reward 1 at the last, values 0.5, 0.6, 0.9, γ = 0.9, λ = 0.5.

    δ₃ = 1 - 0.9 = 0.1; δ₂ = 0.9·0.9 - 0.6 = 0.21; δ₁ = 0.9·0.6 - 0.5 = 0.04;
    A₃ = 0.1; A₂ = 0.21 + 0.45·0.1 = 0.255; A₁ = 0.04 + 0.45·0.255 = 0.15475.
    """
    rewards, values = torch.tensor([[0.0, 0.0, 1.0]]), torch.tensor([[0.5, 0.6, 0.9]])
    found = gae(rewards, values, torch.ones(1, 3, dtype=torch.bool), discount=0.9, lam=0.5)
    torch.testing.assert_close(found, torch.tensor([[0.15475, 0.255, 0.1]]))


def test_the_two_ends_of_lambda() -> None:
    torch.manual_seed(0)
    rewards, values, mask = torch.randn(4, 6), torch.randn(4, 6), torch.ones(4, 6, dtype=torch.bool)
    to_come = rewards.flip(1).cumsum(1).flip(1)
    torch.testing.assert_close(gae(rewards, values, mask, lam=1.0), to_come - values)  # Monte Carlo
    following = torch.cat((values[:, 1:], torch.zeros(4, 1)), dim=1)
    torch.testing.assert_close(gae(rewards, values, mask, lam=0.0), rewards + following - values)  # one step


def test_positions_outside_an_answer_change_nothing() -> None:
    torch.manual_seed(0)
    mask = torch.tensor([[False, False, True, True, True, False]])
    rewards, values = torch.randn(1, 6), torch.randn(1, 6)
    inside = gae(rewards[:, 2:5], values[:, 2:5], mask[:, 2:5])
    around = gae(rewards, values, mask)
    torch.testing.assert_close(around[:, 2:5], inside)
    assert around[~mask].abs().max() == 0


def test_value_loss_by_hand() -> None:
    values, old, returns = torch.tensor([0.9, 0.9, 0.4]), torch.tensor([0.5, 0.5, 0.5]), torch.tensor([1.0, 0.5, 0.4])
    # clipped to 0.7: the larger of (0.9-1)² and (0.7-1)²; of (0.9-0.5)² and (0.7-0.5)²; not held
    torch.testing.assert_close(value_loss(values, old, returns, 0.2), 0.5 * torch.tensor([0.09, 0.16, 0.0]))


def test_the_reward_is_at_the_last_token_and_drifting_from_the_reference_costs_at_each() -> None:
    rollout = make_rollout(torch.tensor([[1.0, 2.0, 3.0]]))
    given = token_rewards(rollout, kl_weight=0.1)
    for row, reward in enumerate(rollout.rewards):
        places = rollout.mask[row].nonzero().flatten().tolist()
        for t in range(given.shape[1]):
            price = float(rollout.old_logprobs[row, t] - rollout.reference_logprobs[row, t])
            expected = (float(reward) if t == places[-1] else 0.0) - 0.1 * price
            assert float(given[row, t]) == pytest.approx(expected if t in places else 0.0, abs=1e-6)


def ppo_rollout() -> PPORollout:
    rollout = make_rollout(torch.tensor([[1.0, 0.0, 0.5, 0.2]]))
    random = torch.Generator().manual_seed(3)
    values, returns, advantages = (torch.randn(rollout.targets.shape, generator=random) * rollout.mask for _ in "123")
    return PPORollout(**vars(rollout), values=values, returns=returns, advantages=advantages)


class Fixed(torch.nn.Module):
    """An ActorCritic that always says the same."""

    def __init__(self, *said: torch.Tensor) -> None:
        super().__init__()
        self.said = said

    def forward(self, *_: object) -> tuple[torch.Tensor, ...]:
        return self.said


def test_one_token_has_no_deviation() -> None:
    mean, std = _moments(torch.tensor([3.0]))
    assert (float(mean), float(std)) == (3.0, 0.0)
    _, std = _moments(torch.tensor([1.0, 3.0]))
    assert float(std) == pytest.approx(2**0.5)


@pytest.mark.parametrize("sizes", [(5, 3), (1, 1), (1, 0)], ids=str)
def test_moments_are_those_of_all_processes(sizes: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    values = torch.randn(sum(sizes), generator=torch.Generator().manual_seed(0))
    here, there = values.split(sizes)
    sent = iter([torch.stack([there.sum(), torch.tensor(float(len(there)))]), ((there - values.mean()) ** 2).sum()])
    monkeypatch.setattr(ppo, "processes", lambda: (0, 2))
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda tensor: tensor.add_(next(sent)))
    mean, std = _moments(here)
    wanted = values.std() if len(values) > 1 else torch.tensor(0.0)
    torch.testing.assert_close((mean, std), (values.mean(), wanted))


def test_the_loss_is_that_of_float64_loops() -> None:
    options, rollout = PPOOptions(value_weight=0.3, value_clip=0.1, clip=0.15, group_size=4), ppo_rollout()
    noise = torch.randn(2, *rollout.targets.shape, generator=torch.Generator().manual_seed(4))
    logprobs = (rollout.old_logprobs + 0.3 * noise[0]) * rollout.mask
    values = (rollout.values + 0.3 * noise[1]) * rollout.mask
    loss = PPOLoss(None, options, LETTERS, torch.nn.Linear(1, 1)).loss(Fixed(logprobs, values), rollout)  # type: ignore[arg-type]
    total = count = 0.0
    for row, t in rollout.mask.nonzero().tolist():
        ratio = math.exp(float(logprobs[row, t]) - float(rollout.old_logprobs[row, t]))
        a, new = float(rollout.advantages[row, t]), float(values[row, t])
        old, wanted = float(rollout.values[row, t]), float(rollout.returns[row, t])
        total -= min(ratio * a, min(max(ratio, 0.85), 1.15) * a)
        held = old + min(max(new - old, -0.1), 0.1)
        total, count = total + 0.3 * 0.5 * max((new - wanted) ** 2, (held - wanted) ** 2), count + 1
    assert float(loss.total) == pytest.approx(total, abs=1e-5) and int(loss.items) == count


def test_the_critic_shares_the_stream_and_starts_at_zero(base: Path, prompts: Path) -> None:
    tokenizer, model = Tokenizer.load(base), load_pretrained(base)
    both = ActorCritic(model)
    rollout = PPOLoss(tokenizer, PPOOptions(max_new_tokens=6), LETTERS, model).answer(
        both, read_prompts(prompts, tokenizer)[:3]
    )
    logprobs, values = both(rollout.input_ids, rollout.targets, 1.0)
    torch.testing.assert_close(logprobs, token_logprobs(model, rollout.input_ids, rollout.targets))
    assert values.abs().max() == 0
    of_answers = rollout.advantages[rollout.mask]
    assert abs(float(of_answers.mean())) < 1e-5 and float(of_answers.std()) == pytest.approx(1, abs=1e-4)


def test_an_interrupted_run_ends_bit_by_bit_like_a_whole_one(tmp_path: Path, base: Path, prompts: Path) -> None:
    class Stop(Callback):
        def after_step(self, trainer: Trainer) -> None:
            if trainer.step == 4:
                raise Interrupt

    settings: Any = {"config": config(), "options": PPOOptions(max_new_tokens=12, custom_rewards=LETTERS)}
    whole = run_ppo(prompts, base, tmp_path / "whole", **settings)
    with pytest.raises(Interrupt):
        run_ppo(prompts, base, tmp_path / "cut", **settings, run=RunOptions(callbacks=[Stop()]))
    resumed = run_ppo(prompts, base, tmp_path / "cut", **settings)
    assert resumed.training.resumed_from == 3  # in the middle of a rollout's two updates
    assert same_weights(whole.model, resumed.model) and not same_weights(whole.model, load_pretrained(base))
    assert same_weights(load_pretrained(tmp_path / "cut"), resumed.model)


def test_reward_rises(tmp_path: Path, base: Path, prompts: Path) -> None:
    options = PPOOptions(group_size=8, max_new_tokens=12, kl_weight=0.0)
    settings = config(total_steps=24, learning_rate=5e-3, micro_batch_size=4)
    done = run_ppo(prompts, base, tmp_path, settings, replace(options, custom_rewards=LETTERS))
    reward = [row["reward"] for row in done.training.history]
    assert sum(reward[-4:]) > 1.5 * sum(reward[:4])


@pytest.mark.parametrize("changes", [{"lam": 1.5}, {"discount": -0.1}, {"clip": 0.0}, {"value_weight": -1.0}])
def test_impossible_options_are_refused(changes: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(changes))):
        PPOOptions(**changes)  # type: ignore[arg-type]
