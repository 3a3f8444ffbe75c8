"""Chapter 18's pictures: the ring, the shards, overlap, distances, memory, timings, and the plan for many cards."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from minimind_lite.training.scaling import KEPT_WHOLE, Memory, Sharding

from ...kit.drawings import arrow, box
from ...kit.labels import label, named
from ...kit.language import say
from ...kit.sentences import amounts, listed, move, moves, short
from ...kit.style import BLUE, GREEN, GREY, ORANGE, PALETTE, PURPLE, RED, described, style, subplots
from .speed import Gain

PIECES = ("#b9d7ea", "#fbe3b5", "#b5e0d2", "#f3c3ac")
KINDS: Mapping[Sharding, str] = {"ddp": "DDP", "zero1": "ZeRO 1", "zero2": "ZeRO 2", "zero3": "ZeRO 3, FSDP"}


@style()
def ring_steps(ranks: int = 4) -> Any:
    """A ring all-reduce: which piece each rank passes on in each step, and how many ranks' parts it is the sum of."""
    steps = 2 * (ranks - 1)
    figure, axes = subplots(1, steps, width=8.6, height=2.7)
    for step, axis in enumerate(axes):
        gathering = step >= ranks - 1
        for rank in range(ranks):
            piece = (rank - step) % ranks  # in the second round, the complete piece that came last
            parts = ranks if gathering else step + 1
            box(axis, 0.0, ranks - rank, 1.0, f"{'abcdefgh'[piece]} · {parts}", PIECES[piece % len(PIECES)])
            arrow(axis, (0.5, ranks - rank - 0.33), (0.5, ranks - rank - 0.67 if rank < ranks - 1 else 0.1), GREY)
            if step == 0:
                axis.text(-0.12, ranks - rank, f"{label('rank_number')} {rank}", ha="right", va="center", fontsize=8)
        axis.set(xlim=(-0.1, 1.1), ylim=(0, ranks + 0.5))
        axis.set_title(f"{step + 1}", fontsize=9, color=GREEN if gathering else BLUE, loc="center")
        axis.axis("off")
    words = f"1–{ranks - 1}: {label('reduce_scatter')}   ·   {ranks}–{steps}: {label('all_gather')}"
    figure.supxlabel(words, fontsize=9)
    said = say("A ring of {ranks} ranks passes pieces on in {steps} steps: {half} in which sums grow to {ranks} parts, "
               "and {half} in which every rank receives the complete pieces.", ranks=ranks, steps=steps,
               half=ranks - 1)  # fmt: skip
    return described(figure, said)


@style()
def shards(ranks: int = 4) -> Any:
    """What each rank holds of weights, gradients and optimizer states, for DDP and the three stages of ZeRO."""
    figure, axes = subplots(1, len(KINDS), width=8.6, height=2.5, sharey=True)
    colours = {"weights": BLUE, "gradients": ORANGE, "optimizer": GREEN}
    words = {"weights": label("weights"), "gradients": label("gradients"), "optimizer": label("optimizer_states")}
    for axis, (kind, title) in zip(axes, KINDS.items(), strict=True):
        for rank in range(ranks):
            for column, (name, colour) in enumerate(colours.items()):
                left, height = rank * 3.6 + column, 1 if name != "optimizer" else 2
                axis.bar(left, height, width=0.9, color="#eeeeee", align="edge")
                whole = name in KEPT_WHOLE[kind]
                part, bottom = (height, 0.0) if whole else (height / ranks, height * (1 - (rank + 1) / ranks))
                axis.bar(left, part, width=0.9, bottom=bottom, color=colour, align="edge",
                         label=words[name] if rank == 0 else None)  # fmt: skip
        axis.set_title(title)
        axis.set_xticks([rank * 3.6 + 1.45 for rank in range(ranks)], [str(rank) for rank in range(ranks)])
        axis.set(xlabel=label("rank_number"), yticks=[])
        axis.grid(False)
        axis.spines["left"].set_visible(False)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    held = listed((f"{title} {_kept(kind, ranks)}" for kind, title in KINDS.items()), "; ")
    return described(figure, say("Bars of what each of {ranks} ranks holds of weights, gradients and optimizer states: "
                                 "{held}.", ranks=ranks, held=held))  # fmt: skip


