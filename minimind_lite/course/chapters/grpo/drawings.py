"""Chapter 15's drawings: one step of GRPO, a group's pushes on its tokens, and where the ratio is exactly 1."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from minimind_lite.training.policy_gradient import group_advantages

from ...kit.drawings import FAINT, PALE_BLUE, PALE_GREEN, PALE_ORANGE, PAPER, arrow, box, sheet, squares, words
from ...kit.labels import label
from ...kit.language import say
from ...kit.sentences import listed
from ...kit.style import BLUE, GREEN, GREY, RED, described, style

UP, DOWN = PALE_GREEN, "#fcc9b0"  # a token that is made likelier, and one that is made less likely
CLIP = 0.2  # how far a ratio may move before it is left alone
Group = tuple[str, Sequence[str], Sequence[float]]  # a question, its answers, their rewards


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


@style()
def pushed_tokens(groups: Sequence[Group]) -> Any:
    """Groups side by side: each answer's reward and advantage, and its tokens (its characters), all pushed alike."""
    side, step, before = 0.2, 0.36, 1.4
    wide = [max(before + side * max(map(len, answers)) + 0.3, 3.4) for _, answers, _ in groups]
    height = step * max(len(answers) for _, answers, _ in groups) + 1.32
    figure, axis = sheet(0.1 + sum(wide), height)
    left, told = 0.1, []
    for (question, answers, rewards), room in zip(groups, wide, strict=True):
        advantages = group_advantages(torch.tensor([list(rewards)]))[0].tolist()
        box(axis, left + 0.05, height - 0.3, 1.15, question, PAPER, 0.4)
        for place, name in ((0.3, "reward"), (0.95, "advantage")):
            words(axis, left + place, height - 0.78, label(name), size=8.5)
        for number, (answer, reward, advantage) in enumerate(zip(answers, rewards, advantages, strict=True)):
            middle = height - 1.13 - step * number
            colour, fill = (GREEN, UP) if advantage > 0 else (RED, DOWN) if advantage < 0 else (FAINT, PAPER)
            words(axis, left + 0.3, middle, f"{reward:g}", size=9)
            words(axis, left + 0.95, middle, f"{advantage:+.2f}" if advantage else "0", colour, size=9)
            squares(axis, left + before, middle + side / 2, [[fill] * len(answer)], side, [list(answer)])
        words(axis, left + 0.05, 0.15, label("group_pushes" if any(advantages) else "group_rests"), FAINT, "left", 8)
        told.append(say("{question} with the answers {answers}, rewards {rewards}, advantages {advantages}",
                        question=question, answers=listed(answers), rewards=listed(f"{one:g}" for one in rewards),
                        advantages=listed(f"{one:+.2f}" if one else "0" for one in advantages)))  # fmt: skip
        left += room
    return described(figure, say(
        "Groups of answers, token by token: {groups}. Every token of an answer is pushed by the answer's advantage; "
        "where all rewards are equal, nothing is pushed.",
        groups=listed(told, "; "),
    ))  # fmt: skip


def ratios_of(updates: int, rate: float) -> list[float]:
    """π/π_old of a token at each update on the same answers; the token is one of three, equally likely at first.

    Its advantage is 1, and past the clip it is no longer pushed.
    """
    logits, token = torch.zeros(3), torch.tensor([1.0, 0.0, 0.0])
    found = []
    for _ in range(updates):
        shares = logits.softmax(dim=0)
        found.append(float(shares[0]) * 3)
        if found[-1] < 1 + CLIP:
            logits = logits + rate * found[-1] * (token - shares)  # the gradient of the ratio
    return found


@style()
def when_the_ratio_is_one(lanes: Mapping[str, int], boxes: int = 6, rate: float = 0.2) -> Any:
    """Time lines of training: answers are written, then used for so many updates, with the ratio at each of them."""
    wide, step = 1.2, 1.15
    figure, axis = sheet(1.3 + wide * boxes, 0.45 + step * len(lanes))
    for row, (name, updates) in enumerate(lanes.items()):
        middle = 0.35 + step * (len(lanes) - row - 0.45)
        words(axis, 0.1, middle, label(name), align="left", size=8.5)
        for place in range(boxes):
            left, use = 1.3 + wide * place, place % (updates + 1)
            if place:
                arrow(axis, (left - 0.2, middle), (left, middle), GREY)
            if use == 0:
                box(axis, left, middle, 1.0, label("writes_answers"), PAPER, 0.5)
                continue
            ratio = ratios_of(use, rate)[-1]
            box(axis, left, middle, 1.0, label("one_update"), PALE_BLUE if use == 1 else PALE_ORANGE, 0.5)
            words(axis, left + 0.5, middle - 0.42, "ρ = 1" if use == 1 else f"ρ = {ratio:.2f}",
                  BLUE if use == 1 else RED, size=9)  # fmt: skip
    words(axis, 0.1, 0.15, label("only_there_is_it_one"), FAINT, "left", 8)
    return described(figure, say(
        "The policy writes answers and is updated on them. Time lines: {lanes}. At the first update after answers were "
        "written, the policy is still the one that wrote them, and the ratio is exactly 1.",
        lanes=listed((_lane(label(name).replace("\n", " "), ratios_of(updates, rate))
                      for name, updates in lanes.items()), "; "),
    ))  # fmt: skip


def _lane(name: str, ratios: Sequence[float]) -> str:
    """One time line in words."""
    if len(ratios) == 1:
        return say("{name}: the ratio is always 1", name=name)
    return say("{name}: the ratios of a good token are {ratios}, then new answers are written",
               name=name, ratios=listed(f"{one:.2f}" for one in ratios))  # fmt: skip
