"""Checks of the exercises on chapter 08, pretraining. References: torch's autograd, plain counting."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ...exercises.core import check
from ...exercises.task import Task, close
from ...kit.language import say

IGNORED = -100
TEXT = "猫头鹰 sleeps all day. 到了晚上，它去捉老鼠。"


@check("08.bits", points=1)
def check_bits_per_byte(task: Task) -> str:
    """From nats to bits per byte"""
    nats = 40 + 10 * task.number(0, 9)
    size, letters = len(TEXT.encode()), len(TEXT)
    task.equal(task.call(nats, TEXT), nats / math.log(2) / size, "this is not (nats / ln 2) / (bytes of the text)", {
        "that is per character; a Chinese one has three bytes in UTF-8: `text.encode()`": nats / math.log(2) / letters,
        "that is nats per byte; a bit is ln 2 = 0.693 nats": nats / size,
        "you multiplied by ln 2: one nat is *more* than one bit, 1.44 of them": nats * math.log(2) / size,
        "a byte has 8 bits, but that is not what is asked: divide by the number of bytes alone":
            nats / math.log(2) / size / 8,
        "that is nats, divided by 8 as well: a bit is ln 2 nats, and the 8 is not needed": nats / size / 8,
        "those are the bits of the whole text": nats / math.log(2),
        "you took the logarithm of the loss; it is a logarithm already": math.log2(nats) / size,
    })  # fmt: skip
    task.equal(task.call(len("abc") * math.log(256), "abc"), 8.0, "whoever knows nothing needs 8 bits for a byte")
    return "whoever guesses among 256 bytes needs 8 bits for each, in any language"


def _packed(documents: Sequence[Sequence[int]], size: int) -> dict[str, Tensor]:
    """The row, entry by entry."""
    row = {"input_ids": [], "targets": [], "position_ids": [], "owner": []}  # type: dict[str, list[int]]
    for number, document in enumerate(documents):
        for place in range(len(document) - 1):
            row["input_ids"].append(document[place])
            row["targets"].append(document[place + 1])
            row["position_ids"].append(place)
            row["owner"].append(number)
    free = size - len(row["owner"])
    fill = {"input_ids": 0, "targets": IGNORED, "position_ids": 0, "owner": -1}
    return {name: torch.tensor(values + [fill[name]] * free) for name, values in row.items()}


def _without_borders(documents: Sequence[Sequence[int]]) -> Tensor:
    """The targets that come out when the documents are joined first and shifted then."""
    inputs = [token for document in documents for token in document[:-1]]
    return torch.tensor(inputs[1:])


@check("08.pack", points=3)
def check_packed_row(task: Task) -> str:
    """Pack unrelated documents into one row"""
    documents = [task.randint(1, 50, 3 + task.number(0, 3)).tolist() for _ in range(3)]
    used = sum(len(one) - 1 for one in documents)
    size = used + 2  # too few for documents with their last tokens
    got, wanted = task.call(documents, size), _packed(documents, size)
    names = {"input_ids", "targets", "position_ids", "may_look"}
    task.that(
        isinstance(got, dict) and got.keys() == names,
        say("return a dict with the keys {value}", value=", ".join(sorted(names))),
    )
    got = {name: torch.as_tensor(one) for name, one in got.items()}
    task.that(
        all(len(one) == size for one in got.values()),
        say(
            "each entry has {size} places, padding and all; a "
            "document of n tokens takes n - 1 of them, because "
            "its last token asks nothing",
            size=size,
        ),
    )
    _judge_whole_numbers(task, got)
    joined = torch.tensor([token for one in documents for token in one])
    task.equal(got["input_ids"][:used], wanted["input_ids"][:used], "input_ids are not the documents in their order", {
        "a document's last token is among the inputs: it asks nothing and takes no place (`document[:-1]`)":
            joined[:used],
    })  # fmt: skip
    _judge_targets(task, got["targets"], wanted, documents, used)
    counted = torch.arange(used)
    task.equal(got["position_ids"][:used], wanted["position_ids"][:used], "position_ids: 0, 1, 2 … in each document", {
        "positions run on over the border: each document begins at 0, as it will when it stands alone": counted,
        "positions begin at 0, not at 1": wanted["position_ids"][:used] + 1,
    })  # fmt: skip
    _judge_mask(task, got["may_look"], wanted["owner"], used)
    return "no target, no position and no look of a real token crosses a border, and padding teaches nothing"


def _judge_whole_numbers(task: Task, got: dict[str, Tensor]) -> None:
    for name in ("input_ids", "targets", "position_ids"):
        task.that(got[name].dtype == torch.int64, say("{name} must hold whole numbers (dtype int64); yours is {dtype}",
                                                      name=name, dtype=got[name].dtype))  # fmt: skip


def _judge_targets(task: Task, got: Tensor, wanted: dict[str, Tensor], documents: list[list[int]], used: int) -> None:
    task.that((got[used:] == IGNORED).all(), "the model would learn to say padding: its targets must be -100")
    crossing = _without_borders(documents)
    wrong = "targets[t] is the token after input_ids[t] in the same document"
    task.that(not close(got[: used - 1], crossing), "at the end of a document you ask for the first token of the next "
              "one, a stranger. The target there is the document's own last token")  # fmt: skip
    task.equal(got[:used], wanted["targets"][:used], wrong, {
        "the targets are the inputs: shift by one": wanted["input_ids"][:used],
        "the last question of each document is thrown away; its answer is the document's last token":
            wanted["targets"][:used].where(wanted["owner"][:used] == wanted["owner"][1 : used + 1], IGNORED),
    })  # fmt: skip


def _judge_mask(task: Task, got: Tensor, owner: Tensor, used: int) -> None:
    same = owner[:, None] == owner[None]
    causal = torch.ones_like(same).tril()
    task.that(
        got.shape == same.shape and got.dtype == torch.bool,
        say(
            "may_look is (size, size), True and False; yours is {shape}, {dtype}",
            shape=tuple(got.shape),
            dtype=got.dtype,
        ),
    )
    real = slice(0, used)
    task.equal(got[real, real], (same & causal)[real, real], "may_look: causal, and within one document", {
        "documents see each other: causal is not enough, the two must be of the same document": causal[real, real],
        "a token sees the later ones of its document": same[real, real],
        "True means *may look*, and you have it the other way round": ~(same & causal)[real, real],
        "a token must see itself": (same & causal.tril(-1))[real, real],
        "rows are who looks, columns who is looked at: yours is transposed": (same & causal).mT[real, real],
    })  # fmt: skip
    task.that(got.any(-1).all(), "a padding place that may look nowhere gives softmax over nothing, 0/0, and NaN "
              "spreads: let padding look at padding")  # fmt: skip
    task.that(not got[real, used:].any(), "real tokens look at padding")


def _pieces(task: Task, counts: list[int]) -> list[tuple[Tensor, Tensor]]:
    """Micro-batches of 6 rows of inputs (6, 4), of which so many have a target among 5 classes."""
    pieces = []
    for count in counts:
        targets = task.randint(0, 5, 6)
        targets[count:] = IGNORED
        pieces.append((task.randn(6, 4), targets))
    return pieces


def _gradient(weight: Tensor, x: Tensor, targets: Tensor) -> Tensor:
    """Autograd's gradient of the summed surprise."""
    leaf = weight.detach().clone().requires_grad_()
    with torch.enable_grad():
        total = F.cross_entropy(x @ leaf.mT, targets, reduction="sum")
    return torch.autograd.grad(total, leaf)[0]


