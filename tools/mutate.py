"""Would the tests notice a small mistake in the library? Plant them one by one and count: python tools/mutate.py

    python tools/mutate.py --map                     which test enters which function (once; into build/mutation)
    python tools/mutate.py --sample 300 --seed 0     a random sample of all mutants; without --sample all of them
    python tools/mutate.py --only model data         only these floors
    python tools/mutate.py --again                   judge anew only what was not killed before, as after new tests
    python tools/mutate.py --survivors               judge the survivors of the last score again; the score stays
    python tools/mutate.py --show model/moe.py       list a file's mutants and run none

Each mutant runs the tests that enter its function, the quickest first, in a copy of the repository: the working tree is
never touched. A process that has imported torch forks for each mutant, so a mutant costs its tests and not the imports
(POSIX only). A test that takes too long counts as a killed mutant, as an endless loop would in CI. The score and the
survivors go to benchmarks/results/mutation.json; tests/equivalent_mutants.json lists mutants that change nothing that
anybody could see, each with the reason.
"""

import argparse
import contextlib
import hashlib
import importlib
import json
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tools.mutants import Mutant, mutants, users  # noqa: E402  after the path is set

FLOORS = (
    "files", "settings", "device", "config", "tokenizer", "model", "data", "generation", "evaluation", "training",
    "interop",
)  # fmt: skip
HOME = ROOT / "build" / "mutation"
VERDICTS = HOME / "verdicts.jsonl"  # of every run on this machine
RESULT = ROOT / "benchmarks" / "results" / "mutation.json"
EQUIVALENT = ROOT / "tests" / "equivalent_mutants.json"
# Tests that read sources, run notebooks, or make environments: slow, and no judges of the library's behaviour.
LEFT_OUT = {
    "test_architecture", "test_base_install", "test_checks_planted", "test_course_jobs", "test_course_notebooks",
    "test_course_run", "test_exercises", "test_grade", "test_grade_attacks", "test_lock", "test_messages",
    "test_mutate", "test_nbgrader", "test_packaging", "test_processes", "test_processors", "test_project_files",
    "test_readme", "test_route", "test_sample_world_more", "test_site",
}  # fmt: skip
PRELOADED = (
    "pytest", "hypothesis", "numpy", "pydantic", "tokenizers", "safetensors.torch", "accelerate", "einops", "typer",
    "transformers.models.llama.modeling_llama", "transformers.models.qwen3.modeling_qwen3",
    "transformers.models.qwen3_moe.modeling_qwen3_moe", "peft", "torch.utils.checkpoint", "torch._dynamo",
)  # fmt: skip
DEFAULTS = "tests/test_defaults.py::test_no_default_has_changed"  # sees them without entering a function
SECONDS = 60.0  # of tests for one mutant, as measured without it
COPIED = ("minimind_lite", "tests", "pyproject.toml", "notebooks", "tools", "benchmarks")
LINKED = ("data_samples", "exercises", "solutions", "README.md", "CONTRIBUTING.md", "constraints.txt", "Makefile")


def floor_files(floor: str) -> list[Path]:
    """The modules of a floor of the library."""
    path = ROOT / "minimind_lite" / floor
    return [path.with_suffix(".py")] if path.with_suffix(".py").is_file() else sorted(path.rglob("*.py"))


class Entered:
    """A pytest plugin: for each test its seconds, and the package's functions that were called in it.

    What a module's or a session's fixture calls counts for every test of the file.
    """

    def __init__(self, package: Path) -> None:
        self.package, self.now = str(package) + os.sep, set[str]()
        self.codes: dict[int, Any] = {}  # those that were called in this test, kept so that no other gets their id
        self.shared, self.tests = set[str](), dict[str, dict[str, Any]]()

    def _profile(self, frame: Any, event: str, _: object) -> None:
        code = frame.f_code
        if event != "call" or id(code) in self.codes:
            return
        self.codes[id(code)] = code
        if code.co_filename.startswith(self.package):
            name = code.co_qualname.replace(".<locals>", "").partition(".<")[0]
            self.now.add(f"{code.co_filename[len(self.package) :]}:{name}")

    def pytest_runtest_protocol(self, item: Any) -> None:
        """Begin to note."""
        self.now, self.codes, self.begun = set(), {}, time.monotonic()
        sys.setprofile(self._profile)

    def pytest_fixture_post_finalizer(self, fixturedef: Any) -> None:
        """Keep what a wider fixture used."""
        if fixturedef.scope != "function":
            self.shared |= self.now

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """Keep what the test used."""
        sys.setprofile(None)
        seconds = round(time.monotonic() - self.begun, 3)
        self.tests[nodeid] = {"seconds": seconds, "functions": sorted(self.now)}


