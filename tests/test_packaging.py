"""pyproject.toml, constraints.txt, environment.yml and the Makefile agree; no stored file is out of place."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]
ENVIRONMENT = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))


def tracked() -> list[str]:
    run = subprocess.run(["git", "-C", str(ROOT), "ls-files"], capture_output=True, text=True, check=False, timeout=60)
    if run.returncode:
        pytest.skip("not a git checkout")
    return run.stdout.splitlines()


def test_conda_gives_the_same_python_and_the_same_packages() -> None:
    conda = [Requirement(line) for line in ENVIRONMENT["dependencies"] if isinstance(line, str)]
    python = next(one for one in conda if one.name == "python")
    assert python.specifier == SpecifierSet(PROJECT["requires-python"])
    # Packages come from pyproject.toml at the pinned versions; conda itself brings only tools.
    assert {one.name for one in conda} == {"python", "pip", "git", "make"}
    pip = next(line["pip"] for line in ENVIRONMENT["dependencies"] if isinstance(line, dict))
    assert pip == ["-c constraints.txt", "-e .[course,gguf,serve,webui]"]
    extras = {"course", "gguf", "clean", "serve", "webui", "lm-eval", "pieces", "llama-cpp"}
    assert set(PROJECT["optional-dependencies"]) == extras


INSTALLS = ["pip", "torch", "-e '.[course,gguf,serve,webui]' --group dev --group proofs"]
LM_EVAL = "-e '.[lm-eval]'"


def test_the_makefile_installs_pip_then_torch_then_the_rest_all_from_the_lock() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(r"^PIP = .* -m pip install .*-c constraints\.txt$", makefile, re.MULTILINE)
    recipe = makefile[makefile.index("$(INSTALLED): pyproject.toml constraints.txt") :]
    assert [line.partition("$(PIP) ")[2] for line in recipe.splitlines() if "$(PIP)" in line] == INSTALLS
    assert {"pip>=25.1"} <= set(PYPROJECT["dependency-groups"]["dev"])  # the first pip with --group


@pytest.mark.parametrize("name", [".github/workflows/matrix.yml", "CONTRIBUTING.md"])
def test_where_there_is_no_make_the_commands_are_the_makefiles(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    lines = re.findall(r"python -m pip install -c constraints\.txt ([^`\n]+)", text)
    made = [line.replace('"', "'") for line in lines]
    assert [line for line in made if line != LM_EVAL] == INSTALLS
    assert made.count(LM_EVAL) == 1  # beside them, for the comparison of a week


def test_supported_pythons_agree() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "matrix.yml").read_text(encoding="utf-8"))
    matrix = workflow["jobs"]["locked"]["strategy"]["matrix"]
    supported = [
        f"3.{minor}" for minor in range(8, 20) if SpecifierSet(PROJECT["requires-python"]).contains(f"3.{minor}")
    ]
    assert matrix["python"] == supported == ["3.11", "3.12", "3.13"]
    assert {name.partition("-")[0] for name in matrix["system"]} == {"ubuntu", "macos", "windows"}
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
    package = ROOT / "minimind_lite"
    needed = {path for path in package.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}
    assert {package / "course/kit/bands.json", package / "course/runner/report.html"} <= needed
    assert needed == {path for pattern in packed["minimind_lite"] for path in package.glob(pattern)}


def test_badges_and_setup_cells_point_at_a_ref_that_exists() -> None:
    ref = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["minimind"]["ref"]
    assert ref in ("main", f"v{PROJECT['version']}")
