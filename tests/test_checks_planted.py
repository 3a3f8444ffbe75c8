"""Every check of the exercises: catches what is planted, each with its own message, and lets right answers pass."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from checks_kit import CAUGHT, SEEDS, judge, load_planted

from minimind_lite.course.exercises.core import every_check

PLANTED, CHECKS = load_planted(), every_check()
MISTAKES = [(task, wrong, words) for task, one in PLANTED.items() for wrong, words in one.mistakes]
ALTERNATIVES = [(task, right) for task, one in PLANTED.items() for right in one.alternatives]


def named(value: Any) -> str:
    return getattr(value, "__name__", str(value)[:20])


def test_every_check_has_five_mistakes_and_an_alternative() -> None:
    assert PLANTED.keys() == CHECKS.keys()
    assert [task for task, one in PLANTED.items() if len(one.mistakes) < 5] == []
    assert [task for task, one in PLANTED.items() if not one.alternatives] == []


@pytest.mark.parametrize("number", sorted({task.partition(".")[0] for task in CHECKS}))
def test_a_set_has_at_least_three_tasks(number: str) -> None:
    assert sum(task.startswith(f"{number}.") for task in CHECKS) >= 3


@pytest.mark.parametrize(("task", "wrong", "words"), MISTAKES, ids=named)
def test_a_planted_mistake_is_caught_and_named(task: str, wrong: Any, words: str) -> None:
    for seed in SEEDS:
        verdict = judge(task, wrong, seed)
        assert verdict.status == "wrong"
        assert words in verdict.message
    CAUGHT[task] = CAUGHT.get(task, 0) + 1


@pytest.mark.parametrize("task", PLANTED)
def test_each_mistake_has_its_own_message(task: str) -> None:
    messages = [judge(task, wrong).message for wrong, _ in PLANTED[task].mistakes]
    assert len(set(messages)) == len(messages), sorted(messages)


@pytest.mark.parametrize(("task", "right"), ALTERNATIVES, ids=named)
def test_a_right_answer_written_differently_passes(task: str, right: Any) -> None:
    for seed in range(5):
        verdict = judge(task, right, seed)
        assert verdict.status == "solved", verdict.message


def test_a_trustworthy_interval_passes_whatever_the_grader_draws() -> None:
    """Exams drawn anew refused Wilson's interval once in 160 gradings: the check works the coverage out."""
    z = 1.96

    def wilson(right: list[bool], chance: float) -> dict[str, Any]:
        n, p = len(right), sum(right) / len(right)
        centre, half = p + z * z / (2 * n), z * (p * (1 - p) / n + z * z / (4 * n * n)) ** 0.5
        low, high = max(0.0, min(p, (centre - half) / (1 + z * z / n))), min(1.0, (centre + half) / (1 + z * z / n))
        return {"share": p, "low": low, "high": max(p, high), "better": low > chance}

    for seed in range(40):
        verdict = judge("90.measure", wilson, seed)
        assert verdict.status == "solved", verdict.message


@pytest.mark.parametrize(
    ("task", "right", "place", "constant"),
    [
        ("12.loss", lambda p, r, b: F.softplus(-b * (p - r) @ torch.tensor([1.0, -1.0])).mean(), 2, 0.3),
        ("12.weight", lambda m, b: b * torch.sigmoid(-b * m), 1, 0.5),
        ("11.forward", lambda x, w, a, b, alpha: x @ w.T + alpha / len(a) * (x @ a.T @ b.T), 4, 6.0),
        ("15b.surprise", lambda r, v, g: r + g * torch.cat([v[1:], torch.zeros(1)]) - v, 2, 0.6),
    ],
)  # fmt: skip
def test_a_constant_written_in_is_refused(task: str, right: Any, place: int, constant: float) -> None:
    def fixed(*args: Any) -> Any:
        return right(*args[:place], constant)

    for seed in SEEDS:
        assert judge(task, right, seed).status == "solved"
        assert judge(task, fixed, seed).status == "wrong"


@pytest.mark.parametrize("task", CHECKS)
def test_a_stub_is_not_yet(task: str) -> None:
    def stub(*args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError

    assert judge(task, stub).status == "not yet"


@pytest.mark.parametrize("task", CHECKS)
@pytest.mark.parametrize(
    "nonsense",
    [
        lambda *a, **k: None, lambda *a, **k: "passed", lambda *a, **k: True, lambda *a, **k: [], lambda *a, **k: 0.0,
        lambda *a, **k: object(), lambda *a, **k: a[0], lambda: 1, "no function",
    ],
    ids=["None", "text", "True", "list", "zero", "object", "its input", "no arguments", "no function"],
)  # fmt: skip
def test_nonsense_is_wrong_and_raises_nothing(task: str, nonsense: Any) -> None:
    assert judge(task, nonsense).status == "wrong"


def test_a_result_that_says_yes_to_everything_is_not_believed() -> None:
    class Yes:
        def __getattr__(self, name: str) -> Any:
            return Yes()

        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            return Yes()

        def __eq__(self, other: object) -> bool:
            return True

        __hash__ = None  # type: ignore[assignment]

    for task in CHECKS:
        assert judge(task, lambda *a, **k: Yes()).status == "wrong", task
