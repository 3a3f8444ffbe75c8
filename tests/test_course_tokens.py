"""Chapter 01's pictures and interactives: what they show is what the tokenizer does."""

import re
from typing import Any

import pytest

from minimind_lite.course.chapters.tokenizer import figures, widgets
from minimind_lite.course.kit import tokens
from minimind_lite.tokenizer import Tokenizer

TEXTS = ["the sea and the season 湖水 12 + 30\n"] * 5
MERGES = [(b"s", b"e", 9), (b" ", b"se", 7), (b" se", b"a", 4)]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.train(TEXTS, 300)


def shown(picture: Any) -> list[str]:
    """The chips of an HTML picture, as the reader sees them."""
    return re.findall(r'<span style="background[^>]*>(.*?)</span>', getattr(picture, "data", picture))


def test_the_stepper_applies_merges_in_the_order_they_were_learned() -> None:
    words = [b"sea", b" sea", b" sees"]
    assert widgets.after_merges(words, MERGES, 0) == [bytes([byte]) for byte in b"".join(words)]
    assert widgets.after_merges(words, MERGES, 3) == [b"se", b"a", b" sea", b" se", b"e", b"s"]
    assert shown(widgets.merge_step(words, MERGES, 2))[:3] == ["␣", "se", "␣se"]


def test_half_characters_are_shown_as_bytes_and_markup_is_escaped() -> None:
    chips = shown(tokens.byte_chips(["湖".encode()[:2], "湖".encode(), b"<b>"]))
    assert chips == ["&lt;E6&gt;&lt;B9&gt;", "湖", "&lt;b&gt;"]


def test_the_loss_mask_picture_colours_each_token_once(tokenizer: Tokenizer) -> None:
    messages = [{"role": "user", "content": "<script>the sea</script>"}, {"role": "assistant", "content": "湖"}]
    rendered = tokenizer.render(messages)
    picture = tokens.loss_mask(tokenizer, rendered).data
    legend = 1  # each colour stands once more in the legend
    assert picture.count(f"background:{tokens.TARGET}") == sum(rendered.loss_mask) + legend
    assert picture.count(f"background:{tokens.CONTROL}") == 3 + legend  # two starts and the user's end
    assert len(shown(picture)) == len(rendered.ids) + 3 * legend
    assert "<script>" not in picture


def test_figures_draw(tokenizer: Tokenizer) -> None:
    bars = figures.compression({"poetry": 1.0, "moby_dick": 3.1}, ["poetry"])
    assert [text.get_text() for text in bars.axes[0].get_yticklabels()] == ["Moby-Dick", "Tang and Song poems"]
    curves = figures.vocabulary_sizes([300, 600], [0.5, 0.8], [2.0, 2.5], chosen=600)
    assert list(curves.axes[0].lines[0].get_ydata()) == [2.0, 2.5]


def test_the_interactives_draw_without_an_error(tokenizer: Tokenizer) -> None:
    stepper = widgets.merge_stepper({"a": [b"sea"]}, MERGES)
    stepper.children[1].value = 2
    viewer = widgets.loss_mask_viewer(tokenizer, {"chat": [{"role": "user", "content": "the sea"}]})
    viewer.children[1].value = True
    for interactive in (stepper, viewer):
        assert not [output for output in interactive.out.outputs if output.get("output_type") == "error"]
