"""What the page shows as HTML: texts, folded thoughts, calls of functions, and tokens with their probabilities.

Everything that a model, a user or a server wrote is escaped. Streamlit cleans the HTML once more and runs no script.
"""

import json
import math
from collections.abc import Sequence
from html import escape
from itertools import pairwise
from typing import Any

import torch

from minimind_lite.generation.sampling import SamplingConfig, sampling_logits
from minimind_lite.serving.page.conversation import Turn
from minimind_lite.serving.page.words import Words

SHOWN = 5  # candidates in a token's tooltip
STEPS = (0.9, 0.6, 0.3, 0.1)  # borders between the shades of tokens, from sure to surprising
BARS = 8  # candidates in the picture of the controls
STYLE = """<style>
[data-testid="stMainBlockContainer"] {padding-top: 4.2rem}
[data-testid="stStatusWidget"] {display: none}
h1 {font-size: 1.9rem !important; padding: .4rem 0 !important}
h3 {font-size: 1.25rem !important}
.mm-text {white-space: pre-wrap; overflow-wrap: anywhere; line-height: 1.65}
.mm-fold {margin: 0 0 .6rem; border-left: 3px solid rgba(128,128,128,.4); padding-left: .7rem; font-size: .92em}
.mm-fold summary {cursor: pointer; opacity: .8}
.mm-fold summary:focus-visible, .mm-token:focus-visible {outline: 2px solid #1f5fbf; outline-offset: 2px}
.mm-call {margin: .5rem 0; padding: .5rem .75rem; border: 1px solid rgba(128,128,128,.4); border-radius: .5rem}
.mm-call code {white-space: pre-wrap; background: none; padding: 0; color: inherit}
.mm-note {font-size: .88em; opacity: .75}
.mm-tokens {line-height: 2.05}
.mm-token {position: relative; border-radius: 3px; padding: .1em 0; cursor: help;
 box-shadow: inset -1px 0 rgba(128,128,128,.35)}
.mm-p1 {background: rgba(227,155,37,.16)}
.mm-p2 {background: rgba(227,155,37,.34)}
.mm-p3 {background: rgba(227,125,37,.55)}
.mm-p4 {background: rgba(213,84,32,.72); text-decoration: underline dotted}
.mm-tip {display: none; position: absolute; left: 0; top: 1.75em; z-index: 999; padding: .45rem .6rem;
 border-radius: .4rem; background: #20242c; color: #fff; font-size: .85rem; line-height: 1.5; white-space: pre;
 min-width: 9rem; box-shadow: 0 2px 8px rgba(0,0,0,.35); pointer-events: none}
.mm-token:hover > .mm-tip, .mm-token:focus > .mm-tip {display: block}
.mm-scale {display: flex; flex-wrap: wrap; gap: .2rem .3rem; font-size: .82em; margin: .1rem 0 .6rem}
.mm-scale span {padding: .1em .5em; border-radius: 3px; white-space: nowrap}
.mm-table {font-size: .85em; border-collapse: collapse; margin-top: .3rem}
.mm-table td, .mm-table th {padding: .1rem .8rem .1rem 0; text-align: left; border: none; vertical-align: top}
.mm-bar {display: grid; grid-template-columns: minmax(3.5rem, 30%) 1fr 3.2rem; gap: .4rem; align-items: center;
 font-size: .85em; margin: .15rem 0}
.mm-bar b {font-weight: 400; overflow: hidden; text-overflow: ellipsis; white-space: pre}
.mm-bar i {display: block; height: .42rem; border-radius: 2px; background: rgba(128,128,128,.45)}
.mm-bar i.mm-now {background: #1f5fbf; margin-top: 2px}
.mm-away {opacity: .45; text-decoration: line-through}
</style>"""


def text_html(text: str, language: str = "") -> str:
    """A text, character by character: line breaks stay, and nothing is read as markup."""
    mark = f' lang="{escape(language)}"' if language else ""
    return f'<div class="mm-text"{mark}>{escape(text)}</div>'


def markdown(text: str) -> str:
    """Markdown with its line breaks; a picture, which would tell its server who reads, is left as text."""
    return text.replace("![", "!\\[").replace("\n", "  \n") if "```" not in text else text.replace("![", "!\\[")


def thoughts_html(turn: Turn, words: Words) -> str:
    """What the model thought, folded."""
    if not turn.reasoning:
        return ""
    title = words("Thoughts, {count} characters").format(count=len(turn.reasoning))
    return f'<details class="mm-fold"><summary>{escape(title)}</summary>{text_html(turn.reasoning)}</details>'


def calls_html(turn: Turn, words: Words) -> str:
    """The calls of functions, one box each."""
    made = []
    for call in turn.calls:
        function = call["function"]
        title = words("Call of the function {name}").format(name=function["name"])
        made.append(
            f'<div class="mm-call" role="group" aria-label="{escape(title)}">{escape(title)}<br>'
            f"<code>{escape(_pretty(function['arguments']))}</code></div>"
        )
    return "".join(made)


def _pretty(arguments: str) -> str:
    try:
        return json.dumps(json.loads(arguments), ensure_ascii=False, indent=1)
    except ValueError:  # not complete yet, or another server's
        return arguments


def pieces_of(tokens: Sequence[dict[str, Any]]) -> list[tuple[str, list[dict[str, Any]]]]:
    """(text, its tokens): tokens that hold parts of one character stand together, since alone they cannot be shown."""
    found, waiting, data = [], [], b""
    for entry in tokens:
        waiting.append(entry)
        data += bytes(entry["bytes"]) if entry.get("bytes") is not None else entry["token"].encode()
        try:
            text = data.decode()
        except UnicodeDecodeError:
            if len(waiting) < 4:  # the most bytes, and thus tokens, that a character has
                continue
            text = data.decode(errors="replace")
        found.append((text, waiting))
        waiting, data = [], b""
    return found + ([(data.decode(errors="replace"), waiting)] if waiting else [])


