"""Chapter 07b's experiment at a tiny size: dirt goes in, the steps take it out again, and every arm is measured."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest

from minimind_lite.config import ConfigError, ModelConfig
from minimind_lite.course.chapters.cleaning.experiments import ARMS, Dirt, compare_arms, planted
from minimind_lite.data.exams import ExamQuestion, read_exam
from minimind_lite.data.records import read_records
from minimind_lite.tokenizer import Tokenizer
from minimind_lite.training.options import TrainConfig
from minimind_lite.training.pretrain import PretrainOptions

SAMPLES = Path(__file__).parents[1] / "data_samples"
WITHOUT = () if importlib.util.find_spec("datasketch") else ("near",)
CONFIG = TrainConfig(total_steps=12, micro_batch_size=8, learning_rate=1e-2, device="cpu", progress=False)


def exam() -> list[ExamQuestion]:
    return read_exam(SAMPLES / "exam" / "ceval" / "val")


def texts(name: str, count: int) -> list[str]:
    return [record.text for record in read_records(SAMPLES / name, "text")][:count]


def test_what_is_planted_is_counted_and_the_clean_texts_are_all_there() -> None:
    clean, questions = texts("pretrain/modern_zh.jsonl", 100), exam()[:10]
    made = planted(clean, questions, Dirt(noise=0.3, duplicates=0.5, exam_copies=3))
    assert len(made) == 100 + 30 + 50 + 30
    assert set(clean) <= set(made)
    assert sum(questions[0].question in text for text in made) == 3
    assert made == planted(clean, questions, Dirt(noise=0.3, duplicates=0.5, exam_copies=3))
    assert made != planted(clean, questions, Dirt(noise=0.3, duplicates=0.5, exam_copies=3), seed=1)


def test_each_arm_takes_out_its_dirt_and_trains_for_equally_many_tokens(tmp_path: Path) -> None:
    clean = texts("pretrain/modern_zh.jsonl", 200)
    size = len(clean)
    Tokenizer.train(clean, vocab_size=800).save(tmp_path / "tokenizer")
    model = ModelConfig(
        vocab_size=800, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1,
        intermediate_size=64, max_position_embeddings=512,
    )  # fmt: skip
    options = PretrainOptions(block_size=128, model=model)
    heldout, dirt = texts("pretrain_heldout/modern_zh.jsonl", 20), Dirt(0.2, 0.4, 2)
    arms = compare_arms(clean, heldout, exam(), tmp_path / "tokenizer", tmp_path, CONFIG, options, dirt, WITHOUT)
    assert [arm.name for arm in arms] == list(ARMS)
    kept = [arm.texts for arm in arms]
    dirty = size + round(0.2 * size) + round(0.4 * size) + 2 * len(exam()[::2])
    assert kept[0] == dirty and kept == sorted(kept, reverse=True) and len(set(kept)) == len(kept)
    assert sum(arms[1].rejected.values()) >= 0.9 * round(0.2 * size)
    assert arms[2].rejected["exact"] >= 0.9 * round(0.2 * size)
    assert arms[3].rejected["exams"] >= 0.9 * 2 * len(exam()[::2])  # before the duplicates are looked for
    assert 0.85 * size <= kept[3] <= (1.05 if not WITHOUT else 1.3) * size  # a near copy in a hundred may stay
    logged = [
        (tmp_path / name.replace(" ", "-") / "model" / "metrics.jsonl").read_text(encoding="utf-8") for name in ARMS
    ]
    assert all('"step": 12' in text and '"step": 13' not in text for text in logged)
    assert all(0 < arm.bits_per_byte < 20 and 0 <= arm.seen <= 1 and 0 <= arm.unseen <= 1 for arm in arms)
    assert len({arm.bits_per_byte for arm in arms}) == len(arms)
    assert arms[0].dishonesty == arms[0].seen - arms[0].unseen


def test_arms_by_epochs_are_refused(tmp_path: Path) -> None:
    config = replace(CONFIG, total_steps=0)
    with pytest.raises(ConfigError, match="total_steps"):
        compare_arms(["a text of words"], ["x"], exam()[:2], tmp_path, tmp_path, config, PretrainOptions())
