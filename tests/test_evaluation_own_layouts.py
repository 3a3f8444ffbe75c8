"""Texts, answers and sums as suites of `minimind eval`, in the layout that this library gives them."""

import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from model_kit import random_model

from minimind_lite.config import preset
from minimind_lite.data.benchmarks import BENCHMARKS, read_questions
from minimind_lite.data.records import DataError
from minimind_lite.evaluation.harness import ITEMS, Candidate, evaluate
from minimind_lite.evaluation.likelihood import OwnModel, text_likelihoods
from minimind_lite.evaluation.suites import make_suites
from minimind_lite.tokenizer import Tokenizer

TEXTS = ["low lower lowest", "你好，世界。", "a new low: the newest and lowest of the low " * 40]


def test_a_whole_text_is_scored_block_by_block() -> None:
    tokenizer = Tokenizer.train(TEXTS, vocab_size=300)
    model = random_model(preset("pico", vocab_size=300, max_position_embeddings=32)).eval()
    for text, found in zip(TEXTS, text_likelihoods(OwnModel(model, tokenizer), TEXTS), strict=True):
        ids, nats = torch.tensor([tokenizer.end_of_text_id, *tokenizer.encode(text)]), 0.0
        for start in range(0, len(ids) - 1, 32):
            with torch.no_grad():
                block = ids[start : start + 33]
                nats += float(F.cross_entropy(model(block[None, :-1])[0], block[1:], reduction="sum"))
        assert found.logprob == pytest.approx(-nats, rel=1e-4) and found.tokens == len(ids) - 1


@pytest.mark.parametrize(
    ("name", "file", "content", "words"),
    [
        ("text", "a.jsonl", '{"text": "x"}\n{"text": ""}\n', r"a\.jsonl, row 2, column text: empty"),
        ("answers", "a.csv", "question,answer\nq,a\nq,\n", r"a\.csv, row 3, column answer: empty"),
        ("answers", "a.jsonl", '{"conversations": []}\n', r"a\.jsonl, row 1, column conversations"),
        ("sums", "a.csv", "question,answer\n1+1,<answer>2\n", r"a\.csv, row 2, column answer: must have one"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, name: str, file: str, content: str, words: str) -> None:
    (tmp_path / file).write_text(content, "utf-8")
    with pytest.raises(DataError, match=words):
        read_questions(BENCHMARKS[name], tmp_path)


def test_a_killed_run_goes_on_and_says_how_far_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.csv").write_text("question,answer\n" + "".join(f"low {n},{n}\n" for n in range(6)), "utf-8")
    (tmp_path / "a.txt").write_text("low lower\nlowest of the low\n", "utf-8")
    suites = [
        *make_suites(BENCHMARKS["answers"], tmp_path / "a.csv"),
        *make_suites(BENCHMARKS["text"], tmp_path / "a.txt"),
    ]
    tokenizer = Tokenizer.train(TEXTS, vocab_size=300)
    opened = OwnModel(random_model(preset("pico", vocab_size=300)).eval(), tokenizer)
    candidates = [Candidate("one", "0" * 64, lambda: opened)]
    whole = evaluate(candidates, suites, tmp_path / "whole")
    lines = (tmp_path / "whole" / ITEMS).read_text("utf-8").splitlines(keepends=True)
    assert len(lines) == 8 and "100%" in capsys.readouterr().err
    cut = tmp_path / "cut"
    evaluate(candidates, suites, cut, progress=False)
    assert capsys.readouterr().err == ""
    (cut / ITEMS).write_text("".join(lines[:5]) + lines[5][:20], "utf-8")  # killed in the middle of a line
    assert evaluate(candidates, suites, cut) == whole
    bar = capsys.readouterr().err
    assert "62%" in bar and "5/8" in bar and "8/8" in bar and "item/s" in bar


def test_chance_is_what_the_most_frequent_answer_gets(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("question,answer\na,1\nb,2\nc,2\nd,3\n", "utf-8")
    (suite,) = make_suites(BENCHMARKS["sums"], tmp_path)
    assert suite.chance == 0.5 and math.isclose(sum(not item.requests for item in suite.items), 4)
