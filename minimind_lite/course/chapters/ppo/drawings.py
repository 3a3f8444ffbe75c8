"""Chapter 15b's drawings: one model with two heads, what an advantage is made of, and one turn of the loop."""

from collections.abc import Sequence
from typing import Any

import torch

from minimind_lite.training.policy_gradient import gae

from ...kit.drawings import FAINT, PALE_BLUE, PALE_GREEN, PALE_ORANGE, PAPER, arrow, box, sheet, words
from ...kit.labels import label
from ...kit.language import say
from ...kit.sentences import listed
from ...kit.style import BLUE, GREEN, GREY, ORANGE, RED, described, style


@style()
def actor_and_critic() -> Any:
    """The text goes through shared layers into two heads; the critic's guesses make the actor's advantages."""
    figure, axis = sheet(8.8, 2.6)
    top, low, centre = 2.05, 0.75, 1.4
    box(axis, 0.1, centre, 1.1, label("the_text_so_far"), PAPER, 0.6)
    arrow(axis, (1.2, centre), (1.6, centre), GREY)
    box(axis, 1.6, centre, 1.1, label("shared_layers"), PALE_BLUE, 1.3)
    for height, name, colour in ((top, "head_policy", PALE_GREEN), (low, "head_value", PALE_ORANGE)):
        arrow(axis, (2.7, centre), (3.15, height), GREY)
        box(axis, 3.15, height, 1.9, label(name), colour, 0.6)
    arrow(axis, (5.05, top), (6.4, top), GREY)
    box(axis, 6.4, top, 2.25, label("policy_term"), "white", 0.6)
    arrow(axis, (5.05, low), (6.4, low), GREY)
    box(axis, 6.4, low, 2.25, label("value_term"), "white", 0.6)
    axis.plot([5.6, 5.6], [low, 1.4], color=ORANGE, linewidth=1.6)
    axis.plot([5.6, 7.5], [1.4, 1.4], color=ORANGE, linewidth=1.6)
    arrow(axis, (7.5, 1.4), (7.5, top - 0.31), ORANGE)
    words(axis, 5.5, 1.4, label("gae_makes"), ORANGE, "right", 8)
    words(axis, 4.1, 0.25, label("what_critic_guesses"), FAINT, size=8)
    return described(figure, say(
        "The text so far goes through shared layers into two heads: the actor gives every token a probability, the "
        "critic guesses the reward to come. Rewards and the critic's values become advantages, by GAE, which weight "
        "the actor's clipped ratios; the critic has a squared error of its own, against the return."
    ))  # fmt: skip


@style()
def what_gae_sees(
    rewards: Sequence[float], values: Sequence[float], token: int, gamma: float = 1.0, lam: float = 0.5
) -> Any:
    """The advantage of one token (counted from 1): its own δ and all later ones, each weighing less by γλ."""
    count = len(values)
    deltas = [reward + gamma * after - value
              for reward, value, after in zip(rewards, values, [*values[1:], 0.0], strict=True)]  # fmt: skip
    weights = [(gamma * lam) ** (place - token + 1) if place + 1 >= token else 0.0 for place in range(count)]
    advantage = gae(torch.tensor([list(rewards)]), torch.tensor([list(values)]), torch.ones(1, count, dtype=torch.bool),
                    gamma, lam)[0, token - 1].item()  # fmt: skip
    step, left = min(0.82, 6.6 / count), 1.55
    figure, axis = sheet(8.8, 3.5)
    for height, name in ((3.28, "token"), (1.95, "gae_value"), (1.2, "gae_delta"), (0.72, "gae_weight")):
        words(axis, left - 0.3, height, label(name), align="right", size=8.5)
    for place, (value, delta, weight) in enumerate(zip(values, deltas, weights, strict=True)):
        middle, seen = left + (place + 0.5) * step, place + 1 >= token
        _column(axis, middle, step, place + 1, value, seen)
        words(axis, middle, 1.2, f"{delta:+.2f}", _colour(delta) if seen else FAINT, size=9)
        words(axis, middle, 0.72, f"{weight:.3g}" if seen else "–", BLUE if seen else FAINT, size=9)
    reward = label("gae_reward").format(reward=rewards[-1])
    words(axis, left + count * step + 0.08, 1.95, reward, align="left", size=8.5)
    axis.plot([left, left + count * step], [1.5, 1.5], color=GREY, linewidth=1)
    words(axis, 4.4, 0.25, label("gae_sum").format(token=token, total=advantage), BLUE, size=9.5)
    return described(figure, say(
        "{count} tokens with the critic's values {values} before each and the reward {reward} at the end. Their δ "
        "are {deltas}. The advantage of token {token} adds up its own δ and the later ones, weighted {weights}: "
        "{advantage}; earlier tokens play no part.",
        count=count, values=listed(f"{one:g}" for one in values), reward=f"{rewards[-1]:g}",
        deltas=listed(f"{one:+.2f}" for one in deltas), token=token,
        weights=listed(f"{one:.3g}" for one in weights if one), advantage=f"{advantage:+.3f}",
    ))  # fmt: skip


