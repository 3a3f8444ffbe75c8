"""Chapter 03's rotation dial as it works inside the page, without a kernel."""

import math
from typing import Any

from ...kit.in_page import Slider, in_page
from ...kit.labels import label
from ...kit.language import say
from ...kit.sentences import listed
from ...kit.style import BLUE, GREEN, ORANGE, drawing

PAIRS, HEAD_DIM = (0, 2, 4, 8), 32  # as the widget beside it
QUERY, KEY, THETA = 30, 24, 4.0  # before anybody moves anything; θ as a power of ten

_DRAW = """
  const draw = (v) => {
    data.pairs.forEach((pair, i) => {
      const f = Math.pow(10, -v.theta * 2 * pair / data.width), dial = root.querySelectorAll("g.dial")[i];
      for (const [hand, place] of [["query", v.query + v.both], ["key", v.key + v.both]]) {
        dial.querySelector("." + hand).setAttribute("x2", 60 * Math.cos(place * f));
        dial.querySelector("." + hand).setAttribute("y2", -60 * Math.sin(place * f));
      }
      const degrees = ((v.query - v.key) * f * 180 / Math.PI) % 360;
      dial.querySelector(".angle").textContent = degrees.toFixed(0) + "°";
    });
  };
"""


def _dial(place: int, pair: int) -> str:
    """One dial in SVG; angles grow against the clock, and SVG's y points down."""
    speed = 10 ** (-THETA * 2 * pair / HEAD_DIM)
    hands = "".join(
        f'<line class="{name}" x1="0" y1="0" x2="{60 * math.cos(at * speed):.1f}" '
        f'y2="{-60 * math.sin(at * speed):.1f}" stroke="{colour}" stroke-width="4"/>'
        for name, at, colour in (("query", QUERY, BLUE), ("key", KEY, ORANGE))
    )
    angle = math.degrees(math.fmod((QUERY - KEY) * speed, 2 * math.pi))
    return (f'<g class="dial" transform="translate({80 + 160 * place} 75)"><circle r="66" fill="white" stroke="#ccc"/>'
            f'{hands}<text y="86" text-anchor="middle" font-size="13" fill="currentColor">{label("pair")} {pair}</text>'
            f'<text class="angle" y="104" text-anchor="middle" font-size="13" fill="{GREEN}">{angle:.0f}°</text></g>'
            )  # fmt: skip


def rotation_dial() -> Any:
    """Four dials with a hand for the query (blue) and one for the key (orange), and the angle between them."""
    dials = "".join(_dial(place, pair) for place, pair in enumerate(PAIRS))
    sentence = say(
        "Four dials, for the pairs {pairs}: the hand of a query at position {query} and that of a key at {key}, and "
        "under each the angle between them.",
        pairs=listed(PAIRS), query=QUERY, key=KEY,
    )  # fmt: skip
    picture = drawing(f'<svg viewBox="0 0 640 190" style="max-width:640px;width:100%">{dials}</svg>', sentence)
    sliders = (Slider("query", label("query"), 0, 60, QUERY), Slider("key", label("key"), 0, 60, KEY),
               Slider("both", label("move_both"), 0, 500, 0), Slider("theta", "log₁₀ θ", 2, 6, THETA))  # fmt: skip
    return in_page("rotation-dial", picture, sliders, _DRAW, {"pairs": PAIRS, "width": HEAD_DIM})
