"""Checks of the exercises on chapter 09, generation. References: torch's kernel on the whole text, search by trial."""

from itertools import combinations

import torch
import torch.nn.functional as F
from torch import Tensor

from minimind_lite.config import ModelConfig
from minimind_lite.model.attention import KVCache
from minimind_lite.model.transformer import Transformer

from ...exercises.core import check
from ...exercises.task import Task
from ...kit.language import say, say_count


@check("09.penalty", points=1)
def check_repetition_penalty(task: Task) -> str:
    """The repetition penalty"""
    logits, seen = task.randn(12) * 3, torch.tensor([1, 4, 4, 7, 9])
    logits[[1, 4]], logits[[7, 9]] = logits[[1, 4]].abs() + 1, -logits[[7, 9]].abs() - 1
    penalty = 1.5
    expected = [float(x) if i not in (1, 4, 7, 9) else float(x) / penalty if x > 0 else float(x) * penalty
                for i, x in enumerate(logits)]  # fmt: skip
    divided, occurred = logits.clone(), torch.zeros(12, dtype=torch.bool)
    divided[seen], occurred[seen] = logits[seen] / penalty, True
    everywhere = torch.where(logits > 0, logits / penalty, logits * penalty)
    twice = torch.tensor(expected)
    twice[4] /= penalty
    task.equal(task.call(logits, seen, penalty), torch.tensor(expected), "this is not the repetition penalty", {
        "a negative logit divided by 1.5 comes nearer to zero: that *rewards* the repetition. Multiply negative ones":
            divided,
        "every token is punished; only those that occurred should be": everywhere,
        "it is the other way round: you reward what occurred":
            torch.where(occurred, torch.where(logits > 0, logits * penalty, logits / penalty), logits),
        "a token that occurred twice is punished twice; once is the rule": twice,
        "you subtracted the penalty (that is another one, the *presence* penalty)": logits - penalty * occurred.float(),
    })  # fmt: skip
    task.again(torch.tensor([1.0, -8.0, 3.0]), torch.tensor([4.0, -2.0, 3.0]), torch.tensor([0, 1]), 4.0)
    return "positive logits smaller, negative ones more negative, once for each token that occurred"


def _whole(x: Tensor, w_q: Tensor, w_k: Tensor, w_v: Tensor) -> Tensor:
    """Causal attention over the whole text at once, by torch's kernel."""
    q, k, v = ((x @ w.mT)[None, None] for w in (w_q, w_k, w_v))
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)[0, 0]


@check("09.cache", points=3)
def check_attend_with_cache(task: Task) -> str:
    """Attention with a KV cache"""
    x, weights = task.randn(9, 8), [task.randn(8, 8) / 2 for _ in range(3)]
    whole, keys, values = _whole(x, *weights), torch.zeros(0, 8), torch.zeros(0, 8)
    at = 0
    for size in (4, 1, 3, 1):  # a prompt, a step, a piece of several tokens into a filled cache, a step
        new = x[at : at + size]
        answer = task.call(new, keys, values, *weights)
        task.that(isinstance(answer, tuple | list) and len(answer) == 3, "return three things: output, keys, values")
        output, keys, values = (torch.as_tensor(one) for one in answer)
        stored = (x[: at + size] @ weights[1].mT, x[: at + size] @ weights[2].mT)
        _judge_store(task, (keys, values), stored, size)
        q = new @ weights[0].mT
        scores = q @ stored[0].mT / 8**0.5
        corner = scores.masked_fill(torch.ones_like(scores).triu(1).bool(), -torch.inf)
        task.equal(output, whole[at : at + size], say_count(
            "{count} new token after {at}: not what the whole text gives",
            "{count} new tokens after {at}: not what the whole text gives", size, at=at,
        ), {
            "the new tokens see each other's future: within a piece attention is causal too":
                scores.softmax(-1) @ stored[1],
            "your mask lines up the first query with the first key; with a cache the *last* query is the last key's":
                corner.softmax(-1) @ stored[1],
            "the division by √dim is missing":
                (scores * 8**0.5 + torch.full_like(scores, -torch.inf).triu(at + 1)).softmax(-1) @ stored[1],
            "the new tokens see only each other: attend to the *kept* keys and values as well": _whole(new, *weights),
        })  # fmt: skip
        at += size
    return "in pieces of 4, 1, 3 and 1 tokens the same outputs as the whole text at once"


def _judge_store(task: Task, got: tuple[Tensor, Tensor], stored: tuple[Tensor, Tensor], size: int) -> None:
    """What is kept after a piece of ``size`` tokens."""
    task.equal(got[0], stored[0], "the kept keys are not x @ w_k.T of all tokens so far, old ones first", {
        "the cache is forgotten: return the old keys and the new ones behind them": stored[0][-size:],
        "the new keys come before the old ones": torch.cat([stored[0][-size:], stored[0][:-size]]),
        "keys and values are exchanged": stored[1],
    })  # fmt: skip
    task.equal(got[1], stored[1], "values: all tokens' so far, old ones first")


