"""Planted for the exercises on chapter 12, DPO."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from checks_kit import plant
from torch import Tensor

from minimind_lite.course.chapters.dpo import checks


def scores(logits: Tensor, ids: Tensor) -> Tensor:
    return logits.log_softmax(-1)[:-1].gather(1, ids[1:, None])[:, 0]


def by_cross_entropy(logits: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
    targets = ids[1:].masked_fill(mask[1:] == 0, -100)
    return -F.cross_entropy(logits[:-1], targets, reduction="sum")


def token_by_token(logits: Tensor, ids: Tensor, mask: Tensor) -> float:
    total = 0.0
    for place in range(1, len(ids)):
        if mask[place]:
            row = logits[place - 1].tolist()
            total += row[int(ids[place])] - math.log(sum(math.exp(one) for one in row))
    return total


def unshifted(logits: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
    return (logits.log_softmax(-1).gather(1, ids[:, None])[:, 0] * mask).sum()


def backwards(logits: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
    return (logits[1:].log_softmax(-1).gather(1, ids[:-1, None])[:, 0] * mask[1:]).sum()


def raw(logits: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
    return (logits[:-1].gather(1, ids[1:, None])[:, 0] * mask[1:]).sum()


plant(
    checks.check_answer_logprob,
    mistakes=[
        (unshifted, "not shifted"),
        (lambda x, ids, mask: (scores(x, ids) * mask[:-1]).sum(), "off by one"),
        (lambda x, ids, mask: scores(x, ids).sum(), "the mask is not used"),
        (lambda x, ids, mask: scores(x, ids)[: int(mask.nonzero()[-1])].sum(), "only the padding is left out"),
        (lambda x, ids, mask: (scores(x, ids) * mask[1:])[int(mask.argmax()) :].sum(), "first token of the answer"),
        (lambda x, ids, mask: (scores(x, ids)[:, None] * mask[1:]).sum(), "into a square"),
        (lambda x, ids, mask: scores(x, ids)[mask[1:]].sum(), "as an index"),
        (backwards, "shifted the wrong way"),
        (lambda x, ids, mask: (scores(x, ids) * (mask[1:] == 0)).sum(), "the mask is inverted"),
        (lambda x, ids, mask: (x[:-1].log_softmax(-1)[:, ids[1:]] * mask[1:]).sum(), "asked about every token"),
        (lambda x, ids, mask: (scores(x, ids) * mask[1:]).sum().exp(), "that is a probability"),
        (lambda x, ids, mask: (scores(x, ids) * mask[1:]).mean(), "masked ones too"),
        (lambda x, ids, mask: (x[:-1].log_softmax(0).gather(1, ids[1:, None])[:, 0] * mask[1:]).sum(), "the places"),
        (lambda x, ids, mask: (scores(x, ids) * mask[1:]).sum() / mask.sum(), "that is the mean"),
        (lambda x, ids, mask: (scores(x, ids).exp() * mask[1:]).sum(), "probabilities that you add"),
        (raw, "log_softmax"),
        (lambda x, ids, mask: -(scores(x, ids) * mask[1:]).sum(), "this is a loss"),
    ],
    alternatives=[by_cross_entropy, token_by_token],
)


def margins(policy: Tensor, reference: Tensor) -> Tensor:
    return (policy[:, 0] - reference[:, 0]) - (policy[:, 1] - reference[:, 1])


def dpo(policy: Tensor, reference: Tensor, beta: float) -> Tensor:
    return -F.logsigmoid(beta * margins(policy, reference)).mean()


def as_two_classes(policy: Tensor, reference: Tensor, beta: float) -> Tensor:
    """A choice between two answers, whose scores are their rewards."""
    return F.cross_entropy(beta * (policy - reference), torch.zeros(len(policy), dtype=torch.long))


def by_floats(policy: Tensor, reference: Tensor, beta: float) -> Tensor:
    losses = [math.log(1 + math.exp(-beta * m)) for m in margins(policy, reference).tolist()]
    return torch.tensor(losses).mean()


def rows_for_columns(policy: Tensor, reference: Tensor, beta: float) -> Tensor:
    gain = policy - reference
    return -F.logsigmoid(beta * (gain[0] - gain[1])).mean()


def half_detached(policy: Tensor, reference: Tensor, beta: float) -> Tensor:
    return dpo(torch.stack([policy[:, 0], policy[:, 1].detach()], dim=1), reference, beta)


plant(
    checks.check_dpo_loss,
    mistakes=[
        (lambda p, r, beta: dpo(p.flip(1), r.flip(1), beta), "swapped"),
        (lambda p, r, beta: dpo(p, torch.zeros_like(p), beta), "is not subtracted"),
        (lambda p, r, beta: dpo(p, r, 1.0), "β is missing"),
        (lambda p, r, beta: beta * dpo(p, r, 1.0), "inside the sigmoid"),
        (lambda p, r, beta: len(p) * dpo(p, r, beta), "the sum over the pairs"),
        (lambda p, r, beta: (1 - torch.sigmoid(beta * margins(p, r))).mean(), "logarithm is missing"),
        (lambda p, r, beta: -dpo(p, r, beta), "gets worse"),
        (lambda p, r, beta: -torch.sigmoid(beta * margins(p, r)).mean().log(), "logarithm of a mean"),
        (lambda p, r, beta: -torch.sigmoid(beta * margins(p, r)).log().mean(), "gives infinity"),
        (lambda p, r, beta: -(torch.sigmoid(beta * margins(p, r)) + 1e-8).log().mean(), "cap it"),
        (lambda p, r, beta: -F.logsigmoid((beta * margins(p, r)).clamp(-50, 50)).mean(), "cap it"),
        (by_floats, "no gradient reaches the policy"),
        (half_detached, "is a part of it detached"),
        (lambda p, r, beta: dpo(p, r, 0.1), "what 0.1 gives"),
        (lambda p, r, beta: -F.logsigmoid(beta * margins(p, r)), "one loss for each pair"),
        (lambda p, r, beta: -F.logsigmoid(beta * margins(p, r).mean()), "the mean comes last"),
        (rows_for_columns, "the second pair from the first"),
        (lambda p, r, beta: -F.logsigmoid(beta * (p[:, 0] - r[:, 0] - p[:, 1] - r[:, 1])).mean(), "at the brackets"),
        (lambda p, r, beta: -F.logsigmoid(margins(p, r) / beta).mean(), "divided by β"),
        (lambda p, r, beta: -F.logsigmoid(beta * (p - r)).mean(), "the margin is missing"),
    ],
    alternatives=[as_two_classes, lambda p, r, beta: F.softplus(-beta * margins(p, r)).mean()],
)

plant(
    checks.check_gradient_weight,
    mistakes=[
        (lambda m, beta: torch.sigmoid(-beta * m), "inner derivative"),
        (lambda m, beta: beta * torch.sigmoid(beta * m), "right already"),
        (lambda m, beta: beta * torch.sigmoid(-m), "missing inside"),
        (lambda m, beta: beta * torch.sigmoid(beta * m) * torch.sigmoid(-beta * m), "derivative of the sigmoid"),
        (lambda m, beta: F.softplus(-beta * m), "the loss itself"),
        (lambda m, beta: F.logsigmoid(beta * m), "wanted is its derivative"),
        (lambda m, beta: 0.1 * torch.sigmoid(-0.1 * m), "what 0.1 gives"),
        (lambda m, beta: beta * torch.sigmoid(-beta * m) / len(m), "before the derivative"),
        (lambda m, beta: -beta * torch.sigmoid(-beta * m), "size of the push"),
    ],
    alternatives=[
        lambda m, beta: beta / (1 + (beta * m).exp()),
        lambda m, beta: beta * (1 - torch.tanh(beta * m / 2)) / 2,
    ],
)


def share(rule: Any) -> Any:
    return lambda policy, reference: rule(margins(policy, reference)).double().mean().item()


def counted(policy: Tensor, reference: Tensor) -> float:
    wins = 0.0
    for (p, q), (r, s) in zip(policy.tolist(), reference.tolist(), strict=True):
        gained, other = p - r, q - s
        wins += 1.0 if gained > other else 0.5 if gained == other else 0.0
    return wins / len(policy)


def half_only_alone(policy: Tensor, reference: Tensor) -> float:
    m = margins(policy, reference)
    return 0.5 if (m == 0).all() else (m > 0).double().mean().item()


def ties_of_zeros(policy: Tensor, reference: Tensor) -> float:
    reward = policy - reference
    won = (reward[:, 0] > reward[:, 1]).double()
    return (won + 0.5 * (reward == 0).all(dim=1)).mean().item()


def without_ties(policy: Tensor, reference: Tensor) -> float:
    m = margins(policy, reference)
    return (m[m != 0] > 0).double().mean().item() if m.any() else 0.5


plant(
    checks.check_reward_accuracy,
    mistakes=[
        (share(lambda m: m >= 0), "counted as a win"),
        (share(lambda m: m > 0), "counted as a loss"),
        (half_only_alone, "also among others"),
        (lambda p, r: 0.5 if torch.equal(p, r) else share(lambda m: m >= 0)(p, r), "count as wins"),
        (ties_of_zeros, "they need not be 0"),
        (share(lambda m: (m >= 0.001) + 0.5 * (m.abs() < 0.001)), "small margin"),
        (without_ties, "are left out"),
        (share(lambda m: (m >= 0) + 0.5 * (m == 0)), "as a win already"),
        (lambda p, r: 100 * counted(p, r), "per cent"),
        (lambda p, r: (p[:, 0] > p[:, 1]).double().mean().item(), "an unchanged model seems"),
        (share(lambda m: (1 - m.sign()) / 2), "the sign"),
        (lambda p, r: 0.5 if torch.equal(p, r) else (p[:, 0] > p[:, 1]).double().mean(), "the *change*"),
        (lambda p, r: 0.5 if torch.equal(p, r) else len(p) * counted(p, r), "wanted is a share"),
    ],
    alternatives=[counted, share(lambda m: torch.heaviside(m, torch.tensor(0.5)))],
)


def margin(loss: float, beta: float) -> float:
    return -math.log(math.exp(loss) - 1) / beta


plant(
    checks.check_margin_of_loss,
    mistakes=[
        (lambda loss, beta: margin(loss, 1.0), "β is missing"),
        (lambda loss, beta: margin(loss, 1 / beta), "wrong side"),
        (lambda loss, beta: -margin(loss, beta), "large margin"),
        (lambda loss, beta: -math.log(loss) / beta, "undo the logarithm"),
        (lambda loss, beta: -math.log(math.exp(loss)) / beta, "take the 1 away"),
        (lambda loss, beta: -math.log(1 / (1 + math.exp(-beta * loss))), "the margin at this loss"),
        (lambda loss, beta: (math.log(2) - loss) / beta, "margin of 15.08; you said 4.93"),
    ],
    alternatives=[lambda loss, beta: torch.logit(torch.tensor(-loss).double().exp()) / beta],
)
