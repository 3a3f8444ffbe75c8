"""Chapter 17's pictures: who reads what, a GGUF file, scales and rounding, the cost of a step, slots, a server."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from minimind_lite.model.quantization import Scheme, quantize
from minimind_lite.tokenizer import Tokenizer

from ...kit.drawings import arrow, box
from ...kit.labels import label, named
from ...kit.language import say, say_count
from ...kit.sentences import amounts, listed, move, moves, short, spread
from ...kit.style import BLUE, GREEN, GREY, ORANGE, PALETTE, chip, described, drawing, html, style, subplots
from ...kit.tokens import CONTEXT, CONTROL, rows
from .experiments import Moment, Span

PIECES = ("#b9d7ea", "#fbe3b5", "#b5e0d2", "#f3c3ac", "#ecd4e2", "#d5d5d5")


@style()
def readers(files: Sequence[str], formats: Mapping[str, Sequence[str]]) -> Any:
    """The folder and its files, and on the right who opens it: as it is, as a GGUF file, through the server.

    formats: way (a label) → programs that take it.
    """
    figure, axis = subplots(width=8.6, height=3.0)
    formats = {way: [named(one) for one in programs] for way, programs in formats.items()}
    middles = [2.6, 1.3, 0.0]
    box(axis, 0.0, 2.6, 2.6, label("model_folder"), PIECES[0])
    for place, file in enumerate(files):
        axis.text(0.15, 1.95 - 0.42 * place, file, fontsize=8.5, family="monospace")
    for (way, programs), middle, colour in zip(formats.items(), middles, PIECES[1:4], strict=True):
        arrow(axis, (2.7, 2.6 if middle > 2 else 2.3), (3.7, middle), GREY)
        box(axis, 3.8, middle, 2.4, label(way), colour)
        arrow(axis, (6.3, middle), (6.9, middle), GREY)
        axis.text(7.0, middle, "\n".join(programs), va="center", fontsize=8.5)
    axis.set(xlim=(-0.1, 10.2), ylim=(-0.6, 3.1))
    axis.axis("off")
    ways = listed((say("{way} for {programs}", way=label(way), programs=listed(programs))
                   for way, programs in formats.items()), "; ")  # fmt: skip
    return described(figure, say("A drawing of a model's folder with its files, and three ways out of it: {ways}.",
                                 ways=ways))  # fmt: skip


@style()
def file_layout(parts: Mapping[str, int]) -> Any:
    """A file from its first byte to its last: above each part in proportion, below as boxes with bytes."""
    figure, axes = subplots(2, 1, width=8.6, height=2.3)
    total, left = sum(parts.values()), 0
    parts = {named(name): size for name, size in parts.items()}
    for place, (name, size) in enumerate(parts.items()):
        colour = PIECES[place % len(PIECES)]
        axes[0].barh(0, size, left=left, color=colour, edgecolor="white", linewidth=0.5)
        left += size
        box(axes[1], place * 2.0, 0.0, 1.85, f"{name}\n{size:,} B", colour)
        if place:
            arrow(axes[1], (place * 2.0 - 0.15, 0.0), (place * 2.0, 0.0), GREY)
    axes[0].set(xlim=(0, total), yticks=[], xlabel=label("file_bytes"))
    axes[0].ticklabel_format(style="plain")
    axes[0].grid(False)
    axes[1].set(xlim=(-0.1, 2.0 * len(parts)), ylim=(-0.5, 0.5))
    axes[1].axis("off")
    return described(figure, say("A file of {total} bytes, from its beginning to its end: {parts} bytes.",
                                 total=f"{total:,}",
                                 parts=listed(f"{name} {size:,}" for name, size in parts.items())))  # fmt: skip


@style()
def scale_grids(rows: int = 4, columns: int = 8, group: int = 4) -> Any:
    """Three times the same matrix: weights of one colour share a scale."""
    figure, axes = subplots(1, 3, width=8.6, height=1.9)
    sharing = {"per_matrix": (rows, columns), "per_row": (1, columns), "per_group": (1, group)}
    counts = {}
    for axis, (name, (high, wide)) in zip(axes, sharing.items(), strict=True):
        for row in range(rows):
            for column in range(columns):
                scale = row // high * (columns // wide) + column // wide
                colour = PALETTE[scale % len(PALETTE)]
                axis.barh(-row, 0.9, left=column, height=0.85, color=colour, alpha=0.55)
        counts[name] = scale + 1
        axis.set_title(f"{label(name)}: {counts[name]}", fontsize=9)
        axis.axis("off")
    each = listed(say("{name}, {count}", name=label(name), count=count) for name, count in counts.items())
    words = say("Three drawings of a matrix of {rows} rows and {columns} columns, coloured by the scale that weights "
                "share: {each}.", rows=rows, columns=columns, each=each)  # fmt: skip
    return described(figure, words)


@style()
def stored_values(row: Tensor, schemes: Mapping[str, Scheme]) -> Any:
    """A row's first group as a histogram, and under it the values that each scheme can store for it. row: (inputs,)."""
    figure, axis = subplots(height=2.2 + 0.35 * len(schemes))
    schemes = {named(name): one for name, one in schemes.items()}
    size = min(one.group or len(row) for one in schemes.values())
    axis.hist(row[:size].tolist(), bins=24, color="#b9d7ea", edgecolor="white")
    lowest, said = -0.08 * axis.get_ylim()[1], []
    for place, ((name, scheme), colour) in enumerate(zip(schemes.items(), PALETTE, strict=False), 1):
        made = quantize(row[None], scheme)
        width = len(row) // made.scales.shape[1]
        values = (_codes(scheme) * made.scales[0, 0].float() + (
            made.minimums[0, 0].float() if made.minimums is not None else 0)).tolist()  # fmt: skip
        axis.plot(values, [lowest * place] * len(values), "|", color=colour, markersize=10, label=name, clip_on=False)
        off = (made.weight()[0, :size] - row[:size]).square().mean().sqrt() / row[:size].square().mean().sqrt()
        said.append(say("{name}, {values} values for {weights} weights, error {error} %", name=name,
                        values=len(values), weights=width, error=f"{100 * float(off):.2g}"))  # fmt: skip
        axis.set_title(said[-1] if len(schemes) == 1 else "", fontsize=9)
    axis.set(xlabel=label("weight_value"), ylabel=label("count_of_weights").partition(" (")[0])
    axis.set_yticks([one for one in axis.get_yticks() if one >= 0])
    axis.set_ylim(bottom=lowest * (len(schemes) + 0.6))
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.25), ncols=3)
    words = say("A histogram of {size} weights {spread}, and below it the values that can be stored: {each}.",
                size=size, spread=spread(row[:size].tolist()), each=listed(said, "; "))  # fmt: skip
    return described(figure, words)


