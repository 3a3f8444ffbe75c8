"""Bits per byte and the trigram baseline, against values worked out by hand and plain re-implementations."""

import math
from collections import Counter

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from minimind_lite.config import preset
from minimind_lite.data.documents import Document
from minimind_lite.data.records import DataError
from minimind_lite.evaluation.ngram import TrigramModel
from minimind_lite.evaluation.perplexity import bits_per_byte, document_nats, documents_of
from minimind_lite.model.transformer import Transformer
from minimind_lite.tokenizer import Tokenizer

TEXTS = ["low lower lowest", "你好，世界。", "a new low: the newest and lowest of the low", "低"]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.train(TEXTS * 3, vocab_size=300)


@pytest.fixture(scope="module")
def model() -> Transformer:
    torch.manual_seed(1)
    made = Transformer(preset("pico", vocab_size=300))
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return made


def test_a_model_that_knows_nothing_needs_log2_of_the_vocabulary(tokenizer: Tokenizer) -> None:
    model = Transformer(preset("pico", vocab_size=300))
    torch.nn.init.zeros_(model.model.embed_tokens.weight)  # every logit is 0
    scored = sum(len(tokenizer.encode(text)) + 1 for text in TEXTS)  # plus the end of each text
    size = sum(len(text.encode("utf-8")) for text in TEXTS)
    assert bits_per_byte(model, tokenizer, TEXTS) == pytest.approx(scored * math.log2(300) / size, rel=1e-6)


def test_it_equals_scoring_each_text_alone(model: Transformer, tokenizer: Tokenizer) -> None:
    nats = 0.0
    for text in TEXTS:
        ids = torch.tensor([0, *tokenizer.encode(text), 0])
        with torch.no_grad():
            nats += float(F.cross_entropy(model(ids[None, :-1])[0], ids[1:], reduction="sum"))
    expected = nats / math.log(2) / sum(len(text.encode("utf-8")) for text in TEXTS)
    assert bits_per_byte(model, tokenizer, TEXTS, block_size=64) == pytest.approx(expected, rel=1e-5)
    assert bits_per_byte(model, tokenizer, TEXTS, block_size=64, batch_size=1) == pytest.approx(expected, rel=1e-5)


def test_the_nats_of_single_texts_add_up_to_those_of_all(model: Transformer, tokenizer: Tokenizer) -> None:
    nats = document_nats(model, tokenizer, TEXTS, block_size=64)
    for text, found in zip(TEXTS, nats, strict=True):
        ids = torch.tensor([0, *tokenizer.encode(text), 0])
        with torch.no_grad():
            alone = float(F.cross_entropy(model(ids[None, :-1])[0], ids[1:], reduction="sum"))
        assert found == pytest.approx(alone, rel=1e-5)
    size = sum(len(text.encode("utf-8")) for text in TEXTS)
    assert sum(nats) / math.log(2) / size == pytest.approx(bits_per_byte(model, tokenizer, TEXTS, block_size=64))


def test_a_text_longer_than_a_block_is_scored_in_blocks(model: Transformer, tokenizer: Tokenizer) -> None:
    text = TEXTS[2]
    ids = torch.tensor([0, *tokenizer.encode(text), 0])
    nats = 0.0
    for start in range(0, len(ids) - 1, 5):
        piece = ids[start : start + 6]
        with torch.no_grad():
            nats += float(F.cross_entropy(model(piece[None, :-1])[0], piece[1:], reduction="sum"))
    expected = nats / math.log(2) / len(text.encode("utf-8"))
    assert bits_per_byte(model, tokenizer, [text], block_size=5) == pytest.approx(expected, rel=1e-5)


def test_the_model_keeps_its_mode_and_nothing_to_score_is_an_error(model: Transformer, tokenizer: Tokenizer) -> None:
    model.train()
    bits_per_byte(model, tokenizer, TEXTS)
    assert model.training
    with pytest.raises(DataError, match="nothing to predict"):
        bits_per_byte(model, tokenizer, [])


def test_a_model_in_training_mode_is_measured_without_its_balance_loss(tokenizer: Tokenizer) -> None:
    torch.manual_seed(0)
    experts = Transformer(preset("pico-moe", vocab_size=300, router_aux_loss_coef=1.0))
    evaluated = bits_per_byte(experts.eval(), tokenizer, TEXTS)
    assert bits_per_byte(experts.train(), tokenizer, TEXTS) == evaluated


def documents(*texts: str) -> list[Document]:
    """Each letter is a token (a = 1), between two end tokens (0)."""
    return [Document(np.array([0, *(ord(letter) - 96 for letter in text), 0])) for text in texts]


class PlainTrigram:
    """The same model, written with dictionaries and loops, for four given weights."""

    def __init__(self, training: list[Document], vocab_size: int):
        self.one, self.two, self.three = Counter(), Counter(), Counter()
        self.before, self.before_two, self.size = Counter(), Counter(), vocab_size
        for u, v, w in scored(training):
            self.one[w] += 1
            self.two[v, w] += 1
            self.three[u, v, w] += 1
            self.before[v] += 1
            self.before_two[u, v] += 1

    def parts(self, u: int, v: int, w: int) -> list[float]:
        tri = self.three[u, v, w] / max(1, self.before_two[u, v])
        return [tri, self.two[v, w] / max(1, self.before[v]), self.one[w] / self.one.total(), 1 / self.size]

    def bucket(self, u: int, v: int) -> int:
        seen = self.before_two[u, v]
        return 0 if seen == 0 else min(7, math.ceil(math.log2(seen + 1)))


