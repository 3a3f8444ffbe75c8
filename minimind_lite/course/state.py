"""What has been run, and whether its inputs are still the same: one small JSON file beside the artifacts."""

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import nbformat

from . import ARTIFACTS
from .paths import repository_root, write_atomically

# What only displays a run: a change here does not make any chapter's result stale.
NOT_AN_INPUT = {"cli.py", "run.py", "report.py", "progress.py", "questions.py", "state.py", "execute.py",
                "notebooks.py", "cleaning.py", "refresh.py", "page.py", "colab.py", "exercises.py"}  # fmt: skip
_REQUIRES = re.compile(r"""\.require\(\s*["'](\w+)["']""")


@dataclass(frozen=True)
class Record:
    """How a chapter's last run ended."""

    status: str  # done or failed
    seconds: float
    inputs: str  # the hash of all it was made from
    profile: str
    parameters: dict[str, Any]  # what -p gave it


def load(path: Path) -> dict[str, Record]:
    """The records by chapter; empty where there are none, or the file cannot be read."""
    try:
        return {name: Record(**record) for name, record in json.loads(path.read_text(encoding="utf-8")).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def save(path: Path, records: dict[str, Record]) -> None:
    """Write the records, whole or not at all."""
    write_atomically(path, json.dumps({name: asdict(one) for name, one in sorted(records.items())}, indent=1) + "\n")


def inputs_hash(notebook: Path, profile: str, parameters: dict[str, Any], artifacts: Path) -> str:
    """One hash over all a chapter's result depends on: code, library, sample data, parameters, upstream results."""
    code = [cell.source for cell in nbformat.read(notebook, as_version=4).cells if cell.cell_type == "code"]
    digest = hashlib.sha256(json.dumps([code, profile, parameters], sort_keys=True, default=str).encode())
    digest.update(library_hash().encode())
    for stage in sorted(set(_REQUIRES.findall("\n".join(code)))):
        for file in (artifacts / stage / "results.json", artifacts / stage / ARTIFACTS.get(stage, "results.json")):
            digest.update(file.read_bytes() if file.is_file() else b"missing")
    return digest.hexdigest()


def library_hash() -> str:
    """A hash of the library's sources and of the sample data."""
    root = repository_root()
    modules = (root / "minimind_lite").rglob("*.py")
    files = [p for p in modules if p.name not in NOT_AN_INPUT and not {"checks", "grading"} & set(p.parts)]
    files += [
        p
        for p in (root / "data_samples").rglob("*")
        if p.is_file() and p.suffix in (".jsonl", ".csv") and "builder" not in p.parts
    ]
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(path.relative_to(root).as_posix().encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def verdict(record: Record | None, inputs: str, results: Path) -> str:
    """done, stale (its inputs changed or its results are gone), failed, or missing (never run)."""
    if record is None:
        return "missing"
    if record.status != "done":
        return "failed"
    return "done" if record.inputs == inputs and results.is_file() else "stale"
