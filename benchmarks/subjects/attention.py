"""Attention over long packed rows: many documents in a row, against one text of its length and a dense mask.

Positions a second, forward and backward, through as many layers as the model has. What keeps the documents apart is
what `next_token_loss` hands to the model, made once for all layers, and the time for making it counts.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from minimind_lite.config import ModelConfig
from minimind_lite.model.attention import attend, document_mask
from minimind_lite.model.losses import next_token_loss
from subjects import Run, Size, agree
from subjects.report import Goal, compare, interleave

PEERS = ("causal", "mask")  # one long text; every document kept apart by a (seq, seq) mask
GOALS = {"causal": 1.0}


@dataclass(frozen=True)
class Layers:
    """Stands in for a model: attention alone, once per layer, on queries, keys and values that are given."""

    config: ModelConfig
    queries: Tensor  # (1, heads, seq, head_dim)
    keys: Tensor  # (1, kv_heads, seq, head_dim)
    values: Tensor

    def loss(
        self,
        input_ids: Tensor,
        targets: Tensor,
        *,
        position_ids: Tensor | None = None,
        attention_mask: Any = None,
        token_weights: Tensor | None = None,
    ) -> tuple[Tensor, int]:
        """The outputs' sum of squares over all layers. Takes what `Transformer.loss` takes, and uses the mask alone."""
        mixed = [
            attend(self.queries, self.keys, self.values, attention_mask) for _ in range(self.config.num_hidden_layers)
        ]
        return torch.stack([one.square().sum() for one in mixed]).sum(), targets.numel()

    def gradient(self, total: Tensor) -> float:
        """Backward; returns the norm of the gradients for queries, keys and values together."""
        return float(torch.nn.utils.get_total_norm(torch.autograd.grad(total, (self.queries, self.keys, self.values))))


def draw_layers(config: ModelConfig, length: int) -> Layers:
    """Random queries, keys and values."""
    heads = (config.num_attention_heads, config.num_key_value_heads, config.num_key_value_heads)
    return Layers(config, *(torch.randn(1, one, length, config.head_dim, requires_grad=True) for one in heads))


def draw_row(size: Size) -> dict[str, Tensor]:
    """A row full of documents as long as the training subject's: 12 to 74 % of a block."""
    shortest, longest = round(0.12 * size.block), round(0.74 * size.block)
    lengths = torch.randint(shortest, longest + 1, (size.long_row // shortest + 1,))
    document_ids = torch.arange(len(lengths)).repeat_interleave(lengths)[None, : size.long_row]
    return dict.fromkeys(("input_ids", "targets", "position_ids", "document_ids"), document_ids)


def measure(run: Run) -> list[dict[str, Any]]:
    """Positions a second against every peer."""
    size = run.amounts
    torch.manual_seed(0)
    layers, row = draw_layers(size.config, size.long_row), draw_row(size)
    found: dict[str, tuple[float, float]] = {}

    def arm(name: str, forward: Callable[[], Tensor]) -> Callable[[], None]:
        def work() -> None:
            total = forward()
            found[name] = float(total.detach()), layers.gradient(total)

        return work

    ids = row["document_ids"]
    forwards: dict[str, Callable[[], Tensor]] = {
        "ours": lambda: next_token_loss(layers, row)[0],
        "causal": lambda: layers.loss(ids, ids)[0],
        "mask": lambda: layers.loss(ids, ids, attention_mask=document_mask(ids))[0],
    }
    times = interleave({name: arm(name, forwards[name]) for name in ("ours", *PEERS)}, run)
    for what, ours, theirs in zip(("the output", "the gradient's norm"), found["ours"], found["mask"], strict=True):
        agree(f"{what} of attention within documents", ours, theirs)
    name, work = f"attention {run.size}: {size.long_row:,} packed positions", dict.fromkeys(times, float(size.long_row))
    documents = int(ids.max()) + 1
    return [
        compare(name, "positions", run, times, work, peer, documents=documents,
                goal=Goal("ratio", GOALS[peer]) if peer in GOALS and run.size != "pico" else None)
        for peer in PEERS
        if peer in run.peers
    ]  # fmt: skip
