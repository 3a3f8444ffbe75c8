"""Chapter 09's drawings: the KV cache over time, and one step of sampling, from the logits to the drawn token."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from minimind_lite.generation.sampling import SamplingConfig, sampling_logits
from minimind_lite.tokenizer import Tokenizer

from ...kit.drawings import FAINT, INK, PALE_BLUE, PALES, arrow, sheet, squares, words
from ...kit.labels import label
from ...kit.language import say
from ...kit.sentences import listed, short
from ...kit.style import GREY, ORANGE, RED, described, style

NAMED, LONGEST_NAME = 6, 11  # tokens that get a row of the sampling step, letters that their names are cut to
ROW, WIDEST, STAGE = 0.34, 0.72, 1.28  # that row's height, the longest bar, a stage with bar and number; in inches


@style()
def prefill_and_decode(prompt: Sequence[str], answer: Sequence[str]) -> Any:
    """A column for each pass through the model: what it reads, what the cache holds, and the token that comes out."""
    tokens = [*prompt, *answer]
    kept, passes = len(tokens) - 1, len(answer)
    side, wide, left = 0.27, 0.95, 2.25
    figure, axis = sheet(8.8, side * kept + 1.75)
    top = side * kept + 1.2
    for number in range(kept):
        ink = INK if number < len(prompt) else "#0072B2"
        words(axis, left - 0.15, top - (number + 0.5) * side, tokens[number], ink, "right", 8.5)
    for place in range(passes):
        middle = left + (place + 0.5) * wide
        held = len(prompt) + place
        new = held if place == 0 else 1
        column = [[PALE_BLUE]] * (held - new) + [[ORANGE]] * new
        squares(axis, middle - side / 2, top, column, side)
        words(axis, middle, top + 0.17, label("pass_number").format(number=place + 1), FAINT, size=8)
        arrow(axis, (middle, top - held * side), (middle, 0.92), GREY)
        words(axis, middle, 0.8, answer[place], "#0072B2", size=9)
        words(axis, middle, 0.46, str(new), size=9)
        words(axis, middle, 0.17, str(held), size=9)
    _phase(axis, left, left + wide, top + 0.4, label("prefill"))
    _phase(axis, left + wide, left + passes * wide, top + 0.4, label("decode"))
    for height, name in ((0.8, "token_comes_out"), (0.46, "reads_with_cache"), (0.17, "reads_without_cache")):
        words(axis, left - 0.15, height, label(name), align="right", size=8.5)
    right = left + passes * wide + 0.25
    for middle_height, colour, name in (
        (top - 0.15, ORANGE, "computed_and_kept"),
        (top - 0.5, PALE_BLUE, "in_the_cache"),
    ):
        squares(axis, right, middle_height + 0.1, [[colour]], 0.2)
        words(axis, right + 0.3, middle_height, label(name), align="left", size=8.5)
    reads = [len(prompt) + place for place in range(passes)]
    for height, total in ((0.46, kept), (0.17, sum(reads))):
        words(axis, right, height, label("tokens_in_all").format(total=total), align="left", size=8.5)
    return described(figure, say(
        "Passes through the model from left to right. The first, the prefill, computes keys and values of the "
        "{prompt} tokens of the prompt and keeps them; each of the {steps} passes after it, the decode, adds those "
        "of one token. With the cache {kept} tokens are read in all; without it {reads}, together {total}.",
        prompt=len(prompt), steps=passes - 1, kept=kept, reads=listed(reads), total=sum(reads),
    ))  # fmt: skip


def _phase(axis: Any, left: float, right: float, height: float, name: str) -> None:
    """A name over a line that spans the passes of one phase."""
    axis.plot([left + 0.08, right - 0.08], [height - 0.08] * 2, color=GREY, linewidth=1.4)
    words(axis, (left + right) / 2, height + 0.05, name, size=9.5)


@style()
def sampling_step(tokenizer: Tokenizer, logits: Tensor, config: SamplingConfig, luck: float) -> Any:
    """One token is drawn: a row for each of the likeliest tokens, a column for each stage from logits to the draw.

    logits: (vocab,), of what comes after a prompt. luck: the random number, at least 0 and below 1, that draws.
    """
    order = logits.argsort(descending=True)
    names = [_cut(tokenizer.token_label(token)) for token in order[:NAMED].tolist()]
    names.append(label("tokens_after_these").format(count=f"{len(order) - NAMED:,}"))
    stages = _stages(logits[order], config)
    figure, axis = sheet(8.8, ROW * len(names) + 0.6)
    left, top = 1.95, ROW * len(names) + 0.1
    words(axis, left - 0.42, top + 0.3, label("step_logits"), size=8.5)
    for place, name in enumerate(names):
        middle = top - (place + 0.5) * ROW
        words(axis, left - 0.8, middle, name, align="right", size=8.5)
        words(axis, left - 0.42, middle, f"{'≤ ' * (place == NAMED)}{logits[order[place]]:.1f}", size=8.5)
    scale = WIDEST / max(map(max, stages.values()))
    before = None
    for title, shares in stages.items():
        words(axis, left + 0.45, top + 0.3, title, size=8.5)
        arrow(axis, (left - 0.02, top + 0.1), (left + 0.95, top + 0.1), GREY)
        _bars(axis, left, top, [scale * one for one in shares], [scale * one for one in before or shares], shares)
        before, left = shares, left + STAGE
    words(axis, left + 0.6, top + 0.3, label("step_draw").format(luck=short(luck)), size=8.5)
    drawn = _stretches(axis, left + 0.15, top, shares, names, luck)
    told = listed((f"{title} {_told(shares, names)}" for title, shares in stages.items()), "; ")
    return described(figure, say(
        "One step of sampling; the tokens that can still be drawn after each stage, with their shares: {stages}. The "
        "random number {luck} draws {token}.",
        stages=told, luck=short(luck), token=drawn,
    ))  # fmt: skip


def _stages(logits: Tensor, config: SamplingConfig) -> dict[str, list[float]]:
    """What each stage leaves of the likeliest tokens' probabilities and, last, of all others'; by the stage's title.

    logits: (vocab,), descending. The filters take tokens away; only the last stage makes the rest whole again.
    """
    steps = [replace(config, top_k=0, top_p=1.0, min_p=0.0), replace(config, top_p=1.0, min_p=0.0), config]
    warm, by_k, by_p = (sampling_logits(logits[None], step)[0].softmax(-1).cpu() for step in steps)  # (vocab,) each
    stages = {
        label("step_temperature").format(temperature=config.temperature): warm,
        f"top-k {config.top_k}": warm * (by_k > 0),
        f"top-p {config.top_p}": warm * (by_p > 0),
        label("step_whole_again"): by_p,
    }
    return {title: [*one[:NAMED].tolist(), float(one[NAMED:].sum())] for title, one in stages.items()}


def _bars(
    axis: Any, left: float, top: float, lengths: Sequence[float], before: Sequence[float], shares: Sequence[float]
) -> None:
    """A column of bars, each over the outline of what it was a stage before, and how much it stands for."""
    from matplotlib.patches import Rectangle

    for place, (length, old, share) in enumerate(zip(lengths, before, shares, strict=True)):
        if not old and not share:
            continue
        bottom, high = top - (place + 0.82) * ROW, 0.64 * ROW
        if old > length:
            axis.add_patch(Rectangle((left, bottom), old, high, facecolor="none", edgecolor="#aaa", linestyle=":"))
        if share:
            look: Any = {"facecolor": PALES[place], "edgecolor": "#888", "linewidth": 0.6}
            axis.add_patch(Rectangle((left, bottom), length, high, **look))
        end, text = left + max(length, old) + 0.06, f"{share:.0%}" if share else "×"
        words(axis, end, bottom + high / 2, text, INK if share else FAINT, "left", 8)


def _stretches(axis: Any, left: float, top: float, shares: Sequence[float], names: Sequence[str], luck: float) -> str:
    """The probabilities end to end, from 0 at the top to 1, and where the random number hits: the token's name."""
    from matplotlib.patches import Rectangle

    wide, tall, start, drawn = 0.9, ROW * len(names), 0.0, names[-1]
    for place, share in enumerate(shares):
        if share <= 0:
            continue
        bottom = top - tall * (start + share)
        axis.add_patch(Rectangle((left, bottom), wide, tall * share, facecolor=PALES[place], edgecolor="#888"))
        if tall * share > 0.2 and place < NAMED:
            words(axis, left + wide / 2, bottom + tall * share / 2, names[place], size=8)
        if start <= luck < start + share:
            drawn = names[place]
        start += share
    arrow(axis, (left + wide + 0.5, top - luck * tall), (left + wide + 0.03, top - luck * tall), RED)
    return drawn


def _told(shares: Sequence[float], names: Sequence[str]) -> str:
    """Those tokens of a stage that are left: "␣of 60 %, ␣and 20 %"."""
    return listed(f"{name} {share:.0%}" for name, share in zip(names, shares, strict=True) if share > 0)


def _cut(name: str) -> str:
    """A token's name, cut where it is too long."""
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"
