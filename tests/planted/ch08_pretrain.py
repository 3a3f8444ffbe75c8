"""Planted for the exercises on chapter 08, pretraining."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from checks_kit import plant
from torch import Tensor

from minimind_lite.course.chapters.pretrain import checks

plant(
    checks.check_bits_per_byte,
    mistakes=[
        (lambda nats, text: nats / math.log(2) / len(text), "per character"),
        (lambda nats, text: nats / len(text.encode()), "nats per byte"),
        (lambda nats, text: nats * math.log(2) / len(text.encode()), "multiplied by ln 2"),
        (lambda nats, text: nats / math.log(2), "of the whole text"),
        (lambda nats, text: nats / math.log(2) / (8 * len(text.encode())), "not what is asked"),
        (lambda nats, text: nats / 8 / len(text.encode()), "the 8 is not needed"),
        (lambda nats, text: math.log2(nats) / len(text.encode()), "a logarithm already"),
    ],
    alternatives=[
        lambda nats, text: math.log2(math.e) * nats / len(bytes(text, "utf-8")),
        lambda nats, text: torch.tensor(nats) / torch.tensor(2.0).log() / len(text.encode("utf-8")),
    ],
)

Row = dict[str, Any]


def packed(documents: list[list[int]], size: int) -> Row:
    """With a list of owners, and lists instead of tensors where they do."""
    inputs, targets, positions, owner = [], [], [], []
    for number, document in enumerate(documents):
        inputs += document[:-1]
        targets += document[1:]
        positions += range(len(document) - 1)
        owner += [number] * (len(document) - 1)
    free = size - len(inputs)
    owner += [-1] * free
    look = [[owner[r] == owner[c] and c <= r for c in range(size)] for r in range(size)]
    return {"input_ids": inputs + [0] * free, "targets": targets + [-100] * free,
            "position_ids": positions + [0] * free, "may_look": torch.tensor(look)}  # fmt: skip


def by_blocks(documents: list[list[int]], size: int) -> Row:
    parts = [torch.tensor(one) for one in documents]
    free = size - sum(len(one) - 1 for one in parts)
    triangles = [torch.ones(len(one) - 1, len(one) - 1).tril() for one in parts]
    return {
        "input_ids": F.pad(torch.cat([one[:-1] for one in parts]), (0, free)),
        "targets": F.pad(torch.cat([one[1:] for one in parts]), (0, free), value=-100),
        "position_ids": torch.cat([torch.arange(len(one) - 1) for one in parts] + [torch.arange(free)]),
        "may_look": torch.block_diag(*triangles, torch.ones(free, free)).bool(),
    }


def changed(name: str, change: Any) -> Any:
    """A right row with one entry changed."""

    def wrong(documents: list[list[int]], size: int) -> Row:
        row = {key: torch.as_tensor(value) for key, value in packed(documents, size).items()}
        row[name] = change(row, sum(len(one) - 1 for one in documents))
        return row

    return wrong


def joined_first(documents: list[list[int]], size: int) -> Row:
    row = {key: torch.as_tensor(value) for key, value in packed(documents, size).items()}
    used = sum(len(one) - 1 for one in documents)
    row["targets"][: used - 1] = row["input_ids"][1:used]
    return row


def last_tokens_ask(documents: list[list[int]], size: int) -> Row:
    """All documents joined into one text: input_ids hold each document's last token too."""
    joined = torch.tensor([token for one in documents for token in one])
    return packed(documents, size) | {"input_ids": joined[:-1][:size]}


def whole_documents(documents: list[list[int]], size: int) -> Row:
    """A document of n tokens takes n places; its last target is -100."""
    row = packed([[*one, -100] for one in documents], sum(len(one) for one in documents))
    free = max(0, size - len(row["input_ids"]))
    look = F.pad(row.pop("may_look"), (0, free, 0, free))
    fill = {"input_ids": 0, "targets": -100, "position_ids": 0}
    return {name: values + [fill[name]] * free for name, values in row.items()} | {"may_look": look}


plant(
    checks.check_packed_row,
    mistakes=[
        (joined_first, "a stranger"),
        (changed("targets", lambda row, used: row["input_ids"].where(torch.arange(len(row["targets"])) < used, -100)),
         "the targets are the inputs"),
        (changed("targets", lambda row, used: row["targets"].clamp(min=0)), "learn to say padding"),
        (changed("targets", lambda row, used: row["targets"].where(row["position_ids"].roll(-1) > 0, -100)),
         "is thrown away"),
        (changed("position_ids", lambda row, used: torch.arange(len(row["targets"]))), "run on over the border"),
        (changed("position_ids", lambda row, used: row["position_ids"] + 1), "not at 1"),
        (changed("may_look", lambda row, used: torch.ones_like(row["may_look"]).tril()), "documents see each other"),
        (changed("may_look", lambda row, used: row["may_look"] | row["may_look"].mT), "sees the later ones"),
        (changed("may_look", lambda row, used: ~row["may_look"]), "the other way round"),
        (changed("may_look", lambda row, used: row["may_look"].tril(-1)), "must see itself"),
        (changed("may_look", lambda row, used: row["may_look"].mT), "transposed"),
        (changed("may_look", lambda row, used: row["may_look"] & (torch.arange(len(row["targets"])) < used)),
         "let padding look at padding"),
        (whole_documents, "its last token asks nothing"),
        (last_tokens_ask, "is among the inputs"),
        (changed("input_ids", lambda row, used: row["input_ids"].float()), "input_ids must hold whole numbers"),
        (changed("targets", lambda row, used: row["targets"].int()), "targets must hold whole numbers"),
        (changed("position_ids", lambda row, used: row["position_ids"].double()), "position_ids must hold whole"),
        (lambda documents, size: packed(documents, size)["input_ids"], "return a dict"),
    ],
    alternatives=[packed, by_blocks],
)  # fmt: skip

