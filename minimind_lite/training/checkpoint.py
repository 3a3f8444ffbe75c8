"""Checkpoints that are complete or not there at all, and that nothing deletes before there is something better.

A checkpoint is a folder ``step-00000100/`` with ``state.pt`` (tensors and plain values) and ``manifest.json`` (step,
recipe, SHA-256 of the state). It is written under a temporary name, read back, flushed to disk, and renamed. A rename
either happens or does not, so a run killed at any instant leaves only complete checkpoints, and leftovers that can be
told by their names. State is read with ``weights_only=True``: an untrusted checkpoint cannot run code.

Other names in the folder: ``damaged-step-…`` cannot be used and is kept for you to look at; ``earlier-step-…`` belongs
to a run that was started afresh, and goes when the new run has a checkpoint of its own or has ended.
"""

import errno
import hashlib
import json
import logging
import os
import random
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch

from minimind_lite.files import UnreadableFile, directory_to_disk, is_full, read_json, sha256_of

logger = logging.getLogger(__name__)

_UNFINISHED = ".unfinished-"  # prefix of a checkpoint that is being written or deleted
_DAMAGED = "damaged-"
_EARLIER = "earlier-"


class CheckpointError(RuntimeError):
    """A checkpoint that could not be written or read, or must not be continued; the message says what to do."""


class _Damaged(ValueError):
    """A checkpoint that was read, and is not what was written."""


@dataclass(frozen=True)
class Checkpoint:
    """Where a run stood: everything needed to continue as if nothing had happened."""

    path: Path
    step: int  # optimizer steps done
    recipe: dict[str, Any]  # what the run was asked to do, to be compared with what is asked now
    state: dict[str, Any]


def save_checkpoint(folder: Path, step: int, state: dict[str, Any], recipe: dict[str, Any], keep: int = 2) -> Path:
    """Write a checkpoint after ``step`` steps, read it back, then remove all but the newest ``keep``.

    Raises CheckpointError if it cannot be written (a full disk); the earlier checkpoints are then untouched.
    """
    final = folder / f"step-{step:08d}"
    partial = folder / f"{_UNFINISHED}{final.name}"
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        with (partial / "state.pt").open("wb") as file:
            written = _Hashed(file)
            torch.save(state, written)  # type: ignore[arg-type]  # it needs no more than write and flush
            _to_disk(file)
        if sha256_of(partial / "state.pt") != written.sha256.hexdigest():
            raise OSError(errno.EIO, "what was read back is not what was written")
        manifest = {"step": step, "sha256": written.sha256.hexdigest(), "recipe": recipe}
        with (partial / "manifest.json").open("w", encoding="utf-8") as file:
            json.dump(manifest, file, ensure_ascii=False, indent=1)
            _to_disk(file)
        _remove(final)  # one of the same step may be there
        partial.rename(final)
        directory_to_disk(folder)
    except (OSError, RuntimeError) as error:  # torch's writer turns a failed write into a RuntimeError
        shutil.rmtree(partial, ignore_errors=True)
        raise _not_written(folder, final, error) from error
    for old in sorted(folder.glob("step-*"))[:-keep]:
        _remove(old)
    return final


