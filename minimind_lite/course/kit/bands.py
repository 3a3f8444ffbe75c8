"""Is my loss normal? The band in which other seeds' losses fall, as measured by `make evidence`."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from minimind_lite.files import read_json

Row = Mapping[str, Any]

FILE = Path(__file__).with_name("bands.json")
# Settings that may differ between two runs whose losses are compared step by step.
_FREE = {"seed", "eval_every", "save_every", "eval_documents", "eval_questions", "max_new_tokens"}

ROUNDING = 1e-6  # a loss that is exactly 0, such as GRPO's first one, may be computed as -1e-8
WIDTH = 1e-3  # of either half of the band at a step whose loss does not depend on the seed


def recipe(settings: Any) -> dict[str, Any]:
    """The settings that shape the curve."""
    return {name: value for name, value in asdict(settings).items() if name not in _FREE}


def expected_band(stage: str, settings: Any, file: Path = FILE) -> dict[str, Any] | None:
    """``{"steps", "low", "high", "seeds"}`` for a stage at these settings; None if they have not been measured."""
    bands = read_json(file) if file.is_file() else {}
    band = bands.get(stage)
    return band if band and band["recipe"] == recipe(settings) else None


def inside(history: Sequence[Row], band: Mapping[str, Any]) -> float:
    """The share of the logged steps whose loss is inside the band."""
    limits = dict(zip(band["steps"], zip(band["low"], band["high"], strict=True), strict=True))
    found: list[bool] = [
        limits[row["step"]][0] <= row["loss"] <= limits[row["step"]][1] for row in history if row["step"] in limits
    ]
    return sum(found) / len(found)


def make_band(
    histories: Sequence[Sequence[Row]], settings: Any, seeds: Sequence[int], reach: int = 6
) -> dict[str, Any]:
    """The band of one run with several seeds: the 2.5 % and 97.5 % quantiles of the losses at single steps.

    At a single step there are only as many losses as seeds. So the losses of the ``reach`` logged steps on either side
    are pooled with it, after subtracting the line through the mean curve there, so that the slope does not count as
    scatter: 39 values for three seeds, whose smallest and largest a new one passes once in 20 steps. Where all seeds
    agree, the band is what they agree on. A loss that was never negative has no band below 0.
    """
    steps = [row["step"] for row in histories[0]]
    losses = [[row["loss"] for row in history] for history in histories]
    raw = [sum(column) / len(column) for column in zip(*losses, strict=True)]
    ages = [math.log1p(step) for step in steps]  # a loss falls about evenly with the logarithm of the step
    least = 0.0 if min(map(min, losses)) > -ROUNDING else -math.inf
    low, high = [], []
    for at in range(len(steps)):
        near = range(max(0, at - reach), min(len(steps), at + reach + 1))
        slope, start = statistics.linear_regression([ages[i] for i in near], [raw[i] for i in near])
        rest = [one[i] - (start + slope * ages[i]) for one in losses for i in near]
        cuts = statistics.quantiles(rest, n=40)
        middle = start + slope * ages[at]
        if max(one[at] for one in losses) - min(one[at] for one in losses) < ROUNDING:  # as at the first step of DPO
            middle, cuts = raw[at], [-WIDTH, WIDTH]
        low.append(round(max(least, middle + cuts[0]), 4))
        high.append(round(middle + cuts[-1], 4))
    return {"recipe": recipe(settings), "seeds": list(seeds), "steps": steps, "low": low, "high": high}
