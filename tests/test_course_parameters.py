"""A parameter that a chapter does not have stops it: in the runner, and under papermill itself."""

from pathlib import Path

import papermill
import pytest
from click.testing import CliRunner
from course_kit import PARAMETERS, write_chapter
from papermill.cli import papermill as papermill_command
from papermill.exceptions import PapermillExecutionError

from minimind_lite.config import ConfigError
from minimind_lite.course.kit.errors import CourseError
from minimind_lite.course.kit.parameters import assigned_names, unknown_parameters
from minimind_lite.course.runner.execute import check_parameters
from minimind_lite.course.runner.plan import make_plan
from minimind_lite.settings import parse_settings


def test_assigned_names() -> None:
    assert assigned_names("a = 1\nb: int = 2\nc, d = 3, 4\nif True:\n    e = 1") == ["a", "b"]
    assert assigned_names("%matplotlib inline") == []


@pytest.mark.parametrize(
    ("history", "unknown"),
    [
        (["", PARAMETERS], []),
        ([PARAMETERS, "# Parameters\ncount = 5\n"], []),
        ([PARAMETERS, "# Parameters\ncuont = 5\n"], ["cuont"]),
        ([PARAMETERS, "# Parameters\ncuont = 5\n", "x = 1"], ["cuont"]),
        # In Jupyter: somebody added the name to the parameters cell and ran it again.
        ([PARAMETERS, "# Parameters\nextra = 5\n", PARAMETERS + "\nextra = 1"], []),
        (["# Parameters\nnope = 1", PARAMETERS], []),  # a cell of the reader's own, before the parameters
    ],
)
def test_unknown_parameters(history: list[str], unknown: list[str]) -> None:
    assert unknown_parameters(history)[0] == unknown


def test_papermill_stops_at_an_unknown_parameter(tmp_path: Path) -> None:
    path = write_chapter(tmp_path, "00_toy", "open('reached', 'w').close()\n" + "chapter.record(score=1)", real=True)
    given = {"cuont": 5, "output_dir": str(tmp_path / "out")}
    with pytest.raises(
        PapermillExecutionError, match=r"unknown parameter cuont; this chapter has: count, language, learning_rate"
    ):
        papermill.execute_notebook(
            path, tmp_path / "run.ipynb", parameters=given, kernel_name="python3", progress_bar=False, cwd=tmp_path
        )
    assert not (tmp_path / "reached").exists()


def test_papermill_command_line_runs_a_chapter_and_stops_at_an_unknown_profile(tmp_path: Path) -> None:
    path = write_chapter(tmp_path, "00_toy", real=True)
    command = ["-k", "python3", "--no-progress-bar", str(path), str(tmp_path / "run.ipynb")]
    options = ["-p", "output_dir", str(tmp_path / "out"), "-p", "count", "4", "-p", "profile"]
    good = CliRunner().invoke(papermill_command, [*command, *options, "quick"])
    assert good.exit_code == 0, good.output
    assert '"score": 2.0' in (tmp_path / "out" / "toy" / "results.json").read_text(encoding="utf-8")
    bad = CliRunner().invoke(papermill_command, [*command, *options, "huge"])
    assert bad.exit_code == 1
    assert "no profile is called 'huge'; there are: quick, colab, full" in str(bad.exception)


def test_the_runner_refuses_before_anything_runs(tmp_path: Path) -> None:
    paths = [write_chapter(tmp_path, "00_toy"), write_chapter(tmp_path, "01_other", parameters=PARAMETERS + "\nx = 1")]
    assert check_parameters(paths, {"x": "2"}) == {paths[0]: {}, paths[1]: {"x": 2}}
    with pytest.raises(CourseError, match=r"unknown parameter 'cuont'.*: count, learning_rate, x"):
        check_parameters(paths, {"cuont": "2"})
    with pytest.raises(CourseError, match="--output-dir"):
        check_parameters(paths, {"output_dir": "x"})


def test_the_runner_reads_parameters_as_the_types_of_the_chapters_settings(tmp_path: Path) -> None:
    plan = make_plan(first="07", last="07", parameters=["steps=3", "load_smollm2=no", "seed=None"])
    assert list(plan.parameters.values()) == [{"steps": 3, "load_smollm2": False, "seed": None}]
    for pair in ("steps=-3", "steps=0", "steps=2.5", "steps=many"):
        with pytest.raises(ConfigError, match="steps must be a whole number, 1 or more, not"):
            make_plan(first="07", last="07", parameters=[pair])


def test_parse_settings() -> None:
    assert parse_settings(["a=1", "c=text", "f=x=y"]) == {"a": "1", "c": "text", "f": "x=y"}
    with pytest.raises(ConfigError, match="NAME=VALUE"):
        parse_settings(["total_steps"])