def _codes(scheme: Scheme) -> Tensor:
    low = 0 if scheme.minimum else -scheme.largest
    return torch.arange(low, scheme.largest + 1).float()


@style()
def weight_histogram(weights: Mapping[str, Tensor]) -> Any:
    """How the weights of whole matrices are distributed, on a logarithmic axis: the few far out set the scale."""
    figure, axes = subplots(1, len(weights), width=8.6, height=2.5, squeeze=False)
    weights, said = {named(name): weight for name, weight in weights.items()}, []
    for axis, (name, weight) in zip(axes[0], weights.items(), strict=True):
        flat = weight.detach().flatten().float()
        deviation, largest = float(flat.std()), float(flat.abs().max())
        axis.hist(flat.tolist(), bins=60, color=BLUE, log=True)
        for side in (-deviation, deviation):
            axis.axvline(side, color=ORANGE, linestyle="--")
        axis.set(title=name, xlabel=label("weight_value"))
        said.append(say("{name}, largest {largest}, {times} standard deviations", name=name, largest=short(largest),
                        times=short(largest / deviation)))  # fmt: skip
    axes[0, 0].set_ylabel(label("count_of_weights"))
    return described(figure, say("Histograms of weights with a dashed line at one standard deviation: {each}.",
                                 each=listed(said, "; ")))  # fmt: skip


