"""The arithmetic of reinforcement learning on answers: advantages, clipped objectives, the KL estimator, averaging.

All tensors are (answers, tokens) fp32 unless said otherwise; ``mask`` is True on the tokens that the model wrote.
ratio = π(token) / π_old(token), where π_old is the distribution that was actually sampled from.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Average = Literal["sequence", "token", "constant"]


@dataclass(frozen=True)
class Objective:
    """What sets one paper's objective apart."""

    average: Average  # over each answer and then over answers; over all tokens; or a sum over a constant length
    scale_by_std: bool  # advantages in units of the group's standard deviation
    clip_low: float  # the ratio is clipped below at 1 - clip_low …
    clip_high: float  # … and above at 1 + clip_high
    detached: bool = False  # the clipped ratio is only a weight of the log-probability's gradient


OBJECTIVES = {
    "grpo": Objective("sequence", True, 0.2, 0.2),  # Shao et al. 2024, DeepSeekMath, eq. 3, arXiv 2402.03300
    "dr_grpo": Objective("constant", False, 0.2, 0.2),  # Liu et al. 2025, section 3.2, arXiv 2503.20783
    "dapo": Objective("token", True, 0.2, 0.28),  # Yu et al. 2025, clip-higher and token-level loss, arXiv 2503.14476
    "cispo": Objective("token", True, 1.0, 4.0, True),  # MiniMax 2025, eq. 4 and 5, arXiv 2506.13585; MiniMind's cap
}


def group_advantages(rewards: Tensor, scale_by_std: bool = True) -> Tensor:
    """How much better each answer is than its group's average: (groups, group_size) in and out.

    A group of equal rewards does not show what is better: exactly 0. The standard deviation is the sample's
    (n - 1) with 1e-4 added, as in TRL. Source: Shao et al. 2024, section 4.1.2.
    """
    advantages = rewards - rewards.mean(dim=1, keepdim=True)
    if scale_by_std:
        advantages = advantages / (rewards.std(dim=1, keepdim=True) + 1e-4)
    return advantages.masked_fill(all_equal(rewards)[:, None], 0.0)


def all_equal(rewards: Tensor) -> Tensor:
    """(groups, group_size) → (groups,) bool: the groups in which there is nothing to prefer."""
    return rewards.amax(dim=1) == rewards.amin(dim=1)


def k3(logprobs: Tensor, reference_logprobs: Tensor) -> Tensor:
    """Estimates KL(π ‖ reference) in nats from tokens drawn from π: unbiased, never negative. Schulman 2020."""
    log_ratio = reference_logprobs - logprobs
    return log_ratio.exp() - log_ratio - 1


def clipped_loss(logprobs: Tensor, old_logprobs: Tensor, advantages: Tensor, objective: Objective) -> Tensor:
    """The loss of every token; advantages: (answers, 1), or one for each token.

    PPO's pessimistic minimum (Schulman et al. 2017, eq. 7): moving the ratio past the clip earns nothing more. With
    ``detached`` (CISPO) every token keeps its gradient, and the clip only bounds its weight.
    """
    ratio = (logprobs - old_logprobs).exp()
    clipped = ratio.clamp(1 - objective.clip_low, 1 + objective.clip_high)
    if objective.detached:
        return -clipped.detach() * advantages * logprobs
    return -torch.minimum(ratio * advantages, clipped * advantages)


def summed(values: Tensor, mask: Tensor, average: Average, constant: int) -> tuple[Tensor, Tensor]:
    """(sum, items) whose quotient is the named average; sums and items of several batches may be added up.

    sequence: each answer's mean counts once, so a long answer's token weighs less. token: every token weighs the same.
    constant: tokens are summed and divided by ``constant``, so length changes nothing (Liu et al. 2025, section 3.1).
    """
    values, lengths = values * mask, mask.sum(dim=1)
    if average == "token":
        return values.sum(), lengths.sum()
    divisor = lengths.clamp(min=1) if average == "sequence" else constant
    return (values.sum(dim=1) / divisor).sum(), (lengths > 0).sum()


def gae(rewards: Tensor, values: Tensor, mask: Tensor, discount: float = 1.0, lam: float = 0.95) -> Tensor:
    """Generalised advantage estimation: δₜ = rₜ + γVₜ₊₁ - Vₜ, Aₜ = δₜ + γλAₜ₊₁; past the last token all is 0.

    In each row of mask the True values are consecutive and may start and end anywhere.
    Source: Schulman et al. 2016, eq. 16, arXiv 1506.02438.
    """
    advantages = torch.zeros_like(rewards)
    following = next_value = torch.zeros_like(rewards[:, 0])
    for t in reversed(range(rewards.shape[1])):
        delta = rewards[:, t] + discount * next_value - values[:, t]
        following = torch.where(mask[:, t], delta + discount * lam * following, 0.0)
        next_value = torch.where(mask[:, t], values[:, t], 0.0)
        advantages[:, t] = following
    return advantages


def value_loss(values: Tensor, old_values: Tensor, returns: Tensor, clip: float) -> Tensor:
    """Half the squared error of every token's value, or of that value clipped near the old one, if that is larger.

    Source: Schulman et al. 2017 with the clip of its public code, as in TRL's PPO.
    """
    held = old_values + (values - old_values).clamp(-clip, clip)
    return 0.5 * torch.maximum((values - returns) ** 2, (held - returns) ** 2)
