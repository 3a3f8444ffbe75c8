"""Checks of the exercises on chapter 04, attention. References: torch's fused kernel, and a cache that is measured."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from minimind_lite.config import ModelConfig
from minimind_lite.model.attention import KVCache

from ...exercises.core import check
from ...exercises.task import Task, Wrong, close
from ...kit.language import say


@check("04.window", points=1)
def check_may_look(task: Task) -> str:
    """Which tokens may attend to which, within a window"""
    queries, window = task.number(2, 4), task.number(2, 4)
    keys = queries + task.number(3, 6)
    got = torch.as_tensor(task.call(queries, keys, window))
    task.that(got.dtype == torch.bool, say("wanted are True and False (dtype bool); yours is {dtype}", dtype=got.dtype))
    row, column = torch.arange(queries)[:, None], torch.arange(keys)[None]
    behind = row + (keys - queries) - column  # how far the key lies behind the query
    expected = (behind >= 0) & (behind < window)
    early = row - column
    task.equal(got, expected, "a query may look at itself and at the window - 1 tokens before it", {
        "True means *may look* here, and you have it the other way round": ~expected,
        "rows are queries and columns are keys: yours is transposed": expected.mT,
        "your first query stands at the first key. With a cache the new queries stand at the *end*: the last query is "
        "the last key's token": (early >= 0) & (early < window),
        "the future is hidden, but the past is not cut: window tokens at most": behind >= 0,
        "the window is cut, but a query sees the future": behind < window,
        "your window is one token too wide: a token counts itself": (behind >= 0) & (behind <= window),
        "a token must see itself": (behind > 0) & (behind <= window),
        "a token must see itself: you leave out the distance 0": (behind > 0) & (behind < window),
        "your differences have the wrong sign: a query sees itself and what comes *after* it":
            (behind <= 0) & (behind > -window),
        _where_it_differs(got, expected, window): got,  # no mistake known by name
    })  # fmt: skip
    task.equal(task.call(4, 4, 4), torch.ones(4, 4).tril().bool(), "a window as long as the text is the causal mask")
    return "causal, at most `window` tokens back, and lined up at the end as a cache needs it"


def _where_it_differs(got: Tensor, expected: Tensor, window: int) -> str:
    """The first row that is not as expected, both ways; of a wrong shape, the shapes."""
    if got.shape != expected.shape:
        return say("wanted is a tensor of shape {wanted}, (queries, keys); yours has {shape}",
                   wanted=tuple(expected.shape), shape=tuple(got.shape))  # fmt: skip
    wrong = (got != expected).any(dim=1)
    row = int(wrong.nonzero()[0]) if wrong.any() else 0
    return say("a query may look at itself and at the window - 1 tokens before it. With {queries} queries, {keys} keys "
               "and window = {window}, query {row} may look at {wanted}; yours looks at {got} (1 = may look)",
               queries=got.shape[0], keys=got.shape[1], window=window, row=row,
               wanted=expected[row].int().tolist(), got=got[row].int().tolist())  # fmt: skip


def _split(x: Tensor, heads: int) -> Tensor:
    """(batch, seq, heads · dim) → (batch, heads, seq, dim)."""
    return x.reshape(*x.shape[:-1], heads, -1).transpose(1, 2)


MASKED: dict[str, Callable[[Tensor], Tensor]] = {  # scores → weights, where the mask or the softmax is wrong
    "late mask": lambda scores: scores.softmax(-1).tril(),
    "zeros": lambda scores: scores.tril().softmax(-1),
    "one late": lambda scores: (scores + torch.full(scores.shape[-2:], -torch.inf).triu(2)).softmax(-1),
    "past": lambda scores: (scores + torch.full(scores.shape[-2:], -torch.inf).tril(-1)).softmax(-1),
    "columns": lambda scores: (scores + torch.full(scores.shape[-2:], -torch.inf).triu(1)).softmax(-2),
}


def _grouped(x: Tensor, weights: list[Tensor], heads: int, kv_heads: int, change: str = "") -> Tensor:
    """Grouped-query attention by torch's kernel, with one ``change`` that people make by mistake."""
    w_q, w_k, w_v, w_o = weights
    w_q = w_q.mT if change == "query transposed" else w_q
    q, k, v = _split(x @ w_q.mT, heads), _split(x @ w_k.mT, kv_heads), _split(x @ w_v.mT, kv_heads)
    if change == "raw halves":
        q, k, v = (one.reshape(x.shape[0], -1, x.shape[1], q.shape[-1]) for one in (x @ w_q.mT, x @ w_k.mT, x @ w_v.mT))
    group = heads // kv_heads
    if change == "repeat":
        k, v = k.repeat(1, group, 1, 1), v.repeat(1, group, 1, 1)
    else:
        k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
    width = q.shape[-1]
    scale = {"no scale": 1.0, "wide scale": x.shape[-1] ** -0.5, "no root": 1 / width}.get(change, width**-0.5)
    mixed = F.scaled_dot_product_attention(q, k, v, is_causal=change != "open", scale=scale)
    if change in MASKED:
        mixed = MASKED[change](q @ k.mT * scale) @ v
    joined = mixed.reshape(x.shape) if change == "no transpose" else mixed.transpose(1, 2).flatten(2)
    return joined if change == "no output" else joined @ (w_o if change == "output transposed" else w_o.mT)


