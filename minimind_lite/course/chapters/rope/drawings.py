"""Chapter 03's drawings: which vectors are turned, and why only the distance is left."""

import math
from typing import Any

from ...kit.drawings import FAINT, PALE_BLUE, PALE_GREEN, PALE_ORANGE, PAPER, arrow, box, sheet, words
from ...kit.labels import label
from ...kit.language import say
from ...kit.style import BLUE, GREEN, GREY, ORANGE, described, style


@style()
def what_is_turned() -> Any:
    """From a token's vector to score and mixture: queries and keys are turned, values are not."""
    figure, axis = sheet(8.6, 2.7)
    box(axis, 0.2, 1.35, 1.0, label("token_vector"), PAPER, 0.5)
    for height, name, colour in ((2.25, "q", PALE_BLUE), (1.35, "k", PALE_ORANGE), (0.45, "v", PALE_GREEN)):
        arrow(axis, (1.2, 1.35), (1.9, height), GREY)
        box(axis, 1.9, height, 1.0, f"{name} = $W_{name}$ x", colour, 0.5)
        if name != "v":
            arrow(axis, (2.9, height), (3.4, height), GREY)
            box(axis, 3.4, height, 1.7, label("turn_by_position"), "white", 0.5)
            arrow(axis, (5.1, height), (5.9, 1.85 if name == "q" else 1.75), GREY)
    arrow(axis, (2.9, 0.45), (7.15, 0.45), GREY)
    words(axis, 4.25, 0.62, label("not_turned"), FAINT)
    box(axis, 5.9, 1.8, 1.0, label("dot_product"), PAPER, 0.5)
    arrow(axis, (6.9, 1.8), (7.65, 1.2), GREY)
    words(axis, 7.5, 1.75, label("only_distance"), align="left", size=8.5)
    box(axis, 7.15, 0.85, 1.1, label("mixture"), PALE_GREEN, 0.7)
    return described(figure, say(
        "From a token's vector come query, key and value. The query and the key are turned by the token's position; "
        "their dot product, which depends on the distance only, weights the values, which are not turned."
    ))  # fmt: skip


@style()
def same_distance(speed: float = 0.45, places: tuple[tuple[int, int], ...] = ((5, 2), (9, 6), (14, 11))) -> Any:
    """One pair's hands of a query and a key at several places with the same distance; the angle between them stays."""
    figure, axis = sheet(8.6, 2.85)
    for number, (query, key) in enumerate(places):
        middle = 1.45 + 2.85 * number
        _dial(axis, (middle, 1.78), query * speed, key * speed)
        words(axis, middle, 0.5, label("places_of").format(query=query, key=key))
    angle = math.degrees((places[0][0] - places[0][1]) * speed)
    words(axis, 4.3, 0.13, label("same_angle").format(angle=round(angle)), GREEN)
    seen = say(", ").join(say("{first} and {last}", first=query, last=key) for query, key in places)
    return described(figure, say("Dials with the hands of a query and a key at the positions {places}: the hands point "
                                 "elsewhere each time, and the angle between them is {angle} degrees in all of them.",
                                 places=seen, angle=f"{angle:.0f}"))  # fmt: skip


def _dial(axis: Any, centre: tuple[float, float], query: float, key: float, radius: float = 0.85) -> None:
    from matplotlib.patches import Arc, Circle

    axis.add_patch(Circle(centre, radius, facecolor="white", edgecolor="#cccccc"))
    span = (math.degrees(key), math.degrees(query))
    axis.add_patch(Arc(centre, radius, radius, theta1=span[0], theta2=span[1], color=GREEN, linewidth=3))
    for angle, colour, name in ((query, BLUE, "q"), (key, ORANGE, "k")):
        tip = (centre[0] + radius * math.cos(angle), centre[1] + radius * math.sin(angle))
        arrow(axis, centre, tip, colour)
        words(axis, centre[0] + 1.16 * radius * math.cos(angle), centre[1] + 1.16 * radius * math.sin(angle), name,
              colour)  # fmt: skip
