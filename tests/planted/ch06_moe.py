"""Planted for the exercises on chapter 06, mixture of experts."""

import torch
import torch.nn.functional as F
from checks_kit import plant
from torch import Tensor

from minimind_lite.course.chapters.moe import checks


def route(scores: Tensor, k: int, finish: str = "") -> Tensor:
    best, where = scores.softmax(-1).topk(k, dim=-1)
    total = best.sum(-1, keepdim=True)
    best = {
        "": best / total if k > 1 else best,
        "always": best / total,
        "raw": best,
        "equal": torch.full_like(best, 1 / k),
        "whole": best / best.sum() if k > 1 else best,
        "average": best / k,
        "again": best.softmax(-1),
        "detached": best.detach() / total.detach() if k > 1 else best.detach(),
        "constant": best / total.detach() if k > 1 else best,
        "straight": best / (total.detach() if k == 1 else total),
    }[finish]
    return torch.zeros_like(scores).scatter(-1, where, best)


def mask(scores: Tensor, k: int) -> Tensor:
    return (scores >= scores.sort(dim=-1, descending=True).values[:, k - 1 : k]).float()


plant(
    checks.check_router,
    mistakes=[
        (lambda s, k: route(s, k, "always"), "divided by itself"),
        (lambda s, k: route(s, k, "straight"), "a trick that works"),
        (lambda s, k: route(s, k, "raw"), "sum to less than 1"),
        (lambda s, k: route(s, k, "equal"), "all visits count the same"),
        (lambda s, k: route(s, k, "whole"), "over all tokens"),
        (lambda s, k: route(s, k, "average"), "divided by k"),
        (lambda s, k: route(s, k, "again"), "second softmax"),
        (lambda s, k: route(s, k, "detached"), "would never learn"),
        (lambda s, k: route(s, k, "constant"), "a sum without a gradient"),
    ],
    alternatives=[
        route,
        lambda s, k: s.softmax(-1) * mask(s, k) if k == 1 else (s + mask(s, k).log()).softmax(-1),  # Σ eᵇ cancels
    ],
)


def balance(shares: Tensor, chosen: Tensor, per: str, slip: str = "") -> Tensor:
    experts = shares.shape[-1]
    visits = F.one_hot(chosen[..., :1] if slip == "first" else chosen, experts).float()
    loads = visits.sum(2) if slip == "tokens" else visits.mean(2)  # (batch, seq, experts)
    loads = loads + shares - shares.detach() if slip == "through" else loads
    means = {"cut": shares.detach(), "loads": loads}.get(slip, shares)
    over = 1 if (per == "sequence") != (slip == "other") else (0, 1)
    each = (loads.mean(over) * means.mean(over)).sum(-1)
    return (1 if slip == "no E" else experts) * (each.sum() if slip == "sum" else each.mean())


def balance_by_counting(shares: Tensor, chosen: Tensor, per: str) -> Tensor:
    losses, experts = [], shares.shape[-1]
    for share, choice in zip(shares, chosen, strict=True) if per == "sequence" else [(shares.flatten(0, 1), chosen)]:
        visits = choice.flatten().tolist()
        losses.append(sum(experts * visits.count(e) / len(visits) * share[:, e].mean() for e in range(experts)))
    return torch.stack(losses).mean()


plant(
    checks.check_balance,
    mistakes=[
        (lambda *a: balance(*a, "other"), "the loss per batch"),
        (lambda s, c, per: balance(s, c, "sequence"), "the loss per sequence"),
        (lambda *a: balance(*a, "no E"), "the factor E is missing"),
        (lambda *a: balance(*a, "tokens"), "your loads sum to k"),
        (lambda *a: balance(*a, "first"), "the first choice alone"),
        (lambda *a: balance(*a, "sum"), "the mean of the sequences"),
        (lambda *a: balance(*a, "loads"), "you multiplied loads by loads"),
        (lambda *a: balance(*a, "cut"), "this loss changes nothing"),
        (lambda *a: balance(*a, "through"), "the gradient for the probabilities is not"),
        (lambda s, c, per: balance(s, c, per) * (int(c.max()) + 1) / s.shape[-1], "whoever was chosen"),
    ],
    alternatives=[balance, balance_by_counting],
)


def expert(x: Tensor, gate: Tensor, up: Tensor, down: Tensor, e: int) -> Tensor:
    return (F.silu(x @ gate[e].T) * (x @ up[e].T)) @ down[e].T


def layer(x: Tensor, router: Tensor, gate: Tensor, up: Tensor, down: Tensor, k: int, slip: str = "") -> Tensor:
    """A loop over experts, with one slip."""
    finish = {"k1": "always", "raw": "raw", "cut": "detached"}.get(slip, "")
    weights, out = route(x @ router.T, len(router) if slip == "every" else k, finish), torch.zeros_like(x)
    for e in range(len(router)):
        rows = weights[:, e].nonzero()[:, 0] if slip not in ("dense", "thrown away") else torch.arange(len(x))
        answer = expert(x[rows], up, gate, down, e) if slip == "swapped" else expert(x[rows], gate, up, down, e)
        answer = answer.nan_to_num() if slip == "thrown away" else answer
        answer = answer if slip == "even" else answer * weights[rows, e, None]
        if slip == "overwritten":
            out[rows] = answer
        else:
            out = out.index_add(0, rows, answer)
    return out