def _nucleus(row: Tensor, p: float) -> Tensor:
    """The smallest set that holds p, by trial of all sets, rescaled to sum 1."""
    for size in range(1, len(row) + 1):
        best = max(combinations(range(len(row)), size), key=lambda chosen: sum(float(row[i]) for i in chosen))
        kept = row[list(best)]
        if float(kept.sum()) >= p:
            return torch.zeros_like(row).index_put((torch.tensor(best),), kept / kept.sum())
    return row


@check("09.top_p", points=2)
def check_repaired_top_p(task: Task) -> str:
    """Find the bug in top-p"""
    for p in (0.7, 0.9):
        rows = (task.randn(4, 7) * 1.5).softmax(-1)
        rows[0] = torch.tensor([0.02, 0.95, 0.01, 0.005, 0.005, 0.005, 0.005])  # one token alone is more than p
        got = torch.as_tensor(task.call(rows, p))
        expected = torch.stack([_nucleus(row, p) for row in rows])
        task.that(
            got.shape == rows.shape,
            say("the shape is {shape}; wanted is one probability a token", shape=tuple(got.shape)),
        )
        task.that((got[0] > 0).any(), "still there: where the first token alone has more than p, nothing is left to "
                  "draw from. The token that crosses p belongs to the set")  # fmt: skip
        kept, wanted = (got > 0).sum(-1), (expected > 0).sum(-1)
        order = rows.argsort(dim=-1, descending=True).argsort(dim=-1)
        task.that(not torch.equal(got > 0, order < wanted[:, None] + 1), "one token too many: stop as soon as p is "
                  "reached")  # fmt: skip
        task.equal(kept, wanted, "not the smallest set that holds p")
        task.equal(got, expected, "the right number of tokens, and other values", {
            "what is left must be rescaled to sum 1": rows * (expected > 0),
            "the probabilities are in order of size now; put them back to their tokens":
                expected.sort(-1, descending=True).values,
        })  # fmt: skip
    exact = torch.as_tensor(task.call(torch.tensor([[0.25, 0.5, 0.125, 0.125]]), 0.5))
    task.equal(exact, [[0.0, 1.0, 0.0, 0.0]], "one token has p = 0.5 exactly, so it is the set: a token stays as "
               "long as those before it have *less* than p (`<`, not `<=`)")  # fmt: skip
    return "the smallest set that holds p, found by trial of all sets, never an empty one"


@check("09.work", points=2)
def check_predicted_work(task: Task) -> str:
    """Predict, then measure: how many tokens does the model read?"""
    prompt, new = 5 + task.number(0, 20), 4 + task.number(0, 20)
    for cached in (False, True):
        read = _tokens_read(prompt, new, cached)
        how = say("with a cache" if cached else "without a cache")
        other = prompt + new - 1 if not cached else new * prompt + new * (new - 1) // 2
        task.equal(
            task.call(prompt, new, cached),
            read,
            say("{how}, {prompt} tokens of prompt and {new} new ones", how=how, prompt=prompt, new=new),
            {
                say("{how}: the last token is drawn and never read by the model", how=how): read
                + (1 if cached else prompt + new),
                say("{how}: you have the two cases the wrong way round", how=how): other,
                say("{how}: the prompt is read as well", how=how): new - 1 if cached else new * (new - 1) // 2,
                say("{how}: the text grows by one token each time", how=how): read if cached else new * prompt,
                say("{how}: the prompt is read once, not for each token", how=how): new * prompt if cached else read,
            },
        )
    return "counted in a model at work: it grows with the square without a cache, and in a line with one"


@torch.no_grad()
def _tokens_read(prompt: int, new: int, cached: bool) -> int:
    """Greedy decoding with a small model; its embedding counts what passes."""
    config = ModelConfig(vocab_size=20, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
                         num_key_value_heads=1, intermediate_size=16)  # fmt: skip
    model, counted = Transformer(config), [0]
    cache = KVCache(config, 1, prompt + new) if cached else None

    def count(module: torch.nn.Module, args: tuple[Tensor], output: Tensor) -> None:
        counted[0] += args[0].numel()

    model.model.embed_tokens.register_forward_hook(count)
    ids = unread = torch.zeros(1, prompt, dtype=torch.int64)
    for _ in range(new):
        unread = model(unread if cached else ids, cache=cache)[:, -1:].argmax(-1)
        ids = torch.cat([ids, unread], dim=1)
    return counted[0]