def make_map(jobs: int) -> None:
    """Run every test file in a process of its own, ``jobs`` of them at a time, and write what its tests enter."""
    files = sorted((ROOT / "tests").glob("test_*.py"))
    children = []
    for job in range(jobs):
        child = os.fork()
        if child == 0:
            _map_files(files[job::jobs])
            os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)


def _map_files(files: list[Path]) -> None:
    for file in files:
        target = HOME / "map" / f"{file.stem}.json"
        if file.stem in LEFT_OUT or (target.is_file() and target.stat().st_mtime > file.stat().st_mtime):
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        begun = time.monotonic()
        code = _forked(lambda file=file, target=target: _map_file(file, target), 1800.0)
        print(f"{file.stem}: {time.monotonic() - begun:.0f} s{'' if code == 0 else f' (exit {code})'}", flush=True)


def _map_file(file: Path, target: Path) -> int:
    import pytest

    os.chdir(ROOT)
    plugin = Entered(ROOT / "minimind_lite")
    code = int(pytest.main(["-q", "-p", "no:cacheprovider", str(file)], plugins=[plugin]))
    first = next(iter(plugin.tests), None)
    for one in plugin.tests.values():  # what the first test's wider fixtures used, the others stand on
        one["functions"] = sorted({*one["functions"], *(plugin.tests[first]["functions"] if first else ())})
    target.write_text(json.dumps(plugin.tests), encoding="utf-8")
    return code


def read_map() -> dict[str, list[tuple[float, str]]]:
    """function → (seconds, test) of every test that enters it, the quickest first."""
    found: dict[str, list[tuple[float, str]]] = {}
    for file in sorted((HOME / "map").glob("*.json")):
        for test, entry in json.loads(file.read_text(encoding="utf-8")).items():
            for function in entry["functions"]:
                found.setdefault(function, []).append((entry["seconds"], test))
    return {function: sorted(tests) for function, tests in found.items()}


def tests_for(file: str, mutant: Mutant, entered: dict[str, list[tuple[float, str]]]) -> list[str]:
    """The tests that may notice a mutant, the nearest first, and of those the quickest.

    Nearest are those that enter its function; for a class's own body, one of its methods; for a constant, a function
    that reads it; then come all tests that enter its module: it may run in a process of its own, unseen.
    """
    inside = f"{file}:{mutant.function}"
    near = {f"{file}:{one}" for one in users(mutant.source, mutant.name)} if mutant.name else {inside}
    rings = [lambda name: name in near, lambda name: name.startswith(tuple(f"{one}." for one in near)),
             lambda name: name.startswith(f"{file}:")]  # fmt: skip
    found = [sorted({one for name, some in entered.items() if ring(name) for one in some}) for ring in rings]
    tests = found[0] if inside in entered else list(dict.fromkeys(one for some in found for one in some))
    chosen, seconds = [], 0.0
    for cost, test in tests:
        seconds += cost
        if chosen and seconds > SECONDS:
            break
        chosen.append(test)
    literal = re.fullmatch(r"[\d.e+-]+|True|False", mutant.before)
    return [*chosen, DEFAULTS] if literal or inside not in entered else chosen


def _forked(work: Any, seconds: float) -> int:
    """``work``'s exit code in a child with its own process group; -1 if it took longer than ``seconds``."""
    child = os.fork()
    if child == 0:
        os.setsid()
        with contextlib.suppress(BaseException):
            os._exit(work())
        os._exit(70)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return -1


def _run_tests(copy: Path, tests: list[str]) -> int:
    import pytest

    os.chdir(copy)
    sys.path[:] = [str(copy), *(one for one in sys.path if Path(one).resolve() != ROOT)]
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    return int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "--no-header", *tests]))


