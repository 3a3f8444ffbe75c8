"""The map on chapter 00: every chapter and set of exercises, what is done on this machine, and what comes next."""

import re
from pathlib import Path

import pytest

from minimind_lite.course.exercises import course_map as maps
from minimind_lite.course.exercises.core import every_check
from minimind_lite.course.kit import language
from minimind_lite.course.notebooks.files import chapter_paths
from minimind_lite.files import repository_root


@pytest.fixture
def nothing_solved(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("MINIMIND_PROGRESS", str(tmp_path / "progress.json"))
    return tmp_path


@pytest.mark.parametrize("speech", language.LANGUAGES)
def test_on_a_fresh_clone_every_chapter_is_there_and_nothing_is_done(nothing_solved: Path, speech: str) -> None:
    with language.speaking(speech):
        found = maps.course_map(nothing_solved / "artifacts")
        shown, plain = found._repr_html_(), repr(found)
    chapters = chapter_paths()
    folder = chapters[0].parent if speech == "en" else chapters[0].parent / speech
    links = re.findall(r'href="([^"]+)"', shown)
    assert [link for link in links if "/" not in link] == [path.name for path in chapters]
    assert all((folder / link).is_file() for link in links)
    assert len(links) > 1.8 * len(chapters)  # nearly every chapter has a set of exercises
    assert found.next is found.stops[0] and not any(one.done or one.solved for one in found.stops)
    assert all(one.reading > 0 and one.title in plain for one in found.stops)
    assert shown.count('scope="row"') == len(chapters) and "<caption" in shown
    assert ("章" in plain) == (speech == "zh") and ("min" in plain) == (speech == "en")


def test_what_is_done_here_is_marked(nothing_solved: Path) -> None:
    for stage in ("welcome", "tokenizer"):
        (nothing_solved / stage).mkdir()
        (nothing_solved / stage / "results.json").write_text("{}", encoding="utf-8")
    task, check = next((task, one) for task, one in every_check().items() if task.startswith("02."))
    (nothing_solved / "progress.json").write_text(f'{{"solved": {{"{task}": "{check.digest}", "02.old": "x"}}}}')
    found = maps.course_map(nothing_solved)
    assert [one.done for one in found.stops[:3]] == [True, True, False]
    assert found.next is found.stops[2] and found.next.link == "02_rmsnorm.ipynb" and found.stops[2].solved == 1
    assert "▶ 02" in repr(found) and "Next: 02" in found.summary()


def test_a_damaged_record_of_solved_tasks_counts_as_none(nothing_solved: Path) -> None:
    (nothing_solved / "progress.json").write_text("not JSON", encoding="utf-8")
    assert not any(one.solved for one in maps.course_map(nothing_solved).stops)


def test_the_chapter_shows_it() -> None:
    for folder in ("notebooks", "notebooks/zh"):
        assert "course_map(chapter.output_dir)" in (repository_root() / folder / "00_welcome.ipynb").read_text("utf-8")
