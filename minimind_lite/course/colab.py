"""The setup cell and the Colab badge: written by `minimind course refresh` and `badges`, never by hand.

Colab brings its own torch, built for its driver. Replacing it costs minutes and can leave a broken CUDA, so `setup`
installs this package without its dependencies, then only those that are missing, with what is there pinned.
"""

import importlib.metadata
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

from .paths import repository_root
from .settings import CourseError

NEVER_REPLACED = ("torch", "numpy", "ipykernel", "ipywidgets", "jupyterlab", "nbconvert")
SETUP_TEMPLATE = """\
if "google.colab" in str(get_ipython()):  # on Colab: fetch the course at its tag, and go there
    !git clone -q --depth 1 --branch {tag} {repository} /content/{folder}
    %cd -q /content/{folder}
try:
    from minimind_lite.course import colab
except ImportError as error:
    raise ImportError("no course in this kernel: `make lab`, or `pip install -e .[course]` in its folder") from error
colab.setup("{chapter}")  # installs what Colab lacks; prints the device, the versions and the minutes"""
BADGE_START = "[![Open in Colab]"


def _project() -> dict[str, object]:
    """The [project] table of pyproject.toml, where the public address and the version stand once."""
    text = (repository_root() / "pyproject.toml").read_text(encoding="utf-8")
    return dict(tomllib.loads(text)["project"])


def repository_url() -> str:
    """The repository's public address, without a slash at its end."""
    urls = _project()["urls"]
    return str(urls["Repository"]).rstrip("/").removesuffix(".git")  # type: ignore[index]


def release_tag() -> str:
    """The tag that a notebook fetches on Colab: the version it was made for."""
    return f"v{_project()['version']}"


def setup_cell(chapter: str) -> str:
    """Source of the setup cell: the same in every chapter up to the chapter's name."""
    url = repository_url()
    return SETUP_TEMPLATE.format(tag=release_tag(), repository=url, folder=url.rpartition("/")[2], chapter=chapter)


def badge(chapter: str, folder: str = "notebooks") -> str:
    """One Markdown line that opens the chapter, or what ``folder`` holds under its name, on Colab."""
    address = repository_url().removeprefix("https://github.com/")
    target = f"https://colab.research.google.com/github/{address}/blob/{release_tag()}/{folder}/{chapter}.ipynb"
    return f"{BADGE_START}(https://colab.research.google.com/assets/colab-badge.svg)]({target})"


def change_repository(repository: str) -> None:
    """Write another public address, ``OWNER/NAME``, into pyproject.toml: for a fork or a classroom."""
    if not re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", repository):
        raise CourseError(f"--repository {repository!r} must look like OWNER/NAME")
    path = repository_root() / "pyproject.toml"
    text = path.read_text(encoding="utf-8")
    old = str(_project()["urls"]["Repository"])  # type: ignore[index]
    path.write_text(text.replace(f'"{old}"', f'"https://github.com/{repository}"'), encoding="utf-8", newline="\n")


def missing_requirements() -> list[str]:
    """The library's and the notebooks' requirements that are not met here, those that must not be replaced left out."""
    project = _project()
    optional = project["optional-dependencies"]
    wanted = [Requirement(line) for line in [*project["dependencies"], *optional["course"]]]  # type: ignore[misc, index]
    return [str(one) for one in wanted if one.name not in NEVER_REPLACED and not _is_met(one)]


def _is_met(requirement: Requirement) -> bool:
    try:
        return requirement.specifier.contains(importlib.metadata.version(requirement.name), prereleases=True)
    except importlib.metadata.PackageNotFoundError:
        return False


def install_on_colab(root: Path) -> None:
    """Install the course beside Colab's own torch: itself without dependencies, then only what is missing."""
    pip = [sys.executable, "-m", "pip", "install", "-q"]
    subprocess.run([*pip, "--no-deps", "-e", str(root)], check=True)
    missing = missing_requirements()
    if not missing:
        return
    kept = [f"{name}=={importlib.metadata.version(name)}" for name in ("torch", "numpy")]
    with tempfile.TemporaryDirectory() as folder:
        pins = Path(folder) / "kept.txt"
        pins.write_text("\n".join(kept) + "\n", encoding="utf-8")
        subprocess.run([*pip, "-c", str(pins), *missing], check=True)


def setup(chapter: str) -> None:
    """What the setup cell calls: on Colab install what is missing; everywhere say where the chapter runs."""
    if "google.colab" in sys.modules:
        root = repository_root()
        install_on_colab(root)
        os.chdir(root / "notebooks")
    from . import hello

    hello(chapter)
