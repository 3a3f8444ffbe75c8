"""The `minimind` command: help with examples, clean errors, and each command once for real."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
import typer
from typer.testing import CliRunner

from minimind_lite.cli import app
from minimind_lite.cli.common import clean_errors
from minimind_lite.cli.train import HELP, stage_settings
from minimind_lite.config import ConfigError
from minimind_lite.files import repository_root
from minimind_lite.training.registry import STAGES

COMMANDS = [
    "chat", "course run", "course status", "course refresh", "course badges", "course exercises", "course progress",
    "grade", "train tokenizer", "train pretrain", "train sft", "train lora", "merge", "train reason", "train grpo",
    "train ppo", "train dpo", "train distill", "data check", "data build",
]  # fmt: skip
DATA = repository_root() / "data_samples"
SMALL = ["-p", "total_steps=2", "-p", "micro_batch_size=1", "-p", "progress=False", "-p", "block_size=64"]


def minimind(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(one) for one in arguments], env={"COLUMNS": "200"})
    return result.exit_code, result.output


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example_that_names_the_command(command: str) -> None:
    code, text = minimind(*command.split(), "--help")
    assert code == 0
    assert f"Example: minimind {command}" in text


@pytest.mark.parametrize("group", ["course", "train", "data"])
def test_groups_show_an_example(group: str) -> None:
    assert f"Example: minimind {group}" in minimind(group, "--help")[1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["course", "run", "--profile", "huge"], "there are: quick, colab, full"),
        (["course", "run", "-p", "no_such_thing=1"], "unknown parameter 'no_such_thing'"),
        (["course", "refresh", "77", "--check"], "no chapter is called '77'"),
        (["course", "badges", "--repository", "nothing"], "OWNER/NAME"),
        (["chat", "no/such/folder"], "no folder no/such/folder"),
        (["train", "pretrain", DATA / "pretrain", "no/such/folder", "out"], "no/such/folder does not exist"),
        (["train", "sft", DATA / "sft.jsonl", "no/such/folder", "out"], "no/such/folder"),
        (
            ["train", "sft", "x", "y", "z", "-p", "steps=3"],
            "there is no setting called steps; the settings are: betas, block_size",
        ),
        (["data", "check", "no/such/folder"], "no/such/folder"),
    ],
)
def test_errors_are_one_message_without_a_traceback(arguments: list[object], words: str) -> None:
    code, text = minimind(*arguments)
    assert code == 1
    assert "error: " in text
    assert words in text.replace("\n", "")
    assert "Traceback" not in text


def test_only_our_own_errors_are_made_clean() -> None:
    def fail(error: Exception) -> None:
        raise error

    with pytest.raises(typer.Exit):
        clean_errors(fail)(ConfigError("heads"))
    with pytest.raises(typer.Exit):
        clean_errors(fail)(FileNotFoundError("x"))
    with pytest.raises(KeyError):
        clean_errors(fail)(KeyError("a bug"))
    with pytest.raises(ValueError, match="somebody else's"):
        clean_errors(fail)(ValueError("somebody else's"))


def test_train_from_texts_to_a_chat(tmp_path: Path) -> None:
    texts = DATA / "pretrain_heldout"
    assert minimind("train", "tokenizer", texts, tmp_path / "t", "--vocab-size", 400) == (
        0,
        f"400 entries in {tmp_path / 't'}\n",
    )
    code, text = minimind("train", "pretrain", texts, tmp_path / "t", tmp_path / "p", "-p", "preset=pico", *SMALL)
    assert code == 0, text
    code, text = minimind("train", "sft", DATA / "sft_heldout.jsonl", tmp_path / "p", tmp_path / "s", *SMALL)
    assert code == 0, text
    answer = CliRunner().invoke(app, ["chat", str(tmp_path / "s"), "--max-new-tokens", "4"], input="hello\n/quit\n")
    assert answer.exit_code == 0, answer.output


def test_data_check_passes_on_the_samples() -> None:
    code, text = minimind("data", "check")
    assert code == 0, text
    assert "sft_heldout.jsonl" in text


def test_the_command_starts_quickly_and_speaks_utf8() -> None:
    code = "import sys; from minimind_lite.cli import app; assert 'torch' not in sys.modules; app(['--help'])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert run.returncode == 0, run.stderr.decode()
    run.stdout.decode("utf-8")


def test_every_stage_has_a_command_and_says_what_it_can_change() -> None:
    assert HELP.keys() == STAGES.keys()
    for stage in STAGES:
        code, text = minimind("train", "settings", stage)
        assert code == 0, text
        assert "save_every=200" in text and "learning_rate=0.0005" in text
        assert "custom_rewards" not in text and "model=" not in text
        assert all(len(line.split(maxsplit=1)) == 2 for line in text.splitlines()), "each with its meaning"


def test_tuples_can_be_given_and_nonsense_is_refused() -> None:
    config, options = stage_settings(["betas=0.8,0.9", "rank=2", "learning_rate=1"], STAGES["lora"].options)
    assert (config.betas, options.rank, config.learning_rate) == ((0.8, 0.9), 2, 1.0)
    for pair, words in (
        ("total_steps=None", "means nothing here"), ("device=gpu", "must be one of auto, cpu, cuda, mps"),
        ("model=x", "no setting called model"), ("rank=many", "rank must be a whole number, 1 or more, not 'many'"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=words):
            stage_settings([pair], STAGES["pretrain" if "model" in pair else "lora"].options)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu_is_said(tmp_path: Path) -> None:
    code, text = minimind("train", "sft", DATA / "sft_heldout.jsonl", tmp_path / "base", tmp_path, "-p", "device=cuda")
    assert code == 1 and "torch finds none: use -p device=cpu" in text


def test_the_base_is_not_overwritten(tmp_path: Path) -> None:
    code, text = minimind("train", "sft", DATA / "sft_heldout.jsonl", tmp_path, tmp_path)
    assert code == 1 and "use another one for the result" in text


@pytest.mark.parametrize("content", ["", "\n\n", '{"text": " "}\n', '{"txt": "a"}\n'])
def test_a_tokenizer_of_no_text_is_a_failure(tmp_path: Path, content: str) -> None:
    (tmp_path / "texts.jsonl").write_text(content)
    done = CliRunner().invoke(app, ["train", "tokenizer", str(tmp_path / "texts.jsonl"), str(tmp_path / "out")])
    assert done.exit_code == 1 and "texts.jsonl: there is no text to learn from" in done.output
    assert not (tmp_path / "out").exists()