@style()
def rounding_errors(lines: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> Any:
    """Name → (bits for a weight, error in % of the weights' RMS), over bits on a logarithmic axis."""
    figure, axis = subplots(height=3.2)
    lines = {named(name): line for name, line in lines.items()}
    for (name, (bits, errors)), colour in zip(lines.items(), PALETTE, strict=False):
        axis.plot(bits, errors, marker="o", markersize=4, color=colour, label=name)
    axis.set(yscale="log", xlabel=label("bits_of_a_weight"), ylabel=label("rounding_error"))
    axis.legend()
    words = say("{error}, over {bits}: {lines}.", error=label("rounding_error"), bits=label("bits_of_a_weight"),
                lines=moves({name: errors for name, (_, errors) in lines.items()}))  # fmt: skip
    return described(figure, words)


@style()
def size_and_quality(found: Mapping[str, tuple[float, float]]) -> Any:
    """Name → (MB of the file, bits per byte lost): one point each."""
    figure, axis = subplots(height=3.4)
    found = {named(name): point for name, point in found.items()}
    names = list(found)
    sizes, lost = [found[name][0] for name in names], [found[name][1] for name in names]
    axis.scatter(sizes, lost, color=[PALETTE[place % len(PALETTE)] for place in range(len(names))], zorder=3)
    for place, (size, loss, name) in enumerate(sorted(zip(sizes, lost, names, strict=True))):
        beside: Any = {"ha": "right", "xytext": (-7, 2)} if place % 2 else {"ha": "left", "xytext": (7, 2)}
        axis.annotate(name, (size, loss), textcoords="offset points", fontsize=8, **beside)
    axis.axhline(0, color=GREY, linewidth=1)
    axis.set(xlabel=label("file_megabytes"), ylabel=label("bits_per_byte_lost"), xscale="log")
    axis.set_xlim(0.6 * min(sizes), 1.3 * max(sizes))
    ticks = [one for one in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100) if 0.6 * min(sizes) < one < 1.3 * max(sizes)]
    axis.set_xticks(ticks, [f"{one:g}" for one in ticks])
    axis.minorticks_off()
    axis.set_yscale("symlog", linthresh=1e-3)
    axis.set_ylim(min(-1e-3, 2 * min(lost)), max(1e-3, 2.5 * max(lost)))
    words = say("Points of {size} and {loss}: sizes {sizes}. Lost bits per byte: {losses}.",
                size=label("file_megabytes"), loss=label("bits_per_byte_lost"),
                sizes=amounts(dict(zip(names, sizes, strict=True))),
                losses=amounts(dict(zip(names, lost, strict=True))))  # fmt: skip
    return described(figure, words)


@style()
def speeds(found: Mapping[str, float]) -> Any:
    """Tokens per second of each way to store the weights."""
    figure, axis = subplots(height=1.0 + 0.36 * len(found))
    found = {named(name): speed for name, speed in found.items()}
    names = list(found)[::-1]
    bars = axis.barh(names, [found[name] for name in names], color=BLUE)
    axis.bar_label(bars, fmt="%.0f", padding=3)
    axis.set(xlabel=label("tokens_per_second"))
    axis.grid(axis="y", visible=False)
    return described(figure, say("Bars of {what}: {lengths}.", what=label("tokens_per_second"),
                                 lengths=amounts(found)))  # fmt: skip


@style()
def step_costs(prompts: Mapping[int, float], batches: Mapping[int, float]) -> Any:
    """Milliseconds per token of reading a prompt at once, over its length; and of a decoding step, over its texts."""
    figure, axes = subplots(1, 2, width=8.6, height=2.9, sharey=True)
    panels = {"prompt_tokens": (prompts, BLUE), "texts_in_one_step": (batches, GREEN)}
    for axis, (name, (line, colour)) in zip(axes, panels.items(), strict=True):
        axis.plot(list(line), list(line.values()), marker="o", color=colour)
        axis.set(xlabel=label(name))
        axis.set_xscale("log", base=2)
        axis.set_xticks(list(line), [str(one) for one in line])
        axis.minorticks_off()
    axes[0].set(ylabel=label("milliseconds_a_token"), ylim=(0, None))
    lines = listed((say("over {what}, {line}", what=label(name), line=move(say("it"), list(line.values())))
                    for name, (line, _) in panels.items()), "; ")  # fmt: skip
    return described(figure, say("{what}: {lines}.", what=label("milliseconds_a_token"), lines=lines))


