"""Chapter 06's pictures: which expert each token goes to, how busy the experts are, the race of dense against MoE."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import torch
from torch import Tensor

from minimind_lite.config import ModelConfig, count_active_parameters, count_parameters
from minimind_lite.model.moe import load_entropy
from minimind_lite.tokenizer import Tokenizer

from ...kit.labels import label
from ...kit.language import say
from ...kit.sentences import listed, moves, short
from ...kit.style import BLUE, GREEN, GREY, ORANGE, SEQUENTIAL, chip, described, html, subplots

# Light colours, one per expert, distinguishable under black text; a number helps readers who cannot see them.
EXPERT_COLOURS = ("#b9d7ea", "#fbe3b5", "#b5e0d2", "#f3c3ac", "#e8c6db", "#d3edfa", "#f6f0a0", "#d5d5d5")


def expert_chip(text: str, expert: int, title: str = "") -> str:
    """HTML of one token in its expert's colour, with the expert's number below the line."""
    colour = EXPERT_COLOURS[expert % len(EXPERT_COLOURS)]
    number = f'<sub style="color:#444;font-size:65%">{expert}</sub>'
    return chip(text, colour, title) + number


def routed_text(tokenizer: Tokenizer, ids: Sequence[int], probabilities: Tensor, chosen: Tensor) -> str:
    """HTML of a text in which every token has the colour of its first expert; the mouse shows the probabilities.

    probabilities: (tokens, experts). chosen: (tokens, k).
    """
    chips = []
    for token, row, experts in zip(ids, probabilities.tolist(), chosen.tolist(), strict=True):
        title = " · ".join(f"{label('expert')} {expert}: {row[expert]:.0%}" for expert in experts)
        chips.append(expert_chip(tokenizer.token_label(token), experts[0], title))
    return "".join(chips)


def legend(experts: int) -> str:
    """HTML: each expert's colour."""
    return " ".join(expert_chip(f"{label('expert')}\u00a0{number}", number) for number in range(experts))


def routing(texts: Mapping[str, str], experts: int) -> Any:
    """Routed texts (title: HTML) one below another, with the legend."""
    lines = "".join(f'<div style="margin:6px 0"><b>{escape(name)}</b><br>{body}</div>' for name, body in texts.items())
    return html(lines + f"<div>{legend(experts)}</div>")


def kinds(loads: Mapping[str, Tensor], layer_names: Sequence[str]) -> Any:
    """For each layer, the share of each kind of text that goes to each expert: (layers, experts) for each kind."""
    names = list(loads)
    count = len(layer_names)
    figure, axes = subplots(1, count, width=2.0 + 1.9 * count, height=0.9 + 0.34 * len(names), sharey=True)
    axes = [axes] if count == 1 else list(axes)
    top = max(float(table.max()) for table in loads.values())
    for layer, axis in enumerate(axes):
        grid = torch.stack([loads[name][layer] for name in names])
        image = axis.imshow(grid, vmin=0, vmax=top, cmap=SEQUENTIAL, aspect="auto")
        axis.set(title=layer_names[layer], xlabel=label("expert"), xticks=range(grid.shape[1]))
        axis.set_yticks(range(len(names)), [label(name) for name in names])
        axis.grid(False)
    figure.colorbar(image, ax=axes, label=label("load"))
    busiest = listed(
        (say("{kind}: {layer}, expert {expert} with {share}", kind=label(name), layer=layer_names[i],
             expert=int(row.argmax()), share=f"{float(row.max()):.0%}")
         for name in names for i, row in [max(enumerate(loads[name]), key=lambda one: float(one[1].max()))]), "; "
    )  # fmt: skip
    return described(figure, say("Heat maps, one per layer, of the share of each kind of text at each expert; the "
                                 "largest: {busiest}.", busiest=busiest))  # fmt: skip


def load_bars(loads: Mapping[str, Tensor]) -> Any:
    """The experts' loads of several layers or runs, each beside the line of equal shares; titles carry the entropy."""
    figure, axes = subplots(1, len(loads), width=1.6 + 2.2 * len(loads), height=2.6, sharey=True, squeeze=False)
    for axis, (name, shares) in zip(axes[0], loads.items(), strict=True):
        entropy = float(load_entropy(shares))
        axis.bar(range(len(shares)), (100 * shares).tolist(), color=GREEN if entropy >= 0.9 else ORANGE)
        axis.axhline(100 / len(shares), color=GREY, linestyle="--", linewidth=1)
        axis.set(title=f"{name}\n{label('entropy')} {entropy:.2f}", xlabel=label("expert"),
                 xticks=range(len(shares)))  # fmt: skip
    axes[0][0].set(ylabel=label("load_percent"), ylim=(0, 100))
    panels = listed(
        (say("{name}: expert {most} takes most, {high}, expert {least} least, {low}, entropy {entropy}", name=name,
             most=int(shares.argmax()), high=f"{float(shares.max()):.0%}", least=int(shares.argmin()),
             low=f"{float(shares.min()):.0%}", entropy=f"{float(load_entropy(shares)):.2f}")
         for name, shares in loads.items()), "; "
    )  # fmt: skip
    return described(figure, say("Bars of each expert's share of the visits, beside a line of equal shares: {panels}.",
                                 panels=panels))  # fmt: skip


