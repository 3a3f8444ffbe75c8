"""Few doors to open: which files one thing passes through on its way, as the README's picture of the house says."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import torch
from processes_kit import write_data
from typer.testing import CliRunner

import minimind_lite
from minimind_lite.cli import app
from minimind_lite.config import preset
from minimind_lite.generation.engine import generate
from minimind_lite.model.pretrained import load_pretrained
from minimind_lite.model.transformer import Transformer
from minimind_lite.tokenizer import Tokenizer
from minimind_lite.training import registry  # noqa: F401  imported before the trace begins

PACKAGE = Path(minimind_lite.__file__).parent
BATCH_TO_UPDATE = (
    "training/loop.py",
    "model/losses.py",
    "model/transformer.py",
    "model/attention.py",
    "model/layers.py",
)
TOKEN = ("generation/engine.py", "generation/sampling.py", "model/transformer.py", "model/attention.py",
         "model/layers.py")  # fmt: skip
COMMAND_TO_UPDATE = (
    "cli/train.py", "training/registry.py", "training/options.py", "training/pretrain.py", "training/stage.py",
    "data/documents.py", "data/packing.py", *BATCH_TO_UPDATE,
)  # fmt: skip
# Entered beside the way; what they do for it is all in their names.
SIDE_DOORS = {
    "cli/common.py": "errors in one message",
    "config.py": "presets",
    "settings.py": "every value checked by its field's annotation",
    "files.py": "files that are whole or not there",
    "tokenizer/tokenizer.py": "text to ids",
    "tokenizer/byte_bpe.py": "the tokenizer's twin without special tokens",
    "data/records.py": "what a line of a file must look like",
    "training/optimizer.py": "which parameters decay",
    "training/callbacks.py": "progress bar and metrics",
    "training/checkpoint.py": "is there a run to continue?",
}


class Trace:
    """The package's files in which a function was called, in order, until a named function ends the trace."""

    def __init__(self, begin: str = "", end: str = "", end_file: str = "") -> None:
        self.begin, self.end, self.end_file = begin, end, end_file
        self.files: list[str] = []
        self.on = not begin

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        code = frame.f_code
        if event != "call":
            return
        self.on |= code.co_name == self.begin and str(PACKAGE) in code.co_filename
        if self.on and self.end and code.co_name == self.end and self.end_file in code.co_filename:
            self.on, self.begin = False, "-"
        path = Path(code.co_filename)
        if self.on and PACKAGE in path.parents and code.co_name != "<module>":
            name = path.relative_to(PACKAGE).as_posix()
            if name not in self.files:
                self.files.append(name)


def traced(trace: Trace, work: Callable[[], Any]) -> list[str]:
    """The files that ``work`` passes through."""
    sys.setprofile(trace)
    try:
        work()
    finally:
        sys.setprofile(None)
    return trace.files


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("route")
    write_data(folder)
    return folder


def pretrain(folder: Path, name: str) -> None:
    """A tiny run of the command line."""
    arguments = ["train", "pretrain", str(folder / "texts.jsonl"), str(folder / "base"), str(folder / name)]
    settings = ["-p", "preset=pico", "-p", "total_steps=1", "-p", "progress=False", "-p", "device=cpu"]
    done = CliRunner().invoke(app, arguments + settings)
    assert done.exit_code == 0, done.output


def test_from_the_command_to_the_update(folder: Path) -> None:
    files = traced(Trace(end="step", end_file="optim"), lambda: pretrain(folder, "a"))
    assert "training/loop.py" in files
    assert len(COMMAND_TO_UPDATE) <= 12 and len(SIDE_DOORS) <= 10
    assert set(files) - set(SIDE_DOORS) == set(COMMAND_TO_UPDATE) - {
        "training/registry.py"
    }  # a table: nothing is called


def test_from_a_batch_to_the_update(folder: Path) -> None:
    files = traced(Trace("_train_step", "step", "optim"), lambda: pretrain(folder, "b"))
    assert set(files) == set(BATCH_TO_UPDATE) and len(files) <= 5


def test_one_generated_token(folder: Path) -> None:
    model, tokenizer = load_pretrained(folder / "base"), Tokenizer.load(folder / "base")
    files = traced(Trace(end="push"), lambda: generate(model, tokenizer, [[5, 6, 7]], max_new_tokens=1))
    beside = {
        "tokenizer/tokenizer.py",  # how many tokens there are; its bytes become text after the token is drawn
        "generation/laid_out.py",  # does a copy of the weights pay? Not for a model as small as this one
    }
    assert set(files) - beside == set(TOKEN) and len(TOKEN) <= 5


def test_one_token_of_a_larger_model(folder: Path) -> None:
    tokenizer = Tokenizer.load(folder / "base")
    model = Transformer(preset("nano", vocab_size=6400)).eval()
    with torch.inference_mode():
        generate(model, tokenizer, [[5, 6, 7]], max_new_tokens=2)  # makes the copy
    files = traced(Trace("prefill", end="push"), lambda: generate(model, tokenizer, [[5, 6, 7]], max_new_tokens=1))
    assert set(files) == (set(TOKEN) - {"model/transformer.py"}) | {"generation/laid_out.py", "tokenizer/tokenizer.py"}


def test_the_readme_shows_the_routes() -> None:
    readme = (PACKAGE.parent / "README.md").read_text(encoding="utf-8")
    for route in (COMMAND_TO_UPDATE, TOKEN):
        assert " → ".join(route) in " ".join(readme.split()), "README, The house: write this route there"
