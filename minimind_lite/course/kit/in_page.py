"""Interactives that need no kernel: a picture, sliders, and a few lines of JavaScript inside the page itself.

They work in Jupyter, on the course's site and wherever a page's scripts may run; elsewhere the picture stays as it was
stored, and the sliders stay hidden.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from .style import html


@dataclass(frozen=True)
class Slider:
    """One number to move; ``key`` is its name in the script."""

    key: str
    label: str
    low: float
    high: float
    value: float
    step: float = 1


# ``draw(values, root)`` is the interactive's own script: it changes the picture's elements in place.
_FRAME = """
(() => {
  const root = document.getElementById(%(name)s), data = %(data)s;
  %(script)s
  const sliders = [...root.querySelectorAll("input")];
  const update = () => {
    const values = Object.fromEntries(sliders.map((one) => [one.name, Number(one.value)]));
    sliders.forEach((one) => { one.nextElementSibling.textContent = one.value; });
    draw(values);
  };
  root.querySelector("form").hidden = false;
  sliders.forEach((one) => one.addEventListener("input", update));
  update();
})();
"""


def in_page(name: str, picture: str, sliders: Sequence[Slider], script: str, data: Any = None) -> Any:
    """A notebook output that can be moved without a kernel.

    name: the element's id, one of its kind on a page. picture: HTML or SVG as it is before anybody moves anything.
    script: JavaScript that defines ``draw(values)``; it sees ``root``, the element, and ``data``.
    """
    rows = "".join(
        '<label style="display:flex;gap:.6em;align-items:center">'
        f'<span style="min-width:9em">{escape(one.label)}</span>'
        f'<input type="range" name="{one.key}" min="{one.low:g}" max="{one.high:g}" step="{one.step:g}" '
        f'value="{one.value:g}" style="flex:1;max-width:24em"><output>{one.value:g}</output></label>'
        for one in sliders
    )
    code = _FRAME % {"name": json.dumps(name), "data": json.dumps(data), "script": script.strip()}
    return html(f'<div id="{name}">{picture}<form hidden>{rows}</form><script>{code}</script></div>')
