"""Pretraining and fine-tuning, from files to a folder that other libraries open."""

import json
import logging
import shutil
from pathlib import Path

import pytest
import torch

from minimind_lite.config import ConfigError, preset
from minimind_lite.data.records import DataError
from minimind_lite.model.pretrained import load_pretrained, read_tensors, save_pretrained, write_tensors
from minimind_lite.model.transformer import IGNORED_TARGET
from minimind_lite.tokenizer import Tokenizer
from minimind_lite.training.checkpoint import CheckpointError
from minimind_lite.training.options import Resume, RunOptions, TrainConfig
from minimind_lite.training.pretrain import PretrainOptions, run_pretrain
from minimind_lite.training.sft import SFTOptions, run_sft

POEM = "白日依山尽，黄河入海流。欲穷千里目，更上一层楼。"
PICO = PretrainOptions(preset="pico", block_size=64)
NEVER = RunOptions(resume="never")
CONFIG = TrainConfig(total_steps=4, micro_batch_size=2, learning_rate=3e-3, save_every=2, progress=False)


def write(path: Path, records: list[dict]) -> Path:
    path.write_text("".join(json.dumps(one, ensure_ascii=False) + "\n" for one in records), encoding="utf-8")
    return path


def chat(question: str, answer: str) -> dict:
    return {"conversations": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.train([POEM, "Call me Ishmael."] * 5, vocab_size=300)


@pytest.fixture(scope="module")
def tokenizer_folder(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tokenizer's folder."""
    folder = tmp_path_factory.mktemp("tokenizer")
    tokenizer.save(folder)
    return folder


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    return write(tmp_path / "texts.jsonl", [{"text": POEM[i:]} for i in range(20)])


def test_pretraining_leaves_a_folder_that_transformers_opens(
    tmp_path: Path, texts: Path, tokenizer: Tokenizer, tokenizer_folder: Path
) -> None:
    folder = tmp_path / "out"
    result = run_pretrain(texts, tokenizer_folder, folder, CONFIG, PICO, RunOptions(eval_data=texts))
    assert result.training.steps == 4 and "eval_loss" in result.training.history[-1]
    ids = torch.tensor([tokenizer.encode(POEM)])
    with torch.no_grad():
        ours = load_pretrained(folder)(ids)
        transformers = pytest.importorskip("transformers")
        theirs = transformers.AutoModelForCausalLM.from_pretrained(folder)(ids).logits
    torch.testing.assert_close(ours, result.model(ids).detach())
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    assert Tokenizer.load(folder).fingerprint == tokenizer.fingerprint


def test_it_begins_with_the_same_weights_for_a_seed(tmp_path: Path, texts: Path, tokenizer_folder: Path) -> None:
    runs = [run_pretrain(texts, tokenizer_folder, tmp_path / name, CONFIG, PICO).model for name in "ab"]
    assert all(torch.equal(a, b) for a, b in zip(runs[0].parameters(), runs[1].parameters(), strict=True))


def test_tokens_are_made_once_and_again_when_the_file_changes(
    tmp_path: Path, texts: Path, tokenizer_folder: Path
) -> None:
    def run(resume: Resume = "never") -> set[str]:
        folder = tmp_path / "out"
        run_pretrain(texts, tokenizer_folder, folder, CONFIG, PICO, RunOptions(resume=resume))
        return {path.name for path in (folder / "tokens").iterdir()}

    first = run()
    assert len(first) == 1 and run() == first
    write(texts, [{"text": POEM}] * 9)
    with pytest.raises(CheckpointError, match=r"data\.examples|tokens: "):
        run("strict")
    assert len(run()) == 2


def test_a_tokenizer_larger_than_the_model_is_refused(tmp_path: Path, texts: Path, tokenizer_folder: Path) -> None:
    options = PretrainOptions(model=preset("pico", vocab_size=290))
    with pytest.raises(ConfigError, match=r"preset\(\.\.\., vocab_size=300\)"):
        run_pretrain(texts, tokenizer_folder, tmp_path / "out", CONFIG, options)


def test_a_bad_line_is_named_when_strict(tmp_path: Path, tokenizer_folder: Path) -> None:
    path = write(tmp_path / "texts.jsonl", [{"text": POEM}, {"txt": POEM}])
    with pytest.raises(DataError, match=r"texts\.jsonl, line 2, field text"):
        run_pretrain(path, tokenizer_folder, tmp_path / "out", CONFIG, PICO, RunOptions(strict=True))


@pytest.fixture
def base(tmp_path: Path, texts: Path, tokenizer_folder: Path) -> Path:
    run_pretrain(texts, tokenizer_folder, tmp_path / "base", CONFIG, PICO)
    return tmp_path / "base"


def test_fine_tuning_learns_answers_and_nothing_else(tmp_path: Path, base: Path, tokenizer: Tokenizer) -> None:
    conversations = [chat(f"question {n}?", f"答案{n}。") for n in range(12)]
    data = write(tmp_path / "chat.jsonl", conversations)
    result = run_sft(data, base, tmp_path / "sft", CONFIG, SFTOptions(block_size=64))
    trained = torch.cat([row["targets"] for row in (result.data[i] for i in range(len(result.data)))])
    wanted = "".join(f"{turns['conversations'][1]['content']}<|im_end|>" for turns in conversations)
    said = tokenizer.decode(trained[trained != IGNORED_TARGET].tolist())
    assert sorted(said.split("<|im_end|>")) == sorted(wanted.split("<|im_end|>"))
    before, after = load_pretrained(base), load_pretrained(tmp_path / "sft")
    assert not torch.equal(before.model.norm.weight, after.model.norm.weight)


def test_a_base_whose_weights_are_in_shards_is_trained_on(tmp_path: Path, base: Path) -> None:
    shutil.copytree(base, tmp_path / "shards")
    whole = tmp_path / "shards" / "model.safetensors"
    tensors = sorted(read_tensors(whole)[0].items())
    whole.unlink()
    for number, part in enumerate((tensors[:5], tensors[5:]), start=1):
        write_tensors(whole.with_name(f"model-0000{number}-of-00002.safetensors"), dict(part), {})
    data = write(tmp_path / "chat.jsonl", [chat(f"question {n}?", "答案。") for n in range(8)])
    runs = [run_sft(data, folder, tmp_path / name, CONFIG, SFTOptions(block_size=64)).model
            for name, folder in (("a", base), ("b", tmp_path / "shards"))]  # fmt: skip
    assert all(torch.equal(a, b) for a, b in zip(*(one.parameters() for one in runs), strict=True))


def test_a_conversation_that_loses_every_target_is_dropped_and_logged(
    tmp_path: Path, base: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = write(tmp_path / "chat.jsonl", [chat("short?", "yes."), chat("long " * 60, "never seen.")])
    with caplog.at_level(logging.WARNING):
        result = run_sft(data, base, tmp_path / "sft", CONFIG, SFTOptions(block_size=48))
    assert "1 conversations were cut to 49 tokens, and 1 of them lost every target" in caplog.text
    assert all(torch.isfinite(parameter).all() for parameter in result.model.parameters())


def test_another_base_is_another_recipe(tmp_path: Path, base: Path, texts: Path, tokenizer_folder: Path) -> None:
    data = write(tmp_path / "chat.jsonl", [chat("a?", "b.")] * 4)
    run_sft(data, base, tmp_path / "sft", CONFIG, SFTOptions(block_size=48))
    config = TrainConfig(total_steps=2, progress=False, seed=5)
    run_pretrain(texts, tokenizer_folder, tmp_path / "base", config, PICO, NEVER)
    with pytest.raises(CheckpointError, match="base: "):
        run_sft(data, base, tmp_path / "sft", CONFIG, SFTOptions(block_size=48))


def test_a_file_without_a_usable_record_is_named(tmp_path: Path, base: Path, texts: Path) -> None:
    with pytest.raises(DataError, match=r"texts\.jsonl: no usable conversation record; the first error: .*line 1"):
        run_sft(texts, base, tmp_path / "out", CONFIG)
    (tmp_path / "empty.jsonl").write_text("", encoding="utf-8")
    with pytest.raises(DataError, match=r"empty\.jsonl: no usable conversation record\. Is it the right file"):
        run_sft(tmp_path / "empty.jsonl", base, tmp_path / "out", CONFIG)


def test_strict_looks_again_at_lines_that_were_skipped_before(tmp_path: Path, base: Path) -> None:
    data = write(tmp_path / "chat.jsonl", [chat("a?", "b."), {"conversations": []}, chat("c?", "d.")])
    run_sft(data, base, tmp_path / "out", CONFIG, SFTOptions(block_size=48))
    with pytest.raises(DataError, match=r"chat\.jsonl, line 2"):
        run_sft(data, base, tmp_path / "out", CONFIG, SFTOptions(block_size=48), RunOptions(strict=True))


def test_plain_text_has_its_share_of_the_blocks_and_every_token_of_it_is_learned(
    tmp_path: Path, base: Path, texts: Path, tokenizer: Tokenizer
) -> None:
    chats = write(tmp_path / "chats.jsonl", [chat(f"问题{i}？", "答案。") for i in range(30)])
    options = SFTOptions(block_size=64, replay=str(texts), replay_share=0.25)
    mixed = run_sft(chats, base, tmp_path / "mixed", CONFIG, options).data
    rows = [mixed[i] for i in range(len(mixed))]
    is_text = ["assistant" not in tokenizer.decode(row["input_ids"].tolist()) for row in rows]
    assert abs(sum(is_text) / len(rows) - 0.25) < 1 / len(rows)
    for row, text in zip(rows, is_text, strict=True):
        learned, real = int((row["targets"] != IGNORED_TARGET).sum()), int((row["document_ids"] >= 0).sum())
        assert (learned == real) == text


def test_replayed_texts_belong_to_the_recipe(tmp_path: Path, base: Path, texts: Path) -> None:
    chats = write(tmp_path / "chats.jsonl", [chat(f"问题{i}？", "答案。") for i in range(30)])
    folder = tmp_path / "out"
    run_sft(chats, base, folder, CONFIG, SFTOptions(block_size=64))
    with pytest.raises(CheckpointError, match="replay"):
        run_sft(chats, base, folder, CONFIG, SFTOptions(block_size=64, replay=str(texts), replay_share=0.5))


def test_a_share_of_plain_text_needs_the_text() -> None:
    with pytest.raises(ConfigError, match="replay_share needs replay"):
        SFTOptions(replay_share=0.2)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_base_in_half_precision_is_trained_in_float32(
    tmp_path: Path, base: Path, tokenizer: Tokenizer, dtype: torch.dtype
) -> None:
    save_pretrained(load_pretrained(base, dtype=dtype), tokenizer, tmp_path / "half")
    save_pretrained(load_pretrained(tmp_path / "half", dtype=torch.float32), tokenizer, tmp_path / "full")
    data = write(tmp_path / "chat.jsonl", [chat("Hi", "Hello there."), chat("Who?", "A cat.")] * 4)
    results = [
        run_sft(data, tmp_path / name, tmp_path / f"{name}-out", CONFIG, SFTOptions(64)) for name in ("half", "full")
    ]
    assert {weight.dtype for weight in results[0].model.parameters()} == {torch.float32}
    for ours, wanted in zip(*(result.model.parameters() for result in results), strict=True):
        assert torch.equal(ours, wanted)
