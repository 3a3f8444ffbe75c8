"""What a stage gives to the loop: a loss function, as a sum and a number of items."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

from torch import Tensor, nn

from minimind_lite.model.attention import document_mask
from minimind_lite.model.moe import balance_loss, recorded_routing


class Loss(NamedTuple):
    """What a loss function returns; a plain ``(total, items)`` does as well."""

    total: Tensor  # summed over the items, differentiable
    items: Tensor | int  # how many were summed: trained tokens, or pairs
    extras: Mapping[str, Tensor] = MappingProxyType({})  # more sums over the same items, logged as extras / items


class LossFn(Protocol):
    """(model, batch) → Loss. A reference model, a teacher or a reward belongs into the function's closure."""

    def __call__(self, model: Any, batch: Any) -> tuple[Any, ...]: ...


def next_token_loss(model: Any, batch: dict[str, Tensor], token_weights: Tensor | None = None) -> tuple[Any, ...]:
    """Cross-entropy on the trained positions of a packed batch (``data.packing.PackedDataset``), documents apart.

    Returns (total, items). While a model with experts is in training, coefficient · balance loss joins the total, times
    the items, so that it is still there once after the loop has divided; extras carry the balance loss alone.
    A held-out loss never has it: it would not be a loss of language. token_weights: as ``Transformer.loss`` takes them.
    """
    mask = document_mask(batch["document_ids"])
    with recorded_routing(model) as routings:
        total, items = model.loss(
            batch["input_ids"], batch["targets"], position_ids=batch["position_ids"], attention_mask=mask,
            token_weights=token_weights,
        )  # fmt: skip
    if not (routings and model.training):
        return total, items
    balance = balance_loss(routings, model.config.router_balance_per) * items
    return Loss(total + model.config.router_aux_loss_coef * balance, items, {"balance_loss": balance.detach()})


class ModelWithLoss(nn.Module):
    """Model and loss function as one forward pass.

    DDP hooks the forward pass of what it wraps, and autocast covers it: a loss computed beside it, through
    ``.module``, would train every process on its own.
    """

    def __init__(self, model: nn.Module, loss_fn: LossFn) -> None:
        super().__init__()
        self.model = model
        self._loss_fn = [loss_fn]  # in a list: a module in there (a reference model) is not ours to train

    def forward(self, batch: Any) -> Loss:
        return Loss(*self._loss_fn[0](self.model, batch))
