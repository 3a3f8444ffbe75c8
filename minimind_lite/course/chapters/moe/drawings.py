"""Chapter 06's drawings: one token's way through the experts, and a batch sorted by expert."""

from collections.abc import Sequence
from typing import Any

from ...kit.drawings import FAINT, PALE_BLUE, PALE_GREEN, PALES, PAPER, arrow, box, sheet, sign, squares, words
from ...kit.labels import label
from ...kit.language import say
from ...kit.sentences import listed
from ...kit.style import GREEN, GREY, described, style


@style()
def one_token(shares: Sequence[float], top_k: int) -> Any:
    """One token's way: the router's shares, the experts that are asked, and the sum of their weighted answers."""
    best = sorted(range(len(shares)), key=lambda expert: -shares[expert])[:top_k]
    kept = sum(shares[expert] for expert in best)
    figure, axis = sheet(8.8, 0.7 * len(shares) + 0.3)
    middle = (0.7 * len(shares) + 0.3) / 2
    box(axis, 0.2, middle, 0.8, label("token"), PAPER, 0.5)
    arrow(axis, (1.0, middle), (1.5, middle), GREY)
    box(axis, 1.5, middle, 0.9, label("router"), PALE_BLUE, 0.5)
    for expert, share in enumerate(shares):
        height = 0.5 + 0.7 * (len(shares) - 1 - expert)
        asked = expert in best
        colour = PALES[expert % len(PALES)] if asked else "#f4f4f4"
        axis.plot([2.4, 3.9], [middle, height], color=GREEN if asked else "#dddddd", linewidth=1.6)
        words(axis, 3.95, height + 0.17, f"{share:.0%}", GREEN if asked else FAINT, "left")
        arrow(axis, (3.9, height), (4.5, height), GREEN if asked else "#dddddd")
        box(axis, 4.5, height, 1.1, f"{label('expert')} {expert}", colour, 0.46)
        if asked:
            arrow(axis, (5.6, height), (7.33, middle), GREEN)
            words(axis, 5.75, height + (0.2 if height >= middle else -0.16), f"× {share / kept:.2f}", GREEN, "left")
    sign(axis, 7.5, middle, "+", GREEN)
    arrow(axis, (7.68, middle), (8.4, middle), GREY)
    said = listed(say("expert {expert} with {share}, weight {weight}", expert=one, share=f"{shares[one]:.0%}",
                      weight=f"{shares[one] / kept:.2f}") for one in best)  # fmt: skip
    return described(figure, say("A token's way: the router gives each of {experts} experts a share; asked are only "
                                 "{asked}. Their answers, times the weights, are added.", experts=len(shares),
                                 asked=said))  # fmt: skip


@style()
def sorted_by_expert(chosen: Sequence[int], experts: int) -> Any:
    """Tokens in their order, gathered by expert so that each works once on its pile, and put back in order."""
    order = sorted(range(len(chosen)), key=lambda token: chosen[token])
    side, gap = 0.42, 0.5
    figure, axis = sheet(8.8, 2.9)
    left = 1.6
    places = {token: left + place * side + gap * chosen[token] for place, token in enumerate(order)}
    for top, name in ((2.75, "in_order"), (1.62, "in_piles"), (0.5, "back_in_order")):
        words(axis, 0.1, top - side / 2, label(name), align="left", size=8.5)
        for token, expert in enumerate(chosen):
            x = places[token] if name == "in_piles" else left + gap + token * side
            squares(axis, x, top, [[PALES[expert % len(PALES)]]], side, [[token]])
    for token in range(len(chosen)):
        home = left + gap + (token + 0.5) * side
        axis.plot([home, places[token] + side / 2], [2.33, 1.62], color="#bbbbbb", linewidth=1)
        axis.plot([places[token] + side / 2, home], [1.2, 0.5], color="#bbbbbb", linewidth=1)
    piles = {expert: [places[token] for token in order if chosen[token] == expert] for expert in range(experts)}
    for expert, lefts in piles.items():
        if lefts:
            words(axis, lefts[-1] + side + 0.06, 1.41, f"E{expert}", FAINT, "left", 8)
    counts = listed(say("expert {expert} {count}", expert=expert, count=len(lefts)) for expert, lefts in piles.items())
    return described(figure, say("{tokens} tokens are gathered into one pile for each expert, so that every expert "
                                 "computes once, and are put back in their order; the piles hold: {counts}.",
                                 tokens=len(chosen), counts=counts))  # fmt: skip


@style()
def stored_and_active(experts: int, top_k: int) -> Any:
    """Dense against experts: what is stored, and what one token's computation touches."""
    figure, axis = sheet(8.8, 1.7)
    words(axis, 0.2, 1.25, label("dense"), align="left")
    squares(axis, 1.6, 1.5, [[PALE_GREEN] * top_k], 0.5)
    words(axis, 0.2, 0.5, label("moe"), align="left")
    squares(axis, 1.6, 0.75, [[PALE_GREEN] * top_k + ["#eeeeee"] * (experts - top_k)], 0.5)
    words(axis, 1.6 + 0.5 * experts + 0.3, 1.25, label("all_of_it"), align="left")
    words(axis, 1.6 + 0.5 * experts + 0.3, 0.5, label("some_of_it").format(active=top_k, all=experts), align="left")
    said = say("A dense layer's squares are all used by every token. The layer of experts stores {experts} squares, of "
               "which a token uses {active}: the same computation, {times} times the memory.", experts=experts,
               active=top_k, times=f"{experts / top_k:g}")  # fmt: skip
    return described(figure, said)
