"""`make claims`: in how many runs did what the chapters say of their own run hold?

Runs the course at the profile quick once for every seed and every arithmetic mode (kernels:threads, such as default:2),
each in its own folder, build/claims/seed-SEED-KERNELS-THREADS. Only the chapters that claim something are run, and
those that they need. A call that was stopped goes on: chapters that are finished are not run again. The counts are
written to benchmarks/results/claims.json; chapters that were not run keep what is recorded of them.

    python benchmarks/claims.py --from 01 --to 07b --seeds 0 1 2 --modes default:1 avx512:1
    python benchmarks/claims.py --report build/claims/*/report.json     # only count what has run, here or elsewhere
    python benchmarks/claims.py --add --seeds 3            # beside what is recorded, for chapters that have not changed

One run of the whole course takes about half an hour.
"""

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from minimind_lite.course.kit.errors import CourseError
from minimind_lite.course.kit.paths import stage_of
from minimind_lite.course.kit.profiles import settings_for
from minimind_lite.course.notebooks.files import read
from minimind_lite.course.runner.arithmetic import best_kernels, check_mode, computing
from minimind_lite.course.runner.plan import Plan, make_plan
from minimind_lite.course.runner.report import make_report, write_report
from minimind_lite.course.runner.run import run_course
from minimind_lite.course.runner.state import optional_stages, required_stages
from minimind_lite.files import UnreadableFile, read_json, repository_root, write_text

ROOT = repository_root()
RECORD = ROOT / "benchmarks" / "results" / "claims.json"
WORK = ROOT / "build" / "claims"
PROFILE = "quick"
SEEDS = (0, 1, 2)
Reports = Mapping[Path, dict[str, Any]]  # the content of each report.json


def without_idle_chapters(plan: Plan) -> Plan:
    """The plan without the chapters that claim nothing and that no later one reads from."""
    kept: list[Path] = []
    read_from: set[str] = set()
    for path in reversed(plan.chapters):
        cells = (cell.source for cell in read(path).cells if cell.cell_type == "code")
        if stage_of(path.stem) in read_from or any("chapter.claim(" in source for source in cells):
            kept.insert(0, path)
            read_from |= {*required_stages(path), *optional_stages(path)}
    return replace(plan, chapters=kept)


def run_once(seed: int, mode: str, first: str | None, last: str | None, work: Path) -> Path:
    """Run the chapters with this seed in this mode; returns the report. Raises CourseError if one of them fails."""
    folder = work / f"seed-{seed}-{mode.replace(':', '-')}"
    plan = make_plan(PROFILE, first, last, [f"seed={seed}"], folder / "artifacts", language="en")
    print(f"seed {seed}, {mode}", flush=True)
    with computing(mode):
        run = run_course(without_idle_chapters(plan))
        write_report(make_report(run, []), plan.home)
    if run.error:
        raise CourseError(run.error)
    return plan.home / "report.json"


def check_reports(reports: Reports) -> None:
    """Raise CourseError for reports that cannot be counted together."""
    known: dict[str, Path] = {}
    for file, report in reports.items():
        if not isinstance(report.get("claims"), dict) or not isinstance(report.get("chapters"), list):
            raise CourseError(f"{file}: records no claims; give the report.json of a run of the course")
        if report["profile"] != PROFILE:
            raise CourseError(f"{file}: a run at the profile {report['profile']}; claims are counted at {PROFILE}")
        first_file, first = next(iter(reports.items()))
        if report["commit"] != first["commit"]:
            raise CourseError(f"{file} is of commit {report['commit'][:12]}, {first_file} of {first['commit'][:12]}: "
                              "run both at the same one, or count them apart")  # fmt: skip
        twin = known.setdefault(json.dumps(report, sort_keys=True), file)
        if twin is not file:
            raise CourseError(f"{file} and {twin} are the same report")


def run_of(row: dict[str, Any], report: dict[str, Any], file: Path) -> str:
    """A chapter's run in words: "seed 0, avx512:1". Raises CourseError if anything but the seed was changed."""
    parameters = dict(row.get("parameters", {}))
    seed = parameters.pop("seed", None)
    if parameters:
        changed = ", ".join(f"{name}={value}" for name, value in parameters.items())
        raise CourseError(f"{file}: {row['name']} was run with {changed}, which is another experiment")
    seed = settings_for(stage_of(row["name"]), PROFILE).seed if seed is None else seed
    return f"seed {seed}, {report.get('arithmetic', report['device'])}"