def scored(documents: list[Document]) -> list[tuple[int, int, int]]:
    """(u, v, w) of every scored token."""
    rows = ([int(one.ids[0]), *map(int, one.ids)] for one in documents)
    return [gram for ids in rows for gram in zip(ids, ids[1:], ids[2:], strict=False)]


def plain_weights(counted: list[Document], held_out: list[Document], iterations: int) -> dict[int, list[float]]:
    """For each bucket that occurs in ``held_out``, the four weights after EM on it; the counts are of ``counted``."""
    plain = PlainTrigram(counted, 26)
    tokens = [(plain.bucket(u, v), plain.parts(u, v, w)) for u, v, w in scored(held_out)]
    weights = {bucket: [0.25] * 4 for bucket, _ in tokens}
    for _ in range(iterations):
        shares: dict[int, list[list[float]]] = {bucket: [] for bucket in weights}
        for bucket, parts in tokens:
            products = [weight * part for weight, part in zip(weights[bucket], parts, strict=True)]
            shares[bucket].append([product / sum(products) for product in products])
        weights = {
            bucket: [sum(column) / len(rows) for column in zip(*rows, strict=True)] for bucket, rows in shares.items()
        }
    return weights


def random_documents(count: int, seed: int) -> list[Document]:
    random = np.random.default_rng(seed)
    letters = [
        random.choice(6, size=random.integers(1, 12), p=[0.05, 0.4, 0.3, 0.15, 0.05, 0.05]) for _ in range(count)
    ]
    return [Document(np.array([0, *word, 0])) for word in letters]


def test_the_trigram_by_hand() -> None:
    """One text, "ab": after the start there is always a, after a always b, after b always the end."""
    model = TrigramModel(documents("ab"), vocab_size=4, iterations=0)  # each weight stays at a quarter
    # three scored tokens, each a third of the unigrams: p = (1 + 1 + 1/3 + 1/4) / 4
    assert model.nats(documents("ab")) == pytest.approx(-3 * math.log((1 + 1 + 1 / 3 + 1 / 4) / 4))
    # "b": b never follows the start, and nothing follows (start, b); the end follows b, and is one in three
    first, end = (0 + 0 + 1 / 3 + 1 / 4) / 4, (0 + 1 + 1 / 3 + 1 / 4) / 4
    assert model.nats(documents("b")) == pytest.approx(-math.log(first) - math.log(end))
    assert model.bits_per_byte(documents("b"), 2) == pytest.approx(-math.log2(first * end) / 2)


def test_the_trigram_equals_a_plain_implementation() -> None:
    training, unseen = random_documents(200, seed=0), random_documents(30, seed=1)
    model, plain = TrigramModel(training, vocab_size=8), PlainTrigram(training, 8)
    nats = 0.0
    for u, v, w in scored(unseen):
        nats -= math.log(float(np.dot(model.weights[plain.bucket(u, v)], plain.parts(u, v, w))))
    assert model.nats(unseen) == pytest.approx(nats, rel=1e-9)


def test_its_probabilities_sum_to_one() -> None:
    model = TrigramModel(random_documents(200, seed=0), vocab_size=8)
    assert model.weights.sum(axis=1) == pytest.approx(np.ones(8))
    for context in ("", "a", "ab", "bc", "ee", "ddd"):
        # the document [0, *context, w]: its last token is w, the earlier ones cancel out
        start = documents(context)[0].ids[:-1]
        before = model.nats([Document(start)]) if len(start) > 1 else 0.0
        chances = [math.exp(before - model.nats([Document(np.append(start, w))])) for w in range(8)]
        assert sum(chances) == pytest.approx(1, abs=1e-9)


def test_fitted_weights_beat_equal_ones_and_know_only_the_training_text() -> None:
    training, unseen = random_documents(400, seed=0), random_documents(100, seed=1)
    fitted = TrigramModel(training, vocab_size=8)
    assert fitted.nats(unseen) < TrigramModel(training, vocab_size=8, iterations=0).nats(unseen)
    before = fitted.weights.copy()
    fitted.nats(unseen)
    assert np.array_equal(before, fitted.weights)


def test_weights_are_fitted_on_the_tenth_that_is_not_counted() -> None:
    """On text that was counted the trigram has seen everything before: its weight would go to 1 for rare contexts."""
    random = np.random.default_rng(0)
    words = [random.integers(1, 26, size=length) for length in random.integers(1, 12, size=400)]
    training = [Document(np.array([0, *word, 0])) for word in words]  # letters drawn at random: pairs say nothing
    counted = [one for index, one in enumerate(training) if index % 10 != 9]
    model = TrigramModel(training, vocab_size=26)
    for bucket, weights in plain_weights(counted, training[9::10], iterations=30).items():
        assert model.weights[bucket] == pytest.approx(weights, abs=1e-9)
    once = 1  # the bucket of contexts seen once
    assert model.weights[once, 0] < 0.1 < 0.9 < plain_weights(counted, counted, iterations=30)[once][0]


def test_both_models_score_the_same_tokens(tokenizer: Tokenizer) -> None:
    made, size = documents_of(TEXTS, tokenizer)
    uniform = TrigramModel(made, tokenizer.vocab_size)
    uniform.weights[:] = (0, 0, 0, 1)  # knows nothing, like the model with zero weights above
    expected = sum(len(document) - 1 for document in made) * math.log2(tokenizer.vocab_size) / size
    assert uniform.bits_per_byte(made, size) == pytest.approx(expected)
