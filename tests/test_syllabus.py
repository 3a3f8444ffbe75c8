"""The syllabus: its minutes are the chapters' own, its weeks are balanced, and the page has it as it is now."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from minimind_lite.cli.main import app
from minimind_lite.course.kit.errors import CourseError
from minimind_lite.course.runner import syllabus
from minimind_lite.course.runner.syllabus import BEGIN, END, Lesson, weeks_of

ROOT = Path(__file__).parents[1]


def test_the_page_has_the_syllabus_as_the_chapters_are_now() -> None:
    assert syllabus.is_current(), "run `minimind course syllabus --write`"


def test_every_chapter_comes_once_in_order_and_two_capstones_follow_each_part() -> None:
    names = [one.name for one in syllabus.lessons()]
    chapters = [re.search(r"notebooks/(.+)\.ipynb", name)[1] for name in names if "notebooks/" in name]
    assert chapters == sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))
    last = {part: next(i for i, name in enumerate(names) if f"notebooks/{number}_" in name)
            for part, number in syllabus.AFTER.items()}  # fmt: skip
    for part, place in last.items():
        assert all(name.startswith(f"Capstone, {part.lower()}: ") for name in names[place + 1 : place + 3])
    assert sum("Capstone" in name for name in names) == 6


def test_minutes_are_those_that_notebooks_and_tasks_state() -> None:
    one = next(one for one in syllabus.lessons() if "15b_ppo" in one.name)
    assert (one.reading, one.exercises) == (15, 8 + 8 + 10 + 10 + 20 + 10)


def test_the_fullest_week_is_as_short_as_it_can_be() -> None:
    some = [Lesson(str(minutes), minutes, 0) for minutes in (10, 20, 30, 40, 50)]
    assert [[one.reading for one in week] for week in weeks_of(some, 2)] == [[10, 20, 30], [40, 50]]
    assert [len(week) for week in weeks_of(some, 5)] == [1] * 5
    for weeks in (0, 6):
        with pytest.raises(CourseError, match="1 to 5"):
            weeks_of(some, weeks)


def test_the_section_is_renewed_and_what_is_around_it_stays(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n", encoding="utf-8")
    assert not syllabus.is_current(page)
    syllabus.write(page)
    text = page.read_text(encoding="utf-8")
    assert syllabus.is_current(page) and text.startswith("before\n") and text.endswith("after\n") and "old" not in text
    page.write_text("no marks", encoding="utf-8")
    with pytest.raises(CourseError, match="lacks the lines"):
        syllabus.write(page)


def test_the_command_prints_a_row_for_each_week() -> None:
    result = CliRunner().invoke(app, ["course", "syllabus", "--weeks", "8"])
    assert result.exit_code == 0, result.output
    assert len(re.findall(r"^\| \d+ \|", result.output, re.MULTILINE)) == 8
