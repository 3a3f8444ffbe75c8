"""The files around the project: workflows, issue forms, hooks, citation and devcontainer can be read and agree."""

import json
import re
import runpy
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from minimind_lite.course.kit.paths import stage_of
from minimind_lite.course.notebooks.files import chapter_paths
from minimind_lite.course.runner.state import optional_stages, required_stages
from tools import check_tag

ROOT = Path(__file__).parents[1]
GITHUB = ROOT / ".github"
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
YAML = [
    *sorted(GITHUB.rglob("*.yml")),
    ROOT / ".pre-commit-config.yaml",
    ROOT / "environment.yml",
    ROOT / "CITATION.cff",
]
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
FORMS = [path for path in sorted((GITHUB / "ISSUE_TEMPLATE").glob("*.yml")) if path.name != "config.yml"]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def steps(path: Path) -> Iterator[dict[str, Any]]:
    for job in read(path)["jobs"].values():
        yield from job["steps"]


def commands(path: Path) -> str:
    return "\n".join(step["run"] for step in steps(path) if "run" in step)


@pytest.mark.parametrize("path", YAML, ids=lambda path: path.name)
def test_every_yaml_file_can_be_read(path: Path) -> None:
    assert isinstance(read(path), dict)


def test_the_weekly_workflow_installs_lm_eval_and_runs_its_test() -> None:
    text = commands(GITHUB / "workflows" / "matrix.yml")
    assert '".[lm-eval]"' in text and "pytest tests/test_evaluation_lm_eval.py" in text
    assert (ROOT / "tests" / "test_evaluation_lm_eval.py").is_file()


def test_the_workflows_are_there() -> None:
    assert {"ci.yml", "matrix.yml", "release.yml", "pages.yml"} <= {path.name for path in WORKFLOWS}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_every_make_target_and_every_script_that_a_workflow_runs_exists(path: Path) -> None:
    text = commands(path)
    targets = set(re.findall(r"^([\w-]+):", MAKEFILE, re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z][\w-]*)", text)) <= targets
    for script in re.findall(r"python ([\w/]+\.py)", text):
        assert (ROOT / script).is_file(), script


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_every_action_is_pinned_by_a_major_version(path: Path) -> None:
    used = [step["uses"] for step in steps(path) if "uses" in step]
    assert [name for name in used if not re.fullmatch(r"[\w./-]+@(v\d+|release/v\d+)", name)] == []


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_may_only_read_unless_a_job_says_more(path: Path) -> None:
    assert read(path)["permissions"] == {"contents": "read"}


def test_ci_runs_the_test_command_of_the_readme() -> None:
    assert "make test" in commands(GITHUB / "workflows" / "ci.yml")
    assert re.search(r"^make test\b", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)


def test_publishing_is_switched_off_unless_a_repository_variable_says_so() -> None:
    jobs = read(GITHUB / "workflows" / "release.yml")["jobs"]
    assert jobs["index"]["if"] == "vars.PUBLISH_TO_INDEX == 'true'"
    assert "secrets." not in (GITHUB / "workflows" / "release.yml").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.name)
def test_an_issue_form_has_the_fields_that_github_wants(path: Path) -> None:
    form = read(path)
    assert {"name", "description", "body"} <= set(form)
    fields = [field for field in form["body"] if field["type"] != "markdown"]
    assert all(field["type"] in ("input", "textarea", "dropdown", "checkboxes") for field in fields)
    assert all(field["attributes"]["label"] for field in fields)
    identities = [field["id"] for field in fields]
    assert len(identities) == len(set(identities))


def test_the_form_for_bugs_asks_what_one_needs_to_repeat_it() -> None:
    required = {
        field["id"] for field in read(GITHUB / "ISSUE_TEMPLATE" / "bug.yml")["body"] if field.get("validations")
    }
    assert {"chapter", "profile", "device", "versions", "happened"} <= required


def test_every_hook_is_one_of_our_own_commands() -> None:
    hooks = [hook for repository in read(ROOT / ".pre-commit-config.yaml")["repos"] for hook in repository["hooks"]]
    commands = {hook["id"]: hook["entry"].split() for hook in hooks}
    assert commands["exercises"] == ["minimind", "course", "exercises", "--check"]
    assert commands["notebooks"] == ["minimind", "course", "refresh", "--check"]
    assert all(words[0] in ("ruff", "minimind", "python") for words in commands.values())
    assert all((ROOT / word).is_file() for words in commands.values() for word in words if word.endswith(".py"))