@check("08.accumulate", points=3)
def check_accumulated_gradient(task: Task) -> str:
    """Gradient accumulation that weights by tokens"""
    weight, counts = task.randn(5, 4), [6, 2, 1, 0]  # the last piece has nothing to learn
    pieces = _pieces(task, counts)
    sums = [_gradient(weight, x, targets) for x, targets in pieces]
    whole = _gradient(weight, torch.cat([x for x, _ in pieces]), torch.cat([t for _, t in pieces])) / sum(counts)
    got = torch.as_tensor(task.call(weight, pieces))
    means = [one / count for one, count in zip(sums, counts, strict=True) if count]
    task.that(not got.isnan().any(), "not a number: a piece without targets has a mean of 0/0. Sum, and divide once")
    task.equal(got, whole, "this is not the gradient of the large batch", {
        "a mean of means: a token in a sparse piece counts more. Sum the pieces, divide once by all learned tokens":
            torch.stack(means).mean(0),
        "a mean of means: each piece counts the same, however few its targets, and even the piece without any counts "
        "as one of the four. Sum the pieces, divide once by all learned tokens":
            torch.stack(means).sum(0) / len(counts),
        "the means are added and never divided": torch.stack(means).sum(0),
        "the division is missing: the step would grow with the batch": whole * sum(counts),
        "you divided by the number of pieces, not by the learned tokens": whole * sum(counts) / len(counts),
        "you divided by all positions; those with target -100 do not count": whole * sum(counts) / (6 * len(counts)),
        "only the first piece has come through: is the gradient overwritten, or returned inside the loop?":
            sums[0] / counts[0],
        "earlier pieces count more than once: `backward()` *adds* to `.grad`, so either clear it for each piece or add "
        "nothing yourself": torch.stack(sums).cumsum(0).sum(0) / sum(counts),
        "the pieces before the last one are lost: is the gradient set to zero between them?": sums[-1],
    })  # fmt: skip
    again = _pieces(task, [3, 5])
    expected = sum(_gradient(weight, *piece) for piece in again) / 8
    task.equal(task.call(weight, again), expected, "right for four pieces, wrong for two others")
    return "the same gradient as the large batch in one piece, by torch's autograd"


