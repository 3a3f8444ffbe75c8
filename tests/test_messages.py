"""Every way out that the package's texts name exists: commands, options, -p settings, extras, make targets."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from minimind_lite.cli import app
from minimind_lite.cli.train import loop_defaults
from minimind_lite.course.kit.discovery import chapter_names, chapter_part
from minimind_lite.interop.minimind import UNSTATED
from minimind_lite.settings import settable
from minimind_lite.training.registry import STAGES

ROOT = Path(__file__).parents[1]
GROUP: Any = typer.main.get_command(app)
BUBBLEWRAP = (
    "unshare-all", "die-with-parent", "new-session", "cap-drop", "ro-bind", "bind", "dev", "proc", "tmpfs", "chdir",
)  # fmt: skip
FOREIGN = {
    "depth": "git clone",
    "branch": "git clone",
    "no-deps": "pip",
    "quiet": "git diff",
    **dict.fromkeys(BUBBLEWRAP, "bwrap"),
    **dict.fromkeys(("config", "num", "main", "cpu"), "accelerate launch"),  # up to their first underscore
}  # that our code runs


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """(line, text) of every string in a Python file, docstrings too; "…" stands for the parts of an f-string."""
    parts = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.JoinedStr):
            parts |= {id(one) for one in node.values}
            yield node.lineno, "".join(str(one.value) if isinstance(one, ast.Constant) else "…" for one in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts:
            yield node.lineno, node.value


TEXTS = [
    (f"{path.relative_to(ROOT)}:{line}", text)
    for path in sorted((ROOT / "minimind_lite").rglob("*.py"))
    for line, text in texts(path)
]


def found(pattern: str) -> list[tuple[str, str]]:
    """(place, what the pattern's group holds) of every hit in the package's texts; at least one."""
    hits = [(place, hit[1]) for place, text in TEXTS for hit in re.finditer(pattern, text)]
    assert hits, f"nothing in the package looks like {pattern}: is the pattern out of date?"
    return hits


def options(group: Any) -> set[str]:
    """The long options of all commands, "--no-…" forms too."""
    own = {one for param in group.params for one in (*param.opts, *param.secondary_opts)}
    return own.union(*(options(one) for one in getattr(group, "commands", {}).values()))


def test_every_command_exists() -> None:
    for place, words in found(r"minimind ((?:[a-z]+ ?)+)"):
        first, _, rest = words.strip().partition(" ")
        if first not in GROUP.commands and place.endswith(".py:1"):  # a sentence about the command
            continue
        assert first in GROUP.commands, f"{place}: there is no `minimind {first}`"
        inner = getattr(GROUP.commands[first], "commands", None)
        if inner is not None and rest:
            assert rest.split()[0] in inner, f"{place}: there is no `minimind {first} {rest.split()[0]}`"


def test_every_option_exists() -> None:
    known = options(GROUP) | {"--help"}
    for place, name in found(r"(?<![\w-])--([a-z][a-z-]+)"):
        assert f"--{name}" in known or name in FOREIGN, f"{place}: no command has --{name}"


def test_every_setting_exists() -> None:
    known = {
        *settable(loop_defaults()),
        *UNSTATED,
        *(name for one in STAGES.values() for name in settable(one.options)),
    }
    for chapter in chapter_names():
        settings = getattr(chapter_part(chapter, "settings"), "SETTINGS", {}).get("quick")
        known |= set(settable(settings)) if settings else set()
    for place, name in found(r"(?<!\w)-p (\w+)="):
        assert name in known | {"NAME"}, f"{place}: there is no setting {name}"


def test_every_extra_and_make_target_exists() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    for place, name in found(r"(?:minimind-lite|-e \.)\[(\w+)\]"):
        assert name in extras, f"{place}: there is no extra {name}"
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for place, name in found(r"`make ([a-z-]+)`"):
        assert name in targets, f"{place}: there is no make target {name}"


@pytest.mark.parametrize("line", ["minimind fly", "minimind train pigeons"])
def test_a_command_that_does_not_exist_would_be_found(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("test_messages.TEXTS", [("a.py:9", f"run: {line}")])
    with pytest.raises(AssertionError, match="there is no"):
        test_every_command_exists()
