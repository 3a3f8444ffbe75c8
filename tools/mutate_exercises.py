"""Would the checks notice a small mistake in an answer? Plant them one by one: python tools/mutate_exercises.py

    python tools/mutate_exercises.py 04 12          these sets; without a number all of them, which takes half an hour
    python tools/mutate_exercises.py 04 --sample 20 --seed 0
    python tools/mutate_exercises.py --show 04      list the mutants of a set and judge none

Every solution of a master is changed in one place and given to its check. A check that says "solved" is then asked what
it did not see: both functions get the check's own inputs for other seeds, and changed ones (a row less, another number,
a negative tensor). If their answers never differ, the mutant is no mistake. The score is the share of the others that
the check refuses. Counts and survivors go to benchmarks/results/exercise_mutants.json, set by set;
tests/harmless_answers.json lists survivors that give the same answer wherever the task asks for one, with the reason.

The capstones are left out unless named: a decoder with a block more is as right an answer as the one that it was made
from, so that another behaviour is no mistake there.
"""

import argparse
import copy
import json
import math
import random
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402  after the path is set
from torch import Tensor  # noqa: E402

from minimind_lite.course.exercises import masters  # noqa: E402
from minimind_lite.course.exercises.calling import LocalCaller, Outcome  # noqa: E402
from minimind_lite.course.exercises.task import close  # noqa: E402
from minimind_lite.course.notebooks.files import read, tagged  # noqa: E402
from tools.answer_changes import ANSWER_CHANGES  # noqa: E402
from tools.mutants import Mutant, mutants  # noqa: E402

RESULT = ROOT / "benchmarks" / "results" / "exercise_mutants.json"
HARMLESS = ROOT / "tests" / "harmless_answers.json"
SEEDS = (0, 1, 2)  # a grader draws its own: what one of these catches is caught
OTHER_SEEDS = range(3, 9)
SECONDS = 2.0  # for one call
Call = tuple[str, tuple[Any, ...], dict[str, Any]]


@dataclass
class Recording:
    """A caller that also notes what it was asked."""

    function: Any
    calls: list[Call] = field(default_factory=list)

    def run(self, operation: str, args: tuple[Any, ...], kwargs: dict[str, Any], seconds: float) -> Outcome:
        """See minimind_lite.course.exercises.calling.Caller."""
        self.calls.append(copy.deepcopy((operation, args, kwargs)))
        return LocalCaller(self.function).run(operation, args, kwargs, seconds)


@dataclass(frozen=True)
class Answer:
    """One task's right answer: its function, and what stands around it."""

    task: masters.TaskCells
    before: dict[str, Any]  # the names that earlier cells define

    def function(self, source: str) -> Any:
        """The function as ``source`` defines it; None if that cannot be run."""
        names = dict(self.before)
        try:
            exec(compile(source, "answer", "exec"), names)  # noqa: S102  our own master  # nosec B102
        except Exception:
            return None
        return names.get(self.task.function)

    def mutants(self) -> list[Mutant]:
        """The mutants of what stands between BEGIN SOLUTION and END SOLUTION."""
        lines = self.task.solution.source.split("\n")
        marks = [i for i, line in enumerate(lines, 1) if line.strip() in (masters.BEGIN, masters.END)]
        inside = [range(first, last) for first, last in zip(marks[::2], marks[1::2], strict=True)]
        found = {one.source: one for one in mutants(self.task.solution.source, ANSWER_CHANGES)}
        return [one for one in found.values() if any(one.line in some for some in inside)]


def judged_sets(names: Sequence[str] = ()) -> list[Path]:
    """The masters asked for; without names, all those whose tasks have one right behaviour."""
    return [path for path in masters.master_paths(names) if names or not path.stem.endswith("_capstones")]


def answers(path: Path) -> Iterator[Answer]:
    """The answers of a master; its cells are run in order, but for the setup and the checks."""
    notebook = read(path)
    tasks = {id(one.solution): one for one in masters.tasks_of(notebook, path.stem)}
    left_out = {id(tagged(notebook, "setup")), *(id(one.checking) for one in tasks.values())}
    names: dict[str, Any] = {"__name__": "answer"}
    for cell in (one for one in notebook.cells if one.cell_type == "code" and id(one) not in left_out):
        if id(cell) in tasks:
            yield Answer(tasks[id(cell)], dict(names))
        exec(compile(cell.source, path.stem, "exec"), names)  # noqa: S102  our own master  # nosec B102


def judge(answer: Answer, mutant: Mutant) -> str:
    """caught, survived, or "no difference"."""
    changed = answer.function(mutant.source)
    for seed in SEEDS:
        torch.manual_seed(seed)
        if answer.task.check.judge(LocalCaller(changed), seed=seed, seconds=SECONDS).status != "solved":
            return "caught"
    right = answer.function(answer.task.solution.source)
    return "survived" if differs(answer, right, changed) else "no difference"


def differs(answer: Answer, right: Any, changed: Any) -> bool:
    """Whether the two functions differ on any input of the kind that the check gives."""
    for seed in OTHER_SEEDS:
        asked = Recording(right)
        answer.task.check.judge(asked, seed=seed, seconds=SECONDS)
        for call in asked.calls[:12]:
            if not same(*(_run(one, call) for one in (right, changed))):
                return True
            for other in _varied(call) if seed == OTHER_SEEDS[0] else ():
                expected = _run(right, other)
                if not expected.error and _finite(expected.value) and not same(expected, _run(changed, other)):
                    return True
    return False


