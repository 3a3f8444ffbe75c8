"""Proximal policy optimisation: a second head predicts the reward still to come, and answers are judged against it.

GRPO asks a group of answers what to expect; PPO asks a critic, at every token. The critic here is one linear layer on
the policy's own stream, which costs next to nothing. Usually it is a second model as large as the policy, with its own
gradients and optimizer, and that memory is what GRPO saves.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minimind_lite.config import ModelConfig
from minimind_lite.model.losses import Loss, balanced
from minimind_lite.model.moe import recorded_routing
from minimind_lite.model.transformer import IGNORED_TARGET, Transformer
from minimind_lite.settings import Count, NotNegative, Positive, Share
from minimind_lite.training.loop import processes
from minimind_lite.training.options import RunOptions, TrainConfig
from minimind_lite.training.policy_gradient import Objective, clipped_loss, gae, k3, value_loss
from minimind_lite.training.rollouts import (
    Prompt,
    Rollout,
    RolloutLoss,
    RolloutOptions,
    reinforce,
    roll_out,
)
from minimind_lite.training.stage import StageResult


@dataclass(frozen=True)
class PPOOptions(RolloutOptions):
    """PPO's own settings."""

    group_size: Count = 2  # answers to each prompt; PPO needs no more than one
    updates_per_rollout: Count = 2  # steps that learn from the same answers
    clip: Positive = 0.2  # how far the ratio may move from 1
    value_clip: Positive = 0.2  # how far a value may move from the one at the rollout
    value_weight: NotNegative = 0.5  # weight of the value loss, which is added to the policy's
    discount: Share = 1.0  # what a reward one token later is worth
    lam: Share = 0.95  # GAE: 0 trusts the critic, 1 trusts only the rewards


class ActorCritic(nn.Module):
    """A language model and, on its last hidden states, a value for each position; the value starts at 0 everywhere."""

    def __init__(self, policy: Transformer) -> None:
        super().__init__()
        self.policy = policy
        self.value_head = nn.Linear(policy.config.hidden_size, 1)
        nn.init.zeros_(self.value_head.weight)
        nn.init.zeros_(self.value_head.bias)

    @property
    def config(self) -> ModelConfig:
        """The policy's shape."""
        return self.policy.config

    def forward(self, input_ids: Tensor, targets: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
        """(log-probabilities, values), each (batch, seq) and 0 where the target is -100.

        The value at a position judges the text before its target, so it does not know what will be written.
        """
        trained = targets != IGNORED_TARGET
        hidden = self.policy.hidden_states(input_ids)[trained]  # (trained, hidden_size)
        logits = self.policy.logits(hidden).float() / temperature
        picked = -F.cross_entropy(logits, targets[trained], reduction="none")
        empty = picked.new_zeros(targets.shape)
        values = self.value_head(hidden).float().squeeze(1)
        return empty.masked_scatter(trained, picked), empty.masked_scatter(trained, values)


@dataclass(frozen=True)
class PPORollout(Rollout):
    """Answers with the critic's estimates, (rows, tokens)."""

    values: Tensor
    returns: Tensor  # what the values should have been
    advantages: Tensor  # mean 0 and standard deviation 1 over all tokens


class PPOLoss(RolloutLoss):
    """PPO as a loss function of the loop; the model is an ActorCritic, the items are tokens."""

    rollout_type = PPORollout

    @torch.no_grad()
    def answer(self, model: ActorCritic, batch: list[Prompt]) -> PPORollout:
        options = self.options
        rollout = roll_out(model.policy, self.tokenizer, batch, options, self.rewards, self.reference)
        _, values = model(rollout.input_ids, rollout.targets, options.temperature)
        rewards = token_rewards(rollout, options.kl_weight)
        advantages = gae(rewards, values, rollout.mask, options.discount, options.lam)
        mean, std = _moments(advantages[rollout.mask])
        scaled = (advantages - mean) / (std + 1e-8) * rollout.mask
        return PPORollout(**vars(rollout), values=values, returns=advantages + values, advantages=scaled)

    def loss(self, model: ActorCritic, rollout: PPORollout) -> Loss:
        options, mask = self.options, rollout.mask
        with recorded_routing(model) as routings:
            logprobs, values = model(rollout.input_ids, rollout.targets, options.temperature)
        objective = Objective("token", False, options.clip, options.clip)
        policy = clipped_loss(logprobs, rollout.old_logprobs, rollout.advantages, objective)
        critic = value_loss(values, rollout.values, rollout.returns, options.value_clip)
        kl = k3(logprobs, rollout.reference_logprobs)
        items = mask.sum()
        extras = self.measured(rollout, kl=kl[mask], value_loss=critic[mask], policy_loss=policy[mask])
        total = ((policy + options.value_weight * critic) * mask).sum()
        return balanced(Loss(total, items, extras), model, routings)


def _moments(values: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and sample standard deviation of ``values`` (n,) over all processes; a single value deviates by 0."""
    if processes()[1] == 1:
        return values.mean(), values.std() if len(values) > 1 else torch.zeros_like(values.sum())
    first = torch.stack([values.sum(), values.new_tensor(len(values))])
    torch.distributed.all_reduce(first)
    mean = first[0] / first[1]
    squares = ((values - mean) ** 2).sum()
    torch.distributed.all_reduce(squares)
    return mean, (squares / (first[1] - 1).clamp(min=1)).sqrt()


def token_rewards(rollout: Rollout, kl_weight: float) -> Tensor:
    """The reward at the last token of each answer, and at every token a penalty for drifting from the reference.

    The penalty is log π_old - log π_ref, whose mean over answers is the KL divergence. Source: Ouyang et al. 2022,
    eq. 2.
    """
    mask = rollout.mask
    last = mask & (mask.cumsum(dim=1) == mask.sum(dim=1, keepdim=True))
    return rollout.rewards[:, None] * last - kl_weight * (rollout.old_logprobs - rollout.reference_logprobs)


def run_ppo(
    data: str | Path,
    base: str | Path,
    output_dir: str | Path,
    config: TrainConfig,
    options: PPOOptions = PPOOptions(),
    run: RunOptions = RunOptions(),
) -> StageResult:
    """Like ``grpo.run_grpo``, but with PPO. Only checkpoints hold the critic; the folder holds the language model."""
    return reinforce(PPOLoss, data, base, output_dir, config, options, run, critic=ActorCritic)
