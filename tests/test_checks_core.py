"""What every check stands on: calls that hang, recurse, change their input or leave; values on their way; progress."""

import errno
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from minimind_lite.course.exercises import codec, core
from minimind_lite.course.exercises import solved as record
from minimind_lite.course.exercises.calling import LocalCaller
from minimind_lite.course.exercises.core import Check, Verdict, every_check
from minimind_lite.course.exercises.overview import show_solved
from minimind_lite.course.exercises.remote import answer
from minimind_lite.course.exercises.task import Task, close
from minimind_lite.files import UnreadableFile


def body(task: Task) -> str:
    """Doubles a tensor"""
    x = task.randn(3)
    task.equal(task.call(x), 2 * x, "not the double", {"you took the square": x * x})
    (slope,) = task.gradients(x)
    task.that(slope is not None, "no gradient flows")
    return "doubled"


CHECK = Check("99.double", 1, body)


def verdict(function: Any, seconds: float = 10.0) -> Verdict:
    return CHECK.judge(LocalCaller(function), seconds=seconds)


def hang(x: Tensor) -> Tensor:
    while True:
        time.sleep(0.001)


def recurse(x: Tensor) -> Tensor:
    return recurse(x)


def torch_does_not_have_this(x: Tensor) -> Tensor:
    raise NotImplementedError("no kernel for this")


def change(x: Tensor) -> Tensor:
    return x.mul_(2)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (recurse, "calls itself without an end"),
        (change, "argument 1 in place"),
        (lambda x: x * x, "you took the square"),
        (lambda x: x, "not the double (the largest difference"),
        (lambda x: x[:2], "a tensor of shape (2,)"),
        (lambda x: (2 * x).detach(), "no gradient flows"),
        (lambda x: sys.exit("passed"), "SystemExit: passed"),
        (lambda x: [1][2], "IndexError: list index out of range"),
        (lambda x: None, "does its last line say `return"),
        (lambda x: object(), "it returned a object"),
        (torch.zeros(3), "without brackets behind its name"),
        (None, "was not run, or it stopped with an error, which is then the one to correct"),
        (lambda x: torch_does_not_have_this(x), "NotImplementedError: no kernel for this"),
    ],
)
def test_what_goes_wrong_is_said_and_nothing_is_raised(function: Any, words: str) -> None:
    found = verdict(function)
    assert found.status == "wrong"
    assert words in found.message


def test_a_check_that_has_patience_waits_longer() -> None:
    def slow(x: Tensor) -> Tensor:
        time.sleep(0.4)
        return 2 * x

    patient = Check("99.slow", 1, lambda task: str(task.call(task.randn(3))), patience=100)
    assert patient.judge(LocalCaller(slow), seconds=0.1).status == "solved"
    assert "still running after 0.1 seconds" in CHECK.judge(LocalCaller(slow), seconds=0.1).message


def test_a_function_without_an_end_is_given_up() -> None:
    start = time.monotonic()
    assert "still running after 0.3 seconds" in verdict(hang, seconds=0.3).message
    assert time.monotonic() - start < 3


@pytest.mark.parametrize(
    "function", [lambda x: 2 * x, lambda x: (2 * x).double(), lambda x: torch.stack([x, x]).sum(0)]
)
def test_right_answers_pass(function: Any) -> None:
    assert verdict(function) == Verdict("solved", "doubled")


def test_the_check_prints_one_line_and_returns_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MINIMIND_PROGRESS", str(tmp_path / "progress.json"))

    def stub(x: Tensor) -> Tensor:
        raise NotImplementedError

    for function, start in (
        (stub, "not yet · 99.double · put"),
        (recurse, "not right · "),
        (lambda x: 2 * x, "solved"),
    ):
        assert CHECK(function) is None  # type: ignore[func-returns-value]
        assert capsys.readouterr().out.startswith(start)
    assert json.loads((tmp_path / "progress.json").read_text()) == {"solved": {"99.double": CHECK.digest}}
    CHECK(recurse)
    assert record.solved_tasks() == {"99.double": CHECK.digest}  # what was solved stays solved


