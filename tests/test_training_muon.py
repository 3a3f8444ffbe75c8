"""Muon: which parameters it gets, its step against the formula, resuming, refusals."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from training_kit import TINY, same_weights, tiny_model, tiny_run

from minimind_lite.config import ConfigError
from minimind_lite.model.lora import LoRAConfig, add_adapter
from minimind_lite.model.transformer import Transformer
from minimind_lite.training.callbacks import Callback, StopTraining
from minimind_lite.training.checkpoint import CheckpointError
from minimind_lite.training.loop import Trainer
from minimind_lite.training.muon import COEFFICIENTS, ITERATIONS, Muon, orthogonalized
from minimind_lite.training.optimizer import hidden_matrices, make_muon, make_optimizer
from minimind_lite.training.options import TrainConfig

CPU = torch.device("cpu")


class StopAt(Callback):
    """End the run after a step, as a user would."""

    def __init__(self, step: int) -> None:
        self.step = step

    def after_step(self, trainer: Trainer) -> None:
        if trainer.step == self.step:
            raise StopTraining


def names_of(model: torch.nn.Module, parameters: list[torch.nn.Parameter]) -> set[str]:
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {names[id(parameter)] for parameter in parameters}


@pytest.mark.parametrize("tied", [True, False])
def test_only_the_matrices_of_layers_are_hidden(tied: bool) -> None:
    model = Transformer(replace(TINY, tie_word_embeddings=tied))
    found = names_of(model, hidden_matrices(model))
    assert found == {name for name, _ in model.named_parameters() if name.endswith("_proj.weight")}
    assert len(found) == 7 * TINY.num_hidden_layers
    model.model.layers[0].requires_grad_(False)
    assert not hidden_matrices(model)


def test_every_parameter_has_one_optimizer() -> None:
    model = Transformer(replace(TINY, tie_word_embeddings=False))
    optimizer = make_muon(model, TrainConfig(embedding_lr_ratio=4.0, weight_decay=0.2), CPU)
    muon, adamw = optimizer.parts["muon"], optimizer.parts["adamw"]
    assert names_of(model, muon.param_groups[0]["params"]) == names_of(model, hidden_matrices(model))
    rest = {
        group["lr_ratio"]: names_of(model, group["params"]) for group in adamw.param_groups if group["lr_ratio"] > 1
    }
    assert rest == {4.0: {"model.embed_tokens.weight"}}
    seen = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    assert len(seen) == len({id(one) for one in seen}) == len(list(model.parameters()))
    assert muon.param_groups[0]["weight_decay"] == 0.2


def test_a_step_levels_the_singular_values_at_the_size_of_an_adamw_step() -> None:
    model = tiny_model()
    optimizer = make_muon(model, TrainConfig(weight_decay=0.0), CPU)
    for group in optimizer.param_groups:
        group["lr"] = 0.01 * group["lr_ratio"]
    matrix, norm = model.model.layers[0].mlp.up_proj.weight, model.model.norm.weight  # (32, 16)
    before, norm_before = matrix.detach().clone(), norm.detach().clone()
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    left, _, right = torch.linalg.svd(matrix.grad, full_matrices=False)
    optimizer.step()
    change = (before - matrix.detach()) / (0.01 * 0.2 * math.sqrt(32))
    values = torch.linalg.svdvals(change)
    assert float(values.min()) > 0.5 and float(values.max()) < 1.4
    assert float((change * (left @ right)).sum() / change.norm() / (left @ right).norm()) > 0.95
    torch.testing.assert_close((norm_before - norm).abs(), torch.full_like(norm, 0.01), rtol=1e-3, atol=1e-6)  # AdamW


@pytest.mark.parametrize("shape", [(8, 8), (3, 24), (24, 3)])
def test_singular_values_follow_the_polynomial_and_vectors_stay(shape: tuple[int, int]) -> None:
    several = torch.randn(4, *shape, dtype=torch.float64)
    left, values, right = torch.linalg.svd(several, full_matrices=False)
    values = values / several.norm(dim=(1, 2))[:, None]
    a, b, c = COEFFICIENTS
    for _ in range(ITERATIONS):
        values = a * values + b * values**3 + c * values**5
    torch.testing.assert_close(orthogonalized(several), left @ torch.diag_embed(values) @ right)
    torch.testing.assert_close(orthogonalized(several)[2], orthogonalized(several[2:3])[0])  # a stack, or one by one
    assert orthogonalized(torch.zeros(1, 2, 3)).tolist() == [[[0.0] * 3] * 2]


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="this torch has no Muon to compare with")
def test_equal_to_the_muon_of_torch_but_for_its_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.Tensor, "bfloat16", torch.Tensor.clone)  # torch's casts to it first of all
    torch.manual_seed(0)
    begin = [torch.randn(6, 6), torch.randn(6, 10), torch.randn(6, 6), torch.randn(10, 6)]
    ours, theirs = ([torch.nn.Parameter(one.clone()) for one in begin] for _ in range(2))
    settings = {"lr": 0.1, "weight_decay": 0.2, "momentum": 0.9}
    optimizers = Muon(ours, **settings), torch.optim.Muon(theirs, **settings, adjust_lr_fn="match_rms_adamw")
    for _ in range(3):
        for mine, other in zip(ours, theirs, strict=True):
            mine.grad = torch.randn_like(mine)
            other.grad = mine.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    for mine, other, first in zip(ours, theirs, begin, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-5)
        assert (mine - first).norm() > 0.1


def test_a_parameter_without_a_gradient_stays_and_a_vector_is_refused() -> None:
    one = torch.nn.Parameter(torch.ones(2, 2))
    Muon([one], lr=0.1).step()
    assert one.tolist() == [[1.0, 1.0], [1.0, 1.0]]
    with pytest.raises(ValueError, match=r"this parameter has the shape \(3,\): give it to AdamW"):
        Muon([torch.nn.Parameter(torch.ones(3))], lr=0.1)


def test_a_run_learns_and_resumes_bit_for_bit(tmp_path: Path) -> None:
    whole, result = tiny_run(tmp_path / "whole", optimizer="muon")
    assert result.history[-1]["loss"] < result.history[0]["loss"]
    tiny_run(tmp_path / "parts", optimizer="muon", callbacks=[StopAt(10)])
    resumed, later = tiny_run(tmp_path / "parts", optimizer="muon")
    assert later.resumed_from == 10 and same_weights(whole, resumed)
    other, _ = tiny_run(tmp_path / "adamw")
    assert not same_weights(whole, other)
    with pytest.raises(CheckpointError, match=r"config\.optimizer: 'adamw' then, 'muon' now"):
        tiny_run(tmp_path / "adamw", optimizer="muon")


def test_adapters_alone_need_no_adamw() -> None:
    model = tiny_model()
    add_adapter(model, LoRAConfig(rank=2))
    assert list(make_muon(model, TrainConfig(), CPU).parts) == ["muon"]


def test_a_model_without_matrices_to_train_is_refused() -> None:
    model = tiny_model().requires_grad_(False)
    model.model.norm.weight.requires_grad_(True)
    with pytest.raises(ConfigError, match="finds no matrix of a layer that is trained; choose optimizer 'adamw'"):
        make_optimizer(model, TrainConfig(optimizer="muon"), CPU)


def test_an_unknown_optimizer_is_refused() -> None:
    with pytest.raises(ConfigError, match="optimizer"):
        TrainConfig(optimizer="sgd")  # type: ignore[arg-type]
