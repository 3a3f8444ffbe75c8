"""The setup cell and the Colab badge: written by `minimind course refresh` and `badges`, never by hand.

Colab brings its own torch, built for its driver. Replacing it costs minutes and can leave a broken CUDA, so `setup`
installs this package without its dependencies, then only those that are missing, with the installed versions pinned.
"""

import importlib.metadata
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

from minimind_lite.files import repository_root

from .. import hello
from ..kit.errors import CourseError
from ..kit.language import use_language
from .files import tasks_in

NEVER_REPLACED = ("torch", "numpy", "ipykernel", "ipywidgets", "jupyterlab", "nbconvert")
LONGEST = 1800  # seconds that an installation may take
SETUP_TEMPLATE = """\
if "google.colab" in str(get_ipython()):  # on Colab: fetch the course and go to its folder
    !git clone -q --depth 1 --branch {ref} {repository} /content/{folder}
    %cd -q /content/{folder}
try:
    from minimind_lite.course.notebooks import colab
except ImportError as error:
    raise ImportError("no course in this kernel: `make lab`, or `pip install -e .[course]` in its folder") from error
colab.setup({arguments})  # installs what Colab lacks; prints the device, the versions and the minutes"""
BADGE_START = "[![Open in Colab]"
EDITIONS = {"en": "English", "zh": "中文版"}  # what the line under a title calls the other edition
MASTERS = {"notebooks": "notebooks", "exercises": "solutions"}  # the folder that says which notebooks there are


def _pyproject() -> dict[str, Any]:
    """pyproject.toml, the one place that states the public address and the ref."""
    return tomllib.loads((repository_root() / "pyproject.toml").read_text(encoding="utf-8"))


def repository_url() -> str:
    """The repository's public address, without a trailing slash."""
    return str(_pyproject()["project"]["urls"]["Repository"]).rstrip("/").removesuffix(".git")


def repository_ref() -> str:
    """The branch or tag that badges open and a notebook fetches on Colab."""
    return str(_pyproject()["tool"]["minimind"]["ref"])


def setup_cell(chapter: str, language: str = "en") -> str:
    """Source of the setup cell: the same in every chapter except for the chapter's name and its language."""
    url = repository_url()
    arguments = f'"{chapter}"' if language == "en" else f'"{chapter}", language="{language}"'
    return SETUP_TEMPLATE.format(
        ref=repository_ref(), repository=url, folder=url.rpartition("/")[2], arguments=arguments
    )


def badge(chapter: str, folder: str = "notebooks", language: str = "en") -> str:
    """One line of Markdown: opens the notebook in ``folder`` on Colab, and leads to its other edition if it has one."""
    address = repository_url().removeprefix("https://github.com/")
    place = folder if language == "en" else f"{folder}/{language}"
    target = f"https://colab.research.google.com/github/{address}/blob/{repository_ref()}/{place}/{chapter}.ipynb"
    image = "https://colab.research.google.com/assets/colab-badge.svg"
    return f"{BADGE_START}({image})]({target}){_switch(chapter, folder, language)}"


def _switch(chapter: str, folder: str, language: str) -> str:
    """Links from one edition of a notebook to the others."""
    if language != "en":
        return f" · [{EDITIONS['en']}](../{chapter}.ipynb)"
    masters = repository_root() / MASTERS[folder]
    others = [one for one in EDITIONS if one != "en" and (masters / one / f"{chapter}.ipynb").is_file()]
    return "".join(f" · [{EDITIONS[one]}]({one}/{chapter}.ipynb)" for one in others)


def change_repository(repository: str, ref: str | None = None) -> None:
    """Write another public address, ``OWNER/NAME``, and another ref if given, into pyproject.toml.

    For a fork or a classroom. Raises CourseError for an address or a ref that cannot be one.
    """
    if not re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", repository):
        raise CourseError(f"--repository {repository!r} must look like OWNER/NAME")
    if ref is not None and not re.fullmatch(r"\w[\w./-]*", ref):
        raise CourseError(f"--ref {ref!r} must be the name of a branch or a tag")
    path, project = repository_root() / "pyproject.toml", _pyproject()
    old_url, old_ref = project["project"]["urls"]["Repository"], project["tool"]["minimind"]["ref"]
    text = path.read_text(encoding="utf-8").replace(f'"{old_url}"', f'"https://github.com/{repository}"')
    text = text.replace(f'ref = "{old_ref}"', f'ref = "{ref or old_ref}"')
    path.write_text(text, encoding="utf-8", newline="\n")


def missing_requirements() -> list[str]:
    """The requirements of the library and of the notebooks that are not met here, except those never to be replaced."""
    project = _pyproject()["project"]
    lines = [*project["dependencies"], *project["optional-dependencies"]["course"]]
    wanted = [Requirement(line) for line in lines]
    return [str(one) for one in wanted if one.name not in NEVER_REPLACED and not _is_met(one)]


def _is_met(requirement: Requirement) -> bool:
    try:
        return requirement.specifier.contains(importlib.metadata.version(requirement.name), prereleases=True)
    except importlib.metadata.PackageNotFoundError:
        return False


def install_on_colab(root: Path) -> None:
    """Install the course beside Colab's own torch: itself without dependencies, then only what is missing."""
    pip = [sys.executable, "-m", "pip", "install", "-q"]
    subprocess.run([*pip, "--no-deps", "-e", str(root)], check=True, timeout=LONGEST)  # noqa: S603  our own folder
    missing = missing_requirements()
    if not missing:
        return
    kept = [f"{name}=={importlib.metadata.version(name)}" for name in ("torch", "numpy")]
    with tempfile.TemporaryDirectory() as folder:
        pins = Path(folder) / "kept.txt"
        pins.write_text("\n".join(kept) + "\n", encoding="utf-8")
        subprocess.run([*pip, "-c", str(pins), *missing], check=True, timeout=LONGEST)  # noqa: S603  pyproject's packages


def setup(chapter: str, language: str = "en") -> None:
    """Called by the setup cell: on Colab, install what is missing; everywhere, print where the notebook runs and how
    long it takes: an exercise its own minutes. On Colab, where a kernel cannot tell which one it runs, print both.

    From then on checks and figures speak ``language``.
    """
    use_language(language)
    root, on_colab = repository_root(), "google.colab" in sys.modules
    exercises = root / "exercises"
    minutes = 0
    if on_colab or Path.cwd().is_relative_to(exercises):  # a kernel starts in its notebook's folder, but not on Colab
        stored = exercises / f"{chapter}.ipynb"
        minutes = sum(one for one, _ in tasks_in(stored)) if stored.is_file() else 0
    if on_colab:
        install_on_colab(root)
        os.chdir(root / "notebooks")
    hello(chapter, minutes, chapter=on_colab or not minutes)
