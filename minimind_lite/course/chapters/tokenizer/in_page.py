"""Chapter 01's merge stepper inside the page, without a kernel: texts as they are cut after more and more merges."""

from collections.abc import Mapping, Sequence
from html import escape, unescape
from typing import Any

from ...kit.in_page import Slider, in_page
from ...kit.labels import label
from ...kit.tokens import PASTEL, byte_chips
from .widgets import Merge, after_merges

# A token is written as the hex digits of its bytes; ``data.shown`` has what a reader sees of it.
_DRAW = """
  const spell = (hex) => hex.match(/../g);
  const after = (words, steps) => words.flatMap((word) => {
    const tokens = spell(word);
    for (const [left, right] of data.merges.slice(0, steps))
      for (let i = 0; i + 1 < tokens.length; i++)
        if (tokens[i] === left && tokens[i + 1] === right) tokens.splice(i, 2, left + right);
    return tokens;
  });
  const fill = (place, tokens) => {
    const first = root.querySelector(".line span");
    place.replaceChildren(...tokens.map((token, i) => {
      const chip = first.cloneNode();
      chip.style.background = data.colours[i % data.colours.length];
      chip.title = spell(token).join(" ");
      chip.textContent = data.shown[token];
      return chip;
    }));
  };
  const draw = (v) => {
    const last = root.querySelector(".last"), [left, right, times] = data.merges[v.steps - 1] || [];
    last.style.visibility = v.steps ? "visible" : "hidden";
    if (v.steps) {
      root.querySelector(".number").textContent = v.steps;
      root.querySelector(".times").textContent = times;
      for (const [name, token] of [["left", left], ["right", right], ["made", left + right]])
        fill(root.querySelector("." + name), [token]);
    }
    data.texts.forEach((words, i) => {
      const tokens = after(words, v.steps);
      root.querySelectorAll(".count")[i].textContent = tokens.length;
      fill(root.querySelectorAll(".line")[i], tokens);
    });
  };
"""


def merge_stepper(texts: Mapping[str, Sequence[bytes]], merges: Sequence[Merge], steps: int = 10) -> Any:
    """The ``texts`` (name: words as bytes) as they are cut once ``steps`` merges have been learned, and a slider."""
    steps = min(steps, len(merges))
    left, right, times = merges[steps - 1] if steps else (b"a", b"b", 0)
    picture = (
        f'<div class="last" style="visibility:{"visible" if steps else "hidden"}">'
        f'{escape(label("merge"))} <span class="number">{steps}</span>: <span class="left">{byte_chips([left])}</span> '
        f'+ <span class="right">{byte_chips([right])}</span> → <span class="made">{byte_chips([left + right])}</span> '
        f'× <span class="times">{times}</span></div>'
    )  # fmt: skip
    for name, words in texts.items():
        tokens = after_merges(words, merges, steps)
        picture += (
            f'<div style="margin:.4em 0"><b>{escape(name)}</b>, <span class="count">{len(tokens)}</span> '
            f'{escape(label("tokens_counted"))}<div class="line">{byte_chips(tokens)}</div></div>'
        )  # fmt: skip
    data = {
        "texts": [[word.hex() for word in words] for words in texts.values()],
        "merges": [(one.hex(), other.hex(), count) for one, other, count in merges],
        "shown": {token.hex(): _shown(token) for token in _every_token(texts, merges)},
        "colours": PASTEL,
    }
    return in_page("merge-stepper", picture, [Slider("steps", label("merges"), 0, len(merges), steps)], _DRAW, data)


def _every_token(texts: Mapping[str, Sequence[bytes]], merges: Sequence[Merge]) -> set[bytes]:
    """Whatever may have to be shown: the bytes of the texts, and what each merge joins and makes."""
    found = {bytes([byte]) for words in texts.values() for word in words for byte in word}
    for left, right, _ in merges:
        found |= {left, right, left + right}
    return found


def _shown(token: bytes) -> str:
    """What a chip says, out of its own HTML."""
    return unescape(byte_chips([token]).partition(">")[2].removesuffix("</span>"))
