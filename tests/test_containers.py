"""The Dockerfile and the compose file: what they start exists and is guarded; built only where there is Docker."""

import fnmatch
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command
from typer.testing import CliRunner

from minimind_lite.cli import app

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
    assert re.search(r"^USER (?!root)", DOCKERFILE, re.MULTILINE)


@pytest.mark.weekly
@pytest.mark.timeout(7200)
@pytest.mark.skipif(shutil.which("docker") is None, reason="no Docker here")
def test_the_image_builds_and_knows_both_commands() -> None:
    subprocess.run(["docker", "build", "--quiet", "--tag", "minimind-lite-test", str(ROOT)], check=True, timeout=3600)
    for command in ("serve", "webui"):
        subprocess.run(["docker", "run", "--rm", "minimind-lite-test", command, "--help"], check=True, timeout=300)
