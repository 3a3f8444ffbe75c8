"""A run may be killed at any instant, and the disk may fill up: nothing is lost but the steps since a checkpoint."""

import logging
import multiprocessing
import os
import pickle
import random
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from training_kit import same_weights, tiny_run

from minimind_lite.files import sha256_of
from minimind_lite.model.pretrained import save_pretrained
from minimind_lite.training import checkpoint
from minimind_lite.training.callbacks import Callback, MetricsFile, read_metrics
from minimind_lite.training.checkpoint import CheckpointError, latest_checkpoint
from minimind_lite.training.loop import Trainer

KILLS = 10


class Slowly(Callback):
    """Stretch each step a little, so that kills land everywhere in a run: in a step, or while a checkpoint is saved."""

    def after_step(self, trainer: Trainer) -> None:
        time.sleep(0.002)


def whole_run(folder: Path) -> None:
    """What a user's script does: train with checkpoints, save the model."""
    torch.set_num_threads(1)
    model, _ = tiny_run(folder, total_steps=120, save_every=2, eval_every=10, callbacks=[Slowly()])
    save_pretrained(model, None, folder)


def test_a_kill_while_metrics_are_restored_loses_no_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(f'{{"step": {step}}}\n' for step in (1, 10, 20)), encoding="utf-8")
    resumed = SimpleNamespace(history=[], step=10)
    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            MetricsFile(path).before_fit(resumed)  # type: ignore[arg-type]
    assert [row["step"] for row in read_metrics(path)] == [1, 10, 20]
    MetricsFile(path).before_fit(resumed)  # type: ignore[arg-type]
    assert [row["step"] for row in read_metrics(path)] == [1, 10]
    assert [one.name for one in tmp_path.iterdir()] == ["metrics.jsonl"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork server and no SIGKILL")
def test_ten_kills_at_random_instants_change_no_byte(tmp_path: Path) -> None:
    fork = multiprocessing.get_context("forkserver")
    fork.set_forkserver_preload(
        ["pytest", "torch._dynamo", "minimind_lite.training.loop", "minimind_lite.model.pretrained"]
    )
    warm_up = fork.Process(target=int)  # the server imports torch once; each start then takes milliseconds
    warm_up.start()
    warm_up.join(300)
    begun = time.perf_counter()
    undisturbed = fork.Process(target=whole_run, args=(tmp_path / "undisturbed",))
    undisturbed.start()
    undisturbed.join(300)
    length = time.perf_counter() - begun
    seed = random.randrange(10**6)
    chance, steps, patience = random.Random(seed), [], 1.0
    for _ in range(KILLS):
        process = fork.Process(target=whole_run, args=(tmp_path / "killed",))
        process.start()
        process.join(timeout=patience * chance.uniform(0.05, 0.25) * length)
        process.kill()  # SIGKILL
        process.join(300)
        found = latest_checkpoint(tmp_path / "killed" / "checkpoints")
        steps.append(found.step if found else 0)
        if len(steps) > 1 and steps[-1] == steps[-2]:  # a machine that became slower since the undisturbed run
            patience *= 1.5
    last = fork.Process(target=whole_run, args=(tmp_path / "killed",))
    last.start()
    last.join(300)
    assert last.exitcode == 0 and undisturbed.exitcode == 0
    assert steps == sorted(steps) and len(set(steps)) > 2, f"kills with seed {seed} left the run at steps {steps}"
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("undisturbed", "killed")]
    assert weights[0] == weights[1], f"seed {seed}, steps {steps}"
    rows = [(tmp_path / name / "metrics.jsonl").read_text(encoding="utf-8") for name in ("undisturbed", "killed")]
    steps_logged = [[line.split(",")[0] for line in text.splitlines()] for text in rows]
    assert steps_logged[0] == steps_logged[1]


def test_random_numbers_continue_where_they_were(tmp_path: Path) -> None:
    """A loss that draws random numbers (dropout, sampling) also resumes exactly."""
    from minimind_lite.model.losses import next_token_loss

    class Interrupt(Callback):
        def after_step(self, trainer: Trainer) -> None:
            if trainer.step == 12:
                raise KeyboardInterrupt

    def noisy(model: torch.nn.Module, batch: dict) -> tuple[torch.Tensor, torch.Tensor]:
        total, items = next_token_loss(model, batch)
        return total * (0.5 + torch.rand(()) + random.random()), items

    random.seed(1)
    whole, all_of_it = tiny_run(tmp_path / "whole", loss_fn=noisy)
    random.seed(1)
    with pytest.raises(KeyboardInterrupt):
        tiny_run(tmp_path / "cut", loss_fn=noisy, callbacks=[Interrupt()])
    random.seed(99)
    resumed, result = tiny_run(tmp_path / "cut", loss_fn=noisy)
    assert result.resumed_from == 10
    assert same_weights(whole, resumed)
    assert result.items == all_of_it.items > 0 and result.seconds > 0


