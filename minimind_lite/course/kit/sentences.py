"""Words about data, for the sentences that describe a picture: where a line goes, which one is lowest, what is largest.

Numbers are written short ("3.14", "12,345"); what is no finite number is called "no finite number".
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

NO_NUMBER = "no finite number"
SAME = 0.005  # a line whose ends differ by less than this part of its largest value "stays"
MOST_NAMED = 6  # of more lines or bars than this, only the extremes are named


def short(value: Any) -> str:
    """A number to read aloud: three significant digits, or all digits of a large one."""
    value = float(value) + 0.0  # no "-0"
    if not math.isfinite(value):
        return NO_NUMBER
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e7 else f"{value:.3g}"


def listed(items: Iterable[object], between: str = ", ") -> str:
    """``["a", "b", "c"]`` as "a, b and c"; "nothing" where there is nothing."""
    *first, last = [str(item) for item in items] or ["nothing"]
    return f"{between.join(first)}{' and ' if between == ', ' else between}{last}" if first else last


def move(name: str, values: Iterable[Any]) -> str:
    """Where one line goes: "loss falls from 5 to 2", with the turn it takes where that is beyond its ends."""
    numbers = [float(value) for value in values]
    finite = [value for value in numbers if math.isfinite(value)]
    if not finite:
        return f"{name} is {NO_NUMBER}"
    first, last, low, high = finite[0], finite[-1], min(finite), max(finite)
    if len(numbers) == 1:
        return f"{name} is {short(first)}"
    margin = max(0.1 * (high - low), SAME * max(abs(low), abs(high)))
    if abs(last - first) <= SAME * max(abs(low), abs(high)):
        words = f"{name} {'starts and ends' if high - low > margin else 'stays'} at {short(last)}"
    else:
        words = f"{name} {'falls' if last < first else 'rises'} from {short(first)} to {short(last)}"
    if high > max(first, last) + margin:
        words += f", up to {short(high)} in between"
    if low < min(first, last) - margin:
        words += f", down to {short(low)} in between"
    return words if math.isfinite(numbers[-1]) else f"{words}, then is {NO_NUMBER}"


def moves(lines: Mapping[str, Sequence[Any]]) -> str:
    """Where several lines go, and which of them is lowest and highest at the end."""
    lines = {name: values for name, values in lines.items() if len(values)}
    ends = {name: float(values[-1]) for name, values in lines.items()}
    if len(lines) > MOST_NAMED:
        return f"of {len(lines)} lines, at the end {extremes(ends, 'lowest', 'highest')}"
    words = listed((move(name, values) for name, values in lines.items()), "; ")
    finite = {name: value for name, value in ends.items() if math.isfinite(value)}
    if len(finite) < 2 or max(finite.values()) == min(finite.values()):
        return words
    return f"{words}; lowest at the end: {min(finite, key=finite.__getitem__)}"


def amounts(bars: Mapping[str, Any]) -> str:
    """The bars' lengths from the longest to the shortest, or only the extremes where there are many."""
    lengths = {name: float(value) for name, value in bars.items()}
    if len(lengths) > MOST_NAMED:
        return f"of {len(lengths)}, {extremes(lengths, 'smallest', 'largest')}"
    longest_first = sorted(lengths, key=lambda name: -lengths[name])
    return listed((f"{name} {short(lengths[name])}" for name in longest_first), "; ")


def extremes(values: Mapping[str, float], least: str, most: str) -> str:
    """``"a is lowest with 1 and b is highest with 3"`` in the words given; finite values only."""
    finite = {name: float(value) for name, value in values.items() if math.isfinite(value)}
    if not finite:
        return f"every value is {NO_NUMBER}"
    low, high = min(finite, key=finite.__getitem__), max(finite, key=finite.__getitem__)
    return f"{low} is {least} with {short(finite[low])} and {high} is {most} with {short(finite[high])}"


def spread(values: Iterable[Any]) -> str:
    """``"from 1 to 3"``: the least and the largest of finite values."""
    finite = [float(value) for value in values if math.isfinite(value)]
    return f"from {short(min(finite))} to {short(max(finite))}" if finite else f"with {NO_NUMBER}"
