"""How long a run will take, and how much memory and disk, measured on its own first steps on the device at hand."""

import math
import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from minimind_lite.data.published import in_bytes
from minimind_lite.data.records import data_files
from minimind_lite.training.callbacks import Callback, RunState
from minimind_lite.training.options import RunOptions, TrainConfig

WARM_UP, MEASURED = 3, 5  # steps: the first ones allocate, choose kernels and compile
_LONG = 600.0  # seconds still to come from which a run says how long it will take
_SAMPLE = 2_000_000  # bytes of each data file that a measured short run reads
_CHECKPOINTS = 3  # two are kept while the next is written


@dataclass(frozen=True)
class Estimate:
    """What a run will need, and on what it was measured."""

    steps: int
    seconds: float  # all steps; evaluations and tokenizing come on top
    memory: int  # bytes at the peak; 0 if this system does not tell
    disk: int  # bytes: the model, its checkpoints, the stored tokens
    device: str

    def __str__(self) -> str:
        memory = f", {in_bytes(self.memory)} of memory on the {self.device}" if self.memory else ""
        return (
            f"≈ {in_time(self.seconds)} for {self.steps:,} steps{memory}; {in_bytes(self.disk)} on disk (measured on "
            f"{MEASURED} steps, evaluations and tokenizing not included)"
        )


def in_time(seconds: float) -> str:
    """A duration for people: "45 s", "38 min", "1.7 h", "12 days".

    >>> in_time(44.6), in_time(2280), in_time(6120), in_time(1.04e6)
    ('45 s', '38 min', '1.7 h', '12 days')
    """
    for limit, unit, digits, name in ((90, 1, 0, "s"), (5400, 60, 0, "min"), (172_800, 3600, 1, "h")):
        if seconds < limit:
            return f"{seconds / unit:.{digits}f} {name}"
    return f"{seconds / 86_400:.0f} days"


class RunEstimate(Callback):
    """After the first steps of a long run, says once how much is still to come."""

    def before_fit(self, state: RunState) -> None:
        self.taken: list[float] = []
        self.before = state.seconds

    def after_step(self, state: RunState) -> None:
        if len(self.taken) == WARM_UP + MEASURED:
            return
        self.taken.append(state.seconds - self.before)
        self.before = state.seconds
        if len(self.taken) == WARM_UP + MEASURED:
            left = state.total_steps - state.step
            found = Estimate(
                left, left * self.pace, peak_memory(), checkpoint_bytes(state.model), device_of(state.model)
            )
            if found.seconds >= _LONG:
                tqdm.write(f"still to come: {found}", file=sys.stderr)

    @property
    def pace(self) -> float:
        """Seconds a step, the median without the warm-up."""
        return statistics.median(self.taken[WARM_UP:])


def measure_run(
    run_stage: Callable[..., Any],
    data: str | Path,
    base: str | Path,
    config: TrainConfig,
    options: Any,
    run: RunOptions,
) -> Estimate:
    """Run a stage for eight steps on the beginning of its data, in a folder that is then removed.

    run_stage: ``run_pretrain`` and its like. Raises what the stage raises.
    """
    meter = RunEstimate()
    with tempfile.TemporaryDirectory(prefix="minimind-estimate-") as scratch:
        sample, share = _beginning(data, Path(scratch) / "data")
        short = replace(
            config, total_steps=WARM_UP + MEASURED, save_every=0, eval_every=0, progress=False, trackers=()
        )  # fmt: skip
        trial = RunOptions(max_bad_share=run.max_bad_share, resume="never", callbacks=(meter,))
        result = run_stage(sample, base, Path(scratch) / "run", short, options, trial)
        stored = sum(file.stat().st_size for file in (Path(scratch) / "run" / "tokens").rglob("*") if file.is_file())
    examples = len(result.data) / share
    steps = config.steps(math.ceil(examples / (config.micro_batch_size * config.gradient_accumulation_steps)))
    disk = checkpoint_bytes(result.model) + round(stored / share)
    return Estimate(steps, steps * meter.pace, peak_memory(), disk, device_of(result.model))


def _beginning(data: str | Path, folder: Path) -> tuple[Path, float]:
    """The first lines of each file of ``data``, in ``folder``; and their share of all bytes."""
    folder.mkdir()
    kept = total = 0
    for file in data_files(data):
        with file.open("rb") as lines:
            text = b"".join(lines.readlines(_SAMPLE))
        (folder / file.name).write_bytes(text)
        kept, total = kept + len(text), total + file.stat().st_size
    return folder, kept / max(total, 1)


def checkpoint_bytes(model: nn.Module) -> int:
    """Bytes on disk of the finished model, and of its checkpoints while it trains: fp32 weights and two averages."""
    every = sum(parameter.numel() for parameter in model.parameters())
    learning = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    return 4 * every + _CHECKPOINTS * 12 * learning


def peak_memory() -> int:
    """The most bytes that this process has held: on the GPU if there is one; 0 where the system does not tell."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_reserved())
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def device_of(model: nn.Module) -> str:
    """The name of the device that holds a model."""
    device = next(model.parameters()).device
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type.upper()
