"""Timing of interleaved arms, and the JSON that describes a comparison.

The arms of a comparison run in turn within every round, in the opposite order in every other round, so that a machine
that slows down slows all of them. Ratios are taken within a round; medians and quartiles are over rounds.
"""

import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from subjects import Run

PEAK_SECONDS = 0.3  # of each shape in each round
PACKAGES = ("torch", "numpy", "tokenizers", "transformers", "llama-cpp-python")


@dataclass(frozen=True)
class Goal:
    """What a figure of a result should reach: ``of`` is the name of the field."""

    of: str
    value: float
    at_most: bool = False

    def judged(self, result: Mapping[str, Any]) -> dict[str, Any]:
        """The goal as JSON, and whether the result meets it."""
        reached = float(result[self.of])
        met = reached <= self.value if self.at_most else reached >= self.value
        return {"of": self.of, "at_most" if self.at_most else "at_least": self.value, "met": met}


@dataclass
class Times:
    """Seconds of each round."""

    cpu: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)

    def of(self, clock: str) -> np.ndarray[Any, Any]:
        """By the clock named."""
        return np.asarray(self.cpu if clock == "cpu" else self.wall)


def interleave(arms: Mapping[str, Callable[[], object]], run: Run) -> dict[str, Times]:
    """Time every arm once per round; a first round, which is not counted, warms up."""
    times = {name: Times() for name in arms}
    begun = time.perf_counter()
    for number in range(run.rounds + 1):
        for name in list(arms)[:: -1 if number % 2 else 1]:
            cpu, wall = time.process_time(), time.perf_counter()
            arms[name]()
            if number:
                times[name].cpu.append(time.process_time() - cpu)
                times[name].wall.append(time.perf_counter() - wall)
        if number and time.perf_counter() - begun > run.seconds:
            break
    return times


def clock_of(run: Run) -> str:
    """CPU time is fair on a shared machine, but says nothing about speed when several threads work."""
    return "cpu" if run.threads == 1 else "wall"


def compare(
    name: str,
    unit: str,
    run: Run,
    times: Mapping[str, Times],
    work: Mapping[str, float],
    peer: str,
    ours: str = "ours",
    goal: Goal | None = None,
    **more: Any,
) -> dict[str, Any]:
    """One result: rates of two arms in ``unit`` per second, their ratio, and the spread (quartiles) of all three.

    work: what each arm does in a round, in the unit.
    """
    clock = clock_of(run)
    rates = {arm: work[arm] / times[arm].of(clock) for arm in (ours, peer)}
    walls = {arm: work[arm] / times[arm].of("wall") for arm in (ours, peer)}
    figures = {"ours": rates[ours], "peer": rates[peer], "ratio": rates[ours] / rates[peer]}
    result = {"name": name} | {key: rounded(float(np.median(values))) for key, values in figures.items()}
    result |= {"peer_name": peer, "unit": f"{unit} per second of {'CPU' if clock == 'cpu' else 'wall'} time"}
    result["spread"] = {key: quartiles(values) for key, values in figures.items()}
    result["wall"] = {"ours": median(walls[ours]), "peer": median(walls[peer])}
    result |= {"rounds": len(rates[ours]), **more}
    return result | ({"goal": goal.judged(result)} if goal else {})


def alone(name: str, unit: str, values: Any, goal: Goal | None = None, **more: Any) -> dict[str, Any]:
    """A result that has no peer: ``values``, one per round."""
    result = {"name": name, "ours": median(values), "peer": None, "peer_name": None, "ratio": None, "unit": unit}
    result |= {"spread": {"ours": quartiles(values)}, "rounds": len(values), **more}
    return result | ({"goal": goal.judged(result)} if goal else {})


def median(values: Any) -> float:
    """The median, to four digits."""
    return rounded(float(np.median(values)))


def quartiles(values: Any) -> list[float]:
    """The lower and the upper quartile."""
    return [rounded(float(one)) for one in np.percentile(values, (25, 75))]


def rounded(value: float) -> float:
    """Four significant digits: more would be noise."""
    return float(f"{value:.4g}")


class MatrixPeak:
    """The fp32 matrix product's speed, measured as an arm beside the others: what a model could reach at most.

    The faster of a square product and one of the model's own shape, (rows, inner) by (inner, outer).
    """

    def __init__(self, rows: int, inner: int, outer: int) -> None:
        self.shapes = [(1024, 1024, 1024), (rows, inner, outer)]
        self.gflops: dict[str, list[float]] = {" × ".join(map(str, shape)): [] for shape in self.shapes}

    def __call__(self) -> None:
        for shape, rates in zip(self.shapes, self.gflops.values(), strict=True):
            rows, inner, outer = shape
            left, right = torch.randn(rows, inner), torch.randn(outer, inner)
            F.linear(left, right)
            begun, products, spent = time.process_time(), 0, 0.0
            while spent < PEAK_SECONDS:
                F.linear(left, right)
                products, spent = products + 1, time.process_time() - begun
            rates.append(2e-9 * rows * inner * outer * products / spent)

    @property
    def medians(self) -> dict[str, float]:
        """GFLOP per second of CPU time by shape."""
        return {shape: rounded(statistics.median(rates)) for shape, rates in self.gflops.items()}

    def share(self, flops_per_second: float) -> float:
        """Of the faster shape's median."""
        return rounded(flops_per_second / (1e9 * max(self.medians.values())))


def load_average() -> float | None:
    """How many processes wanted to run in the last minute, where the system counts them."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def description(command: str, threads: int, load: float | None) -> dict[str, Any]:
    """The machine, the versions and the circumstances. load: the load average before the run."""
    return {
        "device": f"cpu ({processor()}, {os.cpu_count()} cores, {threads} thread{'s' * (threads > 1)} used)",
        "versions": {"python": platform.python_version()} | {one: version_of(one) for one in PACKAGES},
        "command": command,
        "load_average": {"before": load, "after": load_average()},
    }


def processor() -> str:
    """What the system calls its processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    except OSError:
        names = []
    return f"{names[0]}, {platform.machine()}" if names else platform.machine()


def version_of(package: str) -> str | None:
    """Of an installed package; None if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None
