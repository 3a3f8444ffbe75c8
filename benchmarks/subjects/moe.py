"""Mixture of experts: forward and backward, and the optimizer's step, against the original's loop over experts.

One micro-batch of full rows, the balance loss in each sequence as in MiniMind2; loss and gradient norm must be equal.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from minimind_lite.config import preset
from minimind_lite.model.losses import next_token_loss
from minimind_lite.model.transformer import Transformer
from minimind_lite.training.optimizer import make_adamw
from minimind_lite.training.options import TrainConfig
from subjects import Run, agree
from subjects.original import Original, masked_loss
from subjects.report import Goal, compare, interleave

PEERS = ("original",)


def forward_backward(model: Transformer, batch: dict[str, Tensor]) -> float:
    """Ours; returns the loss per token."""
    model.zero_grad()
    total, items, *_ = next_token_loss(model, batch)
    (total / items).backward()
    return float(total.detach() / items)


def original_forward_backward(model: Original, batch: dict[str, Tensor]) -> float:
    """The original's; returns the loss per token."""
    model.zero_grad()
    logits, _ = model(batch["input_ids"])
    loss = masked_loss(logits, batch["targets"], torch.ones(batch["targets"].shape)) + model.balance()
    loss.backward()
    return loss.item()


def gradient_norm(model: torch.nn.Module) -> float:
    """Of all parameters together."""
    return float(torch.nn.utils.get_total_norm([one.grad for one in model.parameters() if one.grad is not None]))


def measure(run: Run) -> list[dict[str, Any]]:
    """Tokens a second forward and backward, and updates a second."""
    size, goals = run.amounts, {"forward and backward": 1.0, "optimizer": 2.5} if run.size == "small" else {}
    config = preset(size.moe, router_balance_per="sequence", qk_norm=False)
    torch.manual_seed(0)
    model, original = Transformer(config).train(), Original(config, size.block).train()
    original.load_state_dict(model.state_dict())
    ids = torch.randint(3, config.vocab_size, (size.micro_batch, size.block + 1))
    where = torch.arange(size.block).expand(size.micro_batch, -1)
    batch = {"input_ids": ids[:, :-1], "targets": ids[:, 1:], "position_ids": where,
             "document_ids": torch.zeros_like(where)}  # fmt: skip
    agree("the loss with experts", forward_backward(model, batch), original_forward_backward(original, batch))
    agree("the gradient's norm with experts", gradient_norm(model), gradient_norm(original))
    adamw = make_adamw(model, TrainConfig(learning_rate=1e-6), torch.device("cpu"))
    foreach = torch.optim.AdamW(original.parameters(), lr=1e-6, foreach=True)
    steps: dict[str, Callable[[], object]] = {"ours": adamw.step, "original": foreach.step}
    passes: dict[str, Callable[[], object]] = {
        "ours": lambda: forward_backward(model, batch),
        "original": lambda: original_forward_backward(original, batch),
    }
    rows = []
    for part, arms, unit, amount in (
        ("optimizer", steps, "updates", 1.0),
        ("forward and backward", passes, "positions", float(size.micro_batch * size.block)),
    ):
        goal = Goal("ratio", goals[part]) if goals else None
        times, work = interleave(arms, run), dict.fromkeys(arms, amount)
        rows.append(compare(f"moe {run.size}: {part}", unit, run, times, work, "original", goal=goal))
    return rows
