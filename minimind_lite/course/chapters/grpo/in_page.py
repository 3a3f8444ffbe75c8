"""Chapter 15's advantage explorer inside the page, without a kernel."""

from collections.abc import Sequence
from html import escape
from typing import Any

import torch

from minimind_lite.training.policy_gradient import all_equal, group_advantages

from ...kit.in_page import Slider, in_page
from ...kit.labels import label
from ...kit.language import say
from ...kit.sentences import listed
from ...kit.style import BLUE, GREEN, GREY, RED, drawing

PANEL, GAP, TALL = 200, 15, 110  # of a panel in the drawing's own units; TALL from its top to its bottom
# Name of a panel → the values at its bottom and at its top.
SPANS = {"reward": (0.0, 1.0), "minus_mean": (-1.0, 1.0), "over_std": (-2.4, 2.4)}

_DRAW = """
  const draw = (v) => {
    const rewards = Object.values(v), n = rewards.length, mean = rewards.reduce((a, b) => a + b) / n;
    const away = rewards.map((one) => one - mean);
    const deviation = Math.sqrt(away.reduce((a, b) => a + b * b, 0) / (n - 1)) + 1e-4;
    const dead = Math.max(...rewards) === Math.min(...rewards);
    const panels = [rewards, away, away.map((one) => one / deviation)];
    panels.forEach((values, i) => values.forEach((value, j) => {
      if (dead && i) value = 0;
      const bar = root.querySelectorAll("g.panel")[i].querySelectorAll("rect")[j];
      const number = root.querySelectorAll("g.panel")[i].querySelectorAll(".number")[j];
      const [low, high] = data.spans[i], y = (x) => data.tall * (high - x) / (high - low);
      bar.setAttribute("y", Math.min(y(value), y(0)).toFixed(1));
      bar.setAttribute("height", Math.abs(y(value) - y(0)).toFixed(1));
      if (i) bar.setAttribute("fill", value > 0 ? data.good : data.bad);
      number.textContent = value.toFixed(i === 2 ? 2 : 1);
    }));
    root.querySelector(".dead").style.visibility = dead ? "visible" : "hidden";
  };
"""


def advantage_explorer(rewards: Sequence[float]) -> Any:
    """One group: its rewards, what is left without the mean, and the advantages; a slider for each reward."""
    group = torch.tensor([list(rewards)])
    columns = (group[0], group_advantages(group, False)[0], group_advantages(group)[0])
    panels = "".join(
        _panel(place, name, columns[place].tolist(), *span) for place, (name, span) in enumerate(SPANS.items())
    )
    sentence = say(
        "Three panels of bars for the answers of one group: their rewards, {rewards}; the same without their mean; "
        "and the advantages, {advantages}.",
        rewards=listed(f"{one:g}" for one in rewards), advantages=listed(f"{one:+.2f}" for one in columns[2].tolist()),
    )  # fmt: skip
    dead = "visible" if bool(all_equal(group)[0]) else "hidden"
    body = f'<svg viewBox="0 0 640 190" style="max-width:640px;width:100%">{panels}</svg>'
    note = f'<div class="dead" style="visibility:{dead}"><b>{escape(label("dead_group"))}</b></div>'
    sliders = [Slider(f"answer{number}", f"{label('answer')} {number}", 0, 1, reward, 0.1)
               for number, reward in enumerate(rewards, start=1)]  # fmt: skip
    data = {"spans": list(SPANS.values()), "tall": TALL, "good": GREEN, "bad": RED}
    return in_page("advantage-explorer", drawing(body, sentence) + note, sliders, _DRAW, data)


def _panel(place: int, name: str, values: Sequence[float], low: float, high: float) -> str:
    """Bars around the zero line, a number under each, a title above."""

    def y(value: float) -> float:
        return TALL * (high - value) / (high - low)

    step = PANEL / len(values)
    bars = "".join(
        f'<rect x="{(number + 0.15) * step:.1f}" y="{min(y(value), y(0)):.1f}" width="{0.7 * step:.1f}" '
        f'height="{abs(y(value) - y(0)):.1f}" fill="{BLUE if place == 0 else GREEN if value > 0 else RED}"/>'
        f'<text class="number" x="{(number + 0.5) * step:.1f}" y="{TALL + 18}" text-anchor="middle" font-size="11" '
        f'fill="currentColor">{value:.{2 if place == 2 else 1}f}</text>'
        for number, value in enumerate(values)
    )
    title = f'<text x="0" y="-14" font-size="13" fill="currentColor">{escape(label(name))}</text>'
    line = f'<path d="M0 {y(0):.1f}H{PANEL}" stroke="{GREY}"/>'
    return f'<g class="panel" transform="translate({place * (PANEL + GAP) + 5} 35)">{title}{bars}{line}</g>'
