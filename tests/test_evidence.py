"""`make evidence` puts its stages together: what was measured replaces its record, what was not keeps it."""

import importlib
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from model_kit import random_model

from minimind_lite.config import preset
from minimind_lite.course.kit.profiles import settings_for
from minimind_lite.files import repository_root
from minimind_lite.model.pretrained import save_pretrained
from minimind_lite.tokenizer import Tokenizer

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
    for name in [name for name in sys.modules if name.split(".")[0] in ("stages", "evidence", "exams")]:
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


def test_the_exam_and_the_pairs_are_measured_on_a_seeds_own_model(stages: ModuleType, tmp_path: Path) -> None:
    evidence = importlib.import_module("evidence")
    run = evidence.Run(1, tmp_path, "never")
    tokenizer = Tokenizer.train(["The cats sleep. 他们在唱歌。"] * 3, vocab_size=330)
    save_pretrained(random_model(preset("pico", vocab_size=330)), tokenizer, run.folder("pretrain"))
    few = replace(settings_for("evaluation", "quick"), eval_questions=8, eval_pairs=6)
    object.__setattr__(run, "settings", lambda stage: few)
    for stage, names in (
        ("exam", {"accuracy", "ci_low", "ci_high", "untrained_accuracy", "questions"}),
        ("language", {"zh", "zh_untrained", "zh_pairs", "en", "en_untrained", "en_pairs"}),
    ):
        figures, history = importlib.import_module(f"evidence.{stage}").measure(run)
        assert set(figures) == names and not history
        assert all(
            0 <= value <= 1 for name, value in figures.items() if name not in ("questions", "zh_pairs", "en_pairs")
        )
    assert figures["zh_pairs"] <= 6 and 2 * figures["en"] * figures["en_pairs"] % 1 == 0  # halves, for ties


def test_what_only_measures_has_no_band(stages: ModuleType, tmp_path: Path) -> None:
    measured(tmp_path / "old", "evaluation", 0.5, "first")
    for file in (tmp_path / "old").rglob("evidence.json"):
        file.write_text(json.dumps(json.loads(file.read_text()) | {"history": []}), encoding="utf-8")
    assert stages.collect(tmp_path / "old", ("evaluation",), SEEDS) == pytest.approx({"evaluation.right": 0.65})
    assert json.loads((tmp_path / "bands.json").read_text(encoding="utf-8")) == {}


def test_the_table_of_exams_holds_models_that_answered_the_same_questions(stages: ModuleType) -> None:
    exams = importlib.import_module("exams")
    old = {"suites": {"a": 1}, "models": {"x": 1, "y": 1}, "scores": [{"model": "x"}, {"model": "y", "old": True}]}
    new = {"suites": {"a": 1}, "models": {"y": 2}, "scores": [{"model": "y"}]}
    assert exams.merged(old, new) == {
        "suites": {"a": 1}, "models": {"x": 1, "y": 2}, "scores": [{"model": "x"}, {"model": "y"}],
    }  # fmt: skip
    other = new | {"suites": {"a": 2}}
    assert exams.merged(old, other) == exams.merged({}, other) == other


def test_the_table_of_exams_says_which_model_is_missing(stages: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    exams = importlib.import_module("exams")
    monkeypatch.setattr(exams, "repository_root", lambda: Path("nowhere"))
    monkeypatch.setattr(exams, "packaged_smollm2", lambda: None)
    with pytest.raises(SystemExit, match="not here: SmolLM2, pretrain, sft"):
        exams.default_models()


def test_engines_agree_where_choices_and_likelihoods_do(stages: ModuleType) -> None:
    compared = importlib.import_module("lm_eval_agreement").compared
    items = lambda *values: [  # noqa: E731
        {"suite": "a", "item": at, "credit": credit, "logprobs": [one, -2.0]} for at, (one, credit) in enumerate(values)
    ]
    found = compared(items((-1.0, 1.0), (-1.0, 1.0), (-1.0, 1.0)), items((-1.0001, 1.0), (-1.1, 1.0), (-1.0, 0.0)))
    assert found["eval.lm_eval_agreement"] == pytest.approx(1 / 3) and found["agree"] == {"a": 1}
    assert found["largest_difference_in_nats"] == pytest.approx(0.1) and found["items"] == {"a": 3}
