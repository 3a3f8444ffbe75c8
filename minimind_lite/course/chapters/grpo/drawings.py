"""Chapter 15's drawing: one step of GRPO, from a question to the update."""

from collections.abc import Sequence
from typing import Any

import torch

from minimind_lite.training.policy_gradient import group_advantages

from ...kit.drawings import FAINT, PALE_BLUE, PALE_ORANGE, PAPER, arrow, box, sheet, words
from ...kit.labels import label
from ...kit.language import say
from ...kit.sentences import listed
from ...kit.style import BLUE, GREEN, GREY, RED, described, style


@style()
def one_step(question: str, answers: Sequence[str], rewards: Sequence[float]) -> Any:
    """The loop: a question, a group of answers, their rewards, their advantages, and back to the policy."""
    advantages = group_advantages(torch.tensor([list(rewards)]))[0].tolist()
    count, step = len(answers), 0.42
    height = count * step + 1.75
    figure, axis = sheet(8.8, height)
    top, bottom = height - 0.62, height - 0.62 - (count - 1) * step
    centre = (top + bottom) / 2
    box(axis, 0.1, centre, 1.1, question, PAPER, 0.5)
    arrow(axis, (1.2, centre), (1.5, centre), GREY)
    box(axis, 1.5, centre, 1.05, label("loop_policy"), PALE_BLUE, 0.6)
    words(axis, 3.85, height - 0.2, label("loop_sampled"), size=8.5)
    words(axis, 5.45, height - 0.2, label("reward"), size=8.5)
    words(axis, 7.3, height - 0.2, label("advantage"), size=8.5)
    axis.plot([7.3, 7.3], [bottom - 0.2, top + 0.2], color=GREY, linewidth=1)
    for number, (answer, reward, advantage) in enumerate(zip(answers, rewards, advantages, strict=True)):
        middle, colour = top - number * step, GREEN if advantage > 0 else RED
        arrow(axis, (2.57, centre), (3.0, middle), GREY)
        box(axis, 3.05, middle, 1.6, answer, "white", 0.34)
        arrow(axis, (4.67, middle), (5.2, middle), GREY)
        words(axis, 5.45, middle, f"{reward:g}", size=9.5)
        arrow(axis, (5.7, middle), (6.1, middle), GREY)
        _advantage(axis, 7.3, middle, advantage, max(map(abs, advantages)) or 1.0, colour)
    words(axis, 5.45, bottom - 0.32, label("loop_mean").format(mean=sum(rewards) / count), FAINT, size=8)
    low = 0.62
    axis.plot([7.3, 7.3, 2.02], [bottom - 0.25, low, low], color=BLUE, linewidth=1.6)
    arrow(axis, (2.02, low), (2.02, centre - 0.32), BLUE)
    words(axis, 4.65, low - 0.22, label("loop_update"), BLUE, size=8.5)
    box(axis, 0.1, low, 1.1, label("loop_reference"), PALE_ORANGE, 0.6)
    arrow(axis, (1.0, low + 0.32), (1.62, centre - 0.32), GREY)
    words(axis, 0.95, (low + centre) / 2 + 0.05, label("loop_kl"), FAINT, "right", 8)
    return described(figure, say(
        "One step: the policy answers the question {count} times, a program gives the rewards {rewards}, and against "
        "the group's mean of {mean} the advantages are {advantages}. The update makes answers with a positive "
        "advantage likelier and the others less likely, while a frozen reference holds the policy back.",
        count=count, rewards=listed(f"{one:g}" for one in rewards), mean=f"{sum(rewards) / count:.2f}",
        advantages=listed(f"{one:+.2f}" for one in advantages),
    ))  # fmt: skip


def _advantage(axis: Any, zero: float, middle: float, value: float, largest: float, colour: str) -> None:
    """A bar from the zero line, with its number outside."""
    from matplotlib.patches import Rectangle

    wide = 0.75 * value / largest
    axis.add_patch(Rectangle((min(zero, zero + wide), middle - 0.1), abs(wide), 0.2, facecolor=colour))
    words(axis, zero + wide + (0.06 if wide >= 0 else -0.06), middle, f"{value:+.2f}", colour,
          "left" if wide >= 0 else "right", 8.5)  # fmt: skip
