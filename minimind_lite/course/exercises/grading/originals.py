"""What grading stands on, read once: the package with its checks, the notebooks that were handed out, the masters.

Every verdict comes from what was in memory when grading began. A submission gets a copy of the package of its own, and
where it could reach the files on disk, they are compared and put back, so that the next batch is graded by the same
checks.
"""

import contextlib
from functools import cached_property
from pathlib import Path
from typing import Any

import nbformat

import minimind_lite
from minimind_lite.files import repository_root, written_whole

from ...kit.errors import CourseError
from ..core import every_check
from ..masters import exercise_path, master_paths

_CACHE = "__pycache__"  # compiled modules: Python writes them at any time, and can do without


class Originals:
    """The files as they were when this was made."""

    def __init__(self, package: Path | None = None, root: Path | None = None) -> None:
        self.package, self.root = package or Path(minimind_lite.__file__).parent, root or repository_root()
        every_check()  # from here on no check is read from the disk
        self.files = {path: path.read_bytes() for path in self._present()}
        self.compiled = {path: path.read_bytes() for path in self.package.rglob(f"{_CACHE}/*") if path.is_file()}

    def _present(self) -> set[Path]:
        """The package's files and those of the exercises that are on disk now, without compiled modules."""
        found = {path for path in self.package.rglob("*") if _CACHE not in path.parts}
        for name in ("exercises", "solutions"):
            found |= set((self.root / name).glob("*.ipynb"))
        return {path for path in found if path.is_file()}

    @cached_property
    def sets(self) -> dict[str, Any]:
        """The notebooks as they were handed out, by the name of their set."""
        handed_out = {one.stem: self.root / "exercises" / exercise_path(one).name for one in master_paths()}
        texts = {name: self.files[path].decode() for name, path in handed_out.items() if path in self.files}
        return {name: nbformat.reads(text, as_version=4) for name, text in texts.items()}

    def copy_to(self, folder: Path) -> Path:
        """Write a clone that a submission may spoil: the package, and no exercises, masters or data."""
        for path in (one for one in self.files if one.is_relative_to(self.package)):
            target = folder / self.package.name / path.relative_to(self.package)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(self.files[path])
        (folder / "pyproject.toml").touch()
        (folder / "notebooks").mkdir()
        return folder

    def changed(self) -> list[Path]:
        """The files that are not what they were: changed, gone or new."""
        present = self._present()
        different = {path for path in present & self.files.keys() if path.read_bytes() != self.files[path]}
        return sorted(different | (present ^ self.files.keys()))

    def restore(self, aside: Path) -> None:
        """Put every file back; changed and new ones are kept under ``aside``, new compiled modules are deleted.

        Raises CourseError if that does not work: nothing may be graded by the files that are there then.
        """
        with contextlib.suppress(OSError):
            self._put_back(aside)
        if left := self.changed():
            raise CourseError(
                f"a submission changed files of the course that cannot be put back: {', '.join(map(str, left))}. The "
                "grades so far are written; restore the repository (git status shows what differs) before you go on"
            )

    def _put_back(self, aside: Path) -> None:
        for path in self.changed():
            if path.is_file():
                kept = aside / path.relative_to(self.root if path.is_relative_to(self.root) else self.package.parent)
                kept.parent.mkdir(parents=True, exist_ok=True)
                kept.write_bytes(path.read_bytes())
                path.unlink()
            if path in self.files:
                with written_whole(path) as part:
                    part.write_bytes(self.files[path])
        for path in self.package.rglob(f"{_CACHE}/*"):
            if path.is_file() and path.read_bytes() != self.compiled.get(path):
                path.unlink()
