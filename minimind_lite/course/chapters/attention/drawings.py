"""Chapter 04's drawings: from width to heads and back, who shares keys and values, and the cache over time."""

from typing import Any

from minimind_lite.config import ModelConfig

from ...kit.drawings import (
    FAINT,
    PALE_BLUE,
    PALE_GREEN,
    PALE_ORANGE,
    PAPER,
    arrow,
    box,
    sheet,
    squares,
    words,
)  # fmt: skip
from ...kit.labels import label, named
from ...kit.language import say
from ...kit.style import BLUE, GREY, ORANGE, PALETTE, described, style


@style()
def heads_and_shapes(config: ModelConfig, seq: int = 6) -> Any:
    """The shapes on the way through a layer: (seq, hidden) is cut into heads, each attends, and they are joined."""
    heads, dim, hidden = config.num_attention_heads, config.head_dim, config.hidden_size
    figure, axis = sheet(8.8, 2.5)
    colours = [PALETTE[head % len(PALETTE)] for head in range(heads)]
    share = max(1, 8 // heads)  # of the 8 columns that stand for the whole width
    for left, name, width in ((0.35, "hidden", 8), (7.0, "joined", 8)):
        squares(axis, left, 1.9, [[PAPER if name == "hidden" else colours[j * heads // width] for j in range(width)]
                                  for _ in range(seq)], 0.17)  # fmt: skip
    for head in range(min(heads, 4)):
        left = 3.1 + 0.82 * head
        squares(axis, left + 0.26 - 0.085 * share, 1.9, [[colours[head]] * share for _ in range(seq)], 0.17)
        words(axis, left + 0.26, 2.12, f"{label('head')} {head}", size=8)
    if heads > 4:
        words(axis, 6.2, 2.12, "…")
    arrow(axis, (1.85, 1.4), (3.0, 1.4), GREY)
    words(axis, 2.42, 1.6, "$W_q x,\\ W_k x,\\ W_v x$", size=8)
    words(axis, 2.42, 1.2, label("cut"), size=8)
    arrow(axis, (6.25, 1.4), (6.9, 1.4), GREY)
    words(axis, 6.58, 1.62, label("join"), size=8)
    for middle, text in (
        (1.03, label("shape_in").format(seq=seq, hidden=hidden)),
        (4.6, label("shape_heads").format(heads=heads, seq=seq, dim=dim)),
        (7.68, label("shape_out").format(seq=seq, hidden=heads * dim)),
    ):
        words(axis, middle, 0.62, text, size=8.5)
    words(axis, 4.6, 0.25, label("each_head_alone"), FAINT)
    said = say("A layer's shapes: {seq} tokens of width {hidden} are projected and cut into {heads} heads of width "
               "{dim}; each head attends on its own, and the results are joined to width {joined} again.", seq=seq,
               hidden=hidden, heads=heads, dim=dim, joined=heads * dim)  # fmt: skip
    return described(figure, said)


@style()
def shared_keys(query_heads: int, kv_heads: dict[str, int]) -> Any:
    """Which query head reads which keys and values, one panel for each kind of attention: name → kv heads."""
    figure, axis = sheet(8.8, 2.3)
    wide = 8.6 / len(kv_heads)
    for panel, (name, count) in enumerate(kv_heads.items()):
        left, step = 0.25 + panel * wide, (wide - 0.5) / query_heads
        words(axis, left + (wide - 0.5) / 2, 2.1, f"{named(name)}: {count} × (k, v)")
        for head in range(query_heads):
            group = head * count // query_heads
            middle = left + (group + 0.5) * step * query_heads / count
            colour = PALETTE[group % len(PALETTE)]
            axis.plot([left + (head + 0.5) * step, middle], [1.35, 0.75], color=colour, linewidth=1.4)
            squares(axis, left + (head + 0.5) * step - 0.12, 1.59, [[PALE_BLUE]], 0.24, [["q"]])
            squares(axis, middle - 0.17, 0.75, [[colour]], 0.34)
    words(axis, 4.4, 0.15, label("one_square_is_cached"), FAINT)
    kinds = say(", ").join(say("{what}: {each}", what=named(name), each=count) for name, count in kv_heads.items())
    said = say("{heads} query heads above and the key and value heads that they read below, joined by lines; so many "
               "pairs of keys and values are kept for each token: {kinds}.", heads=query_heads,
               kinds=kinds)  # fmt: skip
    return described(figure, said)


@style()
def cache_over_time(prompt: int = 4, steps: int = 4) -> Any:
    """The cache while a text is written: a row for each step, with what is computed and what is only read."""
    figure, axis = sheet(8.8, 0.62 + 0.36 * (steps + 1))
    side, left, top = 0.3, 3.1, 0.42 + 0.36 * (steps + 1)
    for step in range(steps + 1):
        length = prompt + step
        new = range(length) if step == 0 else [length - 1]
        row = [ORANGE if place in new else PALE_BLUE for place in range(length)]
        height = top - 0.36 * step
        squares(axis, left, height, [row], side)
        name = label("the_prompt") if step == 0 else label("token_number").format(number=step)
        words(axis, left - 0.15, height - side / 2, name, align="right", size=8.5)
        words(axis, left + side * (prompt + steps) + 0.2, height - side / 2,
              label("read_and_new").format(read=length - len(new), new=len(new)), align="left", size=8.5)  # fmt: skip
    squares(axis, 0.2, 0.3, [[ORANGE]], 0.16)
    words(axis, 0.45, 0.21, label("computed_now"), align="left", size=8.5)
    squares(axis, 4.6, 0.3, [[PALE_BLUE]], 0.16)
    words(axis, 4.85, 0.21, label("kept_from_before"), align="left", size=8.5)
    said = say("The cache over time: for a prompt of {prompt} tokens all keys and values are computed at once; at each "
               "of the {steps} steps after it one more is computed, and all earlier ones are only read.",
               prompt=prompt, steps=steps)  # fmt: skip
    return described(figure, said)


@style()
def three_projections() -> Any:
    """One token's vector, and what the three matrices make of it: a question, a label, a message."""
    figure, axis = sheet(8.8, 2.2)
    box(axis, 0.3, 1.1, 1.3, label("one_token_x"), PAPER, 0.5)
    rows = (("q", PALE_BLUE, "looks_for"), ("k", PALE_ORANGE, "is_found_by"), ("v", PALE_GREEN, "hands_over"))
    for height, (name, colour, meaning) in zip((1.8, 1.1, 0.4), rows, strict=True):
        arrow(axis, (1.6, 1.1), (2.6, height), GREY)
        box(axis, 2.6, height, 0.9, f"$W_{name}$", "white", 0.46)
        arrow(axis, (3.5, height), (4.0, height), GREY)
        box(axis, 4.0, height, 0.7, name, colour, 0.46)
        words(axis, 4.95, height, label(meaning), BLUE if name == "q" else "#333333", align="left")
    return described(figure, say(
        "One token's vector x goes through three matrices: W_q makes the query (what it looks for), W_k the key (what "
        "it is found by), W_v the value (what it hands over)."
    ))  # fmt: skip
