"""Chapter 09's pictures: time per token, the cache's memory, what a sampling rule keeps, and the texts it makes.

Tokens and texts are HTML: the browser has Chinese fonts, matplotlib's own does not.
"""

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import torch
from torch import Tensor

from minimind_lite.config import ModelConfig
from minimind_lite.generation.sampling import SamplingConfig, sampling_logits
from minimind_lite.model.attention import cache_bytes
from minimind_lite.tokenizer import Tokenizer

from ...kit.labels import label, named
from ...kit.language import say
from ...kit.sentences import listed, moves, short
from ...kit.style import BLUE, GREY, ORANGE, RED, described, html, style, subplots

SHOWN = 10  # tokens of a distribution that get a bar of their own


@style()
def time_per_token(lengths: Sequence[int], milliseconds: Mapping[str, Sequence[float]]) -> Any:
    """Time of one new token against the tokens before it; one line per method, its last value in the legend."""
    figure, axis = subplots(width=7.0, height=3.4)
    milliseconds = {named(name): values for name, values in milliseconds.items()}
    for (name, values), colour, mark in zip(milliseconds.items(), (RED, ORANGE, BLUE), "osD", strict=False):
        axis.plot(lengths, values, marker=mark, color=colour, label=f"{name}: {values[-1]:.1f} ms")
    axis.set_xlim(left=0)
    axis.set_ylim(bottom=0)
    axis.legend()
    axis.set_xticks([length for length in lengths if length >= lengths[-1] / 8])
    axis.set_xlabel(label("tokens_in_context"))
    axis.set_ylabel(label("milliseconds_per_token"))
    words = say("{what} with {first} to {last} tokens in the context: {lines}.", what=label("milliseconds_per_token"),
                first=lengths[0], last=lengths[-1], lines=moves(milliseconds))  # fmt: skip
    return described(figure, words)


@style()
def cache_memory(configs: Mapping[str, ModelConfig], length: int, batch: int = 1, bytes_per_value: int = 2) -> Any:
    """Cache of each model as it is, beside the cache it would have if every query head kept its own key and value."""
    figure, axis = subplots(width=7.2, height=0.9 + 0.55 * len(configs))
    places = torch.arange(len(configs)).flip(0)
    for name, shift, colour in (("every_head_its_own", 0.19, GREY), ("grouped_as_built", -0.19, BLUE)):
        grouped = name == "grouped_as_built"
        mebibytes = [
            cache_bytes(config, batch, length, bytes_per_value) * (1 if grouped else _group(config)) / 2**20
            for config in configs.values()
        ]
        bars = axis.barh(places + shift, mebibytes, height=0.36, color=colour, label=label(name))
        axis.bar_label(bars, fmt="%.0f", padding=3, fontsize=9)
    axis.set_yticks(places, list(configs))
    axis.grid(axis="y", visible=False)
    axis.set_xlim(right=axis.get_xlim()[1] * 1.12)
    axis.set_xlabel(label("kv_mebibytes"))
    axis.legend(loc="best")
    sizes = {name: cache_bytes(config, batch, length, bytes_per_value) / 2**20 for name, config in configs.items()}
    pairs = (say("{name} {size} instead of {full}", name=name, size=short(size),
                 full=short(size * _group(configs[name]))) for name, size in sizes.items())  # fmt: skip
    words = say("Bars of the cache for {length} tokens in MiB, as built, instead of with a key and a value for each "
                "head: {pairs}.", length=length, pairs=listed(pairs, "; "))  # fmt: skip
    return described(figure, words)


def cache_account(config: ModelConfig, length: int, batch: int, bytes_per_value: int) -> Any:
    """The cache's formula with the model's numbers in it, and what the grouping saves, as HTML."""
    total = cache_bytes(config, batch, length, bytes_per_value)
    factors = {
        "keys_and_values": 2, "layer": config.num_hidden_layers, "kv_heads": config.num_key_value_heads,
        "head_dim": config.head_dim, "tokens_in_context": length, "batch": batch, "bytes": bytes_per_value,
    }  # fmt: skip
    product = " × ".join(
        f'{value} <span style="opacity:.65">{escape(label(name))}</span>' for name, value in factors.items()
    )
    each = cache_bytes(config, 1, 1, bytes_per_value)
    return html(
        f"<div>{product}</div><div><b>{size_text(total)}</b> = {size_text(each)} {escape(label('per_token'))}; "
        f"{escape(label('every_head_its_own'))}: {size_text(total * _group(config))} (× {_group(config)})</div>"
    )


