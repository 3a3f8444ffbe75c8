"""What a chapter's first cells rely on: profiles, folders, figures, and errors that say what to do."""

import json
import logging
import os
import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from minimind_lite import course
from minimind_lite.config import ConfigError
from minimind_lite.course.kit import data_files, profiles
from minimind_lite.course.kit.discovery import CHAPTERS, chapter_names, chapter_part
from minimind_lite.course.kit.errors import CourseError
from minimind_lite.course.kit.labels import LABELS, every_label, label
from minimind_lite.course.kit.paths import notebook_of, resolve_output
from minimind_lite.data.published import PUBLISHED
from minimind_lite.device import in_float64
from minimind_lite.files import repository_root, write_text


@pytest.fixture(autouse=True)
def real_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MINIMIND_SMOKE", raising=False)


@pytest.mark.parametrize("chapter", chapter_names())
def test_every_chapter_has_every_size(chapter: str) -> None:
    settings = chapter_part(chapter, "settings")
    assert set(settings.SETTINGS) == {*profiles.PROFILES, "smoke"}
    assert len({type(one) for one in settings.SETTINGS.values()}) == 1
    assert settings.MINUTES.quick > 0


def test_every_chapter_has_a_folder_a_notebook_and_no_list_names_it() -> None:
    notebooks = {path.stem for path in (repository_root() / "notebooks").glob("*.ipynb")}
    assert {notebook_of(chapter) for chapter in chapter_names()} == notebooks
    assert notebook_of("ppo") == "15b_ppo"
    assert notebook_of("nothing") == "nothing"


def test_a_chapter_has_only_the_parts_it_needs() -> None:
    assert chapter_part("welcome", "checks") is None
    assert chapter_part("no_such_chapter", "settings") is None
    assert profiles.settings_for("no_such_chapter", "quick").seed == 0
    assert profiles.expected_minutes("no_such_chapter", "quick") is None
    assert [profiles.artifact_of(one) for one in ("tokenizer", "rope")] == ["tokenizer.json", "results.json"]


IMPORTS = """
import ast, json, sys
from pathlib import Path
heavy = {
    "matplotlib", "PIL", "IPython", "ipywidgets", "transformers", "peft", "trl", "datasets", "pandas", "scipy",
    "sklearn", "sympy", "gguf", "fastapi", "uvicorn", "streamlit", "nbformat", "jsonschema", "typer", "rich",
    "huggingface_hub",
}
for notebook in sorted(Path(sys.argv[1]).glob("*.ipynb")):
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    last = next(place for place, source in enumerate(code) if "begin(" in source)
    setup = [line.strip() for line in code[0].splitlines() if line.lstrip().startswith(("from ", "import "))]
    tree = ast.parse("\\n".join([*setup, *code[1 : last + 1]]))
    tree.body = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    exec(compile(tree, notebook.name, "exec"), {})
    if found := heavy & set(sys.modules):
        sys.exit(f"{notebook.stem} imports {', '.join(sorted(found))} before anything needs it")
"""


def test_no_chapter_waits_for_packages_that_its_first_cells_do_not_use() -> None:
    """Modules are counted, not seconds; one process for all, so the first chapter that imports too much is named."""
    script = [sys.executable, "-c", IMPORTS, str(repository_root() / "notebooks")]
    run = subprocess.run(script, capture_output=True, text=True, check=False, timeout=300)
    assert run.returncode == 0, run.stderr


LABEL = re.compile(r"""\blabel\(["'](\w+)["']\)""")


@pytest.mark.parametrize("chapter", chapter_names())
def test_a_chapter_uses_no_labels_of_another(chapter: str) -> None:
    own = getattr(chapter_part(chapter, "labels"), "LABELS", {})
    sources = [path.read_text(encoding="utf-8") for path in (CHAPTERS / chapter).glob("*.py")]
    used = {name for source in sources for name in LABEL.findall(source)}
    assert {name for name in used if name in every_label()} <= own.keys() | LABELS.keys()


def test_a_label_that_nobody_wrote_is_its_name() -> None:
    assert label("bits_per_byte") == "bits per byte"
    assert label("no_such_label") == "no such label"


def test_full_trains_minimind2_small_as_published() -> None:
    full = profiles.settings_for("pretrain", "full")
    assert full.preset == "minimind2-small"
    assert full.micro_batch_size * full.gradient_accumulation_steps * full.block_size == 32 * 8 * 512


def test_an_unknown_profile_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(CourseError, match=r"'huge'.*quick, colab, full"):
        course.begin("08_pretrain", profile="huge", output_dir=tmp_path)


def test_an_unknown_setting_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"pretrain has no setting called steps;.*total_steps"):
        course.begin("08_pretrain", output_dir=tmp_path, steps=3)
    with pytest.raises(CourseError, match=r"没有.*steps.*total_steps"):
        course.begin("08_pretrain", output_dir=tmp_path, language="zh", steps=3)