def _kept(kind: Sharding, ranks: int) -> str:
    """What a rank holds whole, and what it holds a part of, in words."""
    names = ("weights", "gradients", "optimizer")
    words = {name: label("optimizer_states" if name == "optimizer" else name) for name in names}
    whole = [words[name] for name in names if name in KEPT_WHOLE[kind]]
    parts = [words[name] for name in names if name not in KEPT_WHOLE[kind]]
    if not parts:
        return say("keeps {whole} whole", whole=listed(whole))
    return say("keeps {whole} whole, and 1/{ranks} of the {parts}" if whole else "keeps 1/{ranks} of the {parts}",
               whole=listed(whole), ranks=ranks, parts=listed(parts))  # fmt: skip


@style()
def overlap_lines(layers: int = 4) -> Any:
    """Two time lines of one step: gradients exchanged after the backward pass, and layer by layer during it."""
    figure, axis = subplots(width=8.6, height=3.0)
    forward, backward, exchange = 1.0, 2.0, 1.2  # of one layer, in any unit
    begin, ends = layers * forward, []
    for base, meanwhile in ((3, False), (0, True)):
        axis.text(0, base + 1.62, label("exchange_meanwhile" if meanwhile else "exchange_afterwards"), fontsize=9)
        for layer in range(layers):
            _bar(axis, layer * forward, base + 1, forward, f"{layer}", "#b9d7ea")
            _bar(axis, begin + layer * backward, base + 1, backward, f"{layers - 1 - layer}", "#f3c3ac")
        free = begin + layers * backward
        end = begin + backward if meanwhile else free
        for layer in range(layers):
            end = max(end, begin + (layer + 1) * backward) if meanwhile else end
            _bar(axis, end, base, exchange, f"{layers - 1 - layer}", "#b5e0d2")
            end += exchange
        _bar(axis, end, base + 1, 0.7, "", "#d5d5d5")
        ends.append(end + 0.7)
        axis.plot([end + 0.7] * 2, [base - 0.4, base + 1.45], color=RED, linewidth=1.4)
    names = {"forward_pass": "#b9d7ea", "backward_pass": "#f3c3ac", "exchange": "#b5e0d2", "update": "#d5d5d5"}
    for name, colour in names.items():
        axis.bar(0, 0, color=colour, label=label(name))
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.08), ncols=4)
    axis.set(xlim=(0, 18.5), ylim=(-0.6, 5.2), yticks=[], xticks=[], xlabel=f"{label('time')} →")
    axis.grid(False)
    axis.spines["left"].set_visible(False)
    words = say("Two time lines of one step through {layers} layers: gradients exchanged after the backward pass, done "
                "at {after}, and exchanged layer by layer during it, done at {during}, in any unit of time.",
                layers=layers, after=short(ends[0]), during=short(ends[1]))  # fmt: skip
    return described(figure, words)


def _bar(axis: Any, left: float, middle: float, width: float, text: str, colour: str) -> None:
    axis.barh(middle, width, left=left, height=0.8, color=colour, edgecolor="white")
    axis.text(left + width / 2, middle, text, ha="center", va="center", fontsize=8)


@style()
def distances(found: Mapping[str, Tensor], expected: Tensor, limit: float = 1e-5) -> Any:
    """How far the gradient of each way of exchanging is from one process's, on a logarithmic axis."""
    figure, axis = subplots(height=0.9 + 0.36 * len(found))
    names = list(found)[::-1]
    apart = [max(float((found[name] - expected).abs().max()), 1e-9) for name in names]
    axis.barh([label(name) for name in names], apart, left=1e-9, color=[GREEN if one < limit else RED for one in apart])
    axis.axvline(limit, color="black", linewidth=1, linestyle="--")
    axis.set(xscale="log", xlim=(1e-9, 10), xlabel=label("largest_distance"))
    axis.grid(axis="y", visible=False)
    near = [name for name in found if apart[names.index(name)] < limit]
    largest = amounts({label(name): apart[names.index(name)] for name in found})
    words = say("Bars of {what}: {lengths}; {near} of {count} are below {limit}.", what=label("largest_distance"),
                lengths=largest, near=len(near), count=len(found), limit=short(limit))  # fmt: skip
    return described(figure, words)


