"""Chapter 12's drawings: the best policy at each β, one pair through two models to one loss, and equal margins."""

from collections.abc import Sequence
from math import exp, log1p
from typing import Any

from torch import Tensor

from ...kit.drawings import FAINT, PALE_BLUE, PALE_GREEN, PALE_ORANGE, PAPER, arrow, box, sheet, words
from ...kit.labels import label
from ...kit.language import say
from ...kit.sentences import listed
from ...kit.style import BLUE, GREEN, GREY, RED, described, style


@style()
def policy_and_reference(policy: tuple[float, float], reference: tuple[float, float], beta: float) -> Any:
    """Log-probabilities of the chosen and the rejected answer by both models, their changes, the margin, the loss."""
    changes = [now - then for now, then in zip(policy, reference, strict=True)]
    margin = changes[0] - changes[1]
    loss = log1p(exp(-beta * margin))
    figure, axis = sheet(8.8, 3.1)
    top, low, under = 2.3, 1.5, 0.7
    words(axis, 0.95, 2.86, label("one_pair"), FAINT)
    box(axis, 0.15, 2.35, 1.6, label("same_prompt"), PAPER, 0.5)
    box(axis, 0.15, 1.75, 1.6, label("chosen_answer"), PALE_GREEN, 0.5)
    box(axis, 0.15, 1.15, 1.6, label("rejected_answer"), PALE_ORANGE, 0.5)
    axis.plot([1.82, 1.92, 1.92, 1.82], [2.6, 2.6, 0.9, 0.9], color=GREY, linewidth=1.2)  # all three go through both
    for height in (top, low):
        arrow(axis, (1.95, 1.75), (2.55, height), GREY)
    box(axis, 2.6, top, 1.5, label("policy_trained"), PALE_BLUE, 0.62)
    box(axis, 2.6, low, 1.5, label("reference_frozen"), PAPER, 0.62)
    words(axis, 3.35, under, label("difference"), size=8.5)
    axis.plot([2.6, 6.4], [1.05, 1.05], color=GREY, linewidth=1.2)
    for column, (name, colour) in enumerate((("chosen", GREEN), ("rejected", RED))):
        middle = 4.85 + 1.1 * column
        words(axis, middle, 2.86, f"log π({label(name)})", colour)
        words(axis, middle, top, f"{policy[column]:g}")
        words(axis, middle, low, f"{reference[column]:g}")
        words(axis, middle, under, f"{changes[column]:+g}", colour, size=10.5)
    arrow(axis, (6.45, under), (6.95, under), GREY)
    box(axis, 6.98, under, 1.7, label("margin_is").format(margin=margin), "white", 0.62)
    arrow(axis, (7.83, 1.04), (7.83, 1.6), GREY)
    box(axis, 6.98, 1.95, 1.7, label("pair_loss_is").format(beta=beta, loss=loss), "white", 0.66)
    axis.plot([7.83, 7.83, 3.35], [2.31, 3.02, 3.02], color=BLUE, linewidth=1.4, linestyle="--")
    arrow(axis, (3.35, 3.02), (3.35, 2.63), BLUE)
    words(axis, 7.75, 2.66, label("only_the_policy_learns"), BLUE, "right", 8)
    words(axis, 4.4, 0.15, label("only_changes_count"), FAINT)
    return described(figure, say(
        "One prompt with a chosen and a rejected answer goes through two models. The policy gives them the "
        "log-probabilities {chosen} and {rejected}, the frozen reference {was_chosen} and {was_rejected}. The "
        "changes are {up} and {down}, the margin is {margin}, and the loss at β = {beta} is {loss}; its gradient "
        "reaches the policy alone.",
        chosen=f"{policy[0]:g}", rejected=f"{policy[1]:g}", was_chosen=f"{reference[0]:g}",
        was_rejected=f"{reference[1]:g}", up=f"{changes[0]:+g}", down=f"{changes[1]:+g}", margin=f"{margin:g}",
        beta=f"{beta:g}", loss=f"{loss:.4f}",
    ))  # fmt: skip


