"""Chapter 01's drawings: from a word's bytes to its ids, merge by merge, and how the merges are learned."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from ...kit.drawings import FAINT, PALE_BLUE, PALE_ORANGE, PAPER, arrow, sheet, words
from ...kit.labels import label
from ...kit.language import say
from ...kit.sentences import listed
from ...kit.style import BLUE, GREY, ORANGE, described, style

Pair = tuple[int, int]
Learned = Sequence[tuple[Pair, int]]  # merges as ``train_bpe`` returns them: the pair and its count; ids from 256 on
HIGH, ACROSS = 0.4, 0.5  # one token's box: its height, and its width for each byte
PAIRS = 4  # of which a round shows the counts


def spelled(merges: Learned) -> dict[int, bytes]:
    """Which bytes each id stands for."""
    table = {byte: bytes([byte]) for byte in range(256)}
    for new, ((left, right), _) in enumerate(merges, start=256):
        table[new] = table[left] + table[right]
    return table


def merged(ids: Sequence[int], pair: Pair, new: int) -> list[int]:
    """Each occurrence of ``pair`` replaced by ``new``, from the left."""
    found: list[int] = []
    for one in ids:
        if found and (found[-1], one) == pair:
            found[-1] = new
        else:
            found.append(one)
    return found


def merge_rows(word: str, merges: Learned) -> list[tuple[int, list[int]]]:
    """(merge, ids after it) for each merge that changes the word; merge 0 is the word's bytes."""
    rows = [(0, list(word.encode("utf-8")))]
    for number, (pair, _) in enumerate(merges, start=1):
        after = merged(rows[-1][1], pair, 255 + number)
        if after != rows[-1][1]:
            rows.append((number, after))
    return rows


def _shown(token: bytes) -> str:
    """A token's text, or its bytes if they are no whole characters."""
    try:
        return token.decode("utf-8").replace(" ", "␣")
    except UnicodeDecodeError:
        return token.hex(" ").upper()


@style()
def bytes_to_ids(texts: Sequence[str], merges: Learned) -> Any:
    """Words side by side: their characters, their bytes, and what is left of them after each merge."""
    table, ways = spelled(merges), [merge_rows(text, merges) for text in texts]
    lines, margin = max(map(len, ways)) + 1, 0.95
    widths = [margin + ACROSS * max(4, len(text.encode("utf-8"))) + 0.35 for text in texts]
    height, step = 0.55 + 0.56 * lines, 0.56
    figure, axis = sheet(sum(widths), height)
    left, told = margin, []
    for text, rows, width in zip(texts, ways, widths, strict=True):
        top = height - 0.32
        words(axis, left - 0.12, top, label("bpe_text"), FAINT, "right", 8.5)
        _tokens(axis, left, top, [(one.encode("utf-8"), _shown(one.encode("utf-8")), PAPER) for one in text])
        for line, (number, ids) in enumerate(rows, start=1):
            name = label("bpe_merge").format(number=number) if number else label("bpe_bytes")
            words(axis, left - 0.12, top - line * step, name, FAINT, "right", 8.5)
            _tokens(axis, left, top - line * step, [
                (table[one], f"{one}\n{_shown(table[one])}", PALE_ORANGE if one == 255 + number else PALE_BLUE)
                for one in ids
            ])  # fmt: skip
        ids, count = rows[-1][1], len(rows[0][1])
        words(axis, left, 0.17, label("bpe_ids").format(ids=", ".join(map(str, ids))), BLUE, "left", 9)
        told.append(say("“{text}” is {bytes} bytes, {values}, and after the merges {merges} its ids are {ids}",
                        text=text.replace(" ", "␣"), bytes=count, values=listed(map(str, rows[0][1])),
                        merges=listed(str(number) for number, _ in rows[1:]), ids=listed(map(str, ids))))  # fmt: skip
        left += width
    return described(figure, say("Words spelled in bytes and merged step by step: {each}.", each=listed(told, "; ")))


