"""Losses and log-probabilities: what a model is trained on, and what an evaluation measures.

A training loss is a *sum* over items together with their number, never a mean: the loop divides by the items of a whole
step, so every token counts the same however unequal the micro-batches are.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, Protocol

import torch.nn.functional as F
from torch import Tensor

from minimind_lite.model.attention import packed_mask
from minimind_lite.model.moe import Routing, balance_loss, recorded_routing
from minimind_lite.model.transformer import IGNORED_TARGET

Direction = Literal["forward", "reverse"]  # of the KL divergence: from the teacher, or from the student
PreferenceLoss = Literal["sigmoid", "sigmoid_norm", "ipo"]  # TRL's names


class Loss(NamedTuple):
    """What a loss function returns; a plain ``(total, items)`` works as well."""

    total: Tensor  # summed over the items, differentiable
    items: Tensor | int  # how many were summed: trained tokens, or pairs
    # Logged beside the loss: () tensors are sums over the same items, (2,) tensors a sum and a count of their own.
    extras: Mapping[str, Tensor] = MappingProxyType({})


class LossFn(Protocol):
    """(model, batch) → Loss. A reference model, a teacher or a reward belongs in the function's closure."""

    def __call__(self, model: Any, batch: Any) -> tuple[Any, ...]: ...


def next_token_loss(
    model: Any, batch: dict[str, Tensor], token_weights: Tensor | Callable[[Tensor], Tensor] | None = None
) -> tuple[Any, ...]:
    """Cross-entropy on the trained positions of a packed batch (``data.packing.PackedDataset``), documents isolated.

    Returns (total, items), and extras with the balance loss while a model with experts is in training. A held-out loss
    never includes it: it says nothing about language. token_weights: as in ``Transformer.loss``, or a
    function that makes them of the targets.
    """
    weights = token_weights(batch["targets"]) if callable(token_weights) else token_weights
    mask = packed_mask(batch["document_ids"])
    with recorded_routing(model) if model.config.num_experts else nullcontext() as routings:
        total, items = model.loss(
            batch["input_ids"], batch["targets"], position_ids=batch["position_ids"], attention_mask=mask,
            token_weights=weights,
        )  # fmt: skip
    return balanced(Loss(total, items), model, routings) if routings and model.training else (total, items)


def balanced(loss: Loss, model: Any, routings: Sequence[Routing]) -> Loss:
    """``loss`` with the balance loss of the passes that ``recorded_routing`` noted, while ``model`` is in training.

    coefficient · balance loss · items is added to the total, so that coefficient · balance loss is left once the loop
    has divided; extras get the balance loss alone. Without experts nothing is added. Every stage's loss comes through
    here: experts that were balanced in pretraining collapse as easily in any later stage.
    """
    if not (routings and model.training):
        return loss
    balance = balance_loss(routings, model.config.router_balance_per) * loss.items
    total = loss.total + model.config.router_aux_loss_coef * balance
    return Loss(total, loss.items, {**loss.extras, "balance_loss": balance.detach()})


def token_logprobs(model: Any, input_ids: Tensor, targets: Tensor, temperature: float = 1.0) -> Tensor:
    """log p(target | what comes before) in nats, (batch, seq) fp32; 0 where the target is -100.

    input_ids, targets: (batch, seq) as ``data.packing.pad_documents`` makes them, targets already shifted. temperature
    divides the logits, as in sampling. The head runs on the trained positions only.
    """
    trained = targets != IGNORED_TARGET
    logits = model.logits(model.hidden_states(input_ids)[trained]).float() / temperature  # (trained, vocab_size)
    picked = -F.cross_entropy(logits, targets[trained], reduction="none")
    return picked.new_zeros(targets.shape).masked_scatter(trained, picked)


def pair_logprobs(model: Any, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Summed log-probabilities of both answers of each pair, in nats, and their tokens: each (pairs, 2).

    The batch holds the chosen answers in the first half of its rows, then the rejected ones.
    """
    summed = token_logprobs(model, batch["input_ids"], batch["targets"]).sum(dim=1)  # (2 * pairs,)
    lengths = (batch["targets"] != IGNORED_TARGET).sum(dim=1)
    return summed.view(2, -1).T, lengths.view(2, -1).T


def preference_loss(
    policy: Tensor, reference: Tensor, lengths: Tensor, beta: float, loss_type: PreferenceLoss = "sigmoid"
) -> Tensor:
    """The loss of each pair, (pairs,).

    policy, reference: (pairs, 2) summed log-probabilities of the chosen and the rejected answer, nats.
    lengths: (pairs, 2) their tokens. sigmoid: Rafailov et al. 2023, eq. 7, arXiv 2305.18290. sigmoid_norm: the same on
    means over tokens (MiniMind2's; Meng et al. 2024, arXiv 2405.14734, argue for it). ipo: Azar et al. 2023, eq. 17,
    arXiv 2310.12036, on means, as its authors run it: there is no logarithm that a confident pair could drive to
    infinity.
    """
    ratios = policy - reference  # (pairs, 2)
    if loss_type != "sigmoid":
        ratios = ratios / lengths
    margin = ratios[:, 0] - ratios[:, 1]
    if loss_type == "ipo":
        return (margin - 1 / (2 * beta)) ** 2
    return -F.logsigmoid(beta * margin)


def kl_divergence(
    student: Tensor, teacher: Tensor, temperature: float = 1.0, direction: Direction = "forward"
) -> Tensor:
    """KL in nats between the softened distributions, for each position: (..., vocab_size) twice → (...).

    forward is Σ p_teacher · (log p_teacher − log p_student), reverse has the two swapped; softmax and sum run over the
    vocabulary, the last axis. Gradients flow to both arguments. Source: Hinton et al. 2015 (arXiv 1503.02531), section
    2.
    """
    ours, theirs = ((logits / temperature).log_softmax(dim=-1) for logits in (student, teacher))
    first, second = (theirs, ours) if direction == "forward" else (ours, theirs)
    return (first.exp() * (first - second)).sum(dim=-1)
