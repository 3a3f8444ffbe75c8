"""The library stands alone: with the base dependencies only, it trains, chats and saves.

Twice: in an environment into which the distributions that the base dependencies lead to are linked, and, once a week,
in one into which pip installs the package. Installing torch takes minutes, and nothing else of the two differs.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import Distribution, distribution, distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
COURSE_ONLY = ("nbformat", "papermill", "IPython", "jupyterlab", "ipywidgets", "matplotlib", "transformers", "gguf")
# What an installed `minimind` does; several commands share a process, which spends its time on importing torch.
SCRIPT = """#!{python}
import json, sys
from minimind_lite.cli import app
for arguments in json.loads(sys.argv[2]) if sys.argv[1:2] == ["--each"] else [sys.argv[1:]]:
    try:
        app(arguments)
    except SystemExit as end:
        if end.code:
            raise
"""


class Environment:
    """A virtual environment, and commands in it."""

    def __init__(self, folder: Path) -> None:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True, timeout=300)
        self.folder = folder
        self.bin = folder / ("Scripts" if os.name == "nt" else "bin")

    def run(self, *command: str, typed: str = "", ok: bool = True) -> str:
        """What a command printed; it must succeed, or fail, as ``ok`` says."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")} | {"OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [str(self.bin / command[0]), *command[1:]], input=typed, cwd=self.folder, env=environment,
            capture_output=True, text=True, encoding="utf-8", timeout=900,
        )  # fmt: skip
        assert (done.returncode == 0) == ok, done.stdout + done.stderr
        return done.stdout + done.stderr

    def each(self, *commands: Sequence[str]) -> str:
        """What several `minimind` commands printed, one after the other in one process."""
        return self.run("python", "each.py", "--each", json.dumps(commands))


def installed(environment: Environment) -> None:
    """The package and its base dependencies at the tested versions, by pip."""
    pip = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-c", str(ROOT / "constraints.txt"))
    environment.run("python", "-m", "ensurepip")
    environment.run("python", *pip, "torch")  # first and by itself, as the Makefile does
    environment.run("python", *pip, str(ROOT))


def linked(environment: Environment) -> None:
    """The package as it is here, and links to the distributions that its base dependencies lead to."""
    (folder,) = environment.folder.rglob("site-packages")
    own = next(  # not the build's leftovers in the current folder
        one
        for one in distributions(name="minimind-lite")
        if any(file.parts[0].endswith(".dist-info") for file in one.files or ())
    )
    found = needed(own)
    assert {"torch", "numpy", "typer"} <= found.keys()
    for one in (own, *found.values()):
        names = {file.parts[0] for file in one.files or ()} - {".."}
        for name in names if one is not own else (name for name in names if name.endswith(".dist-info")):
            link(Path(str(one.locate_file(name))), folder / name)
    link(ROOT / "minimind_lite", folder / "minimind_lite")
    script = environment.bin / "minimind"
    script.write_text(SCRIPT.format(python=environment.bin / "python"), encoding="utf-8")
    script.chmod(0o755)


def needed(root: Distribution) -> dict[str, Distribution]:
    """What a distribution leads to without its extras, by name."""
    found: dict[str, Distribution] = {}
    waiting = [(root, frozenset({""}))]
    while waiting:
        one, extras = waiting.pop()
        for requirement in map(Requirement, one.requires or ()):
            if requirement.marker and not any(requirement.marker.evaluate({"extra": extra}) for extra in extras):
                continue
            if requirement.name not in found:
                found[requirement.name] = distribution(requirement.name)
                waiting.append((found[requirement.name], frozenset({"", *requirement.extras})))
    return found


def link(source: Path, target: Path) -> None:
    """Link a file or folder; where several distributions share a folder, each entry of it."""
    if source.name == "__pycache__" or not source.exists():
        return
    if target.is_dir() and source.is_dir():
        if target.is_symlink():
            if target.resolve() == source.resolve():
                return
            first = target.resolve()
            target.unlink()
            target.mkdir()
            link(first, target)
        for entry in source.iterdir():
            link(entry, target / entry.name)
    elif not target.exists():
        target.symlink_to(source, source.is_dir())


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(linked, marks=pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")),
        pytest.param(installed, marks=(pytest.mark.weekly, pytest.mark.timeout(2400))),
    ],
    ids=lambda one: one.__name__,
)
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment with the package and its base dependencies, and some data."""
    folder = tmp_path_factory.mktemp("base")
    environment = Environment(folder)
    request.param(environment)
    (folder / "each.py").write_text(SCRIPT, encoding="utf-8")
    texts = [{"text": f"{a} and {b} is {a + b}."} for a in range(9) for b in range(9)]
    chats = [
        {"conversations": [{"role": "user", "content": f"{a}+2?"}, {"role": "assistant", "content": str(a + 2)}]}
        for a in range(30)
    ]
    for name, records in (("texts", texts), ("chats", chats)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(one) + "\n" for one in records), encoding="utf-8")
    return environment


def test_jupyter_and_the_references_are_not_there(base: Environment) -> None:
    missing = f"import importlib.util as u; print([n for n in {COURSE_ONLY!r} if u.find_spec(n)])"
    assert base.run("python", "-c", missing).strip() == "[]"


def test_it_trains_saves_merges_and_chats(base: Environment) -> None:
    small = ("-p", "total_steps=4", "-p", "block_size=64", "-p", "progress=False")
    exam = f"samples={ROOT / 'data_samples' / 'exam'}"
    said = base.each(
        ("train", "tokenizer", "texts.jsonl", "tok", "--vocab-size", "300"),
        ("train", "pretrain", "texts.jsonl", "tok", "pre", "-p", "preset=pico", *small),
        ("train", "sft", "chats.jsonl", "pre", "sft", "--eval-data", "chats.jsonl", *small),
        ("train", "lora", "chats.jsonl", "sft", "lora", *small),
        ("merge", "sft", "lora", "merged"),
        ("eval", "pre", "merged", "--suite", exam, "--limit", "6", "--output", "scores"),
        ("data", "check", str(ROOT / "data_samples" / "facts_rings")),
    )
    assert (base.folder / "merged" / "model.safetensors").is_file()
    assert "| samples/letter | accuracy | 6 | 25.0% |" in said and "merged − pre" in said
    assert "no picture: it is drawn by matplotlib" in said
    assert "everything is in order" in said
    said = base.run("minimind", "chat", "merged", "--max-new-tokens", "4", typed="1+2?\n/help\n/quit\n")
    assert "/reset forgets the conversation" in said


def test_every_stage_shows_its_help(base: Environment) -> None:
    stages = ("pretrain", "sft", "lora", "dpo", "distill", "reason", "grpo", "ppo")
    said = base.each(*(("train", stage, "--help") for stage in stages))
    assert said.count("NAME=VALUE") >= len(stages)
    assert all(f"minimind train {stage} " in said for stage in stages)


def test_the_course_says_what_it_needs(base: Environment) -> None:
    assert "pip install -e '.[course]'" in base.run("minimind", "course", "status", ok=False)
