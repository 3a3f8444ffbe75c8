"""Tokens as coloured chips, and a conversation with its loss mask.

Tokens are HTML, never matplotlib: the browser has Chinese fonts, matplotlib's own does not.
"""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from ...tokenizer import Rendered, Tokenizer
from .labels import label, named
from .style import chip, html

PASTEL = ("#cfe3f1", "#fbe3b5", "#bfe5d9", "#f6d0bd", "#ecd4e2")  # the course's colours, light: neighbours differ
TARGET, CONTROL, CONTEXT = "#9fdcc6", "#bcd7ee", "#e6e6e6"  # trained on, written by the template, only read


def _chip(tokenizer: Tokenizer, token: int, background: str) -> str:
    shown = tokenizer.token_label(token)
    return chip(shown, background, f"id {token} · bytes {tokenizer.token_bytes(token).hex(' ')}")


def chips(tokenizer: Tokenizer, ids: Sequence[int]) -> str:
    """HTML of the tokens side by side, colours alternating; the mouse shows id and bytes."""
    return "".join(_chip(tokenizer, token, PASTEL[i % len(PASTEL)]) for i, token in enumerate(ids))


def byte_chips(tokens: Sequence[bytes]) -> str:
    """HTML of tokens given as bytes; bytes that do not form a whole character are shown as <E6>."""
    return "".join(chip(_shown(token), PASTEL[i % len(PASTEL)], token.hex(" ")) for i, token in enumerate(tokens))


def _shown(token: bytes) -> str:
    text = token.decode("utf-8", errors="surrogateescape")
    return "".join(f"<{ord(c) & 0xFF:02X}>" if "\udc80" <= c <= "\udcff" else c for c in text)


def rows(titled: Mapping[str, str]) -> Any:
    """Rows of chips one below another, each with its title on the left."""
    cell = "text-align:left;vertical-align:top;padding:3px 10px 3px 0"
    body = "".join(
        f'<tr><th scope="row" style="{cell};white-space:nowrap;font-weight:600">{escape(named(title))}</th>'
        f'<td style="{cell}">{chips_html}</td></tr>'
        for title, chips_html in titled.items()
    )
    return html(f'<table style="border-collapse:collapse">{body}</table>')


def loss_mask(tokenizer: Tokenizer, rendered: Rendered) -> Any:
    """A conversation token by token: what is trained on, what the template wrote, what is only read."""
    lines: list[str] = [""]
    for token, trained in zip(rendered.ids, rendered.loss_mask, strict=True):
        written = token in tokenizer.control_ids
        colour = TARGET if trained else CONTROL if written else CONTEXT
        lines[-1] += _chip(tokenizer, token, colour)
        if tokenizer.token_bytes(token) == b"\n":
            lines.append("")
    colours = {"target": TARGET, "control": CONTROL, "context": CONTEXT}
    legend = " ".join(chip(label(name).replace(" ", "\u00a0"), colour) for name, colour in colours.items())
    share = f"{sum(rendered.loss_mask)} / {len(rendered.ids)} {label('tokens_trained')}"
    return html("<br>".join(filter(None, lines)) + f'<div style="margin-top:8px">{legend} {escape(share)}</div>')
