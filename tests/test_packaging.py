"""pyproject.toml, constraints.txt, environment.yml and the Makefile agree; no stored file is out of place."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
REQUIREMENTS = [Requirement(line) for lines in (PROJECT["dependencies"], *EXTRAS.values()) for line in lines]
PINS = {
    canonicalize_name(pin.name): str(pin.specifier).removeprefix("==")
    for pin in map(
        Requirement,
        [
            line
            for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
            if line[:1] not in ("", "#")
        ],
    )
}
ENVIRONMENT = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))


def tracked() -> list[str]:
    run = subprocess.run(["git", "-C", str(ROOT), "ls-files"], capture_output=True, text=True, check=False)
    if run.returncode:
        pytest.skip("not a git checkout")
    return run.stdout.splitlines()


def test_every_requirement_is_pinned_inside_its_range() -> None:
    for requirement in REQUIREMENTS:
        if requirement.name != PROJECT["name"]:
            assert requirement.specifier.contains(PINS[canonicalize_name(requirement.name)]), requirement


def test_every_pin_belongs_to_a_requirement() -> None:
    assert set(PINS) <= {canonicalize_name(one.name) for one in REQUIREMENTS}


def test_conda_gives_the_same_python_and_the_same_packages() -> None:
    conda = [Requirement(line) for line in ENVIRONMENT["dependencies"] if isinstance(line, str)]
    python = next(one for one in conda if one.name == "python")
    assert python.specifier == SpecifierSet(PROJECT["requires-python"])
    # Packages come from pyproject.toml at the pinned versions; conda itself brings only tools.
    assert {one.name for one in conda} == {"python", "pip", "git", "make"}
    pip = next(line["pip"] for line in ENVIRONMENT["dependencies"] if isinstance(line, dict))
    assert pip == ["-c constraints.txt", "-e .[dev]"]
    assert "dev" in EXTRAS


def test_the_makefile_installs_the_same_with_torch_first() -> None:
    lines = (ROOT / "Makefile").read_text(encoding="utf-8").splitlines()
    installs = [line.strip().rstrip("\\; ") for line in lines if "pip install" in line]
    assert [line.rpartition("-c constraints.txt ")[2] for line in installs] == ["torch", "-e '.[dev]'"]


def test_supported_pythons_agree() -> None:
    ci = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
    matrix = ci["jobs"]["test"]["strategy"]["matrix"]["python"]
    supported = [
        f"3.{minor}" for minor in range(8, 20) if SpecifierSet(PROJECT["requires-python"]).contains(f"3.{minor}")
    ]
    assert matrix == supported == ["3.11", "3.12", "3.13"]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert all(f"python{one}" in makefile for one in supported)


def test_the_changelog_knows_this_version() -> None:
    assert f"## {PROJECT['version']}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_no_stored_file_is_over_one_megabyte() -> None:
    assert [name for name in tracked() if (ROOT / name).is_file() and (ROOT / name).stat().st_size > 1_000_000] == []


def test_no_stored_file_contains_a_local_path() -> None:
    home = re.compile(r"(?<![\w.])/(?:home|Users|root)/(?!someone|me/)\w+")
    texts = [name for name in tracked() if name.endswith((".py", ".md", ".ipynb", ".toml", ".yml", ".txt", ".json"))]
    found = [
        name for name in texts if (ROOT / name).is_file() and home.search((ROOT / name).read_text(encoding="utf-8"))
    ]
    assert found == []


def test_what_the_package_needs_at_run_time_is_packed() -> None:
    packed = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["package-data"]
    assert (ROOT / "minimind_lite" / "course" / "assets" / "report.html").is_file()
    assert "course/assets/*" in packed["minimind_lite"]
