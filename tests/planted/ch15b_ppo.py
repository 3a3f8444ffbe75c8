"""Planted for the exercises on chapter 15b, PPO."""

import math
from typing import Any

import torch
from checks_kit import plant
from torch import Tensor
from torch.nn.functional import pad

from minimind_lite.course.chapters.ppo import checks


def later(values: Tensor) -> Tensor:
    return pad(values[1:], (0, 1))


def by_steps(rewards: Tensor, values: Tensor, gamma: float) -> list[float]:
    found, following = [], 0.0
    for reward, value in zip(reversed(rewards.tolist()), reversed(values.tolist()), strict=True):
        found.append(reward + gamma * following - value)
        following = value
    return found[::-1]


plant(
    checks.check_surprise,
    mistakes=[
        (lambda r, v, g: r + later(v) - v, "γ is missing"),
        (lambda r, v, g: r + later(v) - g * v, "γ multiplies this token's value"),
        (lambda r, v, g: r + g * pad(v[:-1], (1, 0)) - v, "this looks back"),
        (lambda r, v, g: r + g * torch.cat([v[1:], v[-1:]]) - v, "last token's own value"),
        (lambda r, v, g: r + g * v.roll(-1) - v, "as `roll` makes it"),
        (lambda r, v, g: g * later(v) - v, "the reward is missing"),
        (lambda r, v, g: v - g * later(v) - r, "the sign"),
        (lambda r, v, g: r + g * later(v), "this token's value is missing"),
    ],
    alternatives=[by_steps],
)


def gae(
    rewards: Tensor, values: Tensor, mask: Tensor, gamma: float, lam: float, fade: float | None = None,
    clean: bool = True, after: float = 1.0, returns: float = 0.0, cut: bool = True,
) -> Tensor:  # fmt: skip
    """As the chapter's, or with a mistake: another fade, the padding's values kept, γ in δ scaled, values added."""
    values = values * mask if clean else values
    found, carried, following = torch.zeros_like(rewards), torch.zeros(len(rewards)), torch.zeros(len(rewards))
    for t in reversed(range(rewards.shape[1])):
        carried = rewards[:, t] + gamma * after * following - values[:, t]
        carried = carried + (gamma * lam if fade is None else fade) * (found[:, t + 1] if t + 1 < len(found[0]) else 0)
        found[:, t], following = carried, values[:, t]
    return (found + returns * values) * mask if cut else found + returns * (values + 1) * ~mask


def forwards(rewards: Tensor, values: Tensor, mask: Tensor, gamma: float, lam: float) -> Tensor:
    values, carried, found = values * mask, torch.zeros(len(rewards)), []
    delta = rewards + gamma * pad(values[:, 1:], (0, 1)) - values
    for t in range(rewards.shape[1]):
        carried = delta[:, t] + gamma * lam * carried
        found.append(carried)
    return torch.stack(found, dim=1) * mask


def by_a_matrix(rewards: Tensor, values: Tensor, mask: Tensor, gamma: float, lam: float) -> Tensor:
    values = values * mask
    delta = (rewards + gamma * pad(values[:, 1:], (0, 1)) - values) * mask
    gap = torch.arange(mask.shape[1])[None] - torch.arange(mask.shape[1])[:, None]
    weights = torch.where(gap >= 0, (gamma * lam) ** gap.clamp(min=0), 0.0)
    return delta @ weights.T * mask


def leaking(rewards: Tensor, values: Tensor, mask: Tensor, gamma: float, lam: float) -> Tensor:
    return gae(rewards, values, mask, gamma, lam, clean=False)


plant(
    checks.check_gae,
    mistakes=[
        (leaking, "padding's values leak"),
        (lambda r, v, m, g, lam: gae(r, v, m, g, lam, fade=lam), "γ is missing in the recursion"),
        (lambda r, v, m, g, lam: gae(r, v, m, g, lam, fade=g), "λ is missing in the recursion"),
        (lambda r, v, m, g, lam: gae(r, v, m, g, lam, after=1 / g), "γ is missing in δ"),
        (lambda r, v, m, g, lam: gae(r, v, m, g, lam, fade=0.0), "surprises alone"),
        (forwards, "runs forwards"),
        (lambda r, v, m, g, lam: gae(r, v, m, g, lam, returns=1.0), "these are returns"),
        (lambda r, v, m, g, lam: gae(r, v, m, g, lam, returns=1.0, cut=False), "padding behind them"),
    ],
    alternatives=[gae, by_a_matrix],
)


def whiten(advantages: Tensor, mask: Tensor) -> Tensor:
    inside = advantages[mask]
    return (advantages - inside.mean()) / (inside.std() + 1e-6) * mask


