"""Checkpoints that are complete or not there at all.

A checkpoint is a folder ``step-00000100/`` with ``state.pt`` (tensors and plain values) and ``manifest.json`` (step,
recipe, SHA-256 of the state). It is written under a temporary name, flushed to disk, and renamed. A rename
either happens or does not, so a run killed at any instant leaves only complete checkpoints, and leftovers that can be
told by their names. State is read with ``weights_only=True``: an untrusted checkpoint cannot run code.
"""

import json
import logging
import os
import pickle
import random
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from minimind_lite.files import sha256_of

logger = logging.getLogger(__name__)

_UNFINISHED = ".unfinished-"  # prefix of a checkpoint that is being written or deleted


class CheckpointError(RuntimeError):
    """A checkpoint that could not be written, or must not be continued; the message says what to do."""


@dataclass(frozen=True)
class Checkpoint:
    """Where a run stood: everything needed to continue as if nothing had happened."""

    path: Path
    step: int  # optimizer steps done
    recipe: dict[str, Any]  # what the run was asked to do, to be compared with what is asked now
    state: dict[str, Any]


def save_checkpoint(folder: Path, step: int, state: dict[str, Any], recipe: dict[str, Any], keep: int = 2) -> Path:
    """Write a checkpoint after ``step`` steps, then remove all but the newest ``keep``.

    Raises CheckpointError if it cannot be written (a full disk); the earlier checkpoints are then untouched.
    """
    final = folder / f"step-{step:08d}"
    partial = folder / f"{_UNFINISHED}{final.name}"
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        with (partial / "state.pt").open("wb") as file:
            torch.save(state, file)
            _to_disk(file)
        manifest = {"step": step, "sha256": sha256_of(partial / "state.pt"), "recipe": recipe}
        with (partial / "manifest.json").open("w", encoding="utf-8") as file:
            json.dump(manifest, file, ensure_ascii=False, indent=1)
            _to_disk(file)
        _remove(final)  # a damaged one of the same step may be there
        partial.rename(final)
        _directory_to_disk(folder)
    except (OSError, RuntimeError) as error:  # torch's writer turns a failed write into a RuntimeError
        shutil.rmtree(partial, ignore_errors=True)
        last = max((path.name for path in folder.glob("step-*")), default="none")
        reason = f"the checkpoint of step {step} could not be written to {folder}: {error}. The last good one is "
        raise CheckpointError(f"{reason}{last}. Free some disk space and run the same command again") from error
    for old in sorted(folder.glob("step-*"))[:-keep]:
        _remove(old)
    return final


def latest_checkpoint(folder: Path) -> Checkpoint | None:
    """The newest complete checkpoint in ``folder``; damaged ones are skipped with a warning, leftovers are removed."""
    for rubbish in folder.glob(f"{_UNFINISHED}*"):
        shutil.rmtree(rubbish, ignore_errors=True)
    for path in sorted(folder.glob("step-*"), reverse=True):
        try:
            manifest = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
            if sha256_of(path / "state.pt") != manifest["sha256"]:
                raise ValueError("state.pt is not the file that was written (its SHA-256 differs)")
            state = torch.load(path / "state.pt", map_location="cpu", weights_only=True)
            return Checkpoint(path, manifest["step"], manifest["recipe"], state)
        except (OSError, ValueError, KeyError, RuntimeError, pickle.UnpicklingError) as error:
            logger.warning("skipping the damaged checkpoint %s: %s", path, error)
    return None


def remove_checkpoints(folder: Path) -> None:
    """Delete the checkpoints of an earlier run."""
    for path in folder.glob("step-*"):
        _remove(path)


def differences(before: dict[str, Any], now: dict[str, Any], prefix: str = "") -> list[str]:
    """What two recipes disagree on, one line per field: ``config.learning_rate: 0.003 then, 0.001 now``."""
    lines = []
    for name in sorted(before.keys() | now.keys()):
        old, new = before.get(name), now.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            lines += differences(old, new, f"{prefix}{name}.")
        elif old != new:
            lines.append(f"{prefix}{name}: {old!r} then, {new!r} now")
    return lines


def random_states() -> dict[str, Any]:
    """The state of every random number generator, in types that ``weights_only`` can load."""
    name, keys, *rest = np.random.get_state()  # noqa: NPY002  the global generator is the one that needs saving
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "python": random.getstate(),
        "numpy": (name, torch.from_numpy(np.asarray(keys, dtype=np.int64)), *rest),
    }


def set_random_states(states: dict[str, Any]) -> None:
    """Restore what ``random_states`` returned."""
    torch.set_rng_state(states["torch"])
    if states["cuda"] and len(states["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(states["cuda"])
    random.setstate(states["python"])
    name, keys, *rest = states["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))  # noqa: NPY002


def _to_disk(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())


def _directory_to_disk(folder: Path) -> None:
    """A rename is on disk once its folder is; Windows has no such call and needs none."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _remove(path: Path) -> None:
    """Rename first: a half-deleted folder must not look like a checkpoint."""
    if path.exists():
        rubbish = path.with_name(f"{_UNFINISHED}{path.name}-old")
        shutil.rmtree(rubbish, ignore_errors=True)
        path.rename(rubbish)
        shutil.rmtree(rubbish)