class _Hashed:
    """A file for ``torch.save`` that notes the SHA-256 of what is written, before a disk can change it."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.sha256 = file, hashlib.sha256()

    def write(self, data: Any) -> int:
        """Pass ``data`` on."""
        self.sha256.update(data)
        return self.file.write(data)

    def flush(self) -> None:
        """Pass the call on."""
        self.file.flush()


def _not_written(folder: Path, final: Path, error: Exception) -> CheckpointError:
    last = max((path.name for path in folder.glob("step-*") if path != final), default="none")
    full = isinstance(error, RuntimeError) or is_full(error)
    advice = "Free some disk space" if full else "Mend that"
    return CheckpointError(
        f"the checkpoint of step {int(final.name[5:])} could not be written to {folder}: {error}. The last good one "
        f"is {last}. {advice} and run the same command again"
    )


def latest_checkpoint(folder: Path) -> Checkpoint | None:
    """The newest good checkpoint in ``folder``, None if there is none.

    A damaged one is renamed to ``damaged-step-…``, with a warning; leftovers are removed. Raises CheckpointError if one
    cannot be read at all, because that says nothing about it: the disk may be back in a minute.
    """
    for rubbish in folder.glob(f"{_UNFINISHED}*"):
        shutil.rmtree(rubbish, ignore_errors=True)
    for path in sorted(folder.glob("step-*"), reverse=True):
        try:
            return _read(path)
        except _Damaged as error:
            aside = _free_name(path.with_name(f"{_DAMAGED}{path.name}"))
            path.rename(aside)
            logger.warning("the checkpoint %s is damaged (%s); it is kept as %s", path, error, aside.name)
        except OSError as error:
            raise CheckpointError(
                f"the checkpoint {path} cannot be read: {error}. Nothing was changed. See to the disk, then run the "
                "same command again"
            ) from error
    return None


def _read(path: Path) -> Checkpoint:
    """The checkpoint in a folder. Raises _Damaged for what is not one, OSError for what cannot be read."""
    try:
        manifest = read_json(path / "manifest.json")
        step, digest, recipe = manifest.get("step"), manifest.get("sha256"), manifest.get("recipe")
        if not isinstance(step, int) or path.name != f"step-{step:08d}" or not isinstance(recipe, dict):
            raise _Damaged("manifest.json does not describe it")
        if sha256_of(path / "state.pt") != digest:
            raise _Damaged("state.pt is not the file that was written: its SHA-256 differs")
        state = torch.load(path / "state.pt", map_location="cpu", weights_only=True)
    except UnreadableFile as error:
        raise _Damaged(str(error)) from error
    except (FileNotFoundError, NotADirectoryError) as error:
        raise _Damaged(f"it is not complete: {error}") from error
    except (OSError, _Damaged):
        raise
    except Exception as error:  # torch.load raises anything for a file that it did not write
        raise _Damaged(f"state.pt cannot be loaded: {error}") from error
    return Checkpoint(path, step, recipe, state)


def damaged_checkpoints(folder: Path) -> list[str]:
    """Names of the damaged checkpoints that were kept."""
    return sorted(path.name for path in folder.glob(f"{_DAMAGED}*"))


def set_aside(folder: Path, metrics: Path) -> None:
    """Rename the checkpoints and the metrics of an earlier run to ``earlier-…``: a new one begins in their place.

    What an earlier start had set aside stays until there is a checkpoint that is worth more.
    """
    checkpoints = sorted(folder.glob("step-*"))
    if checkpoints:
        drop_earlier(folder, metrics)
    for path in [*checkpoints, *([metrics] if metrics.is_file() else [])]:
        aside = path.with_name(f"{_EARLIER}{path.name}")
        if not aside.exists():
            path.rename(aside)


def drop_earlier(folder: Path, metrics: Path) -> None:
    """Delete what ``set_aside`` kept."""
    for path in folder.glob(f"{_EARLIER}step-*"):
        _remove(path)
    metrics.with_name(f"{_EARLIER}{metrics.name}").unlink(missing_ok=True)


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
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))  # noqa: NPY002  as in random_states


def _to_disk(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())


def _free_name(path: Path) -> Path:
    """``path``, or the first of path-2, path-3 … that does not exist."""
    found, number = path, 1
    while found.exists():
        number += 1
        found = path.with_name(f"{path.name}-{number}")
    return found


def _remove(path: Path) -> None:
    """Rename first: a half-deleted folder must not look like a checkpoint."""
    if path.exists():
        rubbish = path.with_name(f"{_UNFINISHED}{path.name}-old")
        shutil.rmtree(rubbish, ignore_errors=True)
        path.rename(rubbish)
        shutil.rmtree(rubbish)
