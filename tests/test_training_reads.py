"""How often a step and an evaluation read from the device, and that an infinite loss is noticed all the same."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from training_kit import tiny_data, tiny_model, tiny_run

from minimind_lite.model.losses import Loss, next_token_loss
from minimind_lite.training.loop import Trainer, TrainingDiverged
from minimind_lite.training.options import TrainConfig


class Reads(TorchDispatchMode):
    """Counts the numbers that leave a tensor: on a GPU each of them waits for everything queued before it."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        reads = (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.is_nonzero.default)
        self.count += func in reads and args[0].is_floating_point()  # the data loader's seed is an integer
        return func(*args, **(kwargs or {}))


def norm_sum(model: torch.nn.Module, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, int]:
    """A loss that reads nothing from its tensors: 16 a row, while the last norm's 16 weights are 1."""
    return model.model.norm.weight.sum() * len(batch["targets"]), len(batch["targets"])


@pytest.mark.parametrize("max_grad_norm", [0.0, 0.01])
def test_a_step_reads_its_figures_from_the_device_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, max_grad_norm: float
) -> None:
    def loss(model: torch.nn.Module, batch: dict[str, torch.Tensor]) -> Loss:
        return Loss(*norm_sum(model, batch), {"a": torch.ones(()), "b": torch.ones(2)})

    config = TrainConfig(total_steps=1, micro_batch_size=2, max_grad_norm=max_grad_norm, device="cpu", progress=False,
                         gradient_accumulation_steps=3)  # fmt: skip
    trainer = Trainer(tiny_model(), tiny_data(20), config, tmp_path, loss)
    ((step, batches),) = trainer.order.batches(trainer.train_data, 0, 1)
    whole: list[torch.Tensor] = []
    read = torch.Tensor.tolist
    monkeypatch.setattr(torch.Tensor, "tolist", lambda self: (whole.append(self), read(self))[1])
    with Reads() as reads:
        assert trainer._train_step(step, batches)["b"] == 1
    figures = [one.numel() for one in whole if one.is_floating_point()]  # the others are the data order's indices
    assert figures == [2 + 1 + 2 + 1]  # loss and items, the extras, the norm
    assert reads.count == 0
    with Reads() as reads:
        float(torch.ones(()))
    assert reads.count == 1


def test_an_infinite_loss_with_finite_gradients_stops_the_run_too(tmp_path: Path) -> None:
    def infinite(model: torch.nn.Module, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        total, items = next_token_loss(model, batch)
        return total + float("inf"), items

    with pytest.raises(TrainingDiverged, match="step 1: the loss diverged"):
        tiny_run(tmp_path, loss_fn=infinite)


def test_an_evaluation_reads_its_losses_at_the_end(tmp_path: Path) -> None:
    config = TrainConfig(total_steps=1, micro_batch_size=2, device="cpu", progress=False)
    trainer = Trainer(tiny_model(), tiny_data(20), config, tmp_path, norm_sum, tiny_data(20, seed=1))
    with Reads() as reads:
        assert trainer.evaluate() == {"eval_loss": 16.0}
    assert reads.count == 0
