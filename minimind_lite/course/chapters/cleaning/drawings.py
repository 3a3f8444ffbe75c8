"""Chapter 07b's drawings: the steps of cleaning as a funnel, and the way from texts to the few pairs to compare."""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

from minimind_lite.data.cleaning import FORMAT, STEPS

from ...kit.drawings import FAINT, PALE_BLUE, PALE_GREEN, PALE_ORANGE, PALE_PURPLE, PAPER, arrow, box, sheet, words
from ...kit.labels import label
from ...kit.language import say
from ...kit.sentences import listed
from ...kit.style import BLUE, GREEN, GREY, RED, described, style

COMPARES, REMEMBERS = ("exams",), ("exact", "near")  # the other steps look at one text by itself
ROW, WIDEST, NARROWEST = 0.33, 4.2, 1.3  # of the funnel, in inches
NAMES = "ABCDEFGH"
PIECES, SIDE = 3, 0.3  # the pieces that are written out; one number of a signature


def _kind(step: str) -> str:
    return "compares" if step in COMPARES else "remembers" if step in REMEMBERS else "alone"


@style()
def cleaning_funnel() -> Any:
    """The steps of ``minimind data clean`` from top to bottom, with what each takes out; the widths are no amounts."""
    from matplotlib.patches import Polygon

    steps = (FORMAT, *STEPS)
    colours = {"alone": PALE_BLUE, "compares": PALE_PURPLE, "remembers": PALE_ORANGE}
    figure, axis = sheet(8.8, 0.95 + ROW * len(steps))
    top, middle = 0.95 + ROW * len(steps) - 0.4, 2.3
    words(axis, middle, top + 0.2, label("funnel_in"), FAINT, size=8.5)
    shrink = (WIDEST - NARROWEST) / len(steps)
    for number, step in enumerate(steps):
        above, below = ((WIDEST - shrink * place) / 2 for place in (number, number + 1))
        high, low = top - ROW * number, top - ROW * (number + 1) + 0.04
        corners = [(middle - above, high), (middle + above, high), (middle + below, low), (middle - below, low)]
        axis.add_patch(Polygon(corners, facecolor=colours[_kind(step)], edgecolor="#888"))
        words(axis, middle, (high + low) / 2, step, size=8.5)
        arrow(axis, (middle + above + 0.02, (high + low) / 2), (4.85, (high + low) / 2), RED)
        words(axis, 4.95, (high + low) / 2, label(f"funnel_{step}"), align="left", size=8)
    words(axis, middle, top - ROW * len(steps) - 0.12, label("funnel_out"), GREEN, size=8.5)
    for place, (kind, colour) in enumerate(colours.items()):
        left = 0.25 + 2.85 * place
        axis.add_patch(_key(left, 0.08, colour))
        words(axis, left + 0.3, 0.17, label(f"funnel_{kind}"), align="left", size=8)
    kinds = {kind: [step for step in steps if _kind(step) == kind] for kind in colours}
    each = listed(
        (say("{what}: {each}", what=label(f"funnel_{kind}"), each=listed(found)) for kind, found in kinds.items()), "; "
    )
    return described(figure, say(
        "A funnel of {count} steps, from {first} at the top to {last} at the bottom, each with what it takes out; "
        "colours tell the kinds apart. {each}.", count=len(steps), first=steps[0], last=steps[-1], each=each,
    ))  # fmt: skip


def _key(left: float, bottom: float, colour: str) -> Any:
    """A small square of a legend."""
    from matplotlib.patches import Rectangle

    return Rectangle((left, bottom), 0.2, 0.18, facecolor=colour, edgecolor="#888")


def shared_bands(signatures: Sequence[Sequence[int]], rows: int) -> list[list[tuple[int, int]]]:
    """For each band, the pairs of texts whose numbers agree in the whole band."""
    bands = range(0, len(signatures[0]) - rows + 1, rows)
    return [
        [(one, other) for one, other in combinations(range(len(signatures)), 2)
         if list(signatures[one][start : start + rows]) == list(signatures[other][start : start + rows])]
        for start in bands
    ]  # fmt: skip