GROUPED = {
    "open": "the future is visible: the causal mask is missing",
    "no scale": "the division by √d is missing",
    "wide scale": "divide by the root of *one head's* width, not of the whole width",
    "repeat": "the shared heads are in the wrong order: query head j reads key/value head j // group, so the copies "
              "are neighbours (`repeat_interleave`, not `repeat`)",
    "late mask": "the mask comes after the softmax: the rows no longer sum to 1, and the future counts in the "
                 "denominator. Put −∞ in *before* the softmax",
    "zeros": "the forbidden scores became 0, and exp(0) is 1: the future still gets its share. Put −∞ in, exp(−∞) is 0",
    "one late": "each token sees the one after it: the mask begins one diagonal too high (`triu(1)`, not `triu(2)`)",
    "past": "your mask hides the past and shows the future: it is upside down",
    "no root": "you divide by the width of a head; divide by its *root*",
    "columns": "your softmax runs over the queries; each *query's* weights must sum to 1: `softmax(dim=-1)`",
    "raw halves": "the split into heads mixes up tokens: (batch, seq, heads, dim) first, then exchange seq and heads",
    "no transpose": "joining the heads mixes up tokens: exchange heads and seq back before you flatten",
    "no output": "the output matrix w_o is missing",
    "query transposed": "w_q is laid out as in nn.Linear, (out, in): multiply by its transpose",
    "output transposed": "w_o is laid out as in nn.Linear, (out, in): multiply by its transpose",
}  # fmt: skip


NOTHING_ALLOWED = (
    "there is NaN in the result: some softmax got nothing but −∞. `masked_fill` writes where its mask is True, and "
    "that must be at the later tokens only: a token may look at itself. And the softmax runs over the keys: "
    "`softmax(dim=-1)`"
)


def _weights(task: Task, heads: int, kv_heads: int, dim: int) -> list[Tensor]:
    """w_q, w_k, w_v, w_o with scores large enough that a wrong scale shows."""
    width = heads * dim
    return [task.randn(rows * dim, width) / width**0.5 * 1.5 for rows in (heads, kv_heads, kv_heads, heads)]


def _same_gradients(task: Task, x: Tensor, weights: list[Tensor], heads: int) -> None:
    """With one kv head: what a loss sends back must arrive at x and at every matrix."""
    upstream = task.randn(*x.shape)
    found = task.gradients(x, *weights, heads, 1, upstream=upstream)
    inputs = [one.clone().requires_grad_() for one in (x, *weights)]
    wanted = torch.autograd.grad((_grouped(inputs[0], inputs[1:], heads, 1) * upstream).sum(), inputs)
    for name, mine, true in zip(("x", "w_q", "w_k", "w_v", "w_o"), found, wanted, strict=True):
        task.that(mine is not None and close(mine, true, 1e-3), say(
            "the values are right, but the gradient of {name} is not: training would learn nothing through it, or the "
            "wrong thing. Was a tensor detached, or made anew from plain numbers?", name=name,
        ))  # fmt: skip


