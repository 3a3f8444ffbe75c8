"""The profile full from end to end: two steps a stage on look-alikes of the published files, on the CPU.

`make test` runs four chapters; the workflow `full` runs all of them once a week.
"""

import io
import json
import shutil
from pathlib import Path

import pytest
from lookalike_kit import LINES, write_lookalikes
from rich.console import Console

from minimind_lite.course.kit import bounds
from minimind_lite.course.kit.data_files import FULL_DATA, data_path
from minimind_lite.course.kit.errors import CourseError
from minimind_lite.course.kit.paths import resolve_output
from minimind_lite.course.kit.profiles import settings_for
from minimind_lite.course.runner.plan import make_plan
from minimind_lite.course.runner.run import run_course
from minimind_lite.data.published import DATA_VARIABLE, PUBLISHED
from minimind_lite.data.records import read_records
from minimind_lite.files import repository_root

CHAPTERS = ("01_tokenizer", "08_pretrain", "10_sft", "12_dpo")


@pytest.fixture
def lookalikes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = write_lookalikes(tmp_path / "published")
    monkeypatch.setenv(DATA_VARIABLE, str(folder))
    monkeypatch.delenv("MINIMIND_SMOKE", raising=False)
    return folder


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_lookalike_is_read_to_its_last_line(lookalikes: Path, name: str) -> None:
    reader = read_records(lookalikes / name, PUBLISHED[name].kind, strict=True)
    assert len(list(reader)) >= LINES == reader.records
    assert bool(reader.cut) == (name == "pretrain_hq.jsonl")
    assert bool(reader.plain) == (name == "r1_mix_1024.jsonl")


def test_the_folder_of_published_files_can_be_another(lookalikes: Path) -> None:
    assert data_path("pretrain", "full") == lookalikes / "pretrain_hq.jsonl"
    (lookalikes / "dpo.jsonl").unlink()
    with pytest.raises(CourseError, match=r"published/dpo.jsonl \(909 MB\)"):
        data_path("dpo", "full")


def test_a_bound_holds_for_every_stage_and_whatever_takes_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MINIMIND_SMOKE", raising=False)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    full = settings_for("dpo", "full")
    with bounds.at_most(2):
        short = settings_for("dpo", "full", {"total_steps": 500})
        grpo = settings_for("grpo", "full")
    assert (short.total_steps, short.experiment_steps, short.reference_steps) == (2, 2, 0)
    assert (short.eval_every, short.save_every, short.eval_batches) == (2, 2, 2)
    assert (short.eval_pairs, short.max_new_tokens) == (6, 8)
    assert (short.preset, short.precision, short.micro_batch_size) == ("minimind2-small", "bf16", 4)
    assert (grpo.cold_steps, grpo.habit_steps, grpo.cold_micro_batch_size) == (2, 2, 16)
    assert settings_for("dpo", "full") == full


def test_without_a_gpu_a_rehearsal_takes_the_smallest_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with bounds.at_most(2):
        dense, experts = settings_for("pretrain", "full"), settings_for("moe", "full")
    assert (dense.preset, experts.preset, dense.precision) == ("pico", "pico-moe", "fp32")
    assert (dense.micro_batch_size, dense.gradient_accumulation_steps, dense.block_size) == (2, 2, 512)


def test_a_rehearsal_has_a_folder_of_its_own_and_a_bad_bound_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MINIMIND_SMOKE", raising=False)
    with bounds.at_most(2):
        assert resolve_output() == repository_root() / "build/rehearsal/artifacts"
    with bounds.at_most(0):
        assert resolve_output() == repository_root() / "build/course/artifacts"
    monkeypatch.setenv(bounds.VARIABLE, "two")
    with pytest.raises(CourseError, match="MINIMIND_MAX_STEPS must be a whole number of steps, not 'two'"):
        settings_for("sft", "full")


def test_four_chapters_run_at_full_on_lookalikes(lookalikes: Path, tmp_path: Path) -> None:
    for name in CHAPTERS:
        shutil.copy2(repository_root() / "notebooks" / f"{name}.ipynb", tmp_path)
    console = Console(file=io.StringIO())
    with bounds.at_most(2):
        run = run_course(make_plan("full", output_dir=tmp_path / "out", folder=tmp_path), console=console)
    assert not run.error, run.error
    assert [status for _, status, _ in run.chapters] == ["done"] * len(CHAPTERS)
    for stage in ("pretrain", "sft", "dpo"):
        result = json.loads((tmp_path / "out" / stage / "results.json").read_text(encoding="utf-8"))
        assert (result["profile"], result["max_steps"]) == ("full", 2)
        rows = (tmp_path / "out" / stage / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        assert json.loads(rows[-1])["step"] == 2


def test_every_role_of_the_profile_full_has_a_lookalike(lookalikes: Path) -> None:
    assert {path.name for path in lookalikes.iterdir()} >= set(FULL_DATA.values())
