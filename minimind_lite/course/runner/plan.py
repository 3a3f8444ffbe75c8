"""What a run will do: which chapters, at which profile, where, and with which parameters."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minimind_lite.files import repository_root
from minimind_lite.settings import parse_settings

from ..kit.errors import CourseError
from ..kit.language import check_language
from ..kit.paths import DEFAULT_OUTPUT, resolve_output, stage_of
from ..kit.profiles import check_profile
from ..notebooks.files import chapter_paths, edition_path, language_of
from . import state
from .execute import check_parameters
from .state import LastRun


@dataclass(frozen=True)
class Plan:
    """What to run, where, and with which parameters; made and checked before the first chapter starts."""

    profile: str
    artifacts: Path  # one folder per chapter
    home: Path  # executed copies, the state, the report
    chapters: list[Path]  # the requested ones
    every: list[Path]  # all that exist
    parameters: dict[Path, dict[str, Any]]  # for each, its parameters beside the profile and the folder
    jobs: int = 1  # chapters at a time
    language: str = "en"  # of the page, the messages, and the chapters that have such an edition

    @property
    def state_file(self) -> Path:
        """Where it is kept how each chapter last ran."""
        return self.home / "chapters.json"

    def hash_of(self, path: Path) -> str:
        """The chapter's inputs as they are now."""
        return state.inputs_hash(path, self.profile, self.parameters.get(path, {}), self.artifacts)

    def results(self, path: Path) -> Path:
        """Where the chapter records its figures."""
        return self.artifacts / stage_of(path.stem) / "results.json"

    def verdict(self, path: Path, last_runs: dict[str, LastRun]) -> str:
        """done, stale, failed or missing."""
        return state.verdict(last_runs.get(path.stem), self.hash_of(path), self.results(path))


def make_plan(
    profile: str = "quick",
    first: str | None = None,
    last: str | None = None,
    parameters: Sequence[str] = (),
    output_dir: str | Path = DEFAULT_OUTPUT,
    folder: Path | None = None,
    language: str = "en",
    jobs: int = 1,
) -> Plan:
    """Check all that can be checked before running. Raises CourseError for an unknown profile, chapter or parameter,
    ConfigError for a value that a chapter's settings refuse.

    A chapter that ``language`` has no edition of runs in English, with figures and messages in that language.
    The executed copies and the report are stored beside the artifacts: in ``build/course`` for the default folder.
    """
    check_profile(profile)
    every = chapter_paths(folder=folder)
    if not every:
        raise CourseError(f"there is no chapter in {folder or repository_root() / 'notebooks'}")
    start = every.index(chapter_paths([first], folder)[0]) if first else 0
    end = every.index(chapter_paths([last], folder)[0]) if last else len(every) - 1
    if start > end:
        raise CourseError(f"--from {first} comes after --to {last}")
    every = [_edition(path, check_language(language)) for path in every]
    chapters = every[start : end + 1]
    artifacts = resolve_output(output_dir)
    home = artifacts.parent if artifacts.name == "artifacts" else artifacts
    given = check_parameters(chapters, parse_settings(parameters), profile)
    for path in chapters:
        if language_of(path) != language and folder is None:
            given[path]["language"] = language
    return Plan(profile, artifacts, home, chapters, every, given, jobs, language)


def _edition(path: Path, language: str) -> Path:
    """The chapter in ``language`` if it has been translated, else as it is."""
    other = edition_path(path, language)
    return other if other.is_file() else path
