"""The learning-rate schedule, the settings, and which parameters decay."""

import math
from dataclasses import dataclass

import pytest
import torch
from training_kit import tiny_model

from minimind_lite.config import ConfigError
from minimind_lite.training.loop import warmup_cosine
from minimind_lite.training.optimizer import make_adamw, parameter_groups
from minimind_lite.training.options import TrainConfig


def test_the_schedule_has_the_shape_that_was_worked_out_by_hand() -> None:
    factors = [warmup_cosine(step, 13, warmup_steps=3, min_ratio=0.1) for step in range(13)]
    assert factors[:3] == pytest.approx([1 / 3, 2 / 3, 1.0])
    assert factors[7] == pytest.approx(0.55)  # halfway down: the mean of 1 and 0.1
    assert factors[-1] == pytest.approx(0.1)
    assert factors[2:] == sorted(factors[2:], reverse=True)


def test_the_cosine_equals_torchs_scheduler() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=49, eta_min=0.1)
    for step in range(50):
        assert warmup_cosine(step, 50, 0, 0.1) == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-12)
        optimizer.step()
        scheduler.step()


@pytest.mark.parametrize(("total", "warmup"), [(1, 0), (1, 1), (2, 2), (5, 5)])
def test_the_shortest_runs_have_a_rate_too(total: int, warmup: int) -> None:
    assert all(0 < warmup_cosine(step, total, warmup) <= 1 for step in range(total))


def test_only_the_matrices_of_layers_decay() -> None:
    model = tiny_model()
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = parameter_groups(model, 0.1, embedding_lr_ratio=4.0)
    matrices, embeddings, norms = ([names[id(one)] for one in group["params"]] for group in groups)  # type: ignore[attr-defined]
    assert [(group["weight_decay"], group["lr_ratio"]) for group in groups] == [(0.1, 1), (0, 4), (0, 1)]
    assert all(name.endswith("proj.weight") for name in matrices)
    assert embeddings == ["model.embed_tokens.weight"]
    assert all("norm" in name for name in norms)
    assert len(matrices) + len(embeddings) + len(norms) == len(names)


def test_frozen_parameters_stay_out_of_the_optimizer() -> None:
    model = tiny_model()
    model.requires_grad_(False)
    model.model.norm.weight.requires_grad_(True)
    adamw = make_adamw(model, TrainConfig(), torch.device("cpu"))
    assert [len(group["params"]) for group in adamw.param_groups] == [1]


def test_epochs_become_steps() -> None:
    assert TrainConfig(epochs=2).steps(steps_per_epoch=7) == 14
    assert TrainConfig(epochs=0.5).steps(steps_per_epoch=7) == 4
    assert TrainConfig(total_steps=3, epochs=9).steps(steps_per_epoch=7) == 3


def test_settings_with_the_same_names_are_copied() -> None:
    @dataclass
    class Settings:
        learning_rate: float = 0.25
        total_steps: int = 9
        block_size: int = 256

    config = TrainConfig.from_settings(Settings(), progress=False)
    assert (config.learning_rate, config.total_steps, config.progress) == (0.25, 9, False)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"learning_rate": 0.0}, "learning_rate must be a number, above 0"),
        ({"learning_rate": math.nan}, "above 0, not nan"),
        ({"micro_batch_size": 0}, "micro_batch_size must be a whole number, 1 or more"),
        ({"micro_batch_size": 2.5}, "whole number, 1 or more, not 2.5"),
        ({"micro_batch_size": True}, "whole number, 1 or more, not True"),
        ({"save_every": -1}, "save_every must be a whole number, 0 or more"),
        ({"epochs": 0.0}, "give total_steps, or epochs"),
        ({"warmup_ratio": 2.0}, "at most 1"),
        ({"betas": (0.9, 1.0)}, "2 values, each a number, 0 or more and below 1"),
        ({"precision": "int4"}, "one of auto, fp32, bf16, fp16"),
    ],
)
def test_settings_that_cannot_work_are_refused(changes: dict, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        TrainConfig(**changes)
