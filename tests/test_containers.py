"""The Dockerfile and the compose file: what they start exists and is guarded; built only where there is Docker."""

import fnmatch
import json
import re
import shlex
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command
from typer.testing import CliRunner

from minimind_lite.cli import app
from minimind_lite.course.exercises.grading import isolation
from tests.grade_kit import CAPABILITIES, MASTER

ROOT = Path(__file__).parents[1]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
SERVICES: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"]


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_starts_a_command_that_exists(name: str) -> None:
    command, *arguments = SERVICES[name]["command"]
    commands: dict[str, Any] = get_command(app).commands  # type: ignore[attr-defined]
    options = {option for parameter in commands[command].params for option in parameter.opts}
    assert {argument for argument in arguments if argument.startswith("--")} <= options


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_needs_its_key_and_is_published_to_this_machine_only(name: str) -> None:
    service = SERVICES[name]
    assert "MINIMIND_API_KEYS" in service["environment"]
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    done = CliRunner().invoke(app, service["command"], env={"MINIMIND_API_KEYS": "", "OPENAI_API_KEY": ""})
    assert done.exit_code == 1 and "no API key is set" in done.output


def test_what_the_dockerfile_copies_is_let_through() -> None:
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    copied = [name for line in re.findall(r"^COPY (.+)$", DOCKERFILE, re.MULTILINE) for name in line.split()[:-1]]
    assert copied and all((ROOT / name).exists() for name in copied)
    assert all(any(fnmatch.fnmatch(name, pattern) for pattern in allowed) for name in copied)
    assert re.search(r"^USER (?!root)", DOCKERFILE.split("\nFROM ")[-1], re.MULTILINE)  # the default, which serves


def recipe(program: str) -> list[str]:
    """The words of the `docker build` or `docker run` with which CONTRIBUTING.md grades in a container."""
    grading = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("\n## Grading")[2]
    lines = grading.partition("```bash")[2].partition("```")[0].replace("\\\n", "").splitlines()
    (words,) = (shlex.split(line) for line in lines if line.startswith(f"docker {program} "))
    return words


def test_the_grader_in_a_container_is_shut_in() -> None:
    words = recipe("run")
    given = dict(pairwise(words))
    assert given["--network"] == "none" and given["--cap-drop"] == "ALL" and "--read-only" in words
    assert given["--security-opt"] == "no-new-privileges" and "--privileged" not in words
    assert given["--memory"] == given["--memory-swap"] and int(given["--pids-limit"]) <= 1024
    mounts = [other for word, other in pairwise(words) if word == "--volume"]
    assert mounts == ["$PWD/submissions:/in:ro", "$PWD/grades:/out"]
    added = {other for word, other in pairwise(words) if word == "--cap-add"}
    assert added == {one.upper() for one in CAPABILITIES}  # with which tests/test_grade_attacks.py grades


def test_the_grader_in_a_container_is_started_with_options_that_exist() -> None:
    image, shell, flag, inner = recipe("run")[-4:]
    assert (shell, flag) == ("sh", "-c")
    program, command, *arguments = shlex.split(inner)
    options = {option for parameter in get_command(app).commands[command].params for option in parameter.opts}  # type: ignore[attr-defined]
    given = dict(pairwise(arguments))
    assert program == "minimind" and {one for one in arguments if one.startswith("--")} <= options
    assert given["--isolation"] in isolation.NAMES[1:] and given["--output"] == "/out"
    assert arguments[0].startswith("/in/") and float(given["--timeout"]) >= 60
    built = recipe("build")
    assert built[-1] == "." and dict(pairwise(built))["--tag"] == image
    stage = dict(pairwise(built))["--target"]
    text = DOCKERFILE.partition(f"AS {stage}\n")[2].partition("\nFROM ")[0]
    assert {"exercises", "solutions"} <= set(re.findall(r"^COPY (\S+)", text, re.MULTILINE))
    assert "mkdir notebooks" in text and "-e '.[course]'" in text  # by which the course is found
    checks = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "minimind_lite").rglob("checks.py"))
    for package in ("peft", "trl"):  # which the extra `course` does not bring
        assert (f"from {package} import" in checks) == (package in text.partition("RUN ")[2].split())


def has_docker() -> bool:
    """Whether a Docker daemon answers; its client alone builds nothing."""
    return (
        bool(shutil.which("docker"))
        and not subprocess.run(["docker", "info"], capture_output=True, timeout=60).returncode
    )


@pytest.fixture
def docker() -> None:
    if not has_docker():
        pytest.skip("no Docker here")


@pytest.mark.weekly
@pytest.mark.timeout(7200)
def test_the_image_builds_and_knows_both_commands(docker: None) -> None:
    subprocess.run(["docker", "build", "--quiet", "--tag", "minimind-lite-test", str(ROOT)], check=True, timeout=3600)
    for command in ("serve", "webui"):
        subprocess.run(["docker", "run", "--rm", "minimind-lite-test", command, "--help"], check=True, timeout=300)


@pytest.mark.weekly
@pytest.mark.timeout(7200)
def test_the_grader_in_a_container_gives_a_master_all_points(docker: None, tmp_path: Path) -> None:
    subprocess.run(recipe("build"), cwd=ROOT, check=True, timeout=3600)
    for name in ("submissions", "grades"):
        (tmp_path / name).mkdir(mode=0o700)
    shutil.copy2(MASTER, tmp_path / "submissions")
    words = [word.replace("$PWD", str(tmp_path)) for word in recipe("run")]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    (grade,) = json.loads((tmp_path / "grades" / "grades.json").read_text(encoding="utf-8"))
    assert (grade["status"], grade["isolation"]) == ("graded", "user") and grade["points"] > 0
    assert all(task["status"] == "solved" for task in grade["tasks"])