@style()
def timelines(ways: Mapping[str, Sequence[Span]], slots: int) -> Any:
    """Who holds which slot in which step, one panel for each way of filling slots; grey: it waits."""
    figure, axes = subplots(len(ways), 1, width=8.6, height=0.7 + len(ways) * (0.7 + 0.28 * slots), sharex=True,
                            squeeze=False)  # fmt: skip
    ends, waits = {}, {}
    for axis, (name, spans) in zip(axes[:, 0], ways.items(), strict=True):
        for number, one in enumerate(spans):
            colour = PIECES[number % 5]
            width = one.ends - one.begins
            axis.barh(one.slot, width, left=one.begins, height=0.8, color=colour, edgecolor="#888")
            axis.text(one.begins + width / 2, one.slot, chr(97 + number % 26), ha="center", va="center", fontsize=8)
        ends[name] = max(one.ends for one in spans)
        waits[name] = sum(one.begins - one.came for one in spans)
        title = say_count("{name}: {end} steps of the model, waits in the queue: {count} step in all",
                          "{name}: {end} steps of the model, waits in the queue: {count} steps in all",
                          waits[name], name=label(name), end=ends[name])  # fmt: skip
        axis.set_title(title, fontsize=9)
        axis.set(yticks=range(slots), ylabel=label("slot"), ylim=(slots - 0.4, -0.6))
    axes[-1, 0].set(xlabel=label("steps_of_the_model"), xlim=(0, 1.02 * max(ends.values())))
    said = (say("{name}, done after {end} steps, waiting {waits} in all", name=label(name), end=end, waits=waits[name])
            for name, end in ends.items())  # fmt: skip
    words = say_count("Time lines of {requests} requests in {count} slot: {each}.",
                      "Time lines of {requests} requests in {count} slots: {each}.", slots,
                      requests=len(next(iter(ways.values()))), each=listed(said, "; "))  # fmt: skip
    return described(figure, words)


@style()
def server_watched(moments: Sequence[Moment], slots: int) -> Any:
    """Requests that wait and slots at work over time, and below the tokens made in each second."""
    figure, axes = subplots(2, 1, width=8.6, height=3.6, sharex=True)
    times = [one.seconds for one in moments]
    axes[0].step(times, [one.queued for one in moments], where="post", color=ORANGE, label=label("waits_in_queue"))
    axes[0].step(times, [one.busy for one in moments], where="post", color=GREEN, label=label("slots_busy"))
    axes[0].axhline(slots, color=GREY, linestyle="--", linewidth=1, label=label("slots_total"))
    axes[0].set(ylabel=label("requests"))
    axes[0].legend(ncols=3, loc="upper right", fontsize=8)
    rates = token_rates(moments)
    axes[1].plot([time for time, _ in rates], [rate for _, rate in rates], color=BLUE)
    axes[1].set(xlabel=label("seconds_since_start"), ylabel=label("tokens_per_second"))
    axes[1].set_ylim(0, 1.15 * max(1.0, *(rate for _, rate in rates)))
    queued, busy = (max(values) for values in zip(*((one.queued, one.busy) for one in moments), strict=True))
    words = say("A server's numbers over {seconds} seconds: at most {queued} requests wait, at most {busy} of {slots} "
                "slots are at work, and it makes up to {rate} tokens per second.", seconds=short(times[-1]),
                queued=short(queued), busy=short(busy), slots=slots,
                rate=short(max(rate for _, rate in rates)))  # fmt: skip
    return described(figure, words)