@style()
def memory_bars(found: Mapping[str, Memory], card_gigabytes: float | None = None) -> Any:
    """Weights, gradients, optimizer states and activations of one card, in GB, one bar per plan."""
    figure, axis = subplots(height=1.1 + 0.38 * len(found))
    found = {named(name): memory for name, memory in found.items()}
    names, left = list(found)[::-1], [0.0] * len(found)
    parts = {"weights": BLUE, "gradients": ORANGE, "optimizer": GREEN, "activations": PURPLE}
    for part, colour in parts.items():
        gigabytes = [getattr(found[name], part) / 1e9 for name in names]
        words = label("optimizer_states" if part == "optimizer" else part)
        bars = axis.barh(names, gigabytes, left=left, color=colour, label=words)
        left = [a + b for a, b in zip(left, gigabytes, strict=True)]
    axis.bar_label(bars, labels=[f"{total:.3g}" for total in left], padding=3)
    if card_gigabytes is not None:
        axis.axvline(card_gigabytes, color=RED, linestyle="--", label=label("card_memory"))
    axis.set(xlabel=label("gigabytes"), xlim=(0, 1.15 * max([*left, card_gigabytes or 0])))
    axis.grid(axis="y", visible=False)
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.28), ncols=5, fontsize=8)
    totals = dict(zip(names, left, strict=True))
    card = ""
    if card_gigabytes is not None:
        fitting = sum(total <= card_gigabytes for total in left)
        card = say("; {fitting} of {count} fit into the card's {size} GB", fitting=fitting, count=len(totals),
                   size=short(card_gigabytes))  # fmt: skip
    return described(figure, say("Stacked bars of one card's memory in GB: {totals}{card}.", totals=amounts(totals),
                                 card=card))  # fmt: skip


@style()
def gains(found: Mapping[str, Gain]) -> Any:
    """How many times as long the same work takes with one thing switched off, with the smallest and largest round."""
    names = sorted(found, key=lambda name: found[name].ratio)
    figure, axis = subplots(height=1.1 + 0.34 * len(names))
    ratios = [found[name].ratio for name in names]
    reach = [(one - found[name].ratios[0], found[name].ratios[-1] - one)
             for name, one in zip(names, ratios, strict=True)]  # fmt: skip
    colours = [BLUE if one >= 1 else ORANGE for one in ratios]
    words = [named(name) for name in names]
    axis.barh(words, ratios, color=colours, xerr=list(zip(*reach, strict=True)), ecolor=GREY, capsize=3)
    axis.axvline(1, color=RED, linestyle="--")
    axis.set(xlabel=label("times_as_long"))
    axis.grid(axis="y", visible=False)
    return described(figure, say("How many times as long the same work takes without each of these: {ratios}.",
                                 ratios=amounts(dict(zip(words, ratios, strict=True)))))  # fmt: skip


@style()
def exchange_times(timed: Sequence[tuple[int, float]], latency: float, bandwidth: float, ranks: int) -> Any:
    """Measured seconds of an all-reduce over its size, and the fitted line."""
    figure, axis = subplots(height=3.0)
    sizes = [size for size, _ in timed]
    axis.plot(sizes, [seconds for _, seconds in timed], "o", color=BLUE, label=label("timed"))
    line = [latency + 2 * (ranks - 1) / ranks * size / bandwidth for size in sizes]
    axis.plot(sizes, line, color=GREY, linestyle="--", label=label("fitted"))
    axis.set(xscale="log", yscale="log", xlabel=label("bytes_exchanged"), ylabel=label("seconds"))
    axis.legend()
    words = say("Seconds of an all-reduce for {first} to {last} bytes: {times}; {line}.", first=short(sizes[0]),
                last=short(sizes[-1]), times=move(label("timed"), [seconds for _, seconds in timed]),
                line=move(label("fitted"), line))  # fmt: skip
    return described(figure, words)


@style()
def plan(ranks: Sequence[int], panels: Mapping[str, Mapping[str, Sequence[float]]]) -> Any:
    """Expected efficiency over the number of cards: one panel per question, one line per answer."""
    figure, axes = subplots(1, len(panels), width=8.6, height=3.2, sharey=True, squeeze=False)
    panels = {named(title): {named(name): line for name, line in lines.items()} for title, lines in panels.items()}
    for axis, (title, lines) in zip(axes[0], panels.items(), strict=True):
        for (name, shares), colour in zip(lines.items(), PALETTE, strict=False):
            axis.plot(ranks, [100 * share for share in shares], marker="o", markersize=3, color=colour, label=name)
        axis.set(title=title, xlabel=label("cards"), ylim=(0, 105))
        axis.set_xscale("log", base=2)
        axis.set_xticks(ranks, [str(one) for one in ranks], rotation=60, fontsize=8)
        axis.minorticks_off()
        axis.legend(loc="lower left", fontsize=8)
    axes[0, 0].set_ylabel(label("efficiency_percent"))
    seen = listed(
        (say("{what}: {each}", what=title,
             each=moves({name: [100 * one for one in shares] for name, shares in lines.items()}))
         for title, lines in panels.items()), "; "
    )  # fmt: skip
    return described(figure, say("{what} for {first} to {last} cards: {lines}.", what=label("efficiency_percent"),
                                 first=ranks[0], last=ranks[-1], lines=seen))  # fmt: skip
