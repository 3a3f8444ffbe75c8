"""Chapter 08's learning-rate schedule inside the page, without a kernel."""

import math
from collections.abc import Sequence
from typing import Any

from minimind_lite.training.loop import warmup_cosine

from ...kit.in_page import Slider, in_page
from ...kit.labels import label
from ...kit.language import say
from ...kit.sentences import short
from ...kit.style import BLUE, GREY, ORANGE, drawing

WIDE, TALL, LEFT, TOP = 600, 180, 8, 10  # of the curve's area, in the drawing's own units
WARMUP, FLOOR = 5, 10  # percent, before anybody moves anything

_DRAW = """
  const factor = (step, warmup, floor) => {
    if (step < warmup) return (step + 1) / warmup;
    const start = Math.max(0, warmup - 1);
    const done = Math.min(1, (step - start) / Math.max(1, data.total - 1 - start));
    return floor + (1 - floor) * (1 + Math.cos(Math.PI * done)) / 2;
  };
  const draw = (v) => {
    const warmup = Math.round(v.warmup / 100 * data.total), floor = v.floor / 100;
    const rate = (step) => v.peak * data.unit * factor(step, warmup, floor);
    const x = (step) => data.left + data.wide * step / Math.max(1, data.total - 1);
    const y = (step) => data.top + data.tall * (1 - rate(step) / data.highest);
    const steps = Array.from({length: data.points}, (_, i) => Math.round(i * (data.total - 1) / (data.points - 1)));
    root.querySelector(".rates").setAttribute("points",
      steps.map((step) => x(step).toFixed(1) + "," + y(step).toFixed(1)).join(" "));
    const here = root.querySelector(".here");
    here.setAttribute("cx", x(v.step - 1).toFixed(1));
    here.setAttribute("cy", y(v.step - 1).toFixed(1));
    root.querySelector(".at").textContent = v.step;
    root.querySelector(".rate").textContent = rate(v.step - 1).toExponential(2);
  };
"""


def schedule(total_steps: int, peak: float, points: int = 201) -> Any:
    """The learning rate over ``total_steps``, with sliders for peak, warm-up, floor, and the step that is read off."""
    unit = 10.0 ** (math.floor(math.log10(peak)) - 1)
    warmup, middle = round(WARMUP / 100 * total_steps), (total_steps + 1) // 2
    rates = [peak * warmup_cosine(step, total_steps, warmup, FLOOR / 100) for step in range(total_steps)]
    sentence = say(
        "The learning rate over {steps} steps: up to {peak} in the first {warmup} of them, then along a cosine down to "
        "{end}.",
        steps=total_steps, peak=short(peak), warmup=warmup, end=short(rates[-1]),
    )  # fmt: skip
    reading = label("rate_at_step").format(
        step=f'<span class="at">{middle}</span>', rate=f'<b class="rate">{rates[middle - 1]:.2e}</b>'
    )
    data = {"total": total_steps, "highest": 2 * peak, "unit": unit, "points": points,
            "wide": WIDE, "tall": TALL, "left": LEFT, "top": TOP}  # fmt: skip
    sliders = (
        Slider("peak", f"{label('peak')} × {unit:g}", 1, round(2 * peak / unit), round(peak / unit)),
        Slider("warmup", label("warmup_percent"), 0, 50, WARMUP),
        Slider("floor", label("floor_percent"), 0, 100, FLOOR),
        Slider("step", label("step"), 1, total_steps, middle),
    )
    picture = drawing(_curve(rates, 2 * peak, middle - 1, points), sentence)
    return in_page("schedule", f"{picture}<div>{reading}</div>", sliders, _DRAW, data)


def _curve(rates: Sequence[float], highest: float, here: int, points: int) -> str:
    """The rates as a line, and a dot at the step ``here``."""
    last, bottom = len(rates) - 1, TOP + TALL

    def at(step: int) -> tuple[str, str]:
        return f"{LEFT + WIDE * step / max(1, last):.1f}", f"{TOP + TALL * (1 - rates[step] / highest):.1f}"

    line = " ".join(",".join(at(round(place * last / (points - 1)))) for place in range(points))
    x, y = at(here)
    end = label("step_number").format(number=len(rates))
    words = 'font-size="13" fill="currentColor"'
    return (
        f'<svg viewBox="0 0 640 220" style="max-width:640px;width:100%">'
        f'<path d="M{LEFT} {TOP}V{bottom}H{LEFT + WIDE}" fill="none" stroke="{GREY}"/>'
        f'<polyline class="rates" points="{line}" fill="none" stroke="{BLUE}" stroke-width="3"/>'
        f'<circle class="here" cx="{x}" cy="{y}" r="6" fill="{ORANGE}"/>'
        f'<text x="{LEFT + 8}" y="{TOP + 8}" {words}>{highest:g}</text>'
        f'<text x="{LEFT}" y="{bottom + 18}" {words}>1</text>'
        f'<text x="{LEFT + WIDE}" y="{bottom + 18}" text-anchor="end" {words}>{end}</text></svg>'
    )
