"""Chapter 15's pictures: advantages, clips, estimators of the KL divergence, and the curves of a run."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import torch
from torch import Tensor

from minimind_lite.training.policy_gradient import Objective, clipped_loss, group_advantages

from ...kit.curves import practice_curves as curves
from ...kit.labels import label
from ...kit.language import say
from ...kit.sentences import listed, short, spread
from ...kit.style import BLUE, GREEN, ORANGE, PURPLE, RED, described, html, subplots

__all__ = ["advantages", "clips", "curves", "estimators", "texts"]


def advantages(rewards: Sequence[float]) -> Any:
    """One group: its rewards with their mean, and the advantages with and without the standard deviation."""
    figure, axes = subplots(1, 3, height=2.6)
    group = torch.tensor([list(rewards)])
    columns = {
        "reward": group[0],
        "minus_mean": group_advantages(group, False)[0],
        "over_std": group_advantages(group)[0],
    }
    for axis, (name, values) in zip(axes, columns.items(), strict=True):
        colours = [BLUE] * len(rewards) if name == "reward" else [GREEN if v > 0 else RED for v in values]
        axis.bar(range(1, len(rewards) + 1), values.tolist(), color=colours)
        axis.axhline(float(group.mean()) if name == "reward" else 0.0, color="black", linewidth=1)
        axis.set(title=label(name), xlabel=label("answer"), xticks=range(1, len(rewards) + 1))
        axis.set_ylim((0, 1.05) if name == "reward" else (-2.4, 2.4))
    given, scaled = columns["reward"], columns["over_std"]
    best = say("answer {number} has the largest reward, {reward}, and the largest advantage",
               number=int(given.argmax()) + 1, reward=short(given.max()))  # fmt: skip
    words = say("Bars of {count} rewards with a mean of {mean}, and of the advantages, which run {plain} without and "
                "{scaled} with the standard deviation: {best}.", count=len(rewards), mean=short(group.mean()),
                plain=spread(columns["minus_mean"]), scaled=spread(scaled),
                best=label("dead_group") if given.max() == given.min() else best)  # fmt: skip
    return described(figure, words)


def clips(objectives: Mapping[str, Objective]) -> Any:
    """The slope of each objective in log π, against the ratio, for a good and for a bad token."""
    figure, axes = subplots(1, 2, height=3.0, sharey=True)
    ratios, stops = torch.linspace(0.3, 1.9, 400), []
    for axis, advantage, name in zip(axes, (1.0, -1.0), ("good_token", "bad_token"), strict=True):
        for place, (objective, style) in enumerate(objectives.items()):
            logprobs = ratios.log()[None].requires_grad_()
            loss = clipped_loss(logprobs, torch.zeros(1, 400), torch.full((1, 1), advantage), style)
            (gradient,) = torch.autograd.grad(loss.sum(), logprobs)
            stops.append(say("{objective}, {token}, {where}", objective=objective, token=label(name),
                             where=_pushes_at(ratios, gradient[0])))  # fmt: skip
            axis.plot(
                ratios, -gradient[0], label=objective, color=(BLUE, ORANGE, PURPLE)[place], linewidth=3 - 0.8 * place
            )
        axis.set(title=label(name), xlabel=label("ratio"))
    axes[0].set_ylabel(label("push"))
    axes[0].legend()
    words = say("The push on log π of each objective against the ratio {ratios}, at advantage +1 and -1: {each}.",
                ratios=spread(ratios), each=listed(stops, "; "))  # fmt: skip
    return described(figure, words)


def _pushes_at(ratios: Tensor, gradient: Tensor) -> str:
    """Where an objective pushes at all, in words."""
    moved = ratios[gradient.abs() > 0]
    if len(moved) in (0, len(ratios)):
        return say("pushes everywhere" if len(moved) else "pushes nowhere")
    return say("pushes at ratios {ratios}", ratios=spread(moved.tolist()))


def estimators(found: Mapping[str, tuple[float, float]], truth: float) -> Any:
    """Mean and standard deviation of estimators of one KL divergence, each from a single sample."""
    figure, axis = subplots(height=2.4)
    names = list(found)[::-1]
    for row, name in enumerate(names):
        mean, deviation = found[name]
        axis.errorbar(mean, row, xerr=deviation, fmt="o", color=BLUE, capsize=5)
    axis.axvline(truth, color=GREEN, label=label("true_kl"))
    axis.set_yticks(range(len(names)), names)
    axis.set(xlabel=label("kl_nats"), ylim=(-0.6, len(names) - 0.4))
    axis.legend()
    points = listed((f"{name} {short(mean)} ± {short(deviation)}" for name, (mean, deviation) in found.items()), "; ")
    narrowest = min(found, key=lambda name: found[name][1])
    words = say("Means of estimators of one KL divergence, with their standard deviations, around the true {truth}: "
                "{points}; {narrowest} scatters least.", truth=short(truth), points=points,
                narrowest=narrowest)  # fmt: skip
    return described(figure, words)


def texts(columns: Mapping[str, Sequence[str]]) -> Any:
    """Texts side by side, one row each, long ones shortened."""
    head = "".join(f'<th style="text-align:left">{escape(label(name))}</th>' for name in columns)
    rows = "".join(
        "<tr>" + "".join(f'<td style="text-align:left;vertical-align:top;max-width:26em">{_short(t)}</td>' for t in row)
        + "</tr>" for row in zip(*columns.values(), strict=True)
    )  # fmt: skip
    return html(f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>")


def _short(text: str, limit: int = 160) -> str:
    return escape(text if len(text) <= limit else text[: limit - 1] + "…").replace("\n", " ⏎ ") or "∅"
