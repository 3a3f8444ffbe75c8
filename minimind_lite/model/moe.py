"""Mixture of experts: several MLPs in a layer, and a router that sends each token to a few of them.

Choices: no token is ever dropped (no capacity limit) · tokens are sorted by expert, so that each expert runs once on
all of its tokens · probabilities and the weighted sum are fp32 whatever the model's dtype, with no half-precision
buffer to overflow · an expert that no token visits runs on zero rows, and its gradient is zero instead of missing.
Parameter names are Qwen3-MoE's (``mlp.gate``, ``mlp.experts.N``); shared experts sit beside them as in MiniMind2.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minimind_lite.config import BalancePer, ModelConfig
from minimind_lite.model.layers import SwiGLU


class Routing(NamedTuple):
    """What one router decided."""

    probabilities: Tensor  # (batch, seq, experts) fp32: the softmax over all experts
    chosen: Tensor  # (batch, seq, k) int64: the experts each token was sent to, the likeliest first


def routing_weights(probabilities: Tensor, k: int, normalise: bool) -> tuple[Tensor, Tensor]:
    """The k likeliest experts of each token and the weights of their outputs: (weights, chosen), both (tokens, k).

    normalise makes the k weights sum to 1. For k = 1 that weight is 1 whatever the router computes, and its derivative
    is zero: the router would never learn from the loss. So the value is kept, equal to Qwen3-MoE's, but the derivative
    is that of p / constant. The exact fix is ``normalise=False``, which the presets with k = 1 use.
    """
    weights, chosen = probabilities.topk(k, dim=-1)
    if normalise:
        total = weights.sum(dim=-1, keepdim=True)
        weights = weights / (total.detach() if k == 1 else total)
    return weights, chosen


class MixtureOfExperts(nn.Module):
    """``Σ wₑ · expertₑ(x)`` over the k experts that the router chose, plus the shared experts, which are unweighted.

    x: (batch, seq, hidden_size); returns the same shape and dtype. Source: Shazeer et al. 2017 (arXiv 1701.06538),
    section 2, with the softmax before the choice as in Fedus et al. 2021 (arXiv 2101.03961), eq. 1–2; shared experts:
    Dai et al. 2024 (DeepSeekMoE, arXiv 2401.06066), eq. 9.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width, inner = config.hidden_size, config.intermediate_size
        self.experts_per_token, self.normalise = config.num_experts_per_tok, config.norm_topk_prob
        self.gate = nn.Linear(width, config.num_experts, bias=False)
        self.experts = nn.ModuleList(SwiGLU(width, inner) for _ in range(config.num_experts))
        self.shared_experts = nn.ModuleList(SwiGLU(width, inner) for _ in range(config.num_shared_experts))
        self.observed: list[Routing] | None = None  # see recorded_routing

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.reshape(-1, x.shape[-1])
        probabilities = self.gate(tokens).softmax(dim=-1, dtype=torch.float32)  # (tokens, experts)
        weights, chosen = routing_weights(probabilities, self.experts_per_token, self.normalise)
        if self.observed is not None:
            self.observed.append(Routing(probabilities.view(*x.shape[:-1], -1), chosen.view(*x.shape[:-1], -1)))
        outputs = self._visit(tokens, chosen)  # (tokens, k, hidden_size)
        mixed = (weights.unsqueeze(-1) * outputs).sum(dim=1)  # fp32, since the weights are
        for expert in self.shared_experts:
            mixed = mixed + expert(tokens)
        return mixed.to(x.dtype).view(x.shape)

    def _visit(self, tokens: Tensor, chosen: Tensor) -> Tensor:
        """Each chosen expert's output for each token: (tokens, k, hidden_size)."""
        visits = chosen.flatten()  # (tokens · k,): visit v belongs to token v // k
        order = visits.argsort(stable=True)  # all visits to expert 0, then all to expert 1 …
        sizes = visits.bincount(minlength=len(self.experts)).tolist()
        groups = tokens[order // chosen.shape[1]].split(sizes)
        sorted_outputs = torch.cat([expert(group) for expert, group in zip(self.experts, groups, strict=True)])
        return sorted_outputs[order.argsort()].view(*chosen.shape, -1)  # back into the tokens' order


@contextmanager
def recorded_routing(model: nn.Module) -> Iterator[list[Routing]]:
    """Within the block, each pass through an MoE layer of ``model`` adds its Routing to the list, first layer first.

    Recomputed passes (gradient checkpointing) happen in the backward pass, after the block, and are not recorded twice.
    """
    layers = [module for module in model.modules() if isinstance(module, MixtureOfExperts)]
    observed: list[Routing] = []
    for layer in layers:
        layer.observed = observed
    try:
        yield observed
    finally:
        for layer in layers:
            layer.observed = None


def expert_loads(chosen: Tensor, num_experts: int) -> Tensor:
    """The share of visits that goes to each expert: (batch, seq, k) → (batch, num_experts) fp32, rows sum to 1."""
    return F.one_hot(chosen.flatten(1), num_experts).float().mean(dim=1)


def balance_loss(routings: Sequence[Routing], per: BalancePer = "sequence") -> Tensor:
    """Σ over layers of E · Σₑ loadₑ · P̄ₑ, in each sequence (then their mean) or over the whole batch.

    load: the share of visits expert e got, P̄: the mean probability it was given. Only P̄ has a gradient; it lowers the
    probability of experts in proportion to their load. A layer in balance gives 1, one that uses a single expert E.
    "sequence" is MiniMind2's (it wants balance within each text), "batch" MiniMind v3's and Switch Transformer's
    (Fedus et al. 2021, arXiv 2101.03961, eq. 4; here loads sum to 1 also for k > 1).
    """
    layers = []
    for probabilities, chosen in routings:
        experts = probabilities.shape[-1]
        loads, means = expert_loads(chosen, experts), probabilities.mean(dim=1)  # both (batch, experts)
        if per == "batch":
            loads, means = loads.mean(dim=0), means.mean(dim=0)
        layers.append(experts * (loads * means).sum(dim=-1).mean())
    return torch.stack(layers).sum()


def load_entropy(loads: Tensor) -> Tensor:
    """Entropy of the expert loads as a share of its maximum: 1 = all experts equally busy, 0 = one does everything.

    loads: (..., experts), summing to 1. Returns (...). It shows a collapse in one number; the entropy of single
    tokens' probabilities would measure how sure the router is, which is a different thing.
    """
    entropy: Tensor = torch.special.entr(loads).sum(dim=-1)
    return entropy / torch.log(torch.tensor(float(loads.shape[-1])))
