"""What has been run, and whether its inputs are still the same: one small JSON file beside the artifacts."""

import hashlib
import json
import logging
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import nbformat

from minimind_lite.files import UnreadableFile, read_json, repository_root, write_text

from ..kit.bounds import step_bound
from ..kit.paths import stage_of
from ..kit.profiles import RESULTS, artifact_of

logger = logging.getLogger(__name__)

_REQUIRES = re.compile(r"""\.require\(\s*["'](\w+)["']""")
_LOOKS_FOR = re.compile(r"""\.output_dir\s*/\s*["'](\w+)["']""")


@dataclass(frozen=True)
class LastRun:
    """How a chapter's last run ended."""

    status: str  # done or failed
    seconds: float
    inputs: str  # the hash of everything it was made from
    profile: str
    parameters: dict[str, Any]  # what -p gave it
    started: float = 0.0  # when, in seconds since 1970; 0 if it is not known


def load(path: Path) -> dict[str, LastRun]:
    """How each chapter last ran; empty if there are none. A damaged file counts as none, with a warning.

    Raises OSError for a file that is there and cannot be read: every chapter would run again for nothing.
    """
    try:
        return {name: LastRun(**last_run) for name, last_run in read_json(path).items()}
    except FileNotFoundError:
        return {}
    except (UnreadableFile, TypeError) as error:
        logger.warning("%s is damaged (%s): every chapter counts as never run", path, error)
        return {}


def save(path: Path, last_runs: dict[str, LastRun]) -> None:
    """Write how each chapter last ran, atomically."""
    write_text(path, json.dumps({name: asdict(one) for name, one in sorted(last_runs.items())}, indent=1) + "\n")


def inputs_hash(notebook: Path, profile: str, parameters: dict[str, Any], artifacts: Path) -> str:
    """A hash of all that a chapter's result depends on: code, parameters, library, sample data, upstream results."""
    code = _code_of(notebook)
    digest = hashlib.sha256(json.dumps([code, profile, parameters, step_bound()], sort_keys=True, default=str).encode())
    digest.update(library_hash(stage_of(notebook.stem)).encode())
    for stage in required_stages(notebook):
        for file in (artifacts / stage / RESULTS, artifacts / stage / artifact_of(stage)):
            digest.update(file.read_bytes() if file.is_file() else b"missing")
    return digest.hexdigest()


def required_stages(notebook: Path) -> list[str]:
    """The stages whose outputs a chapter needs: those that its cells give to ``chapter.require("…")``."""
    return sorted(set(_REQUIRES.findall("\n".join(_code_of(notebook)))))


def optional_stages(notebook: Path) -> list[str]:
    """The stages whose outputs a chapter shows if they are there: ``chapter.output_dir / "…"`` in its cells."""
    return sorted(set(_LOOKS_FOR.findall("\n".join(_code_of(notebook)))))


def _code_of(notebook: Path) -> list[str]:
    cells = nbformat.read(notebook, as_version=4).cells
    return [cell.source for cell in cells if cell.cell_type == "code"]


def library_hash(chapter: str) -> str:
    """A hash of the library as far as this chapter depends on it, and of the sample data."""
    root = repository_root()
    package, samples = root / "minimind_lite", root / "data_samples"
    files = [path for path in package.rglob("*.*") if _is_input(path.relative_to(package).parts, chapter)]
    files += [path for path in samples.rglob("*") if path.suffix in (".jsonl", ".csv") and "builder" not in path.parts]
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(path.relative_to(root).as_posix().encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _is_input(parts: tuple[str, ...], chapter: str) -> bool:
    """Whether a chapter's result depends on a file of the package, given by the parts of its path.

    It depends on the library below ``course``, on what a notebook calls first (``course/__init__.py``), on the kit, and
    on the chapter's own folder except its exercise checks. The command line, the runner, the tools for notebooks and
    exercises, and other chapters' folders only surround it.
    """
    if not parts[-1].endswith((".py", ".json")) or parts[0] == "cli":
        return False
    if parts[0] != "course":
        return True
    own = parts[1:3] == ("chapters", chapter) and parts[-1] != "checks.py"
    return own or parts[1] in ("__init__.py", "kit")


def verdict(last_run: LastRun | None, inputs: str, results: Path) -> str:
    """done, stale (its inputs changed or its results are gone), failed, or missing (never run)."""
    if last_run is None:
        return "missing"
    if last_run.status != "done":
        return "failed"
    return "done" if last_run.inputs == inputs and results.is_file() else "stale"