def server_now(moments: Sequence[Moment], slots: int) -> Any:
    """The last of ``moments`` as HTML: a box for every slot, full or empty, who waits, and the tokens per second."""
    now, rate = moments[-1], token_rates(moments)[-1][1]
    box_look = f"display:inline-block;width:1.1em;height:1.1em;margin:0 2px;border:1px solid {GREY}"
    colours = (GREEN if place < now.busy else "none" for place in range(slots))
    boxes = "".join(f'<span style="{box_look};background:{colour}"></span>' for colour in colours)
    bar_look = f"display:inline-block;width:{5 * min(now.queued, 64):g}px;height:.6em;background:{ORANGE}"
    rows = {
        "slots_busy": f"{boxes} {now.busy:.0f} / {slots}",
        "waits_in_queue": f'<span style="{bar_look}"></span> {now.queued:.0f}',
        "tokens_per_second": f"{rate:,.0f}",
        "seconds_since_start": f"{now.seconds:.1f}",
    }
    body = "".join(
        f'<div><span style="display:inline-block;width:14em">{label(key)}</span>{shown}</div>'
        for key, shown in rows.items()
    )
    words = say("After {seconds} seconds, {busy} of {slots} slots are at work, {queued} requests wait, and {rate} "
                "tokens are made per second.", seconds=short(now.seconds), busy=short(now.busy), slots=slots,
                queued=short(now.queued), rate=short(rate))  # fmt: skip
    return html(drawing(body, words))


SERVERS = {"ours": "served_by", "transformers": "generate_one_by_one", "llama.cpp server": "llama_cpp_server"}


@style()
def serving_compared(results: Sequence[Mapping[str, Any]]) -> Any:
    """Tokens per second, and milliseconds to an answer's first piece, of each server over the number of clients.

    results: what `minimind bench serve` recorded.
    """
    figure, axes = subplots(1, 2, width=6.4, height=2.4)
    names = ("tokens_per_second", "milliseconds_to_first_piece")
    peers = list(dict.fromkeys(row["peer_name"] for row in results))
    lines = []
    for axis, name in zip(axes, names, strict=True):
        for server, colour in zip(("ours", *peers), (BLUE, ORANGE, GREEN), strict=False):
            rows = [row for row in results if row["peer_name"] == (peers[0] if server == "ours" else server)]
            who = "ours" if server == "ours" else "peer"
            values = [row[who] if axis is axes[0] else row["first_token_ms"][who] for row in rows]
            clients = [row["clients"] for row in rows]
            axis.plot(clients, values, marker="o", color=colour, label=label(SERVERS[server]))
            lines.append(move(say("{what} of {server}", what=label(name), server=label(SERVERS[server])), values))
        axis.set(xlabel=label("clients_at_once"), title=label(name))
        axis.set_xscale("log", base=2)
        axis.set_xticks(clients, [str(one) for one in clients])
        axis.minorticks_off()
    axes[0].set_ylim(0, None)
    axes[1].set_yscale("log")
    axes[0].legend(fontsize=8)
    each = listed(lines, "; ")
    return described(figure, say("Lines from {first} to {last} clients at a time: {each}.", first=clients[0],
                                 last=clients[-1], each=each))  # fmt: skip


def control_tokens(tokenizer: Tokenizer, titled: Mapping[str, Sequence[int]]) -> Any:
    """Rows of tokens as HTML, with those that only a template may write in another colour."""
    control, found = tokenizer.control_ids, {}
    for title, ids in titled.items():
        chips = (chip(tokenizer.token_label(one), CONTROL if one in control else CONTEXT) for one in ids)
        count = sum(one in control for one in ids)
        sentence = say("{tokens} tokens, of which {control} are control tokens.", tokens=len(ids), control=count)
        found[f"{named(title)}: {count}"] = drawing("".join(chips), sentence)
    legend = " ".join(chip(label(name).replace(" ", "\u00a0"), colour)
                      for name, colour in (("control", CONTROL), ("context", CONTEXT)))  # fmt: skip
    return rows(found | {"": legend})


def token_rates(moments: Sequence[Moment], window: int = 8) -> list[tuple[float, float]]:
    """(seconds, tokens per second) between each moment and the one ``window`` before it; 0 where there are too few."""
    pairs = list(zip(moments, moments[window:], strict=False))
    rates = [(b.seconds, (b.new_tokens - a.new_tokens) / (b.seconds - a.seconds)) for a, b in pairs]
    return rates or [(one.seconds, 0.0) for one in moments]
