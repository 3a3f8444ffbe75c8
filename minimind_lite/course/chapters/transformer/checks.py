"""Checks of the exercises on chapter 07, the transformer. References: models that are built and counted, torch's own
RMSNorm, and torch's counter of operations."""

from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from minimind_lite.config import ModelConfig
from minimind_lite.model.attention import Attention
from minimind_lite.model.transformer import Transformer

from ...exercises.core import check
from ...exercises.task import Task, close
from ...kit.language import say

EPS = 1e-5


def _config(task: Task) -> ModelConfig:
    """A small model of drawn shape whose heads together are wider than its stream."""
    vocab, inner = 90 + task.number(0, 20), 50 + task.number(0, 20)
    kv_heads, dim = 1 + task.number(0, 3), 4 * (2 + task.number(0, 3))
    heads = kv_heads * (3 + 2 * task.number(0, 2))
    return ModelConfig(
        vocab_size=vocab, hidden_size=heads * dim - 8, num_hidden_layers=3 + task.number(0, 4),
        num_attention_heads=heads, num_key_value_heads=kv_heads, head_dim=dim, intermediate_size=inner,
    )  # fmt: skip


def _size(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@check("07.attention", points=1)
def check_attention_parameters(task: Task) -> str:
    """Parameters of an attention layer"""
    config = _config(task)
    d, heads, kv, dim = config.hidden_size, config.num_attention_heads, config.num_key_value_heads, config.head_dim
    with torch.device("meta"):
        built = _size(Attention(config))
    q, k = d * heads * dim, d * kv * dim
    task.equal(task.call(d, heads, kv, dim), built, say("built and counted: {built}", built=f"{built:,}"), {
        "keys and values have fewer heads than the queries: count kv_heads for them": 4 * q,
        "the output matrix is missing": q + 2 * k,
        "keys *and* values: two matrices": 2 * q + k,
        "the output matrix has all query heads as its input, not the kv heads": q + 3 * k,
        "heads · head_dim need not be the stream's width, and here it is not": 2 * d * d + 2 * d * d * kv // heads,
        "there are no biases in this layer": built + heads * dim + 2 * kv * dim + d,
    })  # fmt: skip
    return say("the built layer has {built} as well", built=f"{built:,}")


def _arguments(config: ModelConfig) -> dict[str, Any]:
    return {"vocab": config.vocab_size, "hidden": config.hidden_size, "layers": config.num_hidden_layers,
            "heads": config.num_attention_heads, "kv_heads": config.num_key_value_heads, "head_dim": config.head_dim,
            "inner": config.intermediate_size, "tied": config.tie_word_embeddings}  # fmt: skip


@check("07.count", points=3)
def check_count_parameters(task: Task) -> str:
    """Parameters of a whole model, before it is built"""
    for tied in (True, False):
        config = replace(_config(task), tie_word_embeddings=tied)
        with torch.device("meta"):
            model = Transformer(config)
            attention = _size(Attention(config))
        built, d, layers = _size(model), config.hidden_size, config.num_hidden_layers
        table, mlp = config.vocab_size * d, d * config.intermediate_size
        known = {
            "tied means that the head *is* the embedding matrix: it counts once": built + table,
            "not tied: the head is a matrix of its own": built - table,
            "the norm at the end is missing": built - d,
            "each block has two norms": built - layers * d,
            "the norms are missing: two in each block and one at the end": built - (2 * layers + 1) * d,
            "SwiGLU has three matrices: gate, up and down": built - layers * mlp,
            "there is one MLP in each block": built - (layers - 1) * 3 * mlp,
            "there is one attention layer in each block": built - (layers - 1) * attention,
            "positions have no parameters here: RoPE is computed": built + 32768 * d,
        }
        if not tied:
            known = {message: value for message, value in known.items() if not message.startswith("tied")}
        task.equal(
            task.call(**_arguments(config)),
            built,
            say("built and counted, tied={tied}: {built}", tied=tied, built=f"{built:,}"),
            known,
        )
    return "both models, built without memory on torch's meta device, have as many"


def _norm(x: Tensor) -> Tensor:
    return F.rms_norm(x, x.shape[-1:], eps=EPS)


@check("07.block", points=2)
def check_repaired_block(task: Task) -> str:
    """Find the bug in the block"""
    x, mix, mlp = task.randn(5, 8) * 3, task.randn(5, 5).tril() / 2, task.randn(8, 8) / 3
    got = task.call(x, mix, mlp)
    silent = task.call(x, torch.zeros(5, 5), torch.zeros(8, 8))
    norm = _norm(x)
    task.that(not close(silent, norm), "still there: with both layers silent, the block must hand x on untouched, and "
              "it hands on the normed x. What is added to the stream?")  # fmt: skip
    task.that(not close(silent, torch.zeros(5, 8)), "with both layers silent nothing is left of x: add each layer's "
              "output to the stream")  # fmt: skip
    double = task.call(x, torch.zeros(5, 5), mlp)
    only_mlp = x + torch.tanh(norm @ mlp)
    task.that(not close(double, x + torch.tanh(x @ mlp)), "the MLP gets the loud stream itself: a norm comes before "
              "each layer")  # fmt: skip
    task.equal(double, only_mlp, "with a silent attention the block is not x + MLP(norm(x))")
    plain, new = x + mix @ x, x + mix @ norm
    task.equal(got, new + torch.tanh(_norm(new) @ mlp), "not x + attention(norm(x)), and then the same with the MLP", {
        "attention gets the loud stream itself: a norm comes before each layer":
            plain + torch.tanh(_norm(plain) @ mlp),
        "the MLP does not see what attention has just added: the second norm reads the *new* stream":
            new + torch.tanh(norm @ mlp),
        "the MLP's norm is applied to x alone, and attention's part is lost": only_mlp,
    })  # fmt: skip
    return "silent layers leave the stream untouched: gradients have a free way down to the embeddings"


@check("07.flops", points=3)
def check_predicted_operations(task: Task) -> str:
    """Predict, then measure: operations of a forward pass"""
    config, tokens = _config(task), 12 + task.number(0, 20)
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter, sdpa_kernel(SDPBackend.MATH):  # the kernel that the counter can look into
        Transformer(config)(torch.zeros(1, tokens, dtype=torch.int64))
    measured, arguments = counter.get_total_flops(), _arguments(config)
    arguments.pop("tied")
    d, layers = config.hidden_size, config.num_hidden_layers
    scores = 2 * layers * config.num_attention_heads * config.head_dim * tokens**2
    with torch.device("meta"):
        every = _size(Transformer(config)) - (2 * layers + 1) * d
    wrong = say("{tokens} tokens: counted {measured}", tokens=tokens, measured=f"{measured:,}")
    task.equal(task.call(tokens, **arguments), measured, wrong, {
        "a multiplication and an addition are two operations": measured // 2,
        "the attention itself is missing: q · k and weights · v, for each pair of tokens": measured - 2 * scores,
        "attention multiplies twice: q · k, and then weights · v": measured - scores,
        "the head is missing: each token is compared with the whole vocabulary": measured - 2 * tokens * every
            + 2 * tokens * (every - config.vocab_size * d),
        "looking up an embedding multiplies nothing; only the head does": measured + 2 * tokens * config.vocab_size * d,
        "that is for one token": measured / tokens,
        "scores are made by all query heads, also where they share keys":
            measured - 2 * scores + 2 * scores * config.num_key_value_heads // config.num_attention_heads,
    }, tolerance=1e-6)  # fmt: skip
    return say("torch's counter says {measured} too, to the last one", measured=f"{measured:,}")
