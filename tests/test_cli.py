"""The `minimind` command: help with examples, clean errors, and each command once for real."""

import gzip
import os
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
    "train ppo", "train dpo", "train distill", "data check", "data build", "data download", "bench", "eval",
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
        (["train", "sft", DATA / "chat", "no/such/folder", "out"], "no/such/folder"),
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


def odd_inputs(folder: Path) -> dict[str, tuple[str, str]]:
    """Folders of things that are not what a command wants: name → (what data check says, what training says)."""
    contents = {
        "binary": bytes(range(128, 256)), "list": b'[{"text": "a"}]\n', "gzip": gzip.compress(b'{"text": "a"}\n'),
        "blank": b"", "indented": b'{\n "text": "a"\n}\n', "zeros": bytes(3000), "deep": b"[" * 100_000,
        "number": b'{"text": ' + b"9" * 6000 + b"}\n", "returns": b'{"text": "a"}\r{"text": "b"}\r',
    }  # fmt: skip
    for name, content in contents.items():
        (folder / name).mkdir()
        (folder / name / "x.jsonl").write_bytes(content)
    (folder / "folder" / "x.jsonl").mkdir(parents=True)
    (folder / "empty").mkdir()
    (folder / "json").mkdir()
    (folder / "json" / "x.json").write_text('[{"text": "a"}]')
    not_utf8, not_json = ("x.jsonl, line 1: not UTF-8",) * 2, ("x.jsonl, line 1, column",) * 2
    return {
        "binary": not_utf8, "zeros": not_json, "indented": not_json, "returns": not_json,
        "list": ("so the format is unknown", "must be a JSON object, {…}, not a list"),
        "gzip": ("compressed with gzip; unpack it first",) * 2, "blank": ("holds no record", "there is no text"),
        "deep": ("nested deeper",) * 2, "number": ("more than 4,300 digits",) * 2,
        "folder": ("x.jsonl: a folder, not a file",) * 2, "empty": ("no .jsonl or .csv file", "holds no *.jsonl file"),
        "json": ("no .jsonl or .csv file", "holds no *.jsonl file"),
    }  # fmt: skip


def test_odd_data_ends_with_a_plain_message(tmp_path: Path) -> None:
    for name, (checked, trained) in odd_inputs(tmp_path).items():
        for words, arguments in (
            (checked, ("data", "check", tmp_path / name)),
            (trained, ("train", "tokenizer", tmp_path / name, tmp_path / "out")),
        ):
            done = CliRunner().invoke(app, [str(one) for one in arguments])
            assert isinstance(done.exception, SystemExit) and done.exit_code == 1, (name, done.output)
            assert words in done.output, (name, done.output)
    assert not (tmp_path / "out").exists()