@check("08.borders", points=2)
def check_document_numbers(task: Task) -> str:
    """Find the leak between documents"""
    ids, end = task.randint(5, 60, 14), 2
    ids[[3, 4, 9]] = end  # the second document is nothing but its end
    got = torch.as_tensor(task.call(ids, end))
    task.that(not got.is_floating_point(), say("the numbers must be whole (dtype int64); yours are {dtype}",
                                               dtype=got.dtype))  # fmt: skip
    ends = (ids == end).long()
    counted = ends.cumsum(0)
    expected = counted - ends
    task.equal(got, expected, "these are not the numbers 0, 1, 2 … of the documents", {
        "still there: an end is put into the *next* document. It belongs to the one that it closes": counted,
        "documents are numbered from 0": expected + 1,
        "all tokens are one document": torch.zeros(14),
        "1 is subtracted at every place, and the first document becomes -1: subtract it at the ends alone": counted - 1,
        "1 is subtracted at every place, and cut off at 0: subtract it at the ends alone": (counted - 1).clamp(min=0),
        "the running sum came round to the front (`roll`): nothing is before the first document, so put 0 there":
            counted.roll(1),
        "you number the ends, and leave the words without a document": (counted - 1).where(ends == 1, -1),
        "two ends beside each other are two documents; the second of them is an empty one":
            expected - (torch.arange(14) > 4).long(),
    })  # fmt: skip
    for at, other in (([5, 13], 2), ([0, 6], 2), ([], 2), ([2, 9, 13], 61)):
        stream = task.randint(5, 60, 14)
        stream[at] = other
        ends = (stream == other).long()
        task.equal(task.call(stream, other), ends.cumsum(0) - ends, "right for one stream and wrong for another: look "
                   "at one that ends in an end, or begins with one, or has none", {
            "the last token is an end, and it came round to the front (`roll`): nothing is before the first document":
                ends.roll(1).cumsum(0),
            "the number of the end is an argument: it is not always the same": torch.zeros(14),
        })  # fmt: skip
    return "each end belongs to the document that it closes, an empty one too"


@check("08.fill", points=2)
def check_predicted_fill(task: Task) -> str:
    """Predict, then measure: how full are padded batches?"""
    batches = (1, 2 + task.number(0, 4), 8 + task.number(0, 30))
    expected, got, measured = [(rows + 1) / (2 * rows) for rows in batches], [], []
    for rows in batches:
        lengths = task.rand(20000, rows)  # as shares of the longest that can come
        measured.append((lengths.sum(1) / (rows * lengths.max(1).values)).mean().item())
        got.append(float(task.call(rows)))
    inside = [abs(said / is_so - 1) < 0.02 for said, is_so in zip(got, measured, strict=True)]
    known = {
        "that is the padding's share; the share of real tokens is asked for": [1 - share for share in expected],
        "the longest of a few rows is not the longest there can be: n lengths divide the range into n + 1 parts":
            [0.5 if rows > 1 else 1.0 for rows in batches],
        "half is what very many rows come to; a single row has no padding": [0.5 for _ in batches],
        "the longest of n rows lies at n/(n + 1) of the range on average, and the mean in the middle; you have "
        "the longest alone": [rows / (rows + 1) for rows in batches],
        "multiplied where it should be divided: real tokens over all places":
            [0.5 * rows / (rows + 1) for rows in batches],
        "a share above 1? That is how many full rows the batch is worth: divide by `rows`":
            [(rows + 1) / 2 for rows in batches],
        "that is per cent; wanted is a share from 0 to 1": [100 * share for share in expected],
    }  # fmt: skip
    for message, value in known.items():
        task.that(all(inside) or not close(got, value), message)
    for rows, share, said, right in zip(batches, measured, got, inside, strict=True):
        task.that(
            right,
            say(
                "with rows = {rows}: measured {measured}, you said {got}",
                rows=rows,
                measured=f"{share:.3f}",
                got=f"{said:.3f}",
            ),
        )
    return "within 2 % of 20,000 batches: a single row is full, a large batch is half empty"