@pytest.mark.parametrize("content", ["", "[]", '{"solved": 3}', "\x00", '{"solved": {"a": 1}'])
def test_a_broken_progress_file_is_set_aside(content: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "progress.json"
    path.write_text(content, encoding="utf-8")
    monkeypatch.setenv("MINIMIND_PROGRESS", str(path))
    with pytest.raises(UnreadableFile, match=r"progress\.json"):
        record.solved_tasks()
    record.note_solved("02.x", "abc")
    assert record.solved_tasks() == {"02.x": "abc"}
    assert (tmp_path / "progress.damaged.json").read_text(encoding="utf-8") == content


def test_progress_that_cannot_be_read_just_now_is_not_written_over(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "progress.json"
    monkeypatch.setenv("MINIMIND_PROGRESS", str(path))
    record.note_solved("02.x", "abc")

    def fails(_: Path) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(record, "read_json", fails)
        record.note_solved("03.y", "def")
    assert record.solved_tasks() == {"02.x": "abc"}


def test_a_folder_that_cannot_be_written_to_only_forgets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("MINIMIND_PROGRESS", str(tmp_path / "file" / "progress.json"))
    record.note_solved("02.x", "abc")
    assert not (tmp_path / "file" / "progress.json").exists()


def test_progress_shows_what_is_solved_and_what_has_changed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MINIMIND_PROGRESS", str(tmp_path / "progress.json"))
    checks = every_check()
    record.note_solved("02.rms_norm", checks["02.rms_norm"].digest)
    record.note_solved("02.leak", "of an older check")
    show_solved()
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("02  1 of 5 solved") for line in lines)
    assert f"    solved   {checks['02.rms_norm'].title}" in lines
    assert f"    check changed, run it again {checks['02.leak'].title}" in lines
    assert f"    open     {checks['02.growth'].title}" in lines


VALUES = [
    None, True, 3, -1.5, "词", b"\x00\xff", [1, [2.0]], (1, "a"), {"a": [1]}, {1: (2,)}, {3, 4}, float("inf"),
    torch.tensor(3), torch.ones(2, 0, 3), torch.linspace(-1, 1, 6).view(2, 3).bfloat16(), torch.tensor([True, False]),
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=str)
def test_values_travel_unchanged(value: Any) -> None:
    there = codec.loads(codec.dumps(value))
    assert type(there) is type(value)
    if isinstance(value, Tensor):
        assert there.dtype == value.dtype
        assert torch.equal(there, value)
    else:
        assert there == value


@pytest.mark.parametrize(
    "text",
    [
        "", "nothing", '{"pickle": "x"}', '{"function": ["os", "abort"]}', '{"tensor": "AAAA", "dtype": "float32"}',
        '{"tensor": "AAAA", "dtype": "float32", "shape": [1]}', '{"tensor": "", "dtype": "save", "shape": [0]}',
        '{"tensor": "AAAAAA==", "dtype": "float32", "shape": [-1]}', '{"set": [{"list": []}]}', "[1]",
        "[" * 100_000, "{}",
    ],
)  # fmt: skip
def test_only_plain_values_come_in(text: str) -> None:
    with pytest.raises(ValueError):
        codec.loads(text)


def test_functions_travel_by_name_and_only_where_allowed() -> None:
    text = codec.dumps(close)
    assert codec.loads(text, functions=True) is close
    with pytest.raises(ValueError, match="KeyError"):
        codec.loads(text)
    with pytest.raises(TypeError):
        codec.dumps(os.abort)


def test_the_far_side_answers_with_data() -> None:
    request = codec.dumps(("call", (torch.ones(2),), {}))
    assert codec.loads(answer(lambda x: x + 1, request))["value"].tolist() == [2, 2]
    assert codec.loads(answer(lambda x: object(), request))["error"] == "Unreadable"
    assert codec.loads(answer(None, request))["error"] == "NotDefined"


def test_a_task_has_one_check() -> None:
    with pytest.raises(ValueError, match=r"02\.rms_norm has a check already"):
        core.check("02.rms_norm")(body)