Pieces = list[tuple[Tensor, Tensor]]


def surprise(weight: Tensor, x: Tensor, targets: Tensor, reduction: str = "sum") -> Tensor:
    """Gradient of one piece."""
    leaf = weight.clone().requires_grad_()
    F.cross_entropy(x @ leaf.T, targets, reduction=reduction).backward()
    assert leaf.grad is not None
    return leaf.grad


def learned(pieces: Pieces) -> int:
    return sum(int((targets >= 0).sum()) for _, targets in pieces)


def summed(weight: Tensor, pieces: Pieces) -> Tensor:
    return torch.stack([surprise(weight, *piece) for piece in pieces]).sum(0)


def means(weight: Tensor, pieces: Pieces, empty: bool = False) -> list[Tensor]:
    return [surprise(weight, x, t, "mean") for x, t in pieces if empty or (t >= 0).any()]


def by_formula(weight: Tensor, pieces: Pieces) -> Tensor:
    """Softmax minus one-hot, times the inputs: no autograd."""
    total, count = torch.zeros_like(weight), 0
    for x, targets in pieces:
        x, targets = x[targets != -100], targets[targets != -100]
        error = (x @ weight.T).softmax(-1) - F.one_hot(targets, len(weight))
        total, count = total + torch.einsum("nc,nd->cd", error, x), count + len(targets)
    return total / count


def weighted_means(weight: Tensor, pieces: Pieces) -> Tensor:
    shares = [(targets >= 0).sum() / learned(pieces) for _, targets in pieces]
    return sum((share * surprise(weight, *piece, "mean") for share, piece in zip(shares, pieces, strict=True) if share),
               torch.zeros_like(weight))  # fmt: skip


plant(
    checks.check_accumulated_gradient,
    mistakes=[
        (lambda w, p: torch.stack([surprise(w, x, t) / (t >= 0).sum() for x, t in p]).mean(0), "not a number"),
        (lambda w, p: torch.stack(means(w, p)).mean(0), "in a sparse piece counts more"),
        (lambda w, p: torch.stack(means(w, p, empty=True)).mean(0), "as one of the four"),
        (lambda w, p: torch.stack(means(w, p)).sum(0), "never divided"),
        (summed, "the division is missing"),
        (lambda w, p: summed(w, p) / len(p), "number of pieces"),
        (lambda w, p: summed(w, p) / sum(len(t) for _, t in p), "all positions"),
        (lambda w, p: summed(w, p[:1]) / learned(p[:1]), "only the first piece"),
        (lambda w, p: surprise(w, *p[-1]), "set to zero between"),
        (lambda w, p: sum(summed(w, p[: i + 1]) for i in range(len(p))) / learned(p), "count more than once"),
        (lambda w, p: summed(w, p) / 9, "wrong for two others"),
    ],
    alternatives=[by_formula, weighted_means],
)


def numbers_by_a_loop(ids: Tensor, end: int) -> list[int]:
    numbers, now = [], 0
    for token in ids.tolist():
        numbers.append(now)
        now += token == end
    return numbers


plant(
    checks.check_document_numbers,
    mistakes=[
        (lambda ids, end: (ids == end).cumsum(0), "still there"),
        (lambda ids, end: torch.tensor(numbers_by_a_loop(ids, end)) + 1, "numbered from 0"),
        (lambda ids, end: torch.zeros_like(ids), "one document"),
        (lambda ids, end: (ids == end).cumsum(0) - 1, "becomes -1"),
        (lambda ids, end: ((ids == end).cumsum(0) - 1).clamp(min=0), "cut off at 0"),
        (lambda ids, end: (ids == end).cumsum(0).roll(1), "running sum came round"),
        (lambda ids, end: ((ids == end).cumsum(0) - 1).where(ids == end, -1), "number the ends"),
        (lambda ids, end: F.pad(((ids == end) & (ids.roll(1) != end)).cumsum(0), (1, -1)), "two ends beside"),
        (lambda ids, end: (ids == end).roll(1).cumsum(0), "came round to the front"),
        (lambda ids, end: F.pad((ids == 2).cumsum(0), (1, -1)), "not always the same"),
        (lambda ids, end: torch.cat([torch.zeros(1), (ids == end).cumsum(0)[:-1]]), "must be whole"),
    ],
    alternatives=[numbers_by_a_loop, lambda ids, end: F.pad((ids == end).cumsum(0), (1, -1))],
)

plant(
    checks.check_predicted_fill,
    mistakes=[
        (lambda n: 1 - (n + 1) / (2 * n), "the padding's share"),
        (lambda n: 0.5 if n > 1 else 1.0, "n + 1 parts"),
        (lambda n: 0.5, "a single row has no padding"),
        (lambda n: 50 * (n + 1) / n, "per cent"),
        (lambda n: 1 + (n - 1) / 2, "divide by `rows`"),
        (lambda n: n / (2 * n - 1), "measured"),
        (lambda n: n / (n + 1), "the longest alone"),
        (lambda n: 0.5 * n / (n + 1), "multiplied where"),
        (lambda n: 1 / n**0.5, "measured"),
    ],
    alternatives=[lambda n: 0.5 / (n / (n + 1)), lambda n: torch.tensor(0.5 + 0.5 / n)],
)
