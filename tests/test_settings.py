"""Settings check themselves: one door for every value, whether from Python or from the command line."""

import importlib
import pkgutil
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
import pytest
import torch

import minimind_lite
from minimind_lite.settings import (
    Checked,
    ConfigError,
    Count,
    Natural,
    Positive,
    Share,
    ShareBelow1,
    _settings,
    parse_settings,
    read_settings,
    with_changes,
)

# Weights of rewards may be negative: a reward turned round is a punishment.
WITHOUT_RANGE = {"correct_weight", "format_weight", "length_weight"}


@dataclass(frozen=True)
class Inner(Checked):
    factor: Positive = 1.0


@dataclass(frozen=True)
class Toy(Checked):
    steps: Count = 1
    share: Share = 0.5
    progress: bool = True
    kind: Literal["auto", "fast"] = "auto"
    names: tuple[str, ...] = ()
    betas: tuple[ShareBelow1, ShareBelow1] = (0.9, 0.95)
    seed: Natural | None = None
    inner: Inner | None = None
    text: str = ""


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("steps", "3", 3),
        ("share", "1", 1.0),
        ("share", "1e-1", 0.1),
        ("progress", "false", False),
        ("progress", "YES", True),
        ("progress", "No", False),
        ("names", "wandb", ("wandb",)),
        ("names", "wandb, tensorboard", ("wandb", "tensorboard")),
        ("names", "", ()),
        ("betas", "0.8,0.9", (0.8, 0.9)),
        ("seed", "None", None),
        ("seed", "7", 7),
        ("text", "2024", "2024"),
        ("text", "true", "true"),
    ],
)
def test_a_text_is_read_as_the_type_of_its_field(name: str, text: str, value: object) -> None:
    read = read_settings({name: text}, Toy)[name]
    assert read == value and type(read) is type(value)


@pytest.mark.parametrize(
    ("name", "text", "wanted"),
    [
        ("steps", "0", "steps must be a whole number, 1 or more, not '0'"),
        ("steps", "2.5", "a whole number"),
        ("steps", "None", "a whole number"),
        ("steps", "9" * 5000, "…"),
        ("share", "nan", "a number, 0 or more and at most 1"),
        ("share", "inf", "a number"),
        ("progress", "perhaps", "true or false"),
        ("kind", "slow", "one of auto, fast, not 'slow'"),
        ("betas", "0.9", "2 values"),
        ("betas", "0.9,1", "each a number, 0 or more and below 1"),
        ("seed", "-1", "a whole number, 0 or more, or None"),
    ],
)
def test_a_text_that_cannot_work_is_refused_with_what_would(name: str, text: str, wanted: str) -> None:
    with pytest.raises(ConfigError, match=wanted) as refusal:
        read_settings({name: text}, Toy)
    assert len(str(refusal.value)) < 250


@pytest.mark.parametrize(
    "wrong",
    [{"steps": True}, {"steps": 2.0}, {"steps": "3"}, {"steps": None}, {"share": False}, {"progress": 1},
     {"names": "wandb"}, {"kind": 3}, {"inner": 3}, {"text": 5}, {"share": float("nan")}],
)  # fmt: skip
def test_python_values_of_another_type_are_refused(wrong: dict[str, Any]) -> None:
    (name,) = wrong
    with pytest.raises(ConfigError, match=f"^{name} must be "):
        Toy(**wrong)


@pytest.mark.parametrize("three", [3, np.int64(3), torch.tensor(3)])
def test_whole_numbers_of_any_library_become_plain_ones(three: Any) -> None:
    assert type(Toy(steps=three).steps) is int
    assert type(Toy(share=1).share) is float
    assert with_changes(Toy(), {"steps": three, "share": None}) == Toy(steps=3)


def test_an_object_of_settings_is_kept_as_it_is() -> None:
    inner = Inner(2)
    assert Toy(inner=inner).inner is inner and inner.factor == 2.0


def every_class_of_settings() -> Iterator[type[Any]]:
    for module in pkgutil.walk_packages(minimind_lite.__path__, "minimind_lite."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    classes = [Checked]
    for one in classes:
        classes += one.__subclasses__()
    return (one for one in classes if one.__module__.startswith("minimind_lite") and hasattr(one, "__match_args__"))


def test_every_number_has_a_range_and_every_default_lies_in_it() -> None:
    seen = 0
    for owner in every_class_of_settings():
        for field in fields(owner):
            setting = _settings(owner)[field.name]
            if setting.python_only or field.name in WITHOUT_RANGE:
                continue
            for kind in setting.schema().get("prefixItems", setting.alternatives()):
                if kind.get("type") in ("integer", "number"):
                    seen += 1
                    assert {"minimum", "exclusiveMinimum"} & kind.keys(), f"{owner.__name__}.{field.name} has no range"
        owner()
    assert seen > 100


def test_a_setting_with_two_values_is_refused_and_not_decided_silently() -> None:
    assert parse_settings(["rank=4", "rank=4"]) == {"rank": "4"}
    with pytest.raises(ConfigError, match="-p rank is given twice, as 4 and as 8: give it once"):
        parse_settings(["rank=4", "alpha=1", "rank=8"])