@style()
def texts_to_candidates(texts: Sequence[str], signatures: Sequence[Sequence[int]], rows: int, size: int = 5) -> Any:
    """Short texts, their pieces, their signatures cut into bands, and the pairs that share a band.

    signatures: the smallest number of each text's pieces under every hash function. size: of a piece, in characters.
    """
    bands = shared_bands(signatures, rows)
    figure, axis = sheet(9.4, 1.2 + 0.62 * len(texts))
    top = 0.4 + 0.62 * len(texts)
    starts = [4.95 + band * (rows * SIDE + 0.12) for band in range(len(bands))]
    right = starts[-1] + rows * SIDE
    for left, name in ((0.35, "lsh_texts"), (2.75, "lsh_pieces"), (starts[0], "lsh_minima")):
        words(axis, left, top + 0.47, label(name), FAINT, "left", 8.5)
    for number, (text, signature) in enumerate(zip(texts, signatures, strict=True)):
        middle = top - 0.62 * number
        words(axis, 0.18, middle, NAMES[number], BLUE, size=10)
        words(axis, 0.35, middle, text, align="left", size=8)
        pieces = [text[start : start + size].replace(" ", "␣") for start in range(len(text) - size + 1)]
        for place, piece in enumerate(pieces[:PIECES]):
            box(axis, 2.75 + 0.58 * place, middle, 0.54, piece, PAPER, 0.3)
        words(axis, 4.52, middle, f"… {len(pieces)}", FAINT, "left", 8)
        for band, (start, pairs) in enumerate(zip(starts, bands, strict=True)):
            shared = any(number in pair for pair in pairs)
            _numbers(axis, start, middle, signature[band * rows : (band + 1) * rows], shared)
    for band, (start, pairs) in enumerate(zip(starts, bands, strict=True)):
        low, wide = top - 0.62 * len(texts), rows * SIDE
        words(axis, start + wide / 2, low + 0.18, label("band_number").format(number=band + 1), FAINT, size=8)
        words(axis, start + wide / 2, low - 0.1, _pairs(pairs), GREEN if pairs else FAINT, size=9)
    arrow(axis, (right + 0.1, top - 0.31 * (len(texts) - 1)), (right + 0.4, top - 0.31 * (len(texts) - 1)), GREY)
    found = sorted({pair for pairs in bands for pair in pairs})
    possible = len(texts) * (len(texts) - 1) // 2
    words(axis, 4.75, top - 0.62 * len(texts) - 0.1, label("lsh_shared"), FAINT, "right", 8.5)
    box(axis, right + 0.45, top - 0.31 * (len(texts) - 1), 1.0, _pairs(found), PALE_GREEN if found else PAPER, 0.5)
    words(axis, right + 0.95, top + 0.47, label("lsh_compared"), FAINT, size=8.5)
    return described(figure, say(
        "{count} texts, each cut into pieces of {size} characters, with {numbers} smallest numbers in {bands} bands of "
        "{rows}. Pairs that share a band: {each}. So {found} of {possible} pairs are compared.",
        count=len(texts), size=size, numbers=len(signatures[0]), bands=len(bands), rows=rows,
        each=listed((say("band {number} {pairs}", number=number, pairs=_pairs(pairs))
                     for number, pairs in enumerate(bands, start=1)), "; "),
        found=len(found), possible=possible,
    ))  # fmt: skip


def _numbers(axis: Any, left: float, middle: float, numbers: Sequence[int], shared: bool) -> None:
    """One band of a text's signature, green where another text has the same one."""
    from matplotlib.patches import Rectangle

    for place, number in enumerate(numbers):
        corner = (left + SIDE * place, middle - SIDE / 2)
        colour = PALE_GREEN if shared else PAPER
        axis.add_patch(Rectangle(corner, SIDE, SIDE, facecolor=colour, edgecolor="white", linewidth=1.2))
        words(axis, corner[0] + SIDE / 2, middle, str(number), size=8)


def _pairs(pairs: Sequence[tuple[int, int]]) -> str:
    """A–B, A–C: the pairs by the names of their texts; a dash for none."""
    return ", ".join(f"{NAMES[one]}–{NAMES[other]}" for one, other in pairs) or "–"