def test_none_takes_the_profiles_value_and_a_number_replaces_it(tmp_path: Path) -> None:
    chapter = course.begin("08_pretrain", output_dir=tmp_path, total_steps=None, learning_rate=1)
    assert chapter.settings.total_steps == profiles.settings_for("pretrain", "quick").total_steps
    assert chapter.settings.learning_rate == 1.0


@pytest.mark.parametrize("value", ["100", 1.5, True])
def test_a_value_of_the_wrong_type_is_refused(tmp_path: Path, value: object) -> None:
    with pytest.raises(ConfigError, match=r"total_steps must be a whole number, 1 or more"):
        course.begin("08_pretrain", output_dir=tmp_path, total_steps=value)


def test_smoke_size_only_by_the_variable_and_never_over_real_artifacts(monkeypatch: pytest.MonkeyPatch) -> None:
    real = profiles.settings_for("pretrain", "quick")
    assert resolve_output() == repository_root() / "build/course/artifacts"
    monkeypatch.setenv("MINIMIND_SMOKE", "1")
    smoke = profiles.settings_for("pretrain", "quick")
    assert smoke.total_steps < real.total_steps
    assert resolve_output() == repository_root() / "build/smoke"
    assert resolve_output("elsewhere") == repository_root() / "elsewhere"


def test_begin_seeds_the_random_numbers(tmp_path: Path) -> None:
    course.begin("02_rmsnorm", output_dir=tmp_path)
    first = torch.rand(3)
    course.begin("02_rmsnorm", output_dir=tmp_path)
    assert torch.equal(first, torch.rand(3))


def test_two_messages_of_other_libraries_are_silenced_and_no_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        for _ in range(2):  # chapters begin again and again in one kernel
            course.begin("06_moe", output_dir=tmp_path)
        warnings.warn("`is_gradient_checkpointing` is deprecated and will be removed in v6.", FutureWarning, 2)
        warnings.warn("`is_gradient_checkpointing` is deprecated", UserWarning, 2)
        warnings.warn("something else is deprecated", FutureWarning, 2)
    assert [one.category for one in warned] == [UserWarning, FutureWarning]
    logger = logging.getLogger("transformers.integrations.moe")
    assert len(logger.filters) == 1
    with caplog.at_level("WARNING", logger.name):
        logger.addHandler(caplog.handler)  # transformers' loggers do not propagate
        logger.warning("You tried to access the `ExpertsInterface` with a config set to `None`.")
        logger.warning("something went wrong")
        logger.removeHandler(caplog.handler)
    assert {record.getMessage() for record in caplog.records} == {"something went wrong"}


def test_record_merges_plain_numbers(tmp_path: Path) -> None:
    chapter = course.begin("08_pretrain", output_dir=tmp_path)
    chapter.record(loss=torch.tensor(1.5), tokens=np.int64(3))
    chapter.record(loss=1.25, name="nano", curve=[1, 2.5])
    stored = json.loads((tmp_path / "pretrain" / "results.json").read_text(encoding="utf-8"))
    assert stored["stage"] == "pretrain"
    assert stored["figures"] == {"loss": 1.25, "tokens": 3, "name": "nano", "curve": [1, 2.5]}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None, {"a": 1}, torch.tensor(float("nan"))])
def test_record_refuses_what_a_report_cannot_show(tmp_path: Path, value: object) -> None:
    chapter = course.begin("08_pretrain", output_dir=tmp_path)
    with pytest.raises(CourseError, match="figure loss"):
        chapter.record(loss=value)
    assert not (tmp_path / "pretrain" / "results.json").exists()


def test_a_claim_is_recorded_whether_it_held_or_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chapter = course.begin("08_pretrain", output_dir=tmp_path)
    chapter.record(loss=1.25)
    assert chapter.claim("the loss falls", torch.tensor(1.0) < 2) is True
    assert chapter.claim("it beats counting", np.float64(3.0) < 2.0) is False
    chapter.record(tokens=3)
    stored = json.loads((tmp_path / "pretrain" / "results.json").read_text(encoding="utf-8"))
    assert stored["claims"] == {"the loss falls": True, "it beats counting": False}
    assert stored["figures"] == {"loss": 1.25, "tokens": 3}
    said = capsys.readouterr().out
    assert "✓ holds in this run: the loss falls" in said and "✗ does not hold in this run: it beats counting" in said


@pytest.mark.parametrize("value", [None, 1, 0.0, "yes", torch.tensor(0.5)])
def test_a_claim_needs_a_truth_value(tmp_path: Path, value: object) -> None:
    chapter = course.begin("08_pretrain", output_dir=tmp_path)
    with pytest.raises(CourseError, match="give a comparison"):
        chapter.claim("it learns", value)


