"""Exact match, and its confidence interval."""

import pytest
import torch

from minimind_lite.config import preset
from minimind_lite.evaluation import closed_book
from minimind_lite.evaluation.closed_book import Answer, ExactMatch, exact_match, wilson_interval
from minimind_lite.generation.engine import Generation, chat
from minimind_lite.model.transformer import Transformer
from minimind_lite.tokenizer import Tokenizer


def conversation(question: str, answer: str) -> list[dict]:
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.train(["湖北的简称是鄂。 What is it?"] * 3, vocab_size=290)


@pytest.fixture(scope="module")
def model() -> Transformer:
    torch.manual_seed(0)
    return Transformer(preset("pico", vocab_size=290))


def test_right_means_word_for_word() -> None:
    assert Answer("q", "The capital is Rome.", " The capital is Rome.\n").right
    assert not Answer("q", "The capital is Rome.", "The capital is Rome").right
    assert not Answer("q", "湖北的简称是鄂。", "湖北的简称是湘。").right


def test_prompts_end_where_the_answer_begins(
    model: Transformer, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def parrot(_: object, tokenizer: Tokenizer, prompts: list[list[int]], **__: object) -> list[Generation]:
        seen.extend(tokenizer.decode(prompt) for prompt in prompts)
        return [Generation([], text, "stop", []) for text in ("鄂", "湘", "never asked")[: len(prompts)]]

    monkeypatch.setattr(closed_book, "generate", parrot)
    turns = [*conversation("湖南?", "湘"), *conversation("湖北?", "鄂")]
    result = exact_match(model, tokenizer, [turns, conversation("江西?", "赣")])
    assert [answer.right for answer in result.answers] == [True, False]
    assert (result.answers[0].question, result.answers[0].expected) == ("湖北?", "鄂")
    assert seen[0].endswith("湖北?<|im_end|>\n<|im_start|>assistant\n") and "湘<|im_end|>" in seen[0]
    assert "鄂" not in seen[0] and result.share == 0.5
    assert str(result) == "50.0% exact (9.5% to 90.5%, 2 questions)"


def test_answers_are_those_of_a_chat(model: Transformer, tokenizer: Tokenizer) -> None:
    """The real engine, in batches: the same words as when asked one by one."""
    questions = ["What?", "湖北的简称是?", "is it"]
    result = exact_match(model, tokenizer, [conversation(q, "?") for q in questions], max_new_tokens=5, batch_size=2)
    for question, answer in zip(questions, result.answers, strict=True):
        assert answer.given == chat(model, tokenizer, conversation(question, "")[:1], max_new_tokens=5)


def test_a_conversation_without_an_answer_is_an_error(model: Transformer, tokenizer: Tokenizer) -> None:
    with pytest.raises(ValueError, match="conversation 1 ends with the user"):
        exact_match(model, tokenizer, [conversation("a", "b"), conversation("a", "b")[:1]])
    with pytest.raises(ValueError, match="no conversation"):
        exact_match(model, tokenizer, [])


@pytest.mark.parametrize(
    ("right", "total", "low", "high"),
    # Newcombe 1998 (Statistics in Medicine 17), table I, method 3: the score interval
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0000, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_the_interval_equals_the_published_one(right: int, total: int, low: float, high: float) -> None:
    assert wilson_interval(right, total) == pytest.approx((low, high), abs=5e-5)


def test_the_interval_covers_as_often_as_it_says() -> None:
    """At a true share of 0.95 and 200 questions, about 95 % of the intervals contain it."""
    generator = torch.Generator().manual_seed(0)
    right = (torch.rand((2000, 200), generator=generator) < 0.95).sum(dim=1).tolist()
    covered = [low <= 0.95 <= high for low, high in (wilson_interval(count, 200) for count in right)]
    assert 0.93 < sum(covered) / len(covered) < 0.985


def test_the_share_lies_inside_its_interval() -> None:
    result = ExactMatch([Answer("q", "a", "a" if index % 3 else "b") for index in range(30)])
    assert result.interval[0] < result.share < result.interval[1]
