"""`make evidence` puts its stages together: what was measured replaces its record, what was not keeps it."""

import importlib
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from minimind_lite.course.kit.profiles import settings_for
from minimind_lite.files import repository_root

SEEDS = [1, 2]


@pytest.fixture
def stages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ModuleType]:
    """benchmarks/stages.py, which writes its files under ``tmp_path``."""
    monkeypatch.syspath_prepend(str(repository_root() / "benchmarks"))
    module = importlib.import_module("stages")
    monkeypatch.setattr(module, "repository_root", lambda: tmp_path)
    monkeypatch.setattr(module, "FILE", tmp_path / "bands.json")
    (tmp_path / "benchmarks" / "results").mkdir(parents=True)
    (tmp_path / "bands.json").write_text("{}", encoding="utf-8")
    yield module
    for name in [name for name in sys.modules if name.split(".")[0] in ("stages", "evidence")]:
        del sys.modules[name]


def measured(work: Path, stage: str, right: float, commit: str, seeds: list[int] = SEEDS) -> None:
    """What a run of one stage leaves behind for every seed: more is right by a tenth with each seed."""
    for seed in seeds:
        folder = work / f"{stage}-{seed}"
        folder.mkdir(parents=True, exist_ok=True)
        history = [{"step": step, "loss": 3.0 - step / 10 + seed / 100} for step in range(10, 60, 10)]
        result: dict[str, Any] = {"machine": {"commit": commit}, "figures": {"right": right + seed / 10}}
        result |= {"history": history, "settings": asdict(settings_for(stage, "quick"))}
        (folder / "evidence.json").write_text(json.dumps(result), encoding="utf-8")


def test_a_stage_that_was_not_measured_keeps_its_record(stages: ModuleType, tmp_path: Path) -> None:
    for stage in ("sft", "dpo"):
        measured(tmp_path / "old", stage, 0.1, "first")
    assert stages.collect(tmp_path / "old", ("sft", "dpo"), SEEDS) == pytest.approx(
        {"sft.right": 0.25, "dpo.right": 0.25}
    )
    measured(tmp_path / "new", "sft", 0.5, "second")
    measured(tmp_path / "new", "dpo", 0.5, "second", [1])  # not for every seed
    assert stages.collect(tmp_path / "new", ("sft", "dpo"), SEEDS) == pytest.approx({"sft.right": 0.65})

    record = json.loads((tmp_path / "benchmarks" / "results" / "stages.json").read_text(encoding="utf-8"))
    assert record["mean"] == pytest.approx({"sft.right": 0.65, "dpo.right": 0.25})
    assert [one["right"] for one in record["per_seed"]["dpo"]] == pytest.approx([0.2, 0.3])
    assert {name: {one["commit"] for one in found} for name, found in record["machines"].items()} == {
        "sft": {"second"}, "dpo": {"first"},
    }  # fmt: skip
    assert set(json.loads((tmp_path / "bands.json").read_text(encoding="utf-8"))) == {"sft", "dpo"}


def test_other_seeds_are_another_experiment(stages: ModuleType, tmp_path: Path) -> None:
    for stage in ("sft", "dpo"):
        measured(tmp_path / "old", stage, 0.1, "first")
    stages.collect(tmp_path / "old", ("sft", "dpo"), SEEDS)
    measured(tmp_path / "new", "sft", 0.5, "second", [3, 4])
    stages.collect(tmp_path / "new", ("sft", "dpo"), [3, 4])
    record = json.loads((tmp_path / "benchmarks" / "results" / "stages.json").read_text(encoding="utf-8"))
    assert set(record["per_seed"]) == {"sft"} and record["seeds"] == [3, 4]
