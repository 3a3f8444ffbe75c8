"""Words about data, for the sentences that describe a picture: where a line goes, which one is lowest, what is largest.

Numbers are written short ("3.14", "12,345"); what is no finite number is called "no finite number".
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .language import say

SAME = 0.005  # a line whose ends differ by less than this part of its largest value "stays"
MOST_NAMED = 6  # of more lines or bars than this, only the extremes are named


def no_number() -> str:
    """What is said instead of an infinite value or of not-a-number."""
    return say("no finite number")


def short(value: Any) -> str:
    """A number to read aloud: three significant digits, or all digits of a large one."""
    value = float(value) + 0.0  # no "-0"
    if not math.isfinite(value):
        return no_number()
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e7 else f"{value:.3g}"


def listed(items: Iterable[object], between: str = ", ") -> str:
    """``["a", "b", "c"]`` as "a, b and c"; "nothing" where there is nothing."""
    *first, last = [str(item) for item in items] or [say("nothing")]
    if not first:
        return last
    joined = say(", " if between == ", " else "; ").join(first)
    if between == ", ":
        return say("{first} and {last}", first=joined, last=last)
    return joined + say("; ") + last


def move(name: str, values: Iterable[Any]) -> str:
    """Where one line goes: "loss falls from 5 to 2", with the turn it takes where that is beyond its ends."""
    numbers = [float(value) for value in values]
    finite = [value for value in numbers if math.isfinite(value)]
    if not finite:
        return say("{name} is {value}", name=name, value=no_number())
    first, last, low, high = finite[0], finite[-1], min(finite), max(finite)
    if len(numbers) == 1:
        return say("{name} is {value}", name=name, value=short(first))
    margin = max(0.1 * (high - low), SAME * max(abs(low), abs(high)))
    if abs(last - first) <= SAME * max(abs(low), abs(high)):
        turns = high - low > margin
        words = say("{name} starts and ends at {value}" if turns else "{name} stays at {value}",
                    name=name, value=short(last))  # fmt: skip
    else:
        words = say("{name} falls from {first} to {last}" if last < first else "{name} rises from {first} to {last}",
                    name=name, first=short(first), last=short(last))  # fmt: skip
    if high > max(first, last) + margin:
        words += say(", up to {value} in between", value=short(high))
    if low < min(first, last) - margin:
        words += say(", down to {value} in between", value=short(low))
    return words if math.isfinite(numbers[-1]) else words + say(", then is {value}", value=no_number())


def moves(lines: Mapping[str, Sequence[Any]]) -> str:
    """Where several lines go, and which of them is lowest and highest at the end."""
    lines = {name: values for name, values in lines.items() if len(values)}
    ends = {name: float(values[-1]) for name, values in lines.items()}
    if len(lines) > MOST_NAMED:
        told = extremes(ends, say("lowest"), say("highest"))
        return say("of {count} lines, at the end {extremes}", count=len(lines), extremes=told)
    words = listed((move(name, values) for name, values in lines.items()), "; ")
    finite = {name: value for name, value in ends.items() if math.isfinite(value)}
    if len(finite) < 2 or max(finite.values()) == min(finite.values()):
        return words
    return words + say("; lowest at the end: {name}", name=min(finite, key=finite.__getitem__))


def amounts(bars: Mapping[str, Any]) -> str:
    """The bars' lengths from the longest to the shortest, or only the extremes where there are many."""
    lengths = {name: float(value) for name, value in bars.items()}
    if len(lengths) > MOST_NAMED:
        told = extremes(lengths, say("smallest"), say("largest"))
        return say("of {count}, {extremes}", count=len(lengths), extremes=told)
    longest_first = sorted(lengths, key=lambda name: -lengths[name])
    return listed((f"{name} {short(lengths[name])}" for name in longest_first), "; ")


def extremes(values: Mapping[str, float], least: str, most: str) -> str:
    """``"a is lowest with 1 and b is highest with 3"`` in the words given; finite values only."""
    finite = {name: float(value) for name, value in values.items() if math.isfinite(value)}
    if not finite:
        return say("every value is {value}", value=no_number())
    low, high = min(finite, key=finite.__getitem__), max(finite, key=finite.__getitem__)
    return say("{low} is {least} with {low_value} and {high} is {most} with {high_value}", low=low, least=least,
               low_value=short(finite[low]), high=high, most=most, high_value=short(finite[high]))  # fmt: skip


def spread(values: Iterable[Any]) -> str:
    """``"from 1 to 3"``: the least and the largest of finite values."""
    finite = [float(value) for value in values if math.isfinite(value)]
    if not finite:
        return say("with {value}", value=no_number())
    return say("from {low} to {high}", low=short(min(finite)), high=short(max(finite)))
