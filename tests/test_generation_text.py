"""Streams: whole characters, no part of a stop string, and the same text however it is split into tokens."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minimind_lite.generation.engine import TextStream


def pieces_of(raw: bytes, cuts: list[int], stop: list[str]) -> tuple[list[str], TextStream]:
    stream = TextStream(stop)
    edges = [0, *sorted(cut % (len(raw) + 1) for cut in cuts), len(raw)]
    pieces = [stream.push(raw[start:end]) for start, end in pairwise(edges)]
    return [*pieces, stream.finish()], stream


@given(st.text(), st.lists(st.integers(0, 200), max_size=40))
def test_valid_text_comes_out_whole(text: str, cuts: list[int]) -> None:
    pieces, stream = pieces_of(text.encode(), cuts, [])
    assert "".join(pieces) == text == stream.text
    for piece in pieces:
        piece.encode()  # every piece is valid text
        assert "\ufffd" not in piece or "\ufffd" in text


@given(st.binary(max_size=60), st.lists(st.integers(0, 60), max_size=30))
def test_any_bytes_give_the_same_text_however_they_are_cut(raw: bytes, cuts: list[int]) -> None:
    _, cut = pieces_of(raw, cuts, [])
    _, whole = pieces_of(raw, [], [])
    assert cut.text == whole.text
    decoded = raw.decode(errors="replace")
    assert cut.text in (decoded, decoded.removesuffix("\ufffd"))  # except for an unfinished character at the end


def test_an_unfinished_last_character_is_left_out_and_a_broken_one_is_marked() -> None:
    assert pieces_of("湖光".encode()[:-1], [], [])[1].text == "湖"
    assert pieces_of(b"a\xe6\xb9b", [], [])[1].text == "a\ufffdb"


@given(
    st.text(alphabet="ab湖", max_size=20),
    st.lists(st.text(alphabet="ab湖", min_size=1, max_size=4), min_size=1, max_size=3),
    st.lists(st.integers(0, 80), max_size=30),
)
def test_stop_strings_end_the_text_wherever_they_are_cut(text: str, stop: list[str], cuts: list[int]) -> None:
    pieces, stream = pieces_of(text.encode(), cuts, stop)
    ends = [(text.find(word) + len(word), text.find(word)) for word in stop if word in text]
    assert stream.stopped == bool(ends)
    assert stream.text == (text[: min(ends)[1]] if ends else text)  # the first completed, or the longest of those
    assert "".join(pieces) == stream.text  # nothing was released that had to be taken back
    assert not any(word in stream.text for word in stop)


def test_a_possible_stop_is_held_back_until_it_is_clear() -> None:
    stream = TextStream(["\n\nQ:"])
    assert [stream.push(piece) for piece in (b"yes\n", b"\n", b"Quite", b" so\n")] == ["yes", "", "\n\nQuite", " so"]
    assert stream.finish() == "\n" and not stream.stopped


@pytest.mark.parametrize("stop", ["end", [""], [3]])
def test_bad_stop_strings_are_refused(stop: object) -> None:
    with pytest.raises(ValueError, match="list of non-empty strings"):
        TextStream(stop)  # type: ignore[arg-type]
