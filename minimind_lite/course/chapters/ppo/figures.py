"""Chapter 15b's pictures: the critic's values, the advantages computed from them, and the curves of the run."""

from collections.abc import Mapping, Sequence
from typing import Any

from ...kit.curves import practice_curves as curves
from ...kit.labels import label
from ...kit.language import say
from ...kit.sentences import move, moves, short
from ...kit.style import BLUE, GREEN, ORANGE, PURPLE, RED, described, subplots

__all__ = ["curves", "gae_lines"]


def gae_lines(rewards: Sequence[float], values: Sequence[float], found: Mapping[str, Sequence[float]]) -> Any:
    """The critic's values of one answer, and the advantages for several λ."""
    figure, axes = subplots(1, 2, height=2.8)
    places = range(1, len(values) + 1)
    axes[0].plot(places, values, color=PURPLE, marker="o", label=label("value"))
    axes[0].bar(places, rewards, color=BLUE, label=label("reward"))
    for (name, line), colour in zip(found.items(), (RED, ORANGE, GREEN, BLUE), strict=False):
        axes[1].plot(places, line, marker="o", color=colour, label=name)
    axes[1].axhline(0, color="black", linewidth=1)
    axes[1].set_title(label("advantage"))
    for axis in axes:
        axis.set_xlabel(label("token"))
        axis.legend()
    words = say("Over the tokens of one answer with a reward of {reward}, {values}; advantage: {lines}.",
                reward=short(sum(rewards)), values=move(label("value"), values), lines=moves(found))  # fmt: skip
    return described(figure, words)
