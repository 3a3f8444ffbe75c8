"""Chapter 11's pictures: how much rank a change has, what an adapter costs, and several adapters' answers."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import torch
from torch import Tensor

from minimind_lite.config import ModelConfig

from ...kit.labels import label, named
from ...kit.language import say
from ...kit.sentences import amounts, listed, move, moves, short
from ...kit.style import BLUE, GREEN, GREY, ORANGE, PALETTE, described, html, subplots


def spectra(changes: Mapping[str, Sequence[Tensor]], marked: int) -> Any:
    """The share of each change's energy (squared singular values) that its first directions hold, matrices averaged.

    changes: name → matrices. ``marked`` is a rank to look at.
    """
    figure, axis = subplots(height=3.4)
    held = []
    for (name, matrices), colour in zip(changes.items(), PALETTE, strict=False):
        shares = [torch.linalg.svdvals(one.float().cpu()).square() for one in matrices]
        longest = max(len(one) for one in shares)
        curves = [100 * (one / one.sum()).cumsum(0) for one in shares]
        padded = torch.stack([torch.cat([one, one.new_full((longest - len(one),), 100.0)]) for one in curves])
        energy = padded.mean(dim=0).tolist()
        held.append(say("{percent} % of {name}", percent=short(energy[min(marked, longest) - 1]), name=label(name)))
        axis.plot(range(1, longest + 1), energy, color=colour, label=label(name))
    axis.axvline(marked, color=GREY, linestyle=":")
    axis.set(xscale="log", xlabel=label("directions_kept"), ylabel=label("energy_percent"), ylim=(0, 103))
    axis.legend()
    words = say("{what}, over the number of directions kept: the first {marked} of them hold {held}.",
                what=label("energy_percent"), marked=marked, held=listed(held))  # fmt: skip
    return described(figure, words)


def truncated(ranks: Sequence[int], right: Sequence[float]) -> Any:
    """Right answers of a model whose fine-tuning was cut to each rank per matrix; the last rank is the full one."""
    figure, axis = subplots(height=3.0)
    axis.plot(range(len(ranks)), [100 * share for share in right], marker="o", color=BLUE)
    axis.set_xticks(range(len(ranks)), [*map(str, ranks[:-1]), label("all_directions")])
    axis.set(xlabel=label("directions_kept"), ylabel=label("exact_percent"), ylim=(-3, 103))
    percent = move(label("exact_percent"), [100 * share for share in right])
    return described(figure, say("A line over the directions kept in each matrix, from {first} to all {last}: {line}.",
                                 first=ranks[0], last=ranks[-1], line=percent))  # fmt: skip


def linear_shapes(config: ModelConfig) -> list[tuple[int, int]]:
    """(out, in) of every linear layer in a dense model's attention and MLP."""
    hidden, inner = config.hidden_size, config.intermediate_size
    width, kv = config.num_attention_heads * config.head_dim, config.num_key_value_heads * config.head_dim
    layer = [(width, hidden), (kv, hidden), (kv, hidden), (hidden, width)] + [(inner, hidden)] * 2 + [(hidden, inner)]
    return layer * config.num_hidden_layers


def adapter_parameters(config: ModelConfig, rank: int) -> int:
    """The number of parameters of an adapter of this rank on all linear layers."""
    return sum(rank * (out + into) for out, into in linear_shapes(config))


def shares_by_rank(models: Mapping[str, tuple[ModelConfig, int]], ranks: Sequence[int], marked: int) -> Any:
    """Trainable parameters in percent of the base's, against the rank. models: name → (config, base's parameters)."""
    figure, axis = subplots(height=3.2)
    percents = {
        named(name): [100 * adapter_parameters(config, rank) / total for rank in ranks]
        for name, (config, total) in models.items()
    }
    for (name, percent), colour in zip(percents.items(), PALETTE, strict=False):
        axis.plot(ranks, percent, marker="o", markersize=4, color=colour, label=name)
    axis.axvline(marked, color=GREY, linestyle=":")
    axis.axhline(100, color=GREY, linewidth=1)
    axis.set(xscale="log", yscale="log", xlabel=label("rank"), ylabel=label("trainable_percent"), xticks=list(ranks))
    axis.set_xticklabels([str(rank) for rank in ranks])
    axis.minorticks_off()
    axis.legend()
    words = say("{what}, over ranks from {first} to {last}, with rank {marked} marked: {lines}.",
                what=label("trainable_percent"), first=ranks[0], last=ranks[-1], marked=marked,
                lines=moves(percents))  # fmt: skip
    return described(figure, words)


def training_bytes(total: int, trained: int) -> dict[str, float]:
    """Bytes of weights, gradients and AdamW's two moments in fp32, when ``trained`` of the weights are trained."""
    return {"weights": 4.0 * total, "gradients": 4.0 * trained, "adamw_moments": 8.0 * trained}


def memory(runs: Mapping[str, Mapping[str, float]]) -> Any:
    """Stacked bars of bytes by part, one bar per way of training, in MiB."""
    figure, axis = subplots(height=0.9 + 0.55 * len(runs))
    names, colours = list(runs)[::-1], (BLUE, ORANGE, GREEN)
    left = [0.0] * len(names)
    for part, colour in zip(next(iter(runs.values())), colours, strict=False):
        sizes = [runs[name][part] / 2**20 for name in names]
        axis.barh([label(name) for name in names], sizes, left=left, color=colour, label=label(part))
        left = [before + size for before, size in zip(left, sizes, strict=True)]
    for row, end in enumerate(left):
        axis.annotate(f"{end:,.1f}", (end, row), xytext=(6, -4), textcoords="offset points")
    axis.grid(axis="y", visible=False)
    axis.set(xlabel=label("mebibytes"), xlim=(0, 1.15 * max(left)))
    axis.legend(loc="lower right")
    totals = amounts({label(name): sum(parts.values()) / 2**20 for name, parts in runs.items()})
    parts = listed(label(part) for part in next(iter(runs.values())))
    return described(figure, say("Stacked bars of memory in MiB, made of {parts}: {totals}.",
                                 parts=parts, totals=totals))  # fmt: skip


def side_by_side(questions: Sequence[str], said: Mapping[str, Sequence[str]]) -> Any:
    """What each adapter answers to the same questions: one column per adapter."""
    head = "".join(f'<th style="text-align:left">{escape(label(name))}</th>' for name in ("question", *said))
    cell = '<td style="text-align:left;vertical-align:top;max-width:18em">{}</td>'
    rows = "".join(
        "<tr>" + "".join(cell.format(escape(_short(text))) for text in (question, *answers)) + "</tr>"
        for question, *answers in zip(questions, *said.values(), strict=True)
    )
    return html(f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>")


def _short(text: str) -> str:
    return (text if len(text) <= 90 else text[:89] + "…") or "∅"