def _first_call(task: Task, x: Tensor, weights: list[Tensor], heads: int, kv_heads: int) -> Tensor:
    """The learner's answer; w_q is square here, so that a forgotten transpose stops at w_k and w_v."""
    try:
        return torch.as_tensor(task.call(x, *weights, heads, kv_heads))
    except Wrong as stopped:
        if "10x24 and 12x24" not in str(stopped):  # torch's words about x and w_k
            raise
        laid_out = "w_k and w_v are laid out as in nn.Linear, (out, in): multiply by their transposes"
        raise Wrong(f"{say(laid_out)} ({stopped})") from stopped


@check("04.grouped", points=3)
def check_grouped_attention(task: Task) -> str:
    """Causal grouped-query attention, whole"""
    heads, kv_heads, dim = 4, 2, 6
    x, weights = task.randn(2, 5, heads * dim), _weights(task, heads, kv_heads, dim)
    got = _first_call(task, x, weights, heads, kv_heads)
    task.that(got.shape == x.shape, say("the shape is {shape}; wanted is (batch, seq, hidden), {wanted}",
                                        shape=tuple(got.shape), wanted=tuple(x.shape)))  # fmt: skip
    task.that(not got.isnan().any(), NOTHING_ALLOWED)
    later = x.clone()
    later[:, 3:] = 100 * task.randn(2, 2, heads * dim)
    sealed = close(got[:, :3], task.call(later, *weights, heads, kv_heads)[:, :3])
    values = {message: _grouped(x, weights, heads, kv_heads, change) for change, message in GROUPED.items()}
    leaking = "not causal: the last tokens change what comes out for the first ones"
    wrong = "no later token changes an earlier one, but the values are off" if sealed else leaking
    task.equal(got, _grouped(x, weights, heads, kv_heads), wrong, values)
    task.that(sealed, "right as long as the later tokens are small; large ones change the earlier outputs. Later "
              "scores must be −∞ *before* the softmax: neither merely lowered, nor removed afterwards")  # fmt: skip
    for number in (heads, 1):  # every query head its own keys, and one for all
        weights = _weights(task, heads, number, dim)
        kind = say("as many kv heads as heads" if number == heads else "one kv head")
        task.equal(
            task.call(x, *weights, heads, number),
            _grouped(x, weights, heads, number),
            say("wrong with {kind}", kind=kind),
        )
    _same_gradients(task, x, weights, heads)
    wide = task.randn(2, 5, 10)  # Qwen3's heads together are wider than the stream
    w_q, w_k, w_v, w_o = (task.randn(*shape) for shape in ((24, 10), (12, 10), (12, 10), (10, 24)))
    too_narrow = "wrong where the heads together are not as wide as x: a head's width is `w_q.shape[0] // heads`"
    try:
        got = task.call(wide, w_q, w_k, w_v, w_o, heads, kv_heads)
    except Wrong as stopped:  # the same function has run, with heads as wide as x
        raise Wrong(f"{say(too_narrow)} ({stopped})") from stopped
    task.equal(got, _grouped(wide, [w_q, w_k, w_v, w_o], heads, kv_heads), too_narrow)
    task.that("scaled_dot_product_attention" not in task.functions(x, *weights, heads, 1), "right, but torch's "
              "`scaled_dot_product_attention` did the work: write out scores, mask and softmax yourself")  # fmt: skip
    return "agrees with torch's fused kernel for grouped, full and single key/value heads; the future has no influence"