def test_the_devcontainer_installs_with_make() -> None:
    container = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text(encoding="utf-8"))
    assert "3.11" in container["image"]
    assert container["postCreateCommand"].startswith("make install ")
    assert container["forwardPorts"] == [8888]


def test_the_citation_is_of_this_version() -> None:
    citation = read(ROOT / "CITATION.cff")
    assert citation["cff-version"] == "1.2.0"
    assert citation["version"] == VERSION
    assert {"message", "title", "authors", "license"} <= set(citation)


def release(root: Path, version: str, cited: str, heading: str) -> Path:
    (root / "pyproject.toml").write_text(f'[project]\nversion = "{version}"\n', encoding="utf-8")
    (root / "CITATION.cff").write_text(f"version: {cited}\n", encoding="utf-8")
    (root / "CHANGELOG.md").write_text(f"# Changes\n\n{heading}\n", encoding="utf-8")
    return root


def test_a_release_goes_out_only_when_everything_names_its_version(tmp_path: Path) -> None:
    good = release(tmp_path, "1.2.0", "1.2.0", "## 1.2.0 (2026-01-31)")
    assert check_tag.problems("v1.2.0", good) == []
    assert check_tag.problems("v1.2.1", good) == ["the tag is v1.2.1, but pyproject.toml says 1.2.0: tag v1.2.0"]
    assert len(check_tag.problems("v1.2.0", release(tmp_path, "1.2.0", "1.1.0", "## 1.1.0"))) == 2
    unfinished = release(tmp_path, "1.2.0", "1.2.0", "## 1.2.0 (not released yet)")
    assert "not released" in check_tag.problems("v1.2.0", unfinished)[0]


def test_links_between_the_documents_lead_somewhere() -> None:
    git = ["git", "-C", str(ROOT), "ls-files", "*.md"]
    run = subprocess.run(git, capture_output=True, text=True, check=False, timeout=60)
    if run.returncode:
        pytest.skip("not a git checkout")
    dead = []
    for name in run.stdout.splitlines():
        path = ROOT / name
        for address in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8") if path.is_file() else ""):
            file = address.partition("#")[0]
            on_github = file.startswith("../../security/")  # from a file's page to the repository's own pages
            if file and "://" not in file and not on_github and not (path.parent / file).exists():
                dead.append(f"{name}: {address}")
    assert dead == []


def test_tests_are_divided_by_file_and_notebooks_stay_together() -> None:
    divided = runpy.run_path(str(ROOT / "conftest.py"))
    assert all((ROOT / path).is_file() for path in divided["TOGETHER"])
    group_of = divided["group_of"]
    assert group_of("notebooks/08_pretrain.ipynb::Cell 1") == group_of("notebooks/zh/06_moe.ipynb::Cell 7")
    assert group_of("notebooks/08_pretrain.ipynb::Cell 1") != group_of("notebooks/02_rmsnorm.ipynb::Cell 1")
    assert group_of("notebooks/04_attention.ipynb::Cell 1") == group_of("notebooks/zh/04_attention.ipynb::Cell 7")
    assert group_of("solutions/02_rmsnorm.ipynb::Cell 1") == group_of("solutions/08_pretrain.ipynb::Cell 1")
    assert group_of("tests/test_grade.py::a[x::y]") == group_of("tests/test_grade_attacks.py::b") == "grading"
    assert group_of("tests/test_files.py::a") != group_of("tests/test_cli.py::a")


def test_a_chapter_that_runs_beside_the_others_reads_nothing_of_theirs_and_gives_them_nothing() -> None:
    alone = set(runpy.run_path(str(ROOT / "conftest.py"))["ALONE"])
    needs = {path.stem: {*required_stages(path), *optional_stages(path)} for path in chapter_paths()}
    assert alone == {name for name, stages in needs.items() if not stages} - {"01_tokenizer"}  # which others require
    assert not {stage_of(name) for name in alone} & set().union(*needs.values())


def test_what_takes_longest_begins_first() -> None:
    divided = runpy.run_path(str(ROOT / "conftest.py"))
    groups = {"tests/test_a.py": 9, "tests/test_b.py": 99, "tests/test_bench.py": 1, "grading": 2}
    found = sorted(groups, key=lambda group: divided["begins_before"](group, groups[group]))
    assert found == ["grading", "tests/test_bench.py", "tests/test_b.py", "tests/test_a.py"]
    files = [path for path in divided["LONGEST"] if path.startswith("tests/")]
    assert files and all((ROOT / path).is_file() for path in files)