def size_text(size: float) -> str:
    """Bytes in a readable unit: 8388608 → "8.0 MiB"."""
    power = min(int(math.log2(max(size, 1)) // 10), 4)
    unit = (label("bytes"), "KiB", "MiB", "GiB", "TiB")[power]
    return f"{size / 2 ** (10 * power):.{0 if power == 0 else 1}f} {unit}"


def _group(config: ModelConfig) -> int:
    return config.num_attention_heads // config.num_key_value_heads


def candidates(tokenizer: Tokenizer, logits: Tensor, config: SamplingConfig, shown: int = SHOWN) -> str:
    """HTML bars of the likeliest next tokens: grey for the model's probability, blue for that under ``config``.

    logits (vocab,). A token that the rule refuses is struck through.
    """
    model, drawn = logits.float().softmax(-1), _drawn_from(logits, config)
    top = model.topk(shown).indices
    rows = [_bar(f"<code>{escape(tokenizer.token_label(i))}</code>", model[i], drawn[i]) for i in top.tolist()]
    others = escape(f"{len(model) - shown} {label('other_tokens')}")
    rows.append(_bar(others, 1 - model[top].sum(), 1 - drawn[top].sum()))
    entropy = float(torch.special.entr(drawn.double()).sum()) / math.log(2)
    kept = f"{int((drawn > 0).sum())} / {len(model)} {label('tokens_kept')}"
    foot = f"{kept} · {label('entropy')} {entropy:.1f} {label('bits')}"
    body = "".join(rows)
    return f'<table style="border-collapse:collapse;font-size:90%">{body}</table><div>{escape(foot)}</div>'


def _drawn_from(logits: Tensor, config: SamplingConfig) -> Tensor:
    """The probability with which each token is drawn, (vocab,); greedy puts everything on one."""
    scores = sampling_logits(logits[None], config)[0]
    if config.greedy:
        return torch.zeros_like(scores).index_fill(0, scores.argmax(), 1.0)
    return scores.softmax(-1)


def _bar(name: str, model: Tensor, drawn: Tensor) -> str:
    """One row of ``candidates``; name is HTML."""
    gone = bool(drawn <= 1e-6)
    bars = "".join(
        f'<div style="background:{colour};height:7px;width:{max(1, 150 * float(share)):.0f}px"></div>'
        for colour, share in ((GREY, model), (BLUE, drawn))
        if share > 1e-6
    )
    cell = 'style="text-align:left;padding:0 6px;white-space:nowrap"'
    bar_cell = 'style="text-align:left;padding:0 6px;min-width:150px"'
    cells = (f"<s>{name}</s>" if gone else name, f"{model:.1%}", "" if gone else f"<b>{drawn:.1%}</b>")
    first, *numbers = (f"<td {cell}>{content}</td>" for content in cells)
    return f"<tr>{first}<td {bar_cell}>{bars}</td>{''.join(numbers)}</tr>"


def side_by_side(titled: Mapping[str, str]) -> Any:
    """HTML fragments side by side under their titles; they wrap on a narrow page."""
    blocks = "".join(
        f'<div style="margin:0 24px 12px 0"><div><b>{escape(named(title))}</b></div>{fragment}</div>'
        for title, fragment in titled.items()
    )
    return html(f'<div style="display:flex;flex-wrap:wrap">{blocks}</div>')


def continuations(rows: Sequence[tuple[str, str, str]]) -> Any:
    """Texts that a model wrote: one row each of (settings, prompt, continuation); the prompt is grey."""
    cell = "text-align:left;vertical-align:top;padding:4px 12px 4px 0"
    body = "".join(
        f'<tr><th scope="row" style="{cell};white-space:nowrap">{escape(named(name))}</th>'
        f'<td style="{cell};white-space:pre-wrap"><span style="opacity:.55">{escape(prompt)}</span>{escape(text)}</td>'
        "</tr>"
        for name, prompt, text in rows
    )
    return html(f'<table style="border-collapse:collapse">{body}</table>')
