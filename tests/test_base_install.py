"""The library stands alone: with the base dependencies only, in a fresh environment, it trains, chats and saves."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
COURSE_ONLY = ("nbformat", "papermill", "IPython", "jupyterlab", "ipywidgets", "matplotlib", "transformers", "gguf")
pytestmark = pytest.mark.timeout(2400)  # it installs torch


class Environment:
    """A virtual environment, and commands in it."""

    def __init__(self, folder: Path) -> None:
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


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """A fresh environment with the package and its base dependencies at the tested versions, and some data."""
    folder = tmp_path_factory.mktemp("base")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, timeout=300)
    environment = Environment(folder)
    pip = (
        "python",
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "-c",
        str(ROOT / "constraints.txt"),
    )
    environment.run(*pip, "torch")  # first and by itself, as the Makefile does
    environment.run(*pip, str(ROOT))
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
    base.run("minimind", "train", "tokenizer", "texts.jsonl", "tok", "--vocab-size", "300")
    base.run("minimind", "train", "pretrain", "texts.jsonl", "tok", "pre", "-p", "preset=pico", *small)
    base.run("minimind", "train", "sft", "chats.jsonl", "pre", "sft", "--eval-data", "chats.jsonl", *small)
    base.run("minimind", "train", "lora", "chats.jsonl", "sft", "lora", *small)
    base.run("minimind", "merge", "sft", "lora", "merged")
    assert (base.folder / "merged" / "model.safetensors").is_file()
    said = base.run("minimind", "chat", "merged", "--max-new-tokens", "4", typed="1+2?\n/help\n/quit\n")
    assert "/reset forgets the conversation" in said
    exam = f"samples={ROOT / 'data_samples' / 'exam'}"
    scored = base.run("minimind", "eval", "pre", "merged", "--suite", exam, "--limit", "6", "--output", "scores")
    assert "| samples/letter | accuracy | 6 | 25.0% |" in scored and "merged − pre" in scored
    assert "no picture: it is drawn by matplotlib" in scored
    report = base.run("minimind", "data", "check", str(ROOT / "data_samples"))
    assert "everything is in order" in report


def test_every_stage_shows_its_help(base: Environment) -> None:
    for stage in ("pretrain", "sft", "lora", "dpo", "distill", "reason", "grpo", "ppo"):
        assert "NAME=VALUE" in base.run("minimind", "train", stage, "--help")


def test_the_course_says_what_it_needs(base: Environment) -> None:
    assert "pip install -e '.[course]'" in base.run("minimind", "course", "status", ok=False)