@pytest.mark.parametrize("damage", ["cut short", "one byte changed", "no manifest", "manifest cut short"])
def test_a_damaged_checkpoint_is_skipped_with_a_warning(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    whole, _ = tiny_run(tmp_path)
    newest = tmp_path / "checkpoints" / "step-00000030"
    state, manifest = newest / "state.pt", newest / "manifest.json"
    content = state.read_bytes()
    if damage == "cut short":
        state.write_bytes(content[: len(content) // 2])
    elif damage == "one byte changed":
        state.write_bytes(content[:5000] + bytes([content[5000] ^ 1]) + content[5001:])
    elif damage == "no manifest":
        manifest.unlink()
    else:
        manifest.write_text(manifest.read_text(encoding="utf-8")[:40], encoding="utf-8")
    with caplog.at_level(logging.WARNING):
        resumed, result = tiny_run(tmp_path)
    assert result.resumed_from == 25
    assert "is damaged" in caplog.text and "kept as damaged-step-00000030" in caplog.text
    assert (tmp_path / "checkpoints" / "damaged-step-00000030").is_dir()
    assert same_weights(whole, resumed)


def test_half_written_checkpoints_are_swept_away(tmp_path: Path) -> None:
    tiny_run(tmp_path)
    rubbish = tmp_path / "checkpoints" / ".unfinished-step-00000099"
    rubbish.mkdir()
    (rubbish / "state.pt").write_bytes(b"half")
    _, result = tiny_run(tmp_path)
    assert result.resumed_from == 30 and not rubbish.exists()


def test_a_run_that_starts_afresh_writes_where_a_killed_one_was_writing(tmp_path: Path) -> None:
    rubbish = tmp_path / "checkpoints" / ".unfinished-step-00000005"
    rubbish.mkdir(parents=True)
    (rubbish / "state.pt").write_bytes(b"half")
    (rubbish / "more").write_bytes(b"of another version")
    tiny_run(tmp_path, resume="never", total_steps=5)
    saved = tmp_path / "checkpoints" / "step-00000005"
    assert {path.name for path in saved.iterdir()} == {"state.pt", "manifest.json"} and not rubbish.exists()


def test_the_last_two_checkpoints_are_kept(tmp_path: Path) -> None:
    tiny_run(tmp_path)
    assert [path.name for path in sorted((tmp_path / "checkpoints").iterdir())] == ["step-00000025", "step-00000030"]


def test_another_recipe_is_refused_and_the_difference_named(tmp_path: Path) -> None:
    tiny_run(tmp_path)
    with pytest.raises(CheckpointError, match=r"config\.learning_rate: 0\.01 then, 0\.02 now") as caught:
        tiny_run(tmp_path, learning_rate=0.02)
    assert 'resume="never"' in str(caught.value)
    assert len(list((tmp_path / "checkpoints").iterdir())) == 2  # nothing was thrown away
    tiny_run(tmp_path, log_every=1, eval_every=7)  # settings that do not affect the weights may change


def test_how_a_notebook_resumes(tmp_path: Path) -> None:
    """Run again: an unfinished run continues; a finished one, or another recipe, starts afresh."""

    class Interrupt(Callback):
        def after_step(self, trainer: Trainer) -> None:
            if trainer.step == 12:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tiny_run(tmp_path, callbacks=[Interrupt()])
    assert tiny_run(tmp_path, resume="if_unfinished")[1].resumed_from == 10
    assert tiny_run(tmp_path, resume="if_unfinished")[1].resumed_from is None
    changed, result = tiny_run(tmp_path, resume="if_unfinished", learning_rate=0.02)
    assert result.resumed_from is None
    fresh, _ = tiny_run(tmp_path / "fresh", learning_rate=0.02)
    assert same_weights(changed, fresh)


def test_a_full_disk_leaves_the_last_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, _ = tiny_run(tmp_path / "whole")
    sync, calls = os.fsync, iter(range(99))

    def full(descriptor: int) -> None:
        if next(calls) >= 8:  # two for the metrics, three per checkpoint: the first of the third checkpoint fails
            raise OSError(28, "No space left on device")
        sync(descriptor)

    monkeypatch.setattr(checkpoint.os, "fsync", full)
    with pytest.raises(CheckpointError, match=r"step 15 .*No space left.*step-00000010.*Free some disk space"):
        tiny_run(tmp_path / "full")
    monkeypatch.undo()
    assert sorted(path.name for path in (tmp_path / "full" / "checkpoints").iterdir())[-1] == "step-00000010"
    resumed, result = tiny_run(tmp_path / "full")
    assert result.resumed_from == 10
    assert same_weights(whole, resumed)


@pytest.mark.skipif(sys.platform == "win32", reason="resource limits are POSIX")
def test_a_file_that_may_not_grow_is_a_checkpoint_error(tmp_path: Path) -> None:
    """torch's own writer fails in the middle of the tensors: the kernel refuses the bytes."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(CheckpointError, match="step 5 could not be written"):
            tiny_run(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list((tmp_path / "checkpoints").iterdir())


def test_a_checkpoint_cannot_run_code(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Trap:
        def __reduce__(self) -> tuple:
            return (Path.touch, (tmp_path / "sprung",))

    tiny_run(tmp_path / "run")
    newest = tmp_path / "run" / "checkpoints" / "step-00000030"
    torch.save({"model": Trap()}, newest / "state.pt", pickle_module=pickle)
    manifest = newest / "manifest.json"
    old = manifest.read_text(encoding="utf-8")
    digest = sha256_of(newest / "state.pt")
    manifest.write_text(old.replace(old.split('"sha256": "')[1][:64], digest), encoding="utf-8")
    _, result = tiny_run(tmp_path / "run")
    assert result.resumed_from == 25 and not (tmp_path / "sprung").exists()
