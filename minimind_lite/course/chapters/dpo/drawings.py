"""Chapter 12's drawing: one pair of answers on its way through two models to one loss."""

from math import exp, log1p
from typing import Any

from ...kit.drawings import FAINT, PALE_BLUE, PALE_GREEN, PALE_ORANGE, PAPER, arrow, box, sheet, words
from ...kit.labels import label
from ...kit.language import say
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