def _colour(delta: float) -> str:
    """Green where things look better than expected, red where worse, grey in between."""
    return GREEN if delta > 0.005 else RED if delta < -0.005 else FAINT


def _column(axis: Any, middle: float, wide: float, number: int, value: float, seen: bool) -> None:
    """A token's number, and the critic's value before it as a bar."""
    from matplotlib.patches import Rectangle

    words(axis, middle, 3.28, str(number), "#333333" if seen else FAINT, size=9)
    colour = ORANGE if seen else "#dddddd"
    axis.add_patch(Rectangle((middle - 0.3 * wide, 1.5), 0.6 * wide, 1.25 * value, facecolor=colour))
    words(axis, middle, 1.5 + 1.25 * value + 0.15, f"{value:g}", "#333333" if seen else FAINT, size=8.5)


@style()
def one_turn(tokens: Sequence[str], values: Sequence[float], reward: float, lam: float, gamma: float = 1.0) -> Any:
    """One turn of PPO's loop on one answer: written, rewarded at its end, judged at every token, and both updates.

    values: the critic's guess before each token. The penalty for drifting from the reference is left out.
    """
    rewards = [*[0.0] * (len(tokens) - 1), reward]
    every = torch.ones(1, len(tokens), dtype=torch.bool)
    advantages = gae(torch.tensor([rewards]), torch.tensor([list(values)]), every, gamma, lam)[0].tolist()
    returns = [advantage + value for advantage, value in zip(advantages, values, strict=True)]
    figure, axis = sheet(8.8, 4.35)
    step = min(0.85, 5.6 / len(tokens))
    rows = (("turn_actor", PALE_GREEN, tokens), ("turn_program", PAPER, [f"{one:g}" for one in rewards]),
            ("turn_critic", PALE_ORANGE, [f"{one:g}" for one in values]),
            ("turn_gae", PALE_BLUE, [f"{one:+.2f}" for one in advantages]),
            ("turn_return", PALE_ORANGE, [f"{one:.2f}" for one in returns]))  # fmt: skip
    for number, (name, colour, cells) in enumerate(rows):
        height = 3.5 - 0.7 * number
        box(axis, 0.35, height, 1.75, label(name), colour, 0.52)
        arrow(axis, (2.1, height), (2.45, height), GREY)
        for place, text in enumerate(cells):
            box(axis, 2.5 + place * step, height, step - 0.08, text, "white" if number else PALE_GREEN, 0.38)
    end, actor, critic, gae_row, back = 2.5 + len(tokens) * step, 3.5, 2.1, 1.4, 0.7
    axis.plot([end, 8.6, 8.6, 1.2], [gae_row, gae_row, 4.0, 4.0], color=GREEN, linewidth=1.6)
    arrow(axis, (1.2, 4.0), (1.2, actor + 0.27), GREEN)
    words(axis, 4.9, 4.17, label("turn_actor_learns"), GREEN, size=8.5)
    axis.plot([0.35, 0.15, 0.15], [back, back, critic], color=ORANGE, linewidth=1.6)
    arrow(axis, (0.15, critic), (0.35, critic), ORANGE)
    words(axis, 0.15, 0.2, label("turn_critic_learns"), ORANGE, "left", 8.5)
    return described(figure, say(
        "One turn of the loop. The actor writes {count} tokens, a program gives the reward {reward} at the last one, "
        "the critic's guesses before each are {values}. By GAE with λ = {lam} the advantages are {advantages}; they "
        "update the actor. Added to the guesses they are the returns, {returns}, which the critic should have guessed.",
        count=len(tokens), reward=f"{reward:g}", values=listed(f"{one:g}" for one in values), lam=f"{lam:g}",
        advantages=listed(f"{one:+.2f}" for one in advantages), returns=listed(f"{one:.2f}" for one in returns),
    ))  # fmt: skip
