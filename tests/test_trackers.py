"""Trackers from the command line: every stage hands its rows to the tracker that ``-p trackers=…`` names.

A stand-in takes tensorboard's place, so this runs everywhere; the real ones run where they are installed: wandb
offline and swanlab on the local disk, both without an account.
"""

from pathlib import Path
from typing import Any

import pytest
from accelerate import Accelerator
from accelerate.utils import LoggerType
from processes_kit import DATA, OPTIONS, letters, write_data
from typer.testing import CliRunner

from minimind_lite.cli import app
from minimind_lite.training import loop
from minimind_lite.training.callbacks import read_metrics
from minimind_lite.training.registry import STAGES
from minimind_lite.training.rollouts import RolloutOptions

SHORT = ("total_steps=2", "micro_batch_size=2", "log_every=1", "progress=false", "device=cpu")
OFFLINE = {"WANDB_MODE": "offline", "SWANLAB_MODE": "offline", "WANDB_SILENT": "true"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_data(folder)
    return folder


@pytest.fixture(autouse=True)
def a_reward_that_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A random model's answers all fail the course's own rewards, and a run without a lesson ends in an error."""
    monkeypatch.setattr(RolloutOptions, "rewards", property(lambda self: ((letters, 1.0),)))


def settings(name: str) -> list[str]:
    """The sizes of a stage, as the command line takes them."""
    fields = ("preset", "block_size", "rank", "group_size", "max_new_tokens")
    return [f"{one}={getattr(OPTIONS[name], one)}" for one in fields if hasattr(OPTIONS[name], one)]


def train(name: str, data: Path, output: Path, tracker: str) -> list[dict[str, Any]]:
    """Run a stage from the command line; returns the rows of metrics.jsonl."""
    records = data / f"{DATA.get(name, 'chats')}.jsonl"
    options = [word for one in (*SHORT, *settings(name), f"trackers={tracker}") for word in ("-p", one)]
    done = CliRunner().invoke(app, ["train", name, *map(str, (records, data / "base", output)), *options])
    assert done.exit_code == 0, done.output
    return read_metrics(output / "metrics.jsonl")


@pytest.mark.filterwarnings("ignore:.*no supported trackers")
@pytest.mark.parametrize("name", STAGES)
def test_every_stage_reports_to_a_tracker(
    name: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[int, dict[str, Any]] = {}
    monkeypatch.setattr(loop, "get_available_trackers", lambda: [LoggerType.TENSORBOARD])
    monkeypatch.setattr(Accelerator, "init_trackers", lambda self, project, config: seen.update({0: config}))
    monkeypatch.setattr(Accelerator, "log", lambda self, row, step: seen.update({step: dict(row)}))
    rows = train(name, data, tmp_path / "out", "tensorboard")
    assert seen.pop(0)["total_steps"] == "2"
    assert list(seen) == [1, 2] and [row["step"] for row in rows] == [1, 2]
    assert all({"loss", "learning_rate", "grad_norm"} <= row.keys() for row in seen.values())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("tracker", "files"), [("tensorboard", "events.out.tfevents.*"), ("wandb", "*.wandb"),
                           ("swanlab", "swanlog/**/*")],
)  # fmt: skip
def test_every_stage_writes_a_real_trackers_files(
    tracker: str, files: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(tracker, reason=f"{tracker} is not installed")
    for variable, value in OFFLINE.items():
        monkeypatch.setenv(variable, value)
    before: set[Path] = set()
    for name in STAGES:
        folder = tmp_path / name
        folder.mkdir()
        monkeypatch.chdir(folder)
        train(name, data, folder / "out", tracker)
        written = {one for one in tmp_path.rglob(files) if one.is_file()}  # wandb keeps to the first folder
        assert written > before, f"{name}: {tracker} wrote nothing"
        before = written
