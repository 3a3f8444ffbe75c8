"""Chapter 10's interactive: which tokens of a conversation are trained on, and what a cut leaves of them."""

from collections.abc import Mapping, Sequence
from typing import Any

from minimind_lite.tokenizer import Message, Rendered, Tokenizer

from ...kit.labels import label
from ...kit.tokens import loss_mask


def mask_viewer(tokenizer: Tokenizer, conversations: Mapping[str, Sequence[Message]]) -> Any:
    """Choose a conversation and where it is cut; trained tokens are coloured."""
    import ipywidgets
    from IPython.display import display

    longest = max(len(tokenizer.render(list(turns)).ids) for turns in conversations.values())

    def draw(name: str, cut: int) -> None:
        rendered = tokenizer.render(list(conversations[name]))
        display(loss_mask(tokenizer, Rendered(rendered.ids[:cut], rendered.loss_mask[:cut])))

    wide = {"description_width": "90px"}  # the default cuts "conversation" short
    return ipywidgets.interactive(
        draw,
        name=ipywidgets.Dropdown(options=list(conversations), description=label("conversation"), style=wide),
        cut=ipywidgets.IntSlider(
            value=longest, min=1, max=longest, description=label("max_length"), style=wide, continuous_update=False
        ),
    )