def count(reports: Reports) -> dict[str, Any]:
    """Of each chapter that a report has finished: the commit, the runs, and how often each of its claims held.

    A claim that some runs do not make (a section may be left out) is counted over those that do. Raises CourseError for
    reports that cannot be counted together.
    """
    check_reports(reports)
    chapters: dict[str, Any] = {}
    for file, report in reports.items():
        for row in report["chapters"]:
            claims = report["claims"].get(row["name"], {})
            if row["status"] not in ("done", "skipped") or not claims:
                continue
            run = run_of(row, report, file)
            new = {"commit": report["commit"], "runs": [], "claims": {}}
            chapter = chapters.setdefault(row["name"], new)
            chapter["runs"].append(run)
            for text, held in claims.items():
                claim = chapter["claims"].setdefault(text, {"held": 0, "of": 0, "not_in": []})
                claim["held"] += held
                claim["of"] += 1
                claim["not_in"] += [] if held else [run]
    return chapters


def added(old: Mapping[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """One chapter's counts with those of earlier runs, which name their commit; claims that it no longer makes go.

    Raises CourseError if a run is in both.
    """
    if twice := {run.partition(" (commit ")[0] for run in old["runs"]} & set(new["runs"]):
        raise CourseError(f"counted before: {', '.join(sorted(twice))}; without --add they are counted anew")

    def named(runs: list[str]) -> list[str]:
        return [run if "(commit " in run else f"{run} (commit {old['commit'][:7]})" for run in runs]

    claims = {}
    for text, claim in new["claims"].items():
        before = old["claims"].get(text, {"held": 0, "of": 0, "not_in": []})
        claims[text] = {
            "held": before["held"] + claim["held"], "of": before["of"] + claim["of"],
            "not_in": named(before["not_in"]) + claim["not_in"],
        }  # fmt: skip
    return {"commit": new["commit"], "runs": named(old["runs"]) + new["runs"], "claims": claims}


def record(reports: Reports, add: bool = False) -> dict[str, Any]:
    """Write the counts, with ``add`` beside those recorded before. Chapters that no report has finished keep theirs.

    Returns the counts of the chapters that have finished. Raises CourseError as ``count`` and ``added`` do.
    """
    counted = count(reports)
    before = read_json(RECORD)["chapters"] if RECORD.is_file() else {}
    if add:
        counted = {name: added(before[name], new) if name in before else new for name, new in counted.items()}
    chapters = dict(sorted((before | counted).items()))
    write_text(RECORD, json.dumps({"profile": PROFILE, "chapters": chapters}, indent=1) + "\n")
    return counted


def main() -> int:
    """Run what was asked for, record and print the counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    best = f"{best_kernels()}:1"
    parser.add_argument("--from", dest="first", metavar="NN", help="the first chapter")
    parser.add_argument("--to", dest="last", metavar="NN", help="the last chapter")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--modes", nargs="+", default=sorted({"default:1", best}), help=f"default: default:1 {best}")
    parser.add_argument("--work", type=Path, default=WORK, help="where the runs are kept")
    parser.add_argument("--report", type=Path, nargs="+", metavar="FILE", help="run nothing: count these reports")
    parser.add_argument("--add", action="store_true", help="to what is recorded, where neither code nor data changed")
    options = parser.parse_args()
    try:
        files = options.report or [
            run_once(seed, mode, options.first, options.last, options.work.resolve())
            for seed in options.seeds
            for mode in map(check_mode, options.modes)
        ]
        counted = record({file: read_json(file) for file in files}, options.add)
    except (CourseError, OSError, UnreadableFile) as error:
        print(error, file=sys.stderr)
        return 1
    for name, chapter in counted.items():
        for text, claim in chapter["claims"].items():
            print(f"{name}: {claim['held']} of {claim['of']}: {text}", *claim["not_in"], sep="\n    not: ")
    return 0


if __name__ == "__main__":
    sys.exit(main())