def _tokens(axis: Any, left: float, middle: float, parts: Sequence[tuple[bytes, str, str]]) -> None:
    """Boxes side by side, each as wide as its bytes."""
    from matplotlib.patches import Rectangle

    for token, text, colour in parts:
        wide = ACROSS * len(token)
        corner = (left, middle - HIGH / 2)
        axis.add_patch(Rectangle(corner, wide, HIGH, facecolor=colour, edgecolor="white", linewidth=1.5))
        words(axis, left + wide / 2, middle, text, size=7.5)
        left += wide


@style()
def training_rounds(counted: Mapping[tuple[int, ...], int], merges: Learned, rounds: int = 3) -> Any:
    """The first rounds of training side by side: the words as they are cut, the most frequent pairs, the one merged.

    counted: each word as a tuple of byte values → how often it occurs.
    """
    table, now = spelled(merges), {word: (list(word), times) for word, times in counted.items()}
    wide, high = 2.95, 1.95 + 0.27 * len(now)
    figure, axis = sheet(wide * rounds, high)
    told = []
    for number, (pair, times) in enumerate(merges[:rounds], start=1):
        left = 0.1 + wide * (number - 1)
        pairs: Counter[Pair] = Counter()
        for ids, occurs in now.values():
            for two in pairwise(ids):
                pairs[two] += occurs
        words(axis, left, high - 0.17, label("bpe_round").format(number=number), BLUE, "left", 9)
        most = sorted(pairs, key=lambda two: (-pairs[two], two))[:PAIRS]
        _pair_bars(axis, left, high - 0.45, {two: pairs[two] for two in most}, pair, table)
        words(axis, left, high - 1.65, label("bpe_cut_now"), FAINT, "left", 8)
        for row, (ids, occurs) in enumerate(now.values()):
            _word(axis, left, high - 1.92 - 0.27 * row, ids, occurs, pair, table)
        if number < rounds:
            arrow(axis, (left + wide - 0.5, high - 0.17), (left + wide - 0.08, high - 0.17), GREY)
        told.append(say("{left} and {right}, {times} times", left=_shown(table[pair[0]]), right=_shown(table[pair[1]]),
                        times=times))  # fmt: skip
        now = {word: (merged(ids, pair, 255 + number), occurs) for word, (ids, occurs) in now.items()}
    return described(figure, say(
        "{rounds} rounds of training on {words} different words. In each, all pairs of neighbours are counted anew and "
        "the most frequent one becomes a token: {each}.",
        rounds=rounds, words=len(counted), each=listed(told, "; "),
    ))  # fmt: skip


def _pair_bars(
    axis: Any, left: float, top: float, pairs: Mapping[Pair, int], chosen: Pair, table: Mapping[int, bytes]
) -> None:
    """The counts of the most frequent pairs; the one that is merged is orange."""
    from matplotlib.patches import Rectangle

    most = max(pairs.values())
    for row, ((first, second), count) in enumerate(pairs.items()):
        middle, colour = top - 0.28 * row, ORANGE if (first, second) == chosen else "#bbbbbb"
        words(axis, left + 0.75, middle, f"{_shown(table[first])} + {_shown(table[second])}", align="right", size=8.5)
        axis.add_patch(Rectangle((left + 0.85, middle - 0.08), 1.3 * count / most, 0.16, facecolor=colour))
        words(axis, left + 0.92 + 1.3 * count / most, middle, str(count), align="left", size=8.5)


def _word(
    axis: Any, left: float, middle: float, ids: Sequence[int], times: int, pair: Pair, table: Mapping[int, bytes]
) -> None:
    """One word as it is cut now, with the pair that is about to be merged in orange, and how often it occurs."""
    from matplotlib.patches import Rectangle

    hits = {place + step for place, two in enumerate(pairwise(ids)) if two == pair for step in (0, 1)}
    for place, one in enumerate(ids):
        wide = 0.21 * len(table[one])
        colour = PALE_ORANGE if place in hits else PAPER
        axis.add_patch(Rectangle((left, middle - 0.11), wide, 0.22, facecolor=colour, edgecolor="white", linewidth=1.5))
        words(axis, left + wide / 2, middle, _shown(table[one]), size=8)
        left += wide
    words(axis, left + 0.06, middle, f"× {times}", FAINT, "left", 8)
