"""What a run of the course leaves: report.json for machines, index.html for people."""

import base64
import json
import subprocess
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from minimind_lite.device import pick_device
from minimind_lite.files import UnreadableFile, read_json, repository_root, write_text

from ..kit.language import say_count, speaking
from ..kit.paths import stage_of
from ..notebooks.files import read, tagged, title_of
from . import state
from .arithmetic import mode_here
from .page import ChapterView, page
from .plan import Plan
from .questions import Answer
from .readable import ReadableChapters
from .run import CourseRun
from .schedule import usable_cores
from .state import LastRun


@dataclass(frozen=True)
class Report:
    """Everything that both files show."""

    data: dict[str, Any]  # the content of report.json
    views: list[ChapterView]
    answers: list[Answer]
    error: str


def make_report(run: CourseRun, answers: list[Answer], readable: ReadableChapters | None = None) -> Report:
    """Collect status, seconds and figures of all chapters, from this run and from earlier ones.

    The page links to the web pages of the chapters if it is told which there are.
    """
    rows = chapter_rows(run)
    files = {name: run.plan.artifacts / stage_of(name) / "results.json" for name, _, _ in rows}
    results = {name: _part(path, "figures") for name, path in files.items()}
    claims = {name: found for name, path in files.items() if (found := _part(path, "claims", required=False))}
    last_runs = state.load(run.plan.state_file)
    total = wall_seconds(rows, last_runs)
    figures = {
        key if "." in key else f"{stage_of(name)}.{key}": value  # "exam.accuracy" says itself what it is of
        for name, found in results.items()
        for key, value in found.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool)
    }
    data = {
        "commit": commit(),
        "profile": run.plan.profile,
        "language": run.plan.language,
        "device": device_name(),
        "arithmetic": mode_here() if pick_device().type == "cpu" else pick_device().type,
        "jobs": run.plan.jobs,
        "total_seconds": total,
        "chapters": [_entry(*row, last_runs.get(row[0])) for row in rows],
        "figures": figures | {"total_seconds": total},
        "claims": claims,
        "answers": [asdict(answer) for answer in answers],
    }
    views = _views(run, rows, results, claims)
    if readable:
        views = [with_pages(view, readable) for view in views]
    return Report(data, views, answers, run.error)


def _views(
    run: CourseRun,
    rows: list[tuple[str, str, float]],
    results: dict[str, dict[str, Any]],
    claims: dict[str, dict[str, bool]],
) -> list[ChapterView]:
    """What the page shows of each chapter."""
    counts = recorded_counts()
    return [
        ChapterView(
            path,
            title_of(path),
            status,
            seconds,
            results[path.stem],
            claims.get(path.stem, {}),
            *main_plot(run.plan.home / path.name),
            counts.get(path.stem, {}),
        )
        for path, (_, status, seconds) in zip(run.plan.every, rows, strict=True)
    ]


def with_pages(view: ChapterView, readable: ReadableChapters) -> ChapterView:
    """The chapter with the addresses of its web pages, or with why it has none."""
    return replace(
        view,
        page=readable.address(view.path),
        exercises=readable.exercises_address(view.path),
        problem=readable.problems.get(view.path.stem, ""),
    )


def recorded_counts() -> dict[str, dict[str, tuple[int, int]]]:
    """For each chapter and claim, in how many of how many runs it held, as benchmarks/claims.py has recorded it."""
    path = repository_root() / "benchmarks" / "results" / "claims.json"
    chapters = read_json(path)["chapters"] if path.is_file() else {}
    return {
        name: {text: (one["held"], one["of"]) for text, one in chapter["claims"].items()}
        for name, chapter in chapters.items()
    }


def _entry(name: str, status: str, seconds: float, last_run: LastRun | None) -> dict[str, Any]:
    """A chapter in report.json, with the parameters that make its run differ from the profile, if there are any."""
    given = last_run.parameters if last_run else {}
    changed = {name: value for name, value in given.items() if name != "language"}
    return {"name": name, "status": status, "seconds": round(seconds, 1)} | ({"parameters": changed} if changed else {})


