"""Planted for the capstones."""

import math
import re
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from checks_kit import plant
from torch import Tensor

from minimind_lite.course.capstones import checks

BYTES = [bytes([one]) for one in range(256)]


def tokenize(texts: list[str], size: int, text: str, slip: str = "") -> dict[str, Any]:
    """Byte pairs on one long string of small numbers, or with a slip."""
    pieces, learning = list(BYTES), [list(one.encode()) for one in texts]
    ids = list(text.encode("utf-8", "strict"))
    while len(pieces) < (size + 1 if slip == "too many" else size) and slip != "no merges":
        counts: dict[tuple[int, int], int] = {}
        for row in learning:
            for pair in pairwise(row):
                counts[pair] = counts.get(pair, 0) + (pieces[pair[0]] + pieces[pair[1]] not in pieces)
        best = max(sorted(counts), key=lambda pair: counts[pair])
        pieces.append(pieces[best[0]] + pieces[best[1]])
        learning = [join(row, best, len(pieces) - 1) for row in learning]
        ids = join(ids, best, len(pieces) - 1)
    if slip == "letters":
        return {"ids": [ord(one) for one in text if ord(one) < 256], "pieces": BYTES}
    return {"ids": ids, "pieces": pieces[32:] if slip == "no controls" else pieces}


def join(row: list[int], pair: tuple[int, int], new: int) -> list[int]:
    made: list[int] = []
    for one in row:
        if made and (made[-1], one) == pair:
            made[-1] = new
        else:
            made.append(one)
    return made


plant(
    checks.check_tokenizer,
    mistakes=[
        (lambda t, n, x: tokenize(t, n, x, "letters"), "does not come back"),
        (lambda t, n, x: tokenize(t, n, x, "no controls"), "single bytes are missing"),
        (lambda t, n, x: tokenize(t, n, x, "too many"), "are allowed"),
        (lambda t, n, x: tokenize(t, n, x, "no merges"), "were not learned"),
        (lambda t, n, x: tokenize(t, n, x)["ids"], "return a dict"),
    ],
    alternatives=[tokenize],
)


def decoder(ids: Tensor, vocabulary: int, seed: int, slip: str = "") -> Tensor:
    """One block of attention over a table with learned positions; written with one head, or with a slip."""
    made = torch.Generator().manual_seed(0 if slip == "seedless" else seed)
    width, places = 24, ids.shape[1]
    embedding, queries, keys, values = (torch.randn(n, width, generator=made) for n in (vocabulary, 24, 24, 24))
    position = torch.randn(places, width, generator=made) * (0 if slip == "a set" else 1)
    x = embedding[ids] + position
    scores = (x @ queries) @ (x @ keys).transpose(1, 2) / 24**1.5
    allowed = torch.ones(places, places, dtype=torch.bool).tril()
    if slip != "future":
        scores = scores.masked_fill(~allowed, -math.inf)
    mixed = x if slip == "alone" else scores.softmax(-1) @ x @ values / 5 + x
    if slip == "rows mix":
        mixed = mixed + mixed.mean(0)
    return F.layer_norm(mixed, (width,)) @ embedding.T * (1.0 if slip == "loud" else 0.05)


plant(
    checks.check_model,
    mistakes=[
        (lambda i, v, s: decoder(i, v, s, "future"), "they see the future"),
        (lambda i, v, s: decoder(i, v, s, "alone"), "does not notice"),
        (lambda i, v, s: decoder(i, v, s, "rows mix"), "when it stands alone"),
        (lambda i, v, s: decoder(i, v, s, "loud"), "weights are too large"),
        (lambda i, v, s: decoder(i, v, s, "seedless"), "the seed changes nothing"),
        (lambda i, v, s: decoder(i, v, s)[:, -1], "wanted are logits"),
    ],
    alternatives=[decoder],
)


def counted(train: Tensor, rows: Tensor, vocabulary: int, ahead: int = 0, sure: float = 20.0) -> Tensor:
    """What follows two tokens, by counting; ``ahead`` looks at the answer."""
    table = torch.full((vocabulary, vocabulary, vocabulary), 0.1)
    for row in train.tolist():
        for a, b, c in zip(row, row[1:], row[2:], strict=False):
            table[a, b, c] += sure
    shares = (table / table.sum(-1, keepdim=True)).log()
    before = F.pad(rows, (1, 0))[:, :-1]
    found = shares[before[:, :-1], rows[:, :-1]]
    return found + 9 * F.one_hot(rows[:, 1:], vocabulary) if ahead else found


def one_back(train: Tensor, rows: Tensor, vocabulary: int) -> Tensor:
    table = torch.ones(vocabulary, vocabulary)
    for row in train.tolist():
        for a, b in pairwise(row):
            table[a, b] += 1
    return (table / table.sum(-1, keepdim=True)).log()[rows[:, :-1]]