def tokens_html(turn: Turn, words: Words) -> str:
    """The content, every token shaded by its probability; the likeliest tokens at its place appear over it."""
    spans = []
    for text, entries in pieces_of(turn.tokens):
        chance = math.exp(sum(entry["logprob"] for entry in entries))
        label = words("{text}: {percent}").format(text=visible(text), percent=percent(chance))
        tip = "\n\n".join(_tip(entry) for entry in entries)
        spans.append(
            f'<span class="mm-token mm-p{shade(chance)}" tabindex="0" role="button" aria-label="{escape(label)}">'
            f'{escape(text)}<span class="mm-tip" aria-hidden="true">{escape(tip)}</span></span>'
        )
    return f'{_scale(words)}<div class="mm-text mm-tokens">{"".join(spans)}</div>{_table(turn, words)}'


def shade(chance: float) -> int:
    """0 for a token that was nearly certain, 4 for a surprise."""
    return sum(chance < border for border in STEPS)


def percent(chance: float) -> str:
    """A probability as a person reads it: 97 %, 0.4 %, < 0.1 %; never a certainty that is none."""
    if not 0.001 <= chance <= 0.999:
        return "< 0.1 %" if chance < 0.5 else "> 99.9 %"
    return f"{chance:.1%}".replace("%", " %") if chance < 0.1 else f"{chance:.0%}".replace("%", " %")


def visible(text: str) -> str:
    """A token's text with signs for its spaces and line breaks."""
    return text.replace(" ", "␣").replace("\n", "↵").replace("\t", "⇥") or "∅"


def _tip(entry: dict[str, Any]) -> str:
    """One token's tooltip: itself, and the likeliest at its place, marked where it is among them."""
    lines = [f"{visible(entry['token'])}  {percent(math.exp(entry['logprob']))}", "─" * 12]
    for one in entry.get("top_logprobs", [])[:SHOWN]:
        mark = "●" if one["token"] == entry["token"] else "○"
        lines.append(f"{mark} {percent(math.exp(one['logprob'])):>7}  {visible(one['token'])}")
    return "\n".join(lines)


def _scale(words: Words) -> str:
    borders = [1.0, *STEPS, 0.0]
    steps = [f"{low:.0%}–{high:.0%}".replace("%", " %") for high, low in pairwise(borders)]
    spans = "".join(f'<span class="mm-p{number}">{step}</span>' for number, step in enumerate(steps))
    return f'<div class="mm-scale">{escape(words("Probability of each token:"))} {spans}</div>'


def _table(turn: Turn, words: Words) -> str:
    """The same as a table, folded: what a screen reader reads best."""
    rows = "".join(
        f"<tr><td>{number}</td><td>{escape(visible(entry['token']))}</td><td>{percent(math.exp(entry['logprob']))}</td>"
        f"<td>{escape(', '.join(visible(one['token']) for one in entry.get('top_logprobs', [])[:SHOWN]))}</td></tr>"
        for number, entry in enumerate(turn.tokens, 1)
    )
    columns = (words("No."), words("Token"), words("Probability"), words("Likeliest here"))
    head = "".join(f"<th>{escape(one)}</th>" for one in columns)
    return (
        f'<details class="mm-fold"><summary>{escape(words("The tokens as a table"))}</summary>'
        f'<table class="mm-table"><tr>{head}</tr>{rows}</table></details>'
    )


def controls_html(entry: dict[str, Any], sampling: SamplingConfig, words: Words) -> str:
    """What the controls make of one token's candidates: grey is the model's own distribution, blue what is drawn from.

    Both are over the candidates that the server named, with all others left out.
    """
    listed = entry["top_logprobs"]
    logits = torch.tensor([[one["logprob"] for one in listed]])
    before = logits.softmax(dim=-1)[0].tolist()
    after = drawn_from(logits, sampling)
    rows = []
    for one, old, new in list(zip(listed, before, after, strict=True))[:BARS]:
        name = escape(visible(one["token"]))
        away = "" if new else ' class="mm-away"'
        label = words("{text}: {before} before, {after} after").format(
            text=name, before=percent(old), after=percent(new)
        )
        rows.append(
            f'<div class="mm-bar" role="img" aria-label="{label}"><b{away}>{name}</b>'
            f'<span><i style="width:{100 * old:.1f}%"></i><i class="mm-now" style="width:{100 * new:.1f}%"></i></span>'
            f"<span>{percent(new) if new else '0 %'}</span></div>"
        )
    return "".join(rows)


def drawn_from(logits: torch.Tensor, sampling: SamplingConfig) -> list[float]:
    """The probabilities of one row of logits, (1, candidates), once the controls have acted."""
    changed = sampling_logits(logits, sampling)
    if sampling.greedy:
        return torch.nn.functional.one_hot(changed.argmax(dim=-1), changed.shape[-1])[0].float().tolist()
    probabilities: list[float] = changed.softmax(dim=-1)[0].tolist()
    return probabilities


def status_of(turn: Turn, words: Words) -> str:
    """One line under an answer: whose it is, how long it took, and how it ended."""
    parts = [turn.model]
    if turn.tokens and turn.seconds:
        parts.append(words("{count} tokens").format(count=len(turn.tokens)))
        parts.append(words("{rate} tokens/s").format(rate=f"{len(turn.tokens) / turn.seconds:.0f}"))
    ends = {"stopped": words("stopped"), "length": words("cut: it reached the most tokens"),
            "content_filter": words("cut by a filter")}  # fmt: skip
    parts.append(ends.get(turn.ended, ""))
    return " · ".join(part for part in parts if part)
