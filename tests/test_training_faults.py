"""A passing fault loses nothing: what cannot be judged is not deleted, and nothing is deleted before its successor."""

import errno
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from training_kit import same_weights, tiny_run

from minimind_lite.files import LOCK, FolderInUse
from minimind_lite.training import checkpoint
from minimind_lite.training.callbacks import Callback, read_metrics
from minimind_lite.training.checkpoint import CheckpointError, latest_checkpoint, save_checkpoint
from minimind_lite.training.loop import Trainer


def failing(error: Exception) -> Callable[..., Any]:
    def fails(*_: object, **__: object) -> None:
        raise error

    return fails


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


class DieAt(Callback):
    def __init__(self, step: int) -> None:
        self.step = step

    def after_step(self, trainer: Trainer) -> None:
        if trainer.step == self.step:
            raise KeyboardInterrupt


@pytest.mark.parametrize("reader", ["sha256_of", "read_json"])
@pytest.mark.parametrize("resume", ["strict", "if_unfinished"])
def test_a_passing_read_error_stops_the_run_and_deletes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reader: str, resume: str
) -> None:
    whole, _ = tiny_run(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        tiny_run(tmp_path / "run", callbacks=[DieAt(17)])
    before, rows = names(tmp_path / "run" / "checkpoints"), read_metrics(tmp_path / "run" / "metrics.jsonl")
    with monkeypatch.context() as patched:
        patched.setattr(checkpoint, reader, failing(OSError(errno.EIO, "Input/output error")))
        with pytest.raises(CheckpointError, match=r"step-00000015 cannot be read: .*Nothing was changed"):
            tiny_run(tmp_path / "run", resume=resume)
    assert names(tmp_path / "run" / "checkpoints") == before
    assert read_metrics(tmp_path / "run" / "metrics.jsonl") == rows
    resumed, result = tiny_run(tmp_path / "run", resume=resume)
    assert result.resumed_from == 15 and same_weights(whole, resumed)


def test_a_run_with_nothing_but_damaged_checkpoints_does_not_start_over(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        tiny_run(tmp_path, callbacks=[DieAt(12)])
    for folder in (tmp_path / "checkpoints").iterdir():
        (folder / "manifest.json").write_text("[]")
    for _ in range(2):  # it does not forget
        with pytest.raises(CheckpointError, match=r"damaged-step-00000005, damaged-step-00000010.*--resume never"):
            tiny_run(tmp_path)
    assert [row["step"] for row in read_metrics(tmp_path / "metrics.jsonl")] == [1, 10]
    assert tiny_run(tmp_path, resume="never")[1].steps == 30
    assert "damaged-step-00000010" in names(tmp_path / "checkpoints")


@pytest.mark.parametrize(
    "content", ["null", '{"step": "5"}', '{"step": 5, "sha256": 1, "recipe": {}}', '{"step": 6}', ""]
)
def test_a_manifest_may_hold_anything(tmp_path: Path, content: str) -> None:
    path = save_checkpoint(tmp_path, 5, {"a": torch.zeros(2)}, {})
    assert latest_checkpoint(tmp_path).step == 5  # type: ignore[union-attr]
    (path / "manifest.json").write_text(content)
    assert latest_checkpoint(tmp_path) is None
    assert names(tmp_path) == ["damaged-step-00000005"]
    save_checkpoint(tmp_path, 5, {"a": torch.zeros(2)}, {})
    (path / "manifest.json").write_text(content)
    assert latest_checkpoint(tmp_path) is None
    assert names(tmp_path) == ["damaged-step-00000005", "damaged-step-00000005-2"]


def test_a_disk_that_stores_other_bytes_is_noticed_and_the_old_ones_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for step in (1, 2):
        save_checkpoint(tmp_path, step, {"a": torch.zeros(2)}, {})
    monkeypatch.setattr(checkpoint, "sha256_of", lambda _: "another")
    with pytest.raises(CheckpointError, match=r"step 3 .*not what was written.*is step-00000002\. Mend that"):
        save_checkpoint(tmp_path, 3, {"a": torch.zeros(2)}, {})
    assert names(tmp_path) == ["step-00000001", "step-00000002"]


def test_starting_afresh_keeps_the_old_run_until_the_new_one_has_something_to_show(tmp_path: Path) -> None:
    tiny_run(tmp_path)
    old = [f"earlier-step-000000{step}" for step in (25, 30)]
    for _ in range(2):  # the second one dies before its first checkpoint, too
        with pytest.raises(KeyboardInterrupt):
            tiny_run(tmp_path, resume="never", callbacks=[DieAt(3)])
        assert names(tmp_path / "checkpoints") == old
        assert read_metrics(tmp_path / "earlier-metrics.jsonl")[-1]["step"] == 30
    with pytest.raises(KeyboardInterrupt):
        tiny_run(tmp_path, resume="never", callbacks=[DieAt(7)])
    assert names(tmp_path / "checkpoints") == ["step-00000005"]
    assert names(tmp_path) == ["checkpoints", "metrics.jsonl"]


def test_an_old_run_without_checkpoints_keeps_its_metrics_until_the_new_one_has_ended(tmp_path: Path) -> None:
    tiny_run(tmp_path, save_every=0)
    with pytest.raises(KeyboardInterrupt):
        tiny_run(tmp_path, save_every=0, callbacks=[DieAt(3)])
    assert read_metrics(tmp_path / "earlier-metrics.jsonl")[-1]["step"] == 30
    tiny_run(tmp_path, save_every=0)
    assert names(tmp_path) == ["metrics.jsonl"]


def test_a_second_run_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    code = (
        "import sys; from pathlib import Path; from minimind_lite.files import owned\n"
        f"with owned(Path({str(folder)!r})): print('owned', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None and other.stdout.readline() == b"owned\n"
        with pytest.raises(FolderInUse, match=f"is being written by process {other.pid}"):
            tiny_run(folder)
        assert names(folder) == [LOCK]
        other.kill()
    _, result = tiny_run(folder)  # its lock is stale
    assert result.steps == 30 and names(folder) == ["checkpoints", "metrics.jsonl"]


def test_bad_lines_of_metrics_cost_no_good_one(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1}\n\xff\xfe\n{"step": 2}\n[]\n7\n{"loss": 1}\n{"step": "x"}\n{"step": 3}\n{"ste')
    assert [row["step"] for row in read_metrics(path)] == [1, 2, 3]