@check("04.leak", points=2)
def check_repaired_heads(task: Task) -> str:
    """Find the leak"""
    q, k, v = task.randn(3, 2, 3, 6, 4).unbind(0)
    later = [torch.cat([one[:, :, :4], task.randn(2, 3, 2, 4)], dim=2) for one in (k, v)]
    got, other = task.call(q, k, v), task.call(q, *later)

    def join(x: Tensor) -> Tensor:
        return x.transpose(1, 2).flatten(2)

    task.that(not got.isnan().any(), NOTHING_ALLOWED)
    right = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    known = {
        "the heads' parts are in the wrong order within a token: all of head 0, then all of head 1, …":
            right.permute(0, 2, 3, 1).flatten(2),
        "you exchanged seq and dim; it is heads and seq, the dimensions 1 and 2, that must change places":
            right.transpose(2, 3).reshape(2, 6, 12),
        "the leak is gone because nobody looks at anybody: only v came back": join(v),
        "you took the causal mask away; it was never the culprit": join(F.scaled_dot_product_attention(q, k, v)),
        "the division by √d got lost in the repair":
            join(F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=1.0)),
    }  # fmt: skip
    task.that(
        got.shape == (2, 6, 12),
        say("the shape is {shape}; wanted is (batch, seq, heads · dim)", shape=tuple(got.shape)),
    )
    leaks = not close(got[:, :4], other[:, :4])
    wrong = (
        "still there: the last tokens change the first ones" if leaks else "no leak any more, but the values are off"
    )
    task.equal(got, join(right), wrong, known)
    q, k, v = task.randn(3, 1, 2, 5, 6).unbind(0)
    task.again(join(F.scaled_dot_product_attention(q, k, v, is_causal=True)), q, k, v)
    return "no later token changes an earlier one, and the values are torch's"


@check("04.memory", points=2)
def check_conversations_that_fit(task: Task) -> str:
    """Predict, then measure: how many conversations fit on the card?"""
    # sizes that are never alike, so that each forgotten factor gives a number of its own
    layers, kv_heads, dim = 7 + 2 * task.number(0, 3), 3 + 2 * task.number(0, 2), 16 * (1 + task.number(0, 3))
    heads, length, number = kv_heads * (7 + 2 * task.number(0, 2)), 65 + task.number(0, 50), 120 + task.number(0, 40)
    config = ModelConfig(hidden_size=heads * dim, num_hidden_layers=layers, num_attention_heads=heads,
                         num_key_value_heads=kv_heads)  # fmt: skip
    cache = KVCache(config, 1, length, dtype=torch.bfloat16)
    one = cache.keys.nbytes + cache.values.nbytes  # measured: what the library's cache really takes
    budget = number * one + one * 3 // 4
    got = task.call(budget, length, layers, heads, kv_heads, dim)
    wide = one * heads // kv_heads
    task.equal(got, number, say("measured: one conversation takes {one} bytes, so {number} fit into {budget}",
                                one=f"{one:,}", number=number, budget=f"{budget:,}"), {
        "only whole conversations count, and half a one does not fit: `//`": budget / one,
        "the queries are not kept: count the key/value heads": budget // wide,
        "you have half of what is kept: there are keys *and* values, and a number in bfloat16 takes two bytes":
            budget // (one // 2),
        "you have a quarter of what is kept: there are keys *and* values, and a number in bfloat16 takes two bytes":
            budget // (one // 4),
        "a number in bfloat16 takes two bytes": budget // (one * 2),
        "the budget is in bytes, and you count bits": budget // (one * 8),
        "the last one fits only in part, and that does not count: round down": number + 1,
        "you took the queries for one of the two: kept are keys and values, both of the kv heads":
            budget // ((one + wide) // 2),
        "the queries are not kept, only keys and values": budget // (one + wide // 2),
        "you count three for each token; kept are two, a key and a value": budget // (one * 3 // 2),
        "heads // kv_heads says how many query heads share one key/value head; `kv_heads` of these are kept":
            budget // (one // kv_heads * (heads // kv_heads)),
        "each of the kv heads has keys and values of its own": budget // (one // kv_heads),
        "each key and each value has `dim` numbers": budget // (one // dim),
        "every layer has a cache of its own": budget // (one // layers),
        "that is how many *tokens* fit; a conversation has `length` of them": budget // (one // length),
    })  # fmt: skip
    none = task.call(one - 1, length, layers, heads, kv_heads, dim)
    task.equal(none, 0, "no conversation fits into less than it takes: the answer is 0 then")
    return say(
        "{one} bytes for a conversation of {length} tokens, as the library's cache takes them",
        one=f"{one:,}",
        length=length,
    )
