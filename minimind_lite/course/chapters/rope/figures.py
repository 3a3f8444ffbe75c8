"""Chapter 03's pictures: clock hands, the table of angles, scores by distance, pairings, and what YaRN slows down."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from ...kit.labels import label
from ...kit.language import say, say_count
from ...kit.sentences import listed, moves, short
from ...kit.style import BLUE, DIVERGING, GREEN, GREY, ORANGE, PALETTE, RED, chip, described, drawing, html, subplots

PASTELS = ("#9ecae1", "#fdd0a2", "#a1d99b", "#dadaeb", "#fcbba1", "#d9d9d9", "#c7e9c0", "#fdae6b")


def _hand(axis: Any, angle: float, colour: str, name: str | None) -> None:
    axis.annotate(
        "", (math.cos(angle), math.sin(angle)), (0, 0), arrowprops={"arrowstyle": "-|>", "color": colour, "lw": 2.4}
    )
    axis.plot([], [], color=colour, lw=2.4, label=name)


def _dial(axis: Any, frequency: float, query: int, key: int) -> None:
    turn = np.linspace(0, 2 * math.pi, 200)
    axis.plot(np.cos(turn), np.sin(turn), color="#cccccc", lw=1)
    between = np.linspace(key * frequency, query * frequency, 400)[-400:]
    if abs(between[-1] - between[0]) > 2 * math.pi:  # more than a turn lies between them: show what is left of it
        between = np.linspace(between[0], between[0] + math.fmod(between[-1] - between[0], 2 * math.pi), 400)
    axis.plot(0.55 * np.cos(between), 0.55 * np.sin(between), color=GREEN, lw=3, label=label("angle_between"))
    _hand(axis, key * frequency, ORANGE, label("key_hand"))
    _hand(axis, query * frequency, BLUE, label("query_hand"))
    axis.set(xlim=(-1.15, 1.15), ylim=(-1.15, 1.15), aspect="equal", xticks=[], yticks=[])
    for spine in axis.spines.values():
        spine.set_visible(False)


def dials(frequencies: Tensor, pairs: Sequence[int], places: Sequence[tuple[int, int]]) -> Any:
    """One row for each (query position, key position), one dial for each pair of dimensions: hands and their angle."""
    figure, axes = subplots(len(places), len(pairs), width=8.4, height=2.35 * len(places) + 0.5, squeeze=False)
    for row, (query, key) in zip(axes, places, strict=True):
        for axis, pair in zip(row, pairs, strict=True):
            frequency = float(frequencies[pair])
            _dial(axis, frequency, query, key)
            axis.set_title(f"{label('pair')} {pair}: {label('one_turn_in')} {2 * math.pi / frequency:,.0f}", fontsize=9)
        row[0].set_ylabel(f"{label('query')} {query}\n{label('key')} {key}")
    handles, names = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=3)
    angles = listed((_angles(frequencies, pairs, query, key) for query, key in places), "; ")
    return described(figure, say("Dials with a hand for the query and one for the key; the angle between them: "
                                 "{angles}.", angles=angles))  # fmt: skip


def _angles(frequencies: Tensor, pairs: Sequence[int], query: int, key: int) -> str:
    """The angles of ``dials`` for one pair of positions, in words; whole turns do not count."""
    turned = (math.degrees(math.fmod((query - key) * float(frequencies[pair]), 2 * math.pi)) for pair in pairs)
    each = listed(say("{angle}° in pair {pair}", angle=f"{angle:.0f}", pair=pair)
                  for pair, angle in zip(pairs, turned, strict=True))  # fmt: skip
    return say("query at {query} and key at {key}: {each}", query=query, key=key, each=each)


def _sign_changes(cosines: Tensor) -> int:
    return int((cosines[1:].signbit() != cosines[:-1].signbit()).sum())


def angle_table(cos: Tensor) -> Any:
    """The table of cosines as an image: positions to the right, pairs downwards. cos: (positions, pairs)."""
    figure, axis = subplots(height=2.9)
    image = axis.imshow(cos.T, aspect="auto", cmap=DIVERGING, vmin=-1, vmax=1, interpolation="nearest")
    axis.set(xlabel=label("position"), ylabel=label("pair"))
    axis.grid(False)
    figure.colorbar(image, ax=axis, label=label("cosine"))
    positions, pairs = cos.shape
    turns = listed(say_count("pair {pair} changes its sign {count} time", "pair {pair} changes its sign {count} times",
                             _sign_changes(cos[:, pair]), pair=pair)
                   for pair in (0, pairs - 1))  # fmt: skip
    return described(figure, say("The cosines of {pairs} pairs over {positions} positions as an image: {turns}.",
                                 pairs=pairs, positions=positions, turns=turns))  # fmt: skip


def fading(distances: Sequence[int], curves: Mapping[str, Any]) -> Any:
    """How strongly a perfect match is felt, over the distance between two tokens, one line per base."""
    figure, axis = subplots(height=3.3)
    for (name, values), colour in zip(curves.items(), PALETTE, strict=False):
        axis.plot(distances, values, color=colour, label=name)
    axis.axhline(0, color="black", linewidth=0.8)
    axis.set(xlabel=label("distance"), ylabel=label("mean_score"), xscale="log")
    axis.legend()
    lines = moves({name: np.asarray(values).tolist() for name, values in curves.items()})
    return described(figure, say("{score}, over distances from {first} to {last}: {lines}.", score=label("mean_score"),
                                 first=distances[0], last=distances[-1], lines=lines))  # fmt: skip


def recall(lengths: Sequence[int], curves: Mapping[str, Sequence[float]], chance: float) -> Any:
    """Share of right answers over the length of the text, and what guessing gets."""
    figure, axis = subplots(height=3.3)
    for (name, values), colour, marker in zip(curves.items(), (RED, GREEN, BLUE), "sXo", strict=False):
        axis.plot(lengths, values, color=colour, label=name, marker=marker)
    axis.axhline(chance, color=GREY, linestyle=":", label=label("chance_line"))
    axis.set(xlabel=label("text_length"), ylabel=label("recall"), ylim=(0, 1.05))
    axis.set_xscale("log", base=2)
    axis.set_xticks(lengths, [str(length) for length in lengths])
    axis.legend(loc="center left")
    words = say("{recall}, for texts of {first} to {last}, where guessing gets {chance}: {lines}.",
                recall=label("recall"), first=lengths[0], last=lengths[-1], chance=short(chance),
                lines=moves(curves))  # fmt: skip
    return described(figure, words)


def pairings(head_dim: int = 8) -> Any:
    """Which dimensions turn together, in the two layouts, as coloured chips: equal colours are a pair."""
    half = head_dim // 2
    split = "".join(chip(str(i), PASTELS[i % half]) for i in range(head_dim))
    woven = "".join(chip(str(i), PASTELS[i // 2]) for i in range(head_dim))
    apart = listed(say("{one} with {other}", one=i, other=i + half) for i in range(half))
    beside = listed(say("{one} with {other}", one=2 * i, other=2 * i + 1) for i in range(half))
    sentence = say("Which dimensions turn together: {half_split}: {apart}; {interleaved}: {beside}.", apart=apart,
                   beside=beside, half_split=label("half_split"), interleaved=label("interleaved"))  # fmt: skip
    body = f"<div>{label('half_split')}: {split}</div><div>{label('interleaved')}: {woven}</div>"
    return html(drawing(body, sentence))


def yarn(frequencies: Tensor, slowed: Tensor, length: int, factor: float) -> Any:
    """Left: how many turns each pair makes while training and in a longer text. Right: what YaRN multiplies by."""
    figure, (left, right) = subplots(1, 2, width=8.6, height=3.4)
    pairs = np.arange(len(frequencies))
    turns = np.asarray(frequencies) * length / (2 * math.pi)
    left.plot(pairs, turns, color=GREY, label=label("seen_in_training"))
    left.plot(pairs, (turns * factor).tolist(), color=RED, label=label("longer_text"))
    yarn_turns = np.asarray(slowed) * length * factor / (2 * math.pi)
    left.plot(pairs, yarn_turns, color=GREEN, linestyle="--", label=label("longer_text_yarn"))
    left.axhline(1, color="black", linewidth=0.8)
    left.set(yscale="log", xlabel=label("pair"), ylabel=label("turns"))
    left.legend(fontsize=8)
    right.plot(pairs, np.asarray(slowed / frequencies), color=GREEN, marker="o", markersize=3)
    right.axhline(1 / factor, color=GREY, linewidth=0.8, linestyle=":")
    right.set(xlabel=label("pair"), ylabel=label("speed_multiplied_by"), ylim=(0, 1.05))
    kept = int(np.isclose(np.asarray(slowed), np.asarray(frequencies), rtol=1e-3).sum())
    lines = moves({label("seen_in_training"): turns.tolist(), label("longer_text"): (turns * factor).tolist(),
                   label("longer_text_yarn"): yarn_turns.tolist()})  # fmt: skip
    words = say("Turns of each of {pairs} pairs: {lines}; and what YaRN multiplies their speed by: 1 for {kept} of "
                "them, down to {least}.", pairs=len(pairs), lines=lines, kept=kept,
                least=short(min(slowed / frequencies)))  # fmt: skip
    return described(figure, words)