def _run(function: Any, call: Call) -> Outcome:
    operation, args, kwargs = copy.deepcopy(call)
    torch.manual_seed(0)
    return LocalCaller(function).run(operation, args, kwargs, SECONDS)


def _varied(call: Call) -> Iterator[Call]:
    """The call with one argument changed, and with all tensors a row shorter."""
    operation, args, kwargs = call
    for place, value in enumerate(args):
        for other in _others(value):
            yield operation, (*args[:place], other, *args[place + 1 :]), kwargs
    shorter = tuple(one[:-1] if isinstance(one, Tensor) and one.dim() and len(one) > 1 else one for one in args)
    yield operation, shorter, kwargs


def _others(value: Any) -> Iterator[Any]:
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, int):
        yield from (value + 1, max(value - 1, 0))
    elif isinstance(value, float):
        yield from (value * 1.5, value / 2)
    elif isinstance(value, Tensor) and value.is_floating_point():
        yield from (-value, 10 * value, value + 1)
    elif isinstance(value, list | str) and len(value) > 1:
        yield value[:-1]


def _finite(value: Any) -> bool:
    if isinstance(value, Tensor):
        return bool(value.isfinite().all()) if value.is_floating_point() else True
    if isinstance(value, float):
        return math.isfinite(value)
    return all(map(_finite, value)) if isinstance(value, list | tuple) else True


def same(one: Outcome, other: Outcome) -> bool:
    """Whether two calls came to the same: the same error, or equal values and the same changed arguments."""
    return one.error == other.error and one.changed == other.changed and _equal(one.value, other.value)


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(_equal(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_equal(a[key], b[key]) for key in a)
    return close(a, b)


def judged(path: Path, sample: int, seed: int) -> dict[str, Any]:
    """What is written of one set: for each task the counts, and the mutants that pass although they differ."""
    everything = [(one, mutant) for one in answers(path) for mutant in one.mutants()]
    if 0 < sample < len(everything):
        everything = random.Random(seed).sample(everything, sample)  # noqa: S311  nothing secret  # nosec B311
    known = json.loads(HARMLESS.read_text(encoding="utf-8")) if HARMLESS.is_file() else {}
    tasks: dict[str, Any] = {}
    for answer, mutant in everything:
        name = answer.task.check.task
        verdict = judge(answer, mutant)
        row = tasks.setdefault(name, {"counts": Counter(), "survived": []})
        if verdict == "survived":
            verdict = "harmless" if mutant.key in known.get(name, {}) else verdict
        if verdict == "survived":
            row["survived"].append(mutant.key)
        row["counts"][verdict] += 1
    return {name: {**row["counts"], "survived": sorted(row["survived"])} for name, row in tasks.items()}


def score(tasks: dict[str, Any]) -> float:
    """The share of the mutants that change behaviour which the checks refuse; 1 where there are none."""
    caught, passed = (sum(row.get("caught", 0) for row in tasks.values()),
                      sum(len(row["survived"]) for row in tasks.values()))  # fmt: skip
    return round(caught / (caught + passed), 4) if caught + passed else 1.0


def write(found: dict[str, dict[str, Any]]) -> float:
    """Put the sets judged now into the result's file beside those judged before; returns the score over all."""
    before = json.loads(RESULT.read_text(encoding="utf-8"))["sets"] if RESULT.is_file() else {}
    sets = dict(
        sorted((before | {name: {"score": score(tasks), "tasks": tasks} for name, tasks in found.items()}).items())
    )
    tasks = {task: row for one in sets.values() for task, row in one["tasks"].items()}
    counts = Counter({kind: sum(row.get(kind, 0) for row in tasks.values())
                      for kind in ("caught", "no difference", "harmless")})  # fmt: skip
    counts["survived"] = sum(len(row["survived"]) for row in tasks.values())
    result = {"command": "python tools/mutate_exercises.py", "total": {"mutants": sum(counts.values()), **counts,
              "score": score(tasks)}, "sets": sets}  # fmt: skip
    RESULT.write_text(json.dumps(result, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    return score(tasks)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description="Plant small mistakes in the answers; count those that checks catch.")
    parser.add_argument("sets", nargs="*", help="numbers or names; default: all")
    parser.add_argument("--sample", type=int, default=0, help="how many mutants of a set; fewer than all write nothing")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--show", action="store_true", help="list the mutants and judge none")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    threading.excepthook = lambda _: None  # of calls that were stopped at their time limit
    for path in judged_sets(asked.sets):
        if asked.show:
            print("\n".join(f"{one.task.check.task} {mutant.key}" for one in answers(path) for mutant in one.mutants()))
            continue
        found = judged(path, asked.sample, asked.seed)
        print(
            f"{path.stem}: {score(found):.1%}",
            *(f"\n  {task}: {key}" for task, row in found.items() for key in row["survived"]),
            flush=True,
        )
        if not asked.sample and path in judged_sets():
            write({path.stem: found})
    return 0


if __name__ == "__main__":
    sys.exit(main())