@style()
def reweighted(reference: Tensor, reward: Tensor, betas: Sequence[float]) -> Any:
    """A reference over a few answers, and the distribution that is best for each β: reference · e^(reward/β) / Z."""
    step, wide = 0.42, 2.0
    figure, axis = sheet(2.85 + wide * len(betas), 1.95 + step * len(reference))
    top = 1.05 + step * (len(reference) - 0.5)
    words(axis, 0.55, top + 0.48, label("reward"), size=8.5)
    words(axis, 1.41, top + 0.48, r"$\pi_\mathrm{ref}$", size=9.5)
    for row, (share, value) in enumerate(zip(reference.tolist(), reward.tolist(), strict=True)):
        words(axis, 0.55, top - row * step, f"{value:g}", size=9)
        _share(axis, 1.2, top - row * step, share, share, GREY)
    words(axis, 1.2, 0.76, label("mean_reward_is").format(reward=float((reference * reward).sum())), align="left",
          size=8.5)  # fmt: skip
    told = []
    for column, beta in enumerate(betas):
        left, factors = 2.85 + wide * column, (reward / beta).exp()
        best = reference * factors / (reference * factors).sum()
        words(axis, left + 0.95, top + 0.76, f"β = {beta:g}", BLUE, size=10)
        words(axis, left + 0.95, top + 0.48, label("point_in_nats").format(nats=1 / beta), size=8.5)
        for row, (factor, share, before) in enumerate(zip(factors.tolist(), best.tolist(), reference.tolist(),
                                                         strict=True)):  # fmt: skip
            words(axis, left + 0.55, top - row * step, f"× {factor:.3g}", FAINT, "right", 8.5)
            _share(axis, left + 0.65, top - row * step, share, before, BLUE)
        gained, moved = float((best * reward).sum()), float((best * (best / reference).log()).sum())
        words(axis, left + 0.95, 0.76, label("mean_reward_is").format(reward=gained), size=8.5)
        words(axis, left + 0.95, 0.52, label("kl_is").format(kl=moved), size=8.5)
        told.append(say("at β = {beta} the best policy has {shares}, a mean reward of {reward} and a KL of {kl}",
                        beta=f"{beta:g}", shares=listed(f"{one:.2f}" for one in best.tolist()), reward=f"{gained:.2f}",
                        kl=f"{moved:.2f}"))  # fmt: skip
    words(axis, 0.1, 0.16, label("beta_is_a_rate"), FAINT, "left", 8)
    return described(figure, say(
        "{count} answers with the rewards {rewards}. The reference gives them the probabilities {shares}; {best}. "
        "Each probability is the reference's, multiplied by e to the power of reward/β and divided by the "
        "sum.",
        count=len(reference), rewards=listed(f"{one:g}" for one in reward.tolist()),
        shares=listed(f"{one:.2f}" for one in reference.tolist()), best=listed(told, "; "),
    ))  # fmt: skip


def _share(axis: Any, left: float, middle: float, share: float, before: float, colour: str) -> None:
    """A probability as a bar with its number, over the outline of what it was."""
    from matplotlib.patches import Rectangle

    axis.add_patch(Rectangle((left, middle - 0.12), 0.85 * share, 0.24, facecolor=colour))
    axis.add_patch(Rectangle((left, middle - 0.12), 0.85 * before, 0.24, facecolor="none", edgecolor="#333"))
    words(axis, left + 0.85 * max(share, before) + 0.06, middle, f"{share:.2f}", align="left", size=8.5)


@style()
def equal_margins(reference: tuple[float, float], policies: Sequence[tuple[float, float]], beta: float) -> Any:
    """Policies that moved a pair differently: where both log-probabilities went, their margins and their losses."""
    levels = [*reference, *(one for policy in policies for one in policy)]
    nat = 1.65 / ((max(levels) - min(levels)) or 1.0)
    figure, axis = sheet(0.1 + 2.9 * len(policies), 3.5)
    told = []
    for panel, policy in enumerate(policies):
        left = 0.1 + 2.9 * panel
        changes = [now - then for now, then in zip(policy, reference, strict=True)]
        margin = changes[0] - changes[1]
        loss = log1p(exp(-beta * margin))
        for column, (name, colour) in enumerate((("chosen", GREEN), ("rejected", RED))):
            middle = left + 0.75 + 1.3 * column
            start, end = (1.25 + nat * (one - min(levels)) for one in (reference[column], policy[column]))
            words(axis, middle, 3.3, f"log π({label(name)})", colour, size=8.5)
            axis.plot([middle - 0.2, middle + 0.2], [start, start], color=GREY, linewidth=1.4)
            words(axis, middle - 0.26, start, f"{reference[column]:g}", FAINT, "right", 8.5)
            arrow(axis, (middle, start), (middle, end), colour)
            words(axis, middle + 0.26, end, f"{policy[column]:g}", align="left", size=9)
            words(axis, middle, 0.87, f"{changes[column]:+g}", colour, size=10.5)
        box(axis, left + 0.3, 0.45, 2.2, label("margin_and_loss").format(margin=margin, loss=loss), "white", 0.42)
        told.append(say("changes of {up} and {down}, margin {margin}, loss {loss}", up=f"{changes[0]:+g}",
                        down=f"{changes[1]:+g}", margin=f"{margin:g}", loss=f"{loss:.4f}"))  # fmt: skip
    words(axis, 0.4, 0.1, label("loss_sees_the_margin"), FAINT, "left", 8)
    return described(figure, say(
        "The same pair under {count} policies, from the reference's {chosen} for the chosen and {rejected} for the "
        "rejected answer: {moves}. The loss sees the margin alone.",
        count=len(policies), chosen=f"{reference[0]:g}", rejected=f"{reference[1]:g}", moves=listed(told, "; "),
    ))  # fmt: skip