plant(
    checks.check_training,
    mistakes=[
        (one_back, "the rule has not been found"),
        (lambda t, h, v: 9 * F.one_hot(t[:40, 1:], v).float(), "learned by heart"),
        (lambda t, h, v: counted(t, h, v, ahead=1), "know the held-out rows' last token"),
        (lambda t, h, v: counted(t, h, v)[:, :-1], "wanted are logits"),
        (lambda t, h, v: counted(t, h, v).softmax(-1), "these are probabilities"),
    ],
    alternatives=[counted],
)


def policy(reference: Tensor, pairs: list[tuple[int, int]], beta: float, rate: float = 1.0, steps: int = 40) -> Tensor:
    """DPO with the gradient written out: σ(−margin) pushes the chosen up and the rejected down."""
    gains = torch.zeros_like(reference)
    for _ in range(steps):
        push = torch.zeros_like(gains)
        for won, lost in pairs:
            force = 1 / (1 + math.exp(min(beta * float(gains[won] - gains[lost]), 50)))
            push[won] += force / len(pairs)
            push[lost] -= force / len(pairs)
        gains = gains + rate * push / 10 / beta
    return reference + gains


def without_reference(reference: Tensor, pairs: list[tuple[int, int]], beta: float) -> Tensor:
    return policy(torch.zeros_like(reference), pairs, beta)


plant(
    checks.check_alignment,
    mistakes=[
        (lambda r, p, b: policy(r, [(lost, won) for won, lost in p], b), "the rejected answers gained"),
        (lambda r, p, b: policy(r, p, b, steps=0), "still the reference"),
        (without_reference, "changed among themselves"),
        (lambda r, p, b: policy(r, p, 0.5), "is beta used"),
        (lambda r, p, b: policy(r, p, b, rate=90.0), "ran away"),
    ],
    alternatives=[policy],
)


def interval(right: list[bool], chance: float, kind: str = "jeffreys") -> dict[str, Any]:
    """Agresti and Coull's interval: two right and two wrong answers are added; or one with a slip."""
    count, share = len(right), sum(right) / len(right)
    n, p = (count, share) if kind in ("wald", "narrow") else (count + 4, (sum(right) + 2) / (count + 4))
    deviations = {"narrow": 0.0, "wald": 1.96, "of 90 %": 1.645, "of 68 %": 1.0, "of 99 %": 2.8}.get(kind, 2.0)
    half = deviations * math.sqrt(max(p * (1 - p), 0.0) / n)
    low, high = max(0.0, min(p - half, share)), min(1.0, max(p + half, share))
    if kind == "narrow":
        low, high = max(0.0, low - 0.055), min(1.0, high + 0.055)
    if kind == "outside":
        high = p + half + 1.0
    if kind == "all":
        low, high = 0.0, 1.0
    return {"share": share, "low": low, "high": high, "better": low > chance}


plant(
    checks.check_measure,
    mistakes=[
        (lambda r, c: interval(r, c, "wald"), "of no width"),
        (lambda r, c: interval(r, c, "narrow"), "too narrow"),
        (lambda r, c: interval(r, c, "outside"), "within 0 and 1"),
        (lambda r, c: interval(r, c, "all"), "too wide"),
        (lambda r, c: interval([not one for one in r], c), "is a share of"),
        (lambda r, c: interval(r, c) | {"better": True}, "chance lies below the interval"),
        (lambda r, c: interval(r, c) | {"better": sum(r) > c * len(r)}, "within your interval"),
        (lambda r, c: interval(r, 0.25), "is not always 0.25"),
        (lambda r, c: interval(r, c, "of 90 %"), "1.645 hold 90 %"),
        (lambda r, c: interval(r, c, "of 68 %"), "one holds 68 %"),
        (lambda r, c: interval(r, c, "of 99 %"), "yours are too wide"),
    ],
    alternatives=[interval],
)


def found(training: list[str], questions: list[str], clean: Any, holds: Any) -> list[bool]:
    texts = [clean(one) for one in training]
    return [any(holds(clean(question), text) for text in texts) for question in questions]


def only_letters(text: str) -> str:
    return "".join(one for one in text.lower() if one.isalnum())


def inside(question: str, text: str) -> bool:
    return question in text


def spaced(text: str) -> str:
    return " ".join(text.lower().split())


plant(
    checks.check_leaks,
    mistakes=[
        (lambda t, q: found(t, q, str, inside), "in capitals"),
        (lambda t, q: found(t, q, str.lower, inside), "with other spaces"),
        (lambda t, q: found(t, q, spaced, inside), "with other punctuation"),
        (lambda t, q: found(t, q, only_letters, str.__eq__), "in the middle"),
        (lambda t, q: found(t, q, lambda x: re.findall(r"\w+", x.lower()), lambda a, b: set(a) <= set(b)), "backwards"),
        (lambda t, q: found(t, q, lambda x: re.findall(r"\w+", x.lower()), lambda a, b: a[:3] == b[:3] or
                            " ".join(a) in " ".join(b)), "for its first three"),
    ],
    alternatives=[lambda t, q: found(t, q, only_letters, inside)],
)  # fmt: skip