def test_a_file_where_a_folder_belongs_is_said_plainly(tmp_path: Path) -> None:
    texts = tmp_path / "texts.jsonl"
    texts.write_text('{"text": "a b c"}\n')
    assert "texts.jsonl: is a file; give the folder that holds it" in minimind("data", "check", texts)[1]
    code, text = minimind("train", "tokenizer", texts, texts)
    assert code == 1 and text.startswith(f"error: {texts}: ") and "Errno" not in text
    (tmp_path / "MANIFEST.json").mkdir()
    code, text = minimind("data", "check", tmp_path)
    assert code == 1 and "MANIFEST.json is not the manifest of sample data" in text


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_a_link_to_nothing_is_said_plainly(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").symlink_to(tmp_path / "gone")
    for arguments in (("data", "check", tmp_path), ("train", "tokenizer", tmp_path, tmp_path / "out")):
        code, text = minimind(*arguments)
        assert code == 1 and "x.jsonl: a link to nothing, not a file" in text


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


def test_ctrl_c_says_how_to_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(typer.Exit) as ended:
        clean_errors(interrupted)()
    assert ended.value.exit_code == 130 and "the same command is given again" in capsys.readouterr().err


def test_train_from_texts_to_a_chat(tmp_path: Path) -> None:
    texts = DATA / "pretrain_heldout"
    assert minimind("train", "tokenizer", texts, tmp_path / "t", "--vocab-size", 400) == (
        0,
        f"400 entries in {tmp_path / 't'}\n",
    )
    code, text = minimind("train", "pretrain", texts, tmp_path / "t", tmp_path / "p", "-p", "preset=pico", *SMALL)
    assert code == 0, text
    code, text = minimind("train", "sft", DATA / "facts_rings" / "near", tmp_path / "p", tmp_path / "s", *SMALL)
    assert code == 0, text
    answer = CliRunner().invoke(app, ["chat", str(tmp_path / "s"), "--max-new-tokens", "4"], input="hello\n/quit\n")
    assert answer.exit_code == 0, answer.output


def test_the_command_starts_quickly_and_speaks_utf8() -> None:
    heavy = "{'torch', 'numpy', 'tokenizers', 'transformers', 'matplotlib', 'IPython', 'fastapi', 'streamlit'}"
    code = f"import sys; from minimind_lite.cli import app; found = {heavy} & set(sys.modules); "
    code += "assert not found, found; app(['--help'])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, timeout=300)
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
    (tmp_path / "base").mkdir()
    code, text = minimind(
        "train", "sft", DATA / "facts_rings" / "near", tmp_path / "base", tmp_path, "-p", "device=cuda"
    )
    assert code == 1 and "torch finds none: use -p device=cpu" in text


def test_the_base_is_not_overwritten(tmp_path: Path) -> None:
    code, text = minimind("train", "sft", DATA / "facts_rings" / "near", tmp_path, tmp_path)
    assert code == 1 and "use another one for the result" in text


@pytest.mark.parametrize("content", ["", "\n\n", '{"text": " "}\n', '{"txt": "a"}\n'])
def test_a_tokenizer_of_no_text_is_a_failure(tmp_path: Path, content: str) -> None:
    (tmp_path / "texts.jsonl").write_text(content)
    done = CliRunner().invoke(app, ["train", "tokenizer", str(tmp_path / "texts.jsonl"), str(tmp_path / "out")])
    assert done.exit_code == 1 and "texts.jsonl: there is no text to learn from" in done.output
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "asked",
    [["data", "check", ""], ["train", "pretrain", "", "base", "out"], ["chat", ""], ["train", "sft", "a", "b", ""]],
)
def test_an_empty_argument_is_not_the_current_folder(
    asked: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 2
    assert "an argument is empty" in done.output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("setting", "most"),
    [("seed=9999999999999", "2147483647"), ("block_size=9999999999", "1048576"), ("num_workers=1000000", "1024"),
     ("total_steps=100000000000000000000", "2147483647")],
)  # fmt: skip
def test_a_number_that_no_machine_can_serve_is_refused_at_once(setting: str, most: str, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n', encoding="utf-8")
    asked = ["train", "pretrain", str(tmp_path / "a.jsonl"), str(tmp_path), str(tmp_path / "out"), "-p", setting]
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 1
    assert setting.partition("=")[0] in done.output and most in done.output
    assert not (tmp_path / "out").exists()


def test_a_vocabulary_that_a_token_store_cannot_hold_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n', encoding="utf-8")
    asked = ["train", "tokenizer", str(tmp_path / "a.jsonl"), str(tmp_path / "out"), "--vocab-size", "1000000000"]
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 1
    assert "vocab_size 1000000000 is too large" in done.output and "65,536" in done.output
    assert not (tmp_path / "out").exists()


def test_an_automatic_micro_batch_and_a_stated_one_are_refused(tmp_path: Path) -> None:
    chosen = ["-p", "micro_batch_size=auto", "-p", "micro_batch_size=4"]
    code, text = minimind("train", "sft", DATA / "facts_rings" / "near", tmp_path / "b", tmp_path / "o", *chosen)
    assert code == 1 and "micro_batch_size is given twice, as auto and as 4" in text


def test_a_model_does_not_lose_its_tokenizer_to_another(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "a b c"}\n', encoding="utf-8")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}", encoding="utf-8")
    (tmp_path / "model" / "tokenizer.json").write_text("its own", encoding="utf-8")
    code, text = minimind("train", "tokenizer", tmp_path / "a.jsonl", tmp_path / "model", "--vocab-size", "300")
    assert code == 1 and "model holds a model, which would lose its tokenizer: name another folder" in text
    assert (tmp_path / "model" / "tokenizer.json").read_text(encoding="utf-8") == "its own"


def test_what_is_no_model_is_named_and_what_to_do_with_it(tmp_path: Path) -> None:
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_config.json").write_text("{}", encoding="utf-8")
    (tmp_path / "file").write_text("x", encoding="utf-8")
    for name, words in (
        ("adapter", "is a LoRA adapter and no model: give the model that it was trained on"),
        ("file", "is a file: give the folder of a trained model"),
        ("nothing", "there is no folder"),
    ):
        for command in (
            ["chat", tmp_path / name],
            ["train", "sft", DATA / "facts_rings" / "near", tmp_path / name, tmp_path / "out"],
            ["merge", tmp_path / name, tmp_path / "adapter", tmp_path / "out"],
            ["export", "gguf", tmp_path / name, tmp_path / "out.gguf"],
        ):
            code, text = minimind(*command)
            assert code == 1 and words in text.replace("\n", ""), (command, text)
    assert not (tmp_path / "out").exists()


def test_a_training_run_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    (tmp_path / "model.pth").write_bytes(b"")
    for command in (["merge", tmp_path / "a", tmp_path / "b"], ["import", tmp_path / "model.pth"]):
        code, text = minimind(*command, tmp_path / "run")
        assert code == 1 and "run holds a training run, whose result would be lost" in text
    code, text = minimind("import", tmp_path / "nothing.pth", tmp_path / "out")
    assert code == 1 and "nothing.pth: there is no such file or folder" in text
