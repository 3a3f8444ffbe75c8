"""log p(continuation | context): against the plain way, word by word, and the common beginning run once."""

from typing import ClassVar

import pytest
import torch
from model_kit import random_model
from torch import Tensor

from minimind_lite.config import preset
from minimind_lite.evaluation import likelihood
from minimind_lite.evaluation.likelihood import Likelihood, OwnModel, Request, encode_pair, likelihoods
from minimind_lite.tokenizer import Tokenizer

TEXTS = ["下列城市中，江西的省会是____。南昌 贵阳 福州", "The capital of Bern is not Rome. Which one is it? A B C D"]
CONTEXT = "The capital of Bern is"
CHOICES = (" Rome", " Bern", " not Rome. Which one is it?", "一", " A")


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.train(TEXTS * 3, vocab_size=330)


@pytest.fixture(scope="module", params=["pico", "pico-moe"])
def model(request: pytest.FixtureRequest, tokenizer: Tokenizer) -> OwnModel:
    return OwnModel(random_model(preset(request.param, vocab_size=330)).eval(), tokenizer)


def plainly(model: OwnModel, request: Request) -> Likelihood:
    """One sequence, one pass, one token after the other."""
    before = [0, *model.tokenizer.encode(request.context)]
    whole = [0, *model.tokenizer.encode(request.context + request.continuation)]
    with torch.no_grad():
        logprobs = model.model(torch.tensor([whole]))[0].log_softmax(dim=-1)
    total, greedy = 0.0, True
    for at in range(len(before), len(whole)):
        total += float(logprobs[at - 1, whole[at]])
        greedy = greedy and int(logprobs[at - 1].argmax()) == whole[at]
    return Likelihood(total, len(whole) - len(before), greedy)


def many_requests() -> list[Request]:
    few_shot = "下列城市中，江西的省会是____。\n答案：南昌\n\n"
    questions = ["Bern?", "江西?", "Which one is it? Which?", "A"]
    exam = [Request(few_shot + one + "\n答案：", letter) for one in questions for letter in "ABCD"]
    return [
        *exam,
        *(Request(CONTEXT, one) for one in CHOICES),
        *(Request("", one) for one in TEXTS),
        Request("x", " y"),
    ]


@pytest.mark.parametrize("batch_size", [1, 3, 64])
@pytest.mark.parametrize("reuse", [True, False])
def test_it_equals_the_plain_way(model: OwnModel, batch_size: int, reuse: bool) -> None:
    requests = many_requests()
    found = likelihoods(model, requests, batch_size=batch_size, reuse=reuse)
    for request, one in zip(requests, found, strict=True):
        expected = plainly(model, request)
        assert one.logprob == pytest.approx(expected.logprob, abs=1e-5 * max(1, expected.tokens))
        assert one[1:] == (expected.tokens, expected.greedy, 0)


def test_a_continuation_that_the_model_would_write_is_greedy(model: OwnModel) -> None:
    ids = [0, *model.encode(CONTEXT)]
    with torch.no_grad():
        best = int(model.model(torch.tensor([ids]))[0, -1].argmax())
        row = likelihood._Row(tuple(ids), (best,), 0, 0)
        assert likelihood._score(model, [row], True)[0].greedy
        assert not likelihood._score(model, [row._replace(targets=((best + 1) % 330,))], True)[0].greedy


class Counting(OwnModel):
    """Notes what each pass computes: (tokens of the prefix, rows, tokens of a row)."""

    passes: ClassVar[list[tuple[int, int, int]]] = []

    def logits(self, prefix: list[int], suffixes: Tensor, wanted: Tensor) -> Tensor:
        self.passes.append((len(prefix), *suffixes.shape))
        return super().logits(prefix, suffixes, wanted)


def test_what_rows_share_is_computed_once(model: OwnModel) -> None:
    counting = Counting(model.model, model.tokenizer)
    Counting.passes = []
    question = "下列城市中，江西的省会是____。" * 4
    likelihoods(counting, [Request(question, letter) for letter in "ABCD"])
    assert [one[1] for one in Counting.passes] == [1]  # four letters are read off one row
    Counting.passes = []
    likelihoods(counting, [Request(question, f" {word} Rome") for word in ("not", "Bern", "Which", "capital")])
    ((prefix, rows, width),) = Counting.passes
    assert rows == 4 and prefix >= len(model.encode(question)) and width < prefix / 4
    Counting.passes = []
    likelihoods(counting, [Request(question[::step], letter) for step in (1, -1) for letter in (" Rome x", " Bern y")])
    assert len(Counting.passes) == 2  # two long questions with nothing in common do not share a pass


def test_a_tail_of_white_space_goes_to_the_continuation(model: OwnModel) -> None:
    spaced, moved = Request("The capital ", "of Rome"), Request("The capital", " of Rome")
    assert encode_pair(model, spaced) == encode_pair(model, moved)


def test_texts_start_as_in_training_unless_told_otherwise(model: OwnModel) -> None:
    as_lm_eval = OwnModel(model.model, model.tokenizer, start_always=False)
    assert encode_pair(model, Request("A", " B"))[0] == [0, *model.encode("A")]
    assert encode_pair(as_lm_eval, Request("A", " B"))[0] == model.encode("A")
    assert encode_pair(as_lm_eval, Request("", "B"))[0] == [0]


def test_a_continuation_that_melts_into_the_context_is_still_scored(tokenizer: Tokenizer) -> None:
    melting = Tokenizer.train(["ab ab ab ab ab"] * 9, vocab_size=295)
    assert len(melting.encode("ab")) == 1
    made = OwnModel(random_model(preset("pico", vocab_size=295)).eval(), melting)
    before, after = encode_pair(made, Request("a", "b"))
    assert (before, after) == ([0, *melting.encode("a")], melting.encode("b"))


def test_a_long_context_loses_its_beginning(tokenizer: Tokenizer) -> None:
    short = OwnModel(random_model(preset("pico", vocab_size=330, max_position_embeddings=16)).eval(), tokenizer)
    (cut,) = likelihoods(short, [Request("A B C D " * 20, "Rome")])
    before, after = encode_pair(short, Request("A B C D " * 20, "Rome"))
    ids = [*before, *after]
    assert cut.cut == len(ids) - 17
    with torch.no_grad():
        logprobs = short.model(torch.tensor([ids[-17:-1]]))[0].log_softmax(dim=-1)
    expected = sum(float(logprobs[-at - 1, ids[len(ids) - 1 - at]]) for at in range(cut.tokens))
    assert cut.logprob == pytest.approx(expected, abs=1e-5)
    with pytest.raises(ValueError, match="does not fit the model, which reads 16"):
        likelihoods(short, [Request("A", " B" * 40)])


def test_nothing_to_score_is_an_error(model: OwnModel) -> None:
    with pytest.raises(ValueError, match="no continuation"):
        likelihoods(model, [Request("A", "")])
    assert likelihoods(model, []) == []