def chapter_rows(run: CourseRun) -> list[tuple[str, str, float]]:
    """(name, status, seconds) of every chapter: from this run, or else from its last run."""
    ran = {name: (name, status, seconds) for name, status, seconds in run.chapters}
    last_runs = state.load(run.plan.state_file)
    return [ran.get(path.stem) or status_row(run.plan, path, last_runs) for path in run.plan.every]


def status_row(plan: Plan, path: Path, last_runs: dict[str, LastRun]) -> tuple[str, str, float]:
    """(name, done, stale, failed or missing, recorded seconds), with the parameters it was last run with."""
    last_run = last_runs.get(path.stem)
    if last_run is None:
        return path.stem, "missing", 0.0
    inputs = state.inputs_hash(path, last_run.profile, last_run.parameters, plan.artifacts)
    return path.stem, state.verdict(last_run, inputs, plan.results(path)), last_run.seconds


def wall_seconds(rows: list[tuple[str, str, float]], last_runs: dict[str, LastRun]) -> float:
    """Seconds in which a chapter of ``rows`` was running: those side by side count once.

    Where it is not known when a chapter ran, it counts as if it ran by itself.
    """
    spans = [(last_runs[name].started if name in last_runs else 0.0, round(seconds, 1)) for name, _, seconds in rows]
    total, upto = 0.0, 0.0
    for started, seconds in sorted(spans):
        again = max(0.0, upto - started) if started else 0.0
        total += max(0.0, seconds - again)
        upto = max(upto, started + seconds) if started else upto
    return round(total, 1)


def write_report(report: Report, home: Path) -> None:
    """Write report.json and index.html into ``home``."""
    write_text(home / "report.json", json.dumps(report.data, ensure_ascii=False, indent=1) + "\n")
    write_text(home / "index.html", page(report.data, report.views, report.answers, report.error))


def _part(path: Path, name: str, required: bool = True) -> dict[str, Any]:
    """The figures or the claims that a chapter recorded. Raises UnreadableFile for a results.json that holds none."""
    found = read_json(path).get(name, None if required else {}) if path.is_file() else {}
    if not isinstance(found, dict):
        raise UnreadableFile(f"{path}: has no object called {name}; run the chapter again")
    return found


def main_plot(executed: Path) -> tuple[str, str]:
    """The chapter's main picture as a data: URL, and its alternative text; each "" where there is none.

    It is taken from the cell tagged ``main-plot``, else from the last cell with a picture.
    """
    if not executed.is_file():
        return "", ""
    notebook = read(executed)
    chosen = tagged(notebook, "main-plot")
    for cell in ([chosen] if chosen else []) + notebook.cells[::-1]:
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                raw = base64.b64decode(output.data["image/png"])
                alt = str(output.get("metadata", {}).get("image/png", {}).get("alt", ""))
                return f"data:image/png;base64,{base64.b64encode(raw).decode('ascii')}", alt
    return "", ""


def commit() -> str:
    """The commit of this working tree, with "-dirty" if tracked files differ; "unknown" without git.

    Exercises and recorded results may differ: nothing is computed from them (chapter 17 draws one), and using or
    measuring changes them.
    """
    git, inputs = ["git", "-C", str(repository_root())], [".", ":(exclude)exercises", ":(exclude)benchmarks/results"]
    try:
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True, timeout=30)  # noqa: S603  git
        changed = subprocess.run(  # noqa: S603  git
            [*git, "diff", "--quiet", "HEAD", "--", *inputs], capture_output=True, check=False, timeout=30
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return head.stdout.strip() + ("-dirty" if changed.returncode else "")


def device_name() -> str:
    """What the chapters ran on: the card's name, or the kind and the number of cores this process may use."""
    import torch

    device = pick_device()
    if device.type == "cuda":
        return torch.cuda.get_device_name()
    with speaking("en"):  # a word of report.json, which is the same in every language; the page translates it
        return f"{device.type}, " + say_count("{count} core", "{count} cores", usable_cores())