def collapse(runs: Mapping[str, Sequence[Tensor]], step: int | None = None) -> Any:
    """Loads over the steps of a run, as stacked bands, one panel per run: (steps) of (experts,). ``step`` is marked."""
    figure, axes = subplots(1, len(runs), width=1.2 + 3.4 * len(runs), height=2.8, sharey=True, squeeze=False)
    for axis, (name, history) in zip(axes[0], runs.items(), strict=True):
        table = 100 * torch.stack(list(history)).T  # (experts, steps)
        axis.stackplot(range(table.shape[1]), *table.tolist(), colors=EXPERT_COLOURS)
        if step is not None:
            axis.axvline(step, color="black", linewidth=1)
        axis.set(title=name, xlabel=label("step"), xlim=(0, max(1, table.shape[1] - 1)), ylim=(0, 100))
    axes[0][0].set(ylabel=label("load_percent"))
    ends = listed(
        (say("{name}: the largest share goes from {first} to {last}, which is expert {expert}'s", name=name,
             first=f"{float(history[0].max()):.0%}", last=f"{float(history[-1].max()):.0%}",
             expert=int(history[-1].argmax())) for name, history in runs.items()), "; "
    )  # fmt: skip
    return described(figure, say("Stacked bands of the experts' shares of the visits over the steps: {ends}.",
                                 ends=ends))  # fmt: skip


def race(dense: Sequence[Mapping[str, Any]], experts: Sequence[Mapping[str, Any]], coefficient: float) -> Any:
    """Loss of both runs over the steps, the balance term taken out, and the held-out losses."""
    figure, axis = subplots(height=3.6)
    for rows, name, colour in ((dense, "dense", GREY), (experts, "moe", BLUE)):
        losses = [row["loss"] - coefficient * row.get("balance_loss", 0.0) for row in rows]
        axis.plot([row["step"] for row in rows], losses, color=colour, linewidth=1, alpha=0.7, label=label(name))
        held_out = [(row["step"], row["eval_loss"]) for row in rows if "eval_loss" in row]
        words = say("{name}, held out", name=label(name))
        axis.plot(*zip(*held_out, strict=True), color=colour, marker="o", label=words)
    axis.set(xlabel=label("step"), ylabel=label("loss"))
    axis.legend()
    held = {
        label(name): [row["eval_loss"] for row in rows if "eval_loss" in row]
        for rows, name in ((dense, "dense"), (experts, "moe"))
    }
    return described(figure, say("{loss} of two runs over their steps, without the balance term; held out, {lines}.",
                                 loss=label("loss"), lines=moves(held)))  # fmt: skip


def parameter_bars(configs: Mapping[str, ModelConfig]) -> Any:
    """Active and idle parameters of several models, in millions."""
    figure, axis = subplots(height=0.8 + 0.42 * len(configs))
    names = list(configs)[::-1]
    active = [count_active_parameters(configs[name]) / 1e6 for name in names]
    idle = [count_parameters(configs[name]) / 1e6 - used for name, used in zip(names, active, strict=True)]
    axis.barh(names, active, color=BLUE, label=label("active"))
    bars = axis.barh(names, idle, left=active, color="#cfe3f1", label=label("idle"))
    sums = [f"{a:.1f} / {a + i:.1f}" for a, i in zip(active, idle, strict=True)]
    axis.bar_label(bars, labels=sums, padding=3)
    axis.grid(axis="y", visible=False)
    axis.set(xlabel=label("million_parameters"), xlim=(0, 1.2 * max(a + i for a, i in zip(active, idle, strict=True))))
    axis.legend(loc="upper right")
    pairs = zip(names[::-1], active[::-1], idle[::-1], strict=True)
    sizes = listed((say("{name} {used} of {all}", name=name, used=short(used), all=short(used + rest))
                    for name, used, rest in pairs), "; ")  # fmt: skip
    return described(figure, say("Bars, {what}, those that a token meets out of all: {sizes}.",
                                 what=label("million_parameters"), sizes=sizes))  # fmt: skip