def by_choice(x: Tensor, router: Tensor, *experts_and_k, only: int | None = None) -> Tensor:
    """A loop over the first, second, … choice, whose experts' matrices are gathered for each token."""
    *experts, k = experts_and_k
    weights, chosen = route(x @ router.T, k).topk(k, dim=-1)
    out = torch.zeros_like(x)
    for i in range(k) if only is None else [only]:
        gate, up, down = (one[chosen[:, i]] for one in experts)  # (tokens, …, …)
        inner = F.silu(torch.einsum("td,tid->ti", x, gate)) * torch.einsum("td,tid->ti", x, up)
        out = out + weights[:, i, None] * torch.einsum("ti,tdi->td", inner, down)
    return out


def by_sorting(x: Tensor, router: Tensor, *experts_and_k, back: bool = True) -> Tensor:
    """All visits to expert 0, then to expert 1, …, and back."""
    *experts, k = experts_and_k
    weights, chosen = route(x @ router.T, k).topk(k, dim=-1)
    order = chosen.flatten().argsort(stable=True)
    groups = x[order // k].split(chosen.flatten().bincount(minlength=len(router)).tolist())
    answers = torch.cat([expert(group, *experts, e) for e, group in enumerate(groups)])
    answers = answers[order.argsort()] if back else answers
    return (weights[..., None] * answers.view(*chosen.shape, -1)).sum(1)


plant(
    checks.check_mixture,
    mistakes=[
        (lambda *a: layer(*a, "every"), "every expert answered"),
        (lambda *a: layer(*a, "overwritten"), "an answer is overwritten"),
        (lambda *a: by_choice(*a, only=-1), "only the weakest"),
        (lambda *a: by_choice(*a, only=0), "only the likeliest"),
        (lambda *a: layer(*a, "even"), "without their weights"),
        (lambda *a: layer(*a, "k1"), "the weight is 1"),
        (lambda *a: layer(*a, "raw"), "to be divided by their sum"),
        (lambda *a: layer(*a, "swapped"), "changed places"),
        (lambda *a: by_sorting(*a, back=False), "back in the tokens' order"),
        (lambda *a: layer(*a, "dense"), "a dense model's work"),
        (lambda *a: layer(*a, "thrown away"), "thrown away"),
        (lambda *a: layer(*a, "cut"), "no gradient reaches `router`"),
    ],
    alternatives=[layer, by_choice, by_sorting],
)


def combined(answers: Tensor, owners: Tensor, weights: Tensor, tokens: int, slip: str = "") -> Tensor:
    half = {"half": torch.float16, "bfloat16": torch.bfloat16}.get(slip, torch.float32)
    buffer = half if answers.dtype == torch.float16 else torch.float32
    out = torch.zeros(tokens, answers.shape[1], dtype=buffer)
    for answer, owner, weight in zip(answers, owners.tolist(), weights, strict=True):
        out[owner] += answer.to(buffer) * (1 if slip == "unweighted" else weight)
    if slip == "mean":
        out = out / owners.bincount(minlength=tokens)[:, None].clamp(min=1)
    return out if slip == "wide" else out.to(answers.dtype)


def doubled_index(answers: Tensor, owners: Tensor, weights: Tensor, tokens: int) -> Tensor:
    out = torch.zeros(tokens, answers.shape[1])
    out[owners] += weights[:, None] * answers
    return out.to(answers.dtype)


def products_in_half(answers: Tensor, owners: Tensor, weights: Tensor, tokens: int) -> Tensor:
    out = torch.zeros(tokens, answers.shape[1])
    out.index_add_(0, owners, (weights[:, None] * answers).to(answers.dtype).float())
    return out.to(answers.dtype)


plant(
    checks.check_repaired_combine,
    mistakes=[
        (doubled_index, "written twice, not added twice"),
        (lambda *a: combined(*a, "half"), "becomes infinite"),
        (products_in_half, "before you multiply by the weights"),
        (lambda *a: combined(*a, "bfloat16"), "2048 + 1 is 2048"),
        (lambda *a: combined(*a, "mean"), "that is the mean"),
        (lambda *a: combined(*a, "unweighted"), "the weights are missing"),
        (lambda *a: combined(*a, "wide"), "return the answers' dtype"),
        (lambda a, o, w, t: combined(a, o, w, int(o.max()) + 1), "a row of zeros"),
    ],
    alternatives=[
        combined,
        lambda a, o, w, t: ((torch.arange(t)[:, None] == o) * w @ a.float()).to(a.dtype),  # one matrix product
    ],
)

plant(
    checks.check_awake,
    mistakes=[
        (lambda e, k, t: e * (1 - k / e) ** t, "those who sleep"),
        (lambda e, k, t: 1 - (1 - k / e) ** t, "one expert's chance to wake up"),
        (lambda e, k, t: k * t, "two tokens may visit"),
        (lambda e, k, t: e * (1 - (1 - 1 / e) ** (k * t)), "different ones"),
        (lambda e, k, t: e * (k / e) ** t, "*all* tokens visit"),
        (lambda e, k, t: k, "one token's number"),
        (lambda e, k, t: e / 2, "measured"),
    ],
    alternatives=[
        lambda e, k, t: e - e * ((e - k) / e) ** t,
        lambda e, k, t: sum(k * (1 - k / e) ** i for i in range(t)),  # token after token: k visits to those asleep
    ],
)
