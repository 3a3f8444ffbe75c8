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
from minimind_lite.training.optimizer import hidden_matrices, make_muon, make_optimizer
from minimind_lite.training.options import TrainConfig

needs_muon = pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="this torch has no Muon")
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


@needs_muon
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


@needs_muon
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


@needs_muon
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


@needs_muon
def test_adapters_alone_need_no_adamw() -> None:
    model = tiny_model()
    add_adapter(model, LoRAConfig(rank=2))
    assert list(make_muon(model, TrainConfig(), CPU).parts) == ["muon"]


@needs_muon
def test_a_model_without_matrices_to_train_is_refused() -> None:
    model = tiny_model().requires_grad_(False)
    model.model.norm.weight.requires_grad_(True)
    with pytest.raises(ConfigError, match="finds no matrix of a layer that is trained; choose optimizer 'adamw'"):
        make_optimizer(model, TrainConfig(optimizer="muon"), CPU)


def test_a_torch_without_muon_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.optim, "Muon", raising=False)
    with pytest.raises(ConfigError, match=r"needs torch 2\.9 or later, .* choose optimizer 'adamw'"):
        make_optimizer(tiny_model(), TrainConfig(optimizer="muon"), CPU)


def test_an_unknown_optimizer_is_refused() -> None:
    with pytest.raises(ConfigError, match="optimizer"):
        TrainConfig(optimizer="sgd")  # type: ignore[arg-type]