def by_counting(advantages: Tensor, mask: Tensor) -> Tensor:
    count = mask.sum()
    mean = (advantages * mask).sum() / count
    centred = (advantages - mean) * mask
    return centred * (centred.square().sum() / (count - 1)).rsqrt()


def each_answer(advantages: Tensor, mask: Tensor) -> Tensor:
    return torch.stack([whiten(row, kept) for row, kept in zip(advantages, mask, strict=True)])


plant(
    checks.check_whiten,
    mistakes=[
        (lambda a, m: (a - a.mean()) / a.std() * m, "padding's zeros were counted"),
        (each_answer, "each answer was whitened by itself"),
        (lambda a, m: (a - a[m].mean()) * m, "deviation is still missing"),
        (lambda a, m: a / a[m].std(), "the mean is still there"),
        (lambda a, m: (a - a[m].mean()) * a[m].std() * m, "multiplied by the standard deviation"),
        (lambda a, m: (a - a[m].mean()) / a[m].var() * m, "divided by the variance"),
        (lambda a, m: (a - a[m].mean()) / a[m].std(), "padding is no longer 0"),
    ],
    alternatives=[whiten, by_counting],
)


def value_loss(new: Tensor, old: Tensor, wanted: Tensor, clip: float) -> Tensor:
    return torch.maximum((new - wanted) ** 2, (old + (new - old).clamp(-clip, clip) - wanted) ** 2) / 2


def by_edges(new: Tensor, old: Tensor, wanted: Tensor, clip: float) -> Tensor:
    held = torch.minimum(torch.maximum(new, old - clip), old + clip)
    return torch.stack([new - wanted, held - wanted]).square().amax(dim=0) * 0.5


def held(new: Tensor, old: Tensor, clip: float) -> Tensor:
    return old + (new - old).clamp(-clip, clip)


plant(
    checks.check_value_loss,
    mistakes=[
        (lambda n, o, w, c: torch.minimum((n - w) ** 2, (held(n, o, c) - w) ** 2) / 2, "the smaller of the two"),
        (lambda n, o, w, c: (held(n, o, c) - w) ** 2 / 2, "clipped error alone"),
        (lambda n, o, w, c: (n - w) ** 2 / 2, "nothing is clipped"),
        (lambda n, o, w, c: 2 * value_loss(n, o, w, c), "the half is missing"),
        (lambda n, o, w, c: torch.maximum((n - w) ** 2, (n.clamp(-c, c) - w) ** 2) / 2, "the value itself"),
        (lambda n, o, w, c: torch.maximum((n - w) ** 2, (o * (n / o).clamp(1 - c, 1 + c) - w) ** 2) / 2, "share of"),
        (lambda n, o, w, c: torch.maximum((n - w).abs(), (held(n, o, c) - w).abs()) / 2, "to be squared"),
        (lambda n, o, w, c: value_loss(n, o, w, c).mean(), "each token's own"),
    ],
    alternatives=[value_loss, by_edges],
)

plant(
    checks.check_align,
    mistakes=[
        (lambda v, p, n: v[:, p : p + n], "one too late"),
        (lambda v, p, n: v[:, :n], "start of the prompt"),
        (lambda v, p, n: v[:, -n:], "last places of the row"),
        (lambda v, p, n: v[:, p - 1 : p + n], "one place too many"),
        (lambda v, p, n: v[:, p - 1 : p + n - 2], "last token's value is missing"),
        (lambda v, p, n: v[:, p - 2 : p + n - 2], "one too early"),
    ],
    alternatives=[lambda v, p, n: v[:, :-1][:, p - 1 :][:, :n] if v.shape[1] > p + n else v[:, p - 1 : p + n - 1]],
)


def whole(number: float) -> int:
    return math.ceil(number - 1e-9)


def by_trying(gamma: float, lam: float) -> int:
    weight, steps = 1.0, 0
    while weight > 0.5 + 1e-9:
        weight, steps = weight * gamma * lam, steps + 1
    return steps


def reach(fade: float) -> Any:
    return math.log(0.5) / math.log(fade)


plant(
    checks.check_horizon,
    mistakes=[
        (lambda g, lam: whole(reach(g)) if g < 1 else math.inf, "λ was left out"),
        (lambda g, lam: whole(reach(lam)), "γ was left out"),
        (lambda g, lam: 1 / (1 - g * lam), "the mean reach"),
        (lambda g, lam: reach(g * lam), "not rounded up"),
        (lambda g, lam: math.floor(reach(g * lam)), "rounded down"),
        (lambda g, lam: 7, "you predicted"),
    ],
    alternatives=[by_trying, lambda g, lam: whole(reach(g * lam))],
)
