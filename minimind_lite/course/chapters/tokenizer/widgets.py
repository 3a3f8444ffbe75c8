"""Chapter 01's interactives: step through the merges of BPE, and see the loss mask of a conversation change."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from minimind_lite.tokenizer import Message, Tokenizer

from ...kit.labels import label
from ...kit.style import html
from ...kit.tokens import byte_chips, loss_mask

Merge = tuple[bytes, bytes, int]  # left half, right half, how often the pair stood in the training text


def after_merges(pieces: Sequence[bytes], merges: Sequence[Merge], steps: int) -> list[bytes]:
    """The tokens of ``pieces`` (words as bytes) once the first ``steps`` merges have been applied in order."""
    tokens: list[bytes] = []
    for piece in pieces:
        word = [bytes([byte]) for byte in piece]
        for left, right, _ in merges[:steps]:
            i = 0
            while i < len(word) - 1:
                if (word[i], word[i + 1]) == (left, right):
                    word[i : i + 2] = [left + right]
                i += 1
        tokens += word
    return tokens


def merge_step(pieces: Sequence[bytes], merges: Sequence[Merge], steps: int) -> Any:
    """One picture of the stepper: the last merge learned, and the text as it is cut now."""
    tokens = after_merges(pieces, merges, steps)
    line = f"{len(tokens)} {label('tokens')}"
    if steps:
        left, right, times = merges[steps - 1]
        halves = f"{byte_chips([left])} + {byte_chips([right])} &#8594; {byte_chips([left + right])}"
        line = f"{label('merge')} {steps}: {halves} × {times}; {line}"
    return html(f"<div>{line}</div><div>{byte_chips(tokens)}</div>")


def merge_stepper(texts: Mapping[str, Sequence[bytes]], merges: Sequence[Merge]) -> Any:
    """A slider over the number of merges, for each of the ``texts`` (name: words as bytes)."""
    import ipywidgets
    from IPython.display import display

    def draw(text: str, merges_done: int) -> None:
        display(merge_step(texts[text], merges, merges_done))

    return ipywidgets.interactive(
        draw,
        text=ipywidgets.Dropdown(options=list(texts), description=label("text")),
        merges_done=ipywidgets.IntSlider(value=0, min=0, max=len(merges), description=label("merges")),
    )


def loss_mask_viewer(tokenizer: Tokenizer, conversations: Mapping[str, list[Message]]) -> Any:
    """Choose a conversation and the template's switches; the tokens are coloured by what is trained."""
    import ipywidgets
    from IPython.display import display

    switch = {label("model_decides"): None, label("thinks"): True, label("answers_at_once"): False}

    def draw(conversation: str, generation_prompt: bool, thinking: bool | None) -> None:
        display(loss_mask(tokenizer, tokenizer.render(conversations[conversation], generation_prompt, thinking)))

    return ipywidgets.interactive(
        draw,
        conversation=ipywidgets.Dropdown(options=list(conversations), description=escape(label("conversation"))),
        generation_prompt=ipywidgets.Checkbox(value=False, description=label("generation_prompt")),
        thinking=ipywidgets.Dropdown(options=switch, description=label("thinking")),
    )
