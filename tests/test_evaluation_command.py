"""`minimind eval`: whole runs, other people's models, and every way in which it can be called wrongly."""

import json
import sys
from pathlib import Path

import pytest
import torch
from benchmarks_kit import ROWS, write_like
from model_kit import random_model, twin
from typer.testing import CliRunner

from minimind_lite.cli import app
from minimind_lite.cli.evaluate import with_every_suite
from minimind_lite.config import preset
from minimind_lite.data.benchmarks import BENCHMARKS
from minimind_lite.evaluation.harness import score_items
from minimind_lite.evaluation.likelihood import OwnModel
from minimind_lite.evaluation.report import Score, above_chance
from minimind_lite.evaluation.suites import make_suites
from minimind_lite.interop.any_model import ForeignModel, candidate, open_model
from minimind_lite.model.pretrained import PretrainedError, save_pretrained
from minimind_lite.tokenizer import Tokenizer
from minimind_lite.tokenizer.chat_template import END_OF_TEXT

TEXTS = [
    "The cats sleep. Which light is number 3? red blue green grey light",
    "第1题：他把3本书看完了。 答案： A B C D",
]


def minimind(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["eval", *map(str, arguments)], env={"COLUMNS": "200"})
    return result.exit_code, result.output


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of three models: one, two (ours), and gpt2 (not ours)."""
    folder = tmp_path_factory.mktemp("models")
    tokenizer = Tokenizer.train(TEXTS * 3, vocab_size=320)
    for seed, name in enumerate(("one", "two")):
        save_pretrained(random_model(preset("pico", vocab_size=320), seed), tokenizer, folder / name)
    return folder


@pytest.fixture(scope="module")
def gpt2(models: Path) -> Path:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.GPT2Config(vocab_size=320, n_positions=256, n_embd=32, n_layer=2, n_head=2)
    transformers.GPT2LMHeadModel(config).save_pretrained(models / "gpt2")
    Tokenizer.load(models / "one").save(models / "gpt2")
    return models / "gpt2"


def test_several_models_and_suites_end_in_one_table(models: Path, gpt2: Path, tmp_path: Path) -> None:
    arc, out = write_like("arc", tmp_path), tmp_path / "out"
    command = (models / "one", models / "two", gpt2, "--suite", f"arc={arc}", "--suite", "samples", "--scoring", "both",
               "--shots", 2, "--limit", 12, "--output", out)  # fmt: skip
    code, said = minimind(*command)
    assert code == 0, said
    for words in ("| arc/letter | accuracy | 12 |", "| samples/answer | accuracy per byte | 12 | 25.0% |", "two − one"):
        assert words in said
    results = json.loads((out / "results.json").read_text(encoding="utf-8"))
    assert list(results["models"]) == ["one", "two", "gpt2"] and results["suites"]["samples/letter"]["shots"] == 2
    lines = (out / "items.jsonl").read_text(encoding="utf-8")
    assert len(lines.splitlines()) == 3 * 4 * 12
    assert minimind(*command)[0] == 0
    assert (out / "items.jsonl").read_text(encoding="utf-8") == lines
    assert json.loads((out / "results.json").read_text(encoding="utf-8")) == results


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("m --suite a b --limit 3", "m --suite a --suite b --limit 3"),
        ("m n --shots 2 --suite a", "m n --shots 2 --suite a"),
        ("m --suite a --suite b c", "m --suite a --suite b --suite c"),
        ("m --suite a --limit 3 n", "m --suite a --limit 3 n"),
        ("--suite a m", "--suite a m"),
        ("--list", "--list"),
        ("", ""),
    ],
)
def test_one_option_may_name_several_suites(typed: str, read: str) -> None:
    assert with_every_suite(typed.split()) == read.split()


def test_several_suites_after_one_option_are_scored(models: Path, tmp_path: Path) -> None:
    code, said = minimind(models / "one", "--suite", "samples-zh", "samples-near", "--limit", 2, "--output", tmp_path)
    assert code == 0 and "| samples-zh/" in said and "| samples-near/exact |" in said


def test_a_radar_is_drawn_of_three_suites_and_removed_with_fewer(models: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    suites = [word for name in ("samples", "samples-zh", "samples-en") for word in ("--suite", name)]
    command = (models / "one", models / "two", "--limit", 4, "--output", tmp_path)
    code, said = minimind(*command, *suites)
    assert code == 0 and "radar.png" in said
    assert (tmp_path / "radar.png").read_bytes().startswith(b"\x89PNG")
    code, said = minimind(*command, *suites[:4])
    assert code == 0 and "radar.png" not in said and not (tmp_path / "radar.png").exists()


def test_examples_that_a_suite_does_not_have_are_not_left_out_in_silence(models: Path, tmp_path: Path) -> None:
    command = (models / "one", "--suite", "samples-en", "--suite", "samples", "--shots", 1, "--limit", 2)
    code, said = minimind(*command, "--output", tmp_path)
    assert code == 0 and "asked without examples, because they have none: the course's pairs (en)\n" in said


def test_the_middle_of_the_radar_is_chance() -> None:
    def lies_at(value: float, chance: float) -> float:
        return above_chance(Score("s", "accuracy", "m", 9, value, None, None, chance, 0, {}))

    assert [lies_at(0.25, 0.25), lies_at(1.0, 0.25), lies_at(0.75, 0.5), lies_at(0.1, 0.25), lies_at(0.4, 0.0)] == [
        0.0, 1.0, 0.5, 0.0, 0.4,
    ]  # fmt: skip


def test_samples_are_what_is_scored_if_nothing_else_is_named(models: Path, tmp_path: Path) -> None:
    code, said = minimind(models / "one", "--output", tmp_path)
    assert code == 0 and "| samples/letter | accuracy | 150 | 25.0% |" in said


def test_models_with_one_name_are_told_apart(models: Path, tmp_path: Path) -> None:
    (tmp_path / "one").symlink_to(models / "two")
    code, said = minimind(models / "one", tmp_path / "one", "--limit", 3, "--output", tmp_path / "out")
    assert code == 0 and f"| {models / 'one'} | {tmp_path / 'one'} |" in said


def test_the_list_says_where_each_comes_from() -> None:
    code, said = minimind("--list")
    assert code == 0
    for one in BENCHMARKS.values():
        assert one.title in said and one.source in said and one.licence in said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["MODELS/nothing"], "nothing: there is no such folder"),
        (["MODELS"], "config.json does not exist: a model folder"),
        (["MODELS/one", "MODELS/one"], "two of the models are the same"),
        (["MODELS/one", "--suite", "nothing"], "neither a folder nor one of samples, samples-zh, samples-en, ceval"),
        (["MODELS/one", "--suite", "ceval=MODELS"], "no file with val in its name"),
        (["MODELS/one", "--suite", "samples", "--suite", "samples"], "two of the suites are the same: samples/letter"),
        (["MODELS/one", "--scoring", "word"], "scoring must be letter, answer, both or default"),
        (["MODELS/one", "--shots", "99"], "99 examples were asked for, and"),
        (["MODELS/one", "--engine", "other"], "engine must be own or lm-eval, not 'other'"),
        (["MODELS/one", "--engine", "lm-eval", "--document-start"], "lm-eval puts no start token before a text"),
    ],
)
def test_bad_input_is_one_clear_message(arguments: list[str], words: str, models: Path, tmp_path: Path) -> None:
    code, said = minimind(*(one.replace("MODELS", str(models)) for one in arguments), "--output", tmp_path / "out")
    assert code == 1 and "Traceback" not in said
    assert "error: " in said and words in said.replace("\n", "")
    assert not (tmp_path / "out").exists()


def test_no_model_is_a_wrong_call() -> None:
    code, said = minimind("--suite", "samples")
    assert code == 2 and "name one or more model folders" in said


def test_other_settings_in_the_same_folder_are_refused_until_fresh(models: Path, tmp_path: Path) -> None:
    assert minimind(models / "one", "--limit", 4, "--output", tmp_path)[0] == 0
    code, said = minimind(models / "one", "--limit", 5, "--output", tmp_path)
    assert code == 1 and "was scored with other questions" in said and "--fresh" in said
    code, said = minimind(models / "one", "--limit", 4, "--no-document-start", "--output", tmp_path)
    assert code == 1 and "document start" in said
    assert minimind(models / "one", "--limit", 5, "--fresh", "--output", tmp_path)[0] == 0


def test_changed_weights_are_another_model(models: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    tokenizer = Tokenizer.load(models / "one")
    for seed in (3, 4):
        save_pretrained(random_model(preset("pico", vocab_size=320), seed), tokenizer, copy)
        assert minimind(copy, "--limit", 4, "--output", tmp_path / "out")[0] == 0
    lines = [json.loads(line) for line in (tmp_path / "out" / "items.jsonl").read_text("utf-8").splitlines()]
    assert len(lines) == 8 and len({one["model"] for one in lines}) == 2
    assert lines[0]["logprobs"] != lines[4]["logprobs"]


def test_our_decoder_and_transformers_agree(models: Path, tmp_path: Path) -> None:
    """The same weights through both doors give the same score for every choice."""
    pytest.importorskip("transformers")
    own = open_model(models / "one", start_always=False)
    assert isinstance(own, OwnModel)
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(models / "one")
    tokenizer.bos_token = END_OF_TEXT
    other = ForeignModel(twin(own.model), tokenizer)
    for name in ("cmmlu", "blimp"):
        (suite,) = make_suites(BENCHMARKS[name], write_like(name, tmp_path))
        for one, two in zip(score_items(own, suite.items), score_items(other, suite.items), strict=True):
            assert one.logprobs == pytest.approx(two.logprobs, abs=1e-4) and one.tokens == two.tokens
    assert len(suite.items) == ROWS


def test_a_foreign_model_opens_through_transformers(gpt2: Path) -> None:
    opened = open_model(gpt2)
    assert isinstance(opened, ForeignModel) and not opened.start_always
    assert opened.max_length == 256 and opened.start_id == opened.tokenizer.bos_token_id


def test_a_foreign_model_without_transformers_says_what_is_missing(
    gpt2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    code, said = minimind(gpt2, "--limit", 2, "--output", tmp_path)
    assert code == 1 and "this command needs the package transformers: " in said


def test_what_nobody_can_open_is_refused(models: Path, gpt2: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "config.json").write_text('{"model_type": "never_heard_of"}', encoding="utf-8")
    with pytest.raises(PretrainedError, match=r"holds no .safetensors file; pickled weights are not opened"):
        candidate(broken)
    (broken / "model.safetensors").write_bytes((gpt2 / "model.safetensors").read_bytes())
    with pytest.raises(PretrainedError, match=r"neither this library .*never_heard_of.* nor transformers can open it"):
        open_model(broken)
    damaged = tmp_path / "damaged"
    save_pretrained(random_model(preset("pico", vocab_size=320)), Tokenizer.load(models / "one"), damaged)
    (damaged / "model.safetensors").write_bytes((damaged / "model.safetensors").read_bytes()[:-9])
    with pytest.raises(PretrainedError, match="damaged or cut short"):  # ours, so transformers is not asked
        open_model(damaged)


def test_a_tokenizer_without_a_first_token_is_an_error() -> None:
    class Bare:
        bos_token_id = eos_token_id = None
        name_or_path = "bare"

    with pytest.raises(PretrainedError, match="bare: its tokenizer has no token that begins or ends a text"):
        _ = ForeignModel(None, Bare()).start_id


def test_the_other_engine_says_how_it_is_installed(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    code, said = minimind(models / "one", "--engine", "lm-eval", "--limit", 2, "--output", tmp_path / "out")
    assert code == 1 and 'pip install "minimind-lite[lm-eval]"' in said and not (tmp_path / "out").exists()