def test_require_says_which_chapter_makes_what_is_missing(tmp_path: Path) -> None:
    chapter = course.begin("08_pretrain", output_dir=tmp_path)
    with pytest.raises(CourseError, match=r"tokenizer/tokenizer.json.*01_tokenizer.*minimind course run --to 01"):
        chapter.require("tokenizer")
    (tmp_path / "tokenizer").mkdir()
    (tmp_path / "tokenizer" / "tokenizer.json").write_text("{}", encoding="utf-8")
    assert chapter.require("tokenizer") == tmp_path / "tokenizer"


def test_data_finds_samples_and_names_what_there_is(tmp_path: Path) -> None:
    chapter = course.begin("08_pretrain", output_dir=tmp_path)
    assert chapter.data("pretrain").exists()
    assert chapter.data("tokenizer_train") == chapter.data("pretrain")
    with pytest.raises(CourseError, match=r"no 'novels'; it holds: .*pretrain"):
        chapter.data("novels")


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository that holds samples and no published file."""
    for name in ("pretrain", "pretrain_heldout"):
        shutil.copytree(repository_root() / "data_samples" / name, tmp_path / "data_samples" / name)
    for module in ("course.kit.data_files", "data.published"):
        monkeypatch.setattr(f"minimind_lite.{module}.repository_root", lambda: tmp_path)
    monkeypatch.delenv("MINIMIND_SMOKE", raising=False)
    return tmp_path


def test_full_without_its_data_names_the_command_before_anything_runs(bare: Path) -> None:
    with pytest.raises(CourseError, match=r"data/pretrain_hq.jsonl \(1.6 GB\).*data download pretrain_hq.jsonl;"):
        course.begin("08_pretrain", profile="full", output_dir=bare / "out")
    with pytest.raises(CourseError, match=r"download dpo.jsonl sft_mini_512.jsonl;"):
        course.begin("12_dpo", profile="full", output_dir=bare / "out")
    with pytest.raises(CourseError, match=r"download r1_mix_1024.jsonl;"):
        data_files.data_path("reason", "full")
    assert not (bare / "out").exists()


def test_full_takes_the_published_file_and_held_out_items_from_the_samples(bare: Path) -> None:
    (bare / "data").mkdir()
    (bare / "data" / "pretrain_hq.jsonl").touch()
    chapter = course.begin("08_pretrain", profile="full", output_dir=bare / "out")
    assert chapter.data("pretrain") == bare / "data" / "pretrain_hq.jsonl"
    assert chapter.data("pretrain_heldout") == bare / "data_samples" / "pretrain_heldout"


@pytest.mark.parametrize("profile", ["quick", "colab"])
def test_the_other_profiles_need_no_published_file(bare: Path, profile: str) -> None:
    chapter = course.begin("08_pretrain", profile=profile, output_dir=bare / "out")
    assert chapter.data("pretrain") == bare / "data_samples" / "pretrain"


def test_every_role_is_a_published_file() -> None:
    assert set(data_files.FULL_DATA.values()) <= set(PUBLISHED)


@pytest.mark.parametrize("path", sorted((repository_root() / "notebooks").glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_chapter_declares_the_published_files_that_it_reads(path: Path) -> None:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = "".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    used = {role for role in data_files.FULL_DATA if f'chapter.data("{role}")' in code}
    if "chapter.data(name)" in code:
        used |= {role for role in data_files.FULL_DATA if f'for name in ("{role}"' in code}
    assert set(profiles.published_data(path.stem.partition("_")[2])) == used


def test_the_device_is_the_cpu_unless_there_is_a_card_or_one_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MINIMIND_DEVICE", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert course.pick_device().type == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert course.pick_device().type == "cuda"
    monkeypatch.setenv("MINIMIND_DEVICE", "mps")
    assert course.pick_device().type == "mps"


def test_apples_mps_counts_in_float64_on_the_cpu() -> None:
    on_mps: Any = SimpleNamespace(device=torch.device("mps"), cpu=lambda: torch.ones(2))
    assert in_float64(on_mps).dtype == torch.float64
    here = torch.ones(2, dtype=torch.float16)
    assert in_float64(here).device == here.device and in_float64(here).dtype == torch.float64


@pytest.mark.skipif(os.name == "nt", reason="POSIX modes")
def test_what_is_written_others_may_read(tmp_path: Path) -> None:
    write_text(tmp_path / "results.json", "x")
    (tmp_path / "plain").touch()
    assert (tmp_path / "results.json").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "results.json"
    write_text(path, "old")
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_text(path, "new")
    assert path.read_text(encoding="utf-8") == "old"
    assert [one.name for one in tmp_path.iterdir()] == ["results.json"]
