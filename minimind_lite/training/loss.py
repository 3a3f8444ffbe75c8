"""What a stage gives to the loop: a loss function, as a sum and a number of items."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

from torch import Tensor, nn

from minimind_lite.model.attention import document_mask


class Loss(NamedTuple):
    """What a loss function returns; a plain ``(total, items)`` does as well."""

    total: Tensor  # summed over the items, differentiable
    items: Tensor | int  # how many were summed: trained tokens, or pairs
    extras: Mapping[str, Tensor] = MappingProxyType({})  # more sums over the same items, logged as extras / items


class LossFn(Protocol):
    """(model, batch) → Loss. A reference model, a teacher or a reward belongs into the function's closure."""

    def __call__(self, model: Any, batch: Any) -> tuple[Any, ...]: ...


def next_token_loss(model: Any, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Cross-entropy on the trained positions of a packed batch (``data.packing.PackedDataset``), documents apart."""
    mask = document_mask(batch["document_ids"])
    return model.loss(batch["input_ids"], batch["targets"], position_ids=batch["position_ids"], attention_mask=mask)


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
