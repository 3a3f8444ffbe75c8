"""The tool that changes answers: what it plants, how it judges, and what its stored result says."""

import json

import pytest

from minimind_lite.course.exercises import masters
from tools.answer_changes import ANSWER_CHANGES
from tools.mutants import mutants
from tools.mutate_exercises import HARMLESS, RESULT, answers, judge, judged, judged_sets

SOURCE = """def f(x, n):
    x = x.abs()
    if n > 2:
        return x[1:n] - x.sum(dim=-1)
    return torch.maximum(x, n)
"""


def test_the_mistakes_of_learners_are_planted() -> None:
    found = {one.key.removeprefix("f: ") for one in mutants(SOURCE, ANSWER_CHANGES)}
    assert found >= {
        "x = x.abs() -> pass", "x.abs() -> x", "x[1:n] - x.sum(dim=-1) -> x.sum(dim=-1) - x[1:n]",
        "x[1:n] - x.sum(dim=-1) -> x[1:n]", "x[1:n] - x.sum(dim=-1) -> x[1:n] + x.sum(dim=-1)", "1:n -> 1:n + 1",
        "1:n -> 1:", "x.sum(dim=-1) -> x.mean(dim=-1)", "-1 -> 1", "1 -> 0", "1 -> 2",
        "torch.maximum(x, n) -> torch.minimum(x, n)", "torch.maximum(x, n) -> torch.maximum(n, x)", "n > 2 -> n >= 2",
    }  # fmt: skip


@pytest.mark.parametrize(("number", "seed"), [("15b", 0), ("12", 1), ("03", 2)])
def test_a_sample_of_changed_answers_is_refused(number: str, seed: int) -> None:
    (path,) = masters.master_paths([number])
    tasks = judged(path, 12, seed)
    assert sum(row.get("caught", 0) for row in tasks.values()) >= 8
    assert [key for row in tasks.values() for key in row["survived"]] == []


def test_the_right_answer_passes_and_what_differs_unseen_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = next(one for one in answers(masters.master_paths(["15b"])[0]) if one.task.check.task == "15b.horizon")
    (first, *_) = answer.mutants()
    unchanged = type(first)(first.function, 1, "", "", answer.task.solution.source)
    assert judge(answer, unchanged) == "no difference"
    blind = type(answer.task.check)("15b.horizon", 1, lambda task: str(task.call(0.9, 0.5)))
    monkeypatch.setattr(answer.task.check, "body", blind.body)
    halved = answer.task.solution.source.replace("0.5", "0.25")
    assert judge(answer, type(first)(first.function, 1, "", "", halved)) == "survived"


def test_the_stored_result_is_of_every_set_and_names_what_passes() -> None:
    result = json.loads(RESULT.read_text(encoding="utf-8"))
    assert list(result["sets"]) == sorted(path.stem for path in judged_sets())
    assert result["total"]["score"] >= 0.95
    assert all(one["score"] >= 0.9 for one in result["sets"].values())
    passed = sum(len(row["survived"]) for one in result["sets"].values() for row in one["tasks"].values())
    assert passed == result["total"]["survived"]


def test_a_harmless_answer_is_a_mutant_that_exists() -> None:
    known = json.loads(HARMLESS.read_text(encoding="utf-8"))
    wanted = {(task, key) for task, keys in known.items() for key in keys}
    numbers = sorted({task.partition(".")[0] for task in known})
    found = {(one.task.check.task, mutant.key) for path in masters.master_paths(numbers) for one in answers(path)
             for mutant in one.mutants()}  # fmt: skip
    assert wanted <= found
    assert all(len(reason) > 20 for keys in known.values() for reason in keys.values())