def make_copy(folder: Path) -> Path:
    """The repository as the tests need it, with a package that may be changed."""
    for name in COPIED:
        path = ROOT / name
        if path.is_dir():
            shutil.copytree(path, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(path, folder / name)
    for name in LINKED:
        (folder / name).symlink_to(ROOT / name)
    return folder


def judge(copy: Path, file: str, mutant: Mutant, tests: list[str], seconds: float) -> str:
    """killed, timeout, survived, or "no test"."""
    if not tests:
        return "no test"
    path = copy / "minimind_lite" / file
    pristine = path.read_text(encoding="utf-8")
    path.write_text(mutant.source, encoding="utf-8")
    try:
        code = _forked(lambda: _run_tests(copy, tests), 20 + 4 * seconds)
    finally:
        path.write_text(pristine, encoding="utf-8")
    return {0: "survived", -1: "timeout"}.get(code, "killed")


def chosen_mutants(floors: list[str], sample: int, seed: int) -> list[tuple[str, str, Mutant]]:
    """(floor, file, mutant), a seeded sample of them or all."""
    everything = [
        (floor, path.relative_to(ROOT / "minimind_lite").as_posix(), one)
        for floor in floors
        for path in floor_files(floor)
        for one in mutants(path.read_text(encoding="utf-8"))
    ]
    drawn = random.Random(seed)  # noqa: S311  nothing secret  # nosec B311
    return drawn.sample(everything, sample) if 0 < sample < len(everything) else everything


def recorded_survivors(floors: list[str]) -> list[tuple[str, str, Mutant]]:
    """(floor, file, mutant) of RESULT's survivors that are not equivalent; prints those that the code has no more.

    A name that stands for several mutants of a function gives all of them.
    """
    lines = json.loads(RESULT.read_text(encoding="utf-8"))["survivors"]
    names = dict.fromkeys((place.rpartition(":")[0], key) for place, _, key in (line.partition(" ") for line in lines))
    found: list[tuple[str, str, Mutant]] = []
    for file, key in names:
        floor, path = file.partition("/")[0].removesuffix(".py"), ROOT / "minimind_lite" / file
        if floor not in floors or key in equivalents().get(file, {}):
            continue
        same = [one for one in mutants(path.read_text(encoding="utf-8")) if one.key == key] if path.is_file() else []
        found += [(floor, file, one) for one in same]
        if not same:
            print(f"gone: {file} {key}")
    return found


def equivalents() -> dict[str, dict[str, str]]:
    """file → mutant → why it changes nothing that anybody could see."""
    return dict(json.loads(EQUIVALENT.read_text(encoding="utf-8")))


def digest(file: str, mutant: Mutant) -> str:
    """Names a mutant and everything else in its module."""
    return hashlib.sha256(f"{file} {mutant.source}".encode()).hexdigest()[:16]


def killed_before() -> dict[str, str]:
    """digest → verdict of mutants that earlier runs killed, whose modules are the same today."""
    rows = map(json.loads, VERDICTS.read_text(encoding="utf-8").splitlines()) if VERDICTS.is_file() else ()
    return {row["digest"]: row["verdict"] for row in rows if row["verdict"] in ("killed", "timeout")}


def work(share: list[tuple[str, str, Mutant]], report: Path, known: dict[str, str]) -> int:
    """Judge mutants one after the other, but for those whose verdict is known; a line of JSON for each."""
    import torch

    for module in PRELOADED:  # imported once, for all forks; some of them only for tests, so they may be missing
        with contextlib.suppress(ImportError):
            importlib.import_module(module)
    torch.set_num_threads(1)
    entered = read_map()
    with tempfile.TemporaryDirectory(prefix="mutation-") as folder, report.open("w", encoding="utf-8") as lines:
        copy = make_copy(Path(folder))
        for floor, file, mutant in share:
            mark = digest(file, mutant)
            verdict = known.get(mark, "")
            if not verdict:
                tests = tests_for(file, mutant, entered)
                seconds = sum(cost for cost, test in entered.get(f"{file}:{mutant.function}", []) if test in tests)
                verdict = judge(copy, file, mutant, tests, seconds or SECONDS / 4)
            row = {"floor": floor, "file": file, "line": mutant.line, "mutant": mutant.key, "verdict": verdict,
                   "digest": mark}  # fmt: skip
            lines.write(json.dumps(row, ensure_ascii=False) + "\n")
            lines.flush()
    return 0


def run(chosen: list[tuple[str, str, Mutant]], jobs: int, known: dict[str, str]) -> list[dict[str, Any]]:
    """Judge the chosen mutants in ``jobs`` processes; prints the survivors as they come."""
    HOME.mkdir(parents=True, exist_ok=True)
    children = []
    for job in range(jobs):
        report = HOME / f"report-{job}.jsonl"
        report.unlink(missing_ok=True)
        child = os.fork()
        if child == 0:
            os._exit(work(chosen[job::jobs], report, known))
        children.append((child, report))
    rows: list[dict[str, Any]] = []
    for row in _follow([report for _, report in children], len(chosen), [child for child, _ in children]):
        rows.append(row)
        with VERDICTS.open("a", encoding="utf-8") as verdicts:
            verdicts.write(json.dumps({"digest": row["digest"], "verdict": row["verdict"]}) + "\n")
        if row["verdict"] in ("survived", "no test"):
            print(
                f"{len(rows)}/{len(chosen)} {row['verdict']}: {row['file']}:{row['line']} {row['mutant']}", flush=True
            )
    return rows


def _follow(reports: list[Path], expected: int, children: list[int]) -> Iterator[dict[str, Any]]:
    """The rows of growing files until all are there or every writer has ended."""
    read = [0] * len(reports)
    count, running = 0, set(children)
    while count < expected:
        fresh = 0
        for index, report in enumerate(reports):
            lines = report.read_text(encoding="utf-8").splitlines() if report.is_file() else []
            for line in lines[read[index] :]:
                yield json.loads(line)
                read[index], count, fresh = read[index] + 1, count + 1, fresh + 1
        if not fresh and not running:
            return
        running -= {child for child in set(running) if os.waitpid(child, os.WNOHANG)[0]}
        time.sleep(0.2)


def summary(rows: list[dict[str, Any]], sample: int, seed: int) -> dict[str, Any]:
    """What is written: counts and score, in all and by floor, and every survivor."""
    known = equivalents()
    for row in rows:
        if row["verdict"] in ("survived", "no test") and row["mutant"] in known.get(row["file"], {}):
            row["verdict"] = "equivalent"

    def counted(some: list[dict[str, Any]]) -> dict[str, Any]:
        counts = Counter(row["verdict"] for row in some)
        judged = len(some) - counts["equivalent"]
        caught = counts["killed"] + counts["timeout"]
        return {"mutants": len(some), **counts, "score": round(caught / judged, 4) if judged else None}

    floors = {floor: counted([row for row in rows if row["floor"] == floor]) for floor in FLOORS}
    survivors = [
        f"{row['file']}:{row['line']} {row['mutant']}" for row in rows if row["verdict"] in ("survived", "no test")
    ]
    return {
        "command": f"python tools/mutate.py{f' --sample {sample} --seed {seed}' if sample else ''}",
        "total": counted(rows),
        "floors": {floor: counts for floor, counts in floors.items() if counts["mutants"]},
        "survivors": sorted(survivors),
    }


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description="Plant small mistakes in the library; count those that tests catch.")
    parser.add_argument("--map", action="store_true", help="first find out which test enters which function")
    parser.add_argument("--only", nargs="+", choices=FLOORS, default=list(FLOORS), help="floors of the library")
    parser.add_argument("--sample", type=int, default=0, help="how many mutants, drawn at random; 0: all of them")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--again", action="store_true", help="keep the verdict of mutants that were killed before")
    parser.add_argument("--survivors", action="store_true", help="only those of the last score, which stays as it is")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--show", metavar="FILE", help="list the mutants of minimind_lite/FILE and run none")
    asked = parser.parse_args()
    os.environ |= {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1", "HF_HUB_OFFLINE": "1"}
    sys.dont_write_bytecode = True
    if asked.show:
        for one in mutants((ROOT / "minimind_lite" / asked.show).read_text(encoding="utf-8")):
            print(f"{one.line:4} {one.key}")
        return 0
    if asked.map or not (HOME / "map").is_dir():
        make_map(asked.jobs)
    known = killed_before() if asked.again else {}
    only = asked.only
    chosen = recorded_survivors(only) if asked.survivors else chosen_mutants(only, asked.sample, asked.seed)
    result = summary(run(chosen, asked.jobs, known), asked.sample, asked.seed)
    if not asked.survivors:
        RESULT.write_text(json.dumps(result, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result["total"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
