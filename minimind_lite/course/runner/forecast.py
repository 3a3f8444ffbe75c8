"""What a run of the chapters will take, before anything runs: stages, steps, files, time, memory, disk.

No file and no GPU is needed. Every number says where it comes from: measured (an earlier run of the chapter at this
profile), stated (the chapter's own settings), or estimated (the model's arithmetic and formulas).
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from minimind_lite.config import count_parameters, preset
from minimind_lite.data.published import PublishedFile, data_folder, in_bytes
from minimind_lite.training.estimate import in_time
from minimind_lite.training.memory import training_memory

from ..kit.data_files import download_command, published_files_of
from ..kit.paths import stage_of
from ..kit.profiles import expected_minutes, published_data, settings_for
from ..kit.settings import TrainingSettings
from ..notebooks.files import language_of
from . import state
from .cards import ASSUMED_MFU, CARDS, seconds_on, training_flops
from .plan import Plan
from .schedule import Slot, beside, tasks_of, timeline

FULL_CARD = "RTX 3090"  # the 24 GB card that the profile full is made for
_PARTS = ("reference", "cold", "habit", "sft", "medical")  # of a chapter's settings: the stages beside its own
_ROWS = {"dpo": 2}  # rows of an example: the better and the worse answer
_MODELS = {"cleaning": 4, "moe": 2, "reason": 2}  # stages that train controls as large beside the model
_FROZEN = {"dpo": 4 / 3, "distill": 4 / 3}  # a reference or a teacher runs forward: a third of training's work
_PRACTISED = {"grpo", "ppo"}  # most of their time goes into generation, which no formula here covers
_BYTES_A_TOKEN, _BYTES_STORED = 5, 3  # of published text a token; a stored token and its mask


@dataclass(frozen=True)
class StagePlan:
    """One training run of a chapter."""

    name: str
    preset: str
    vocab_size: int
    steps: int
    rows: int  # of one micro-batch
    accumulation: int
    block_size: int
    half: bool
    work: float = 1.0  # in trainings of one model

    @property
    def positions(self) -> int:
        """Positions that the whole stage reads; packed, nearly all hold a token."""
        return self.steps * self.rows * self.accumulation * self.block_size

    @property
    def flops(self) -> float:
        """Floating-point operations of the whole stage."""
        config = preset(self.preset, vocab_size=self.vocab_size)
        return self.positions * self.work * training_flops(config, self.block_size)

    @property
    def memory(self) -> int:
        """Bytes at the peak, by formula."""
        config = preset(self.preset, vocab_size=self.vocab_size)
        return training_memory(config, self.rows, self.block_size, half=self.half).total

    @property
    def disk(self) -> int:
        """Bytes of the model, and of its checkpoints while it trains."""
        return (4 + 3 * 12) * count_parameters(preset(self.preset, vocab_size=self.vocab_size))


def stages_of(chapter: str, settings: Any) -> list[StagePlan]:
    """The training runs of a chapter, in order, without its small experiments; none if it only builds a part."""
    if not isinstance(settings, TrainingSettings):
        return []
    vocabulary = getattr(settings, "vocab_size", settings_for("tokenizer", "full").vocab_size)
    found = []
    for part in (*_PARTS, ""):
        steps = getattr(settings, f"{part}_steps" if part else "total_steps", 0)
        rows = getattr(settings, f"{part}_micro_batch_size", settings.micro_batch_size)
        times, work = 1, 1.0
        if not part:
            times, work = _ROWS.get(chapter, 1), _MODELS.get(chapter, 1) * _FROZEN.get(chapter, 1.0)
        if steps and not (chapter == "ppo" and part):  # chapter 15b continues from the cold start of chapter 15
            found.append(StagePlan(
                part or chapter, settings.preset, vocabulary, steps, rows * times, settings.gradient_accumulation_steps,
                settings.block_size, settings.precision != "fp32", work,
            ))  # fmt: skip
    return found


@dataclass(frozen=True)
class Forecast:
    """What one chapter will take."""

    chapter: str
    stages: list[StagePlan]
    seconds: float
    source: str  # where the time comes from
    files: list[tuple[PublishedFile, bool]]  # at the profile full: each with whether it is there


def forecast(plan: Plan, tflops: float = 0.0, mfu: float = 0.0) -> list[Forecast]:
    """One for each chapter of the plan. tflops, mfu: of another device than the profile's own card."""
    last_runs, found = state.load(plan.state_file), []
    for path in plan.chapters:
        chapter = stage_of(path.stem)
        stages = stages_of(chapter, settings_for(chapter, plan.profile, _settings_in(plan, path, chapter)))
        stated = 60 * (expected_minutes(chapter, plan.profile) or 0.5)
        seconds, source = stated, "stated"
        work = sum(stage.flops for stage in stages)
        last = last_runs.get(path.stem)
        if last and last.profile == plan.profile and last.status == "done":
            seconds, source = last.seconds, "measured"
        elif tflops and stages:
            seconds, source = seconds_on(work, tflops, mfu), "estimated"
        elif plan.profile == "full" and stages and chapter not in _PRACTISED:
            seconds, source = seconds_on(work, CARDS[FULL_CARD].tflops, ASSUMED_MFU), "estimated"
        files = published_files_of(published_data(chapter)) if plan.profile == "full" else []
        here = [(file, (data_folder() / file.name).is_file()) for file in files]
        found.append(Forecast(path.stem, stages, seconds, source, here))
    return found


def _settings_in(plan: Plan, path: Any, chapter: str) -> dict[str, Any]:
    """Those parameters of a chapter that are settings."""
    own = vars(settings_for(chapter, plan.profile))
    return {name: value for name, value in plan.parameters.get(path, {}).items() if name in own}


def timeline_of(plan: Plan, found: list[Forecast]) -> list[Slot]:
    """When each chapter will run."""
    return timeline(tasks_of(plan, {one.chapter: one.seconds for one in found}), plan.jobs)


def totals(plan: Plan, found: list[Forecast]) -> tuple[float, int, int]:
    """(seconds, bytes of memory at the highest peak, bytes of disk) of all chapters together."""
    slots, stages = timeline_of(plan, found), [stage for one in found for stage in one.stages]
    peaks = {one.chapter: max((stage.memory for stage in one.stages), default=0) for one in found}
    at_once = [sum(peaks[one.task.name] for one in slots if one.start <= slot.start < one.end) for slot in slots]
    files = {file.name: file.size for one in found for file, _ in one.files}
    stored = sum(file.size // _BYTES_A_TOKEN * _BYTES_STORED for one in found for file, _ in one.files)
    return (
        max((slot.end for slot in slots), default=0.0),
        max(at_once, default=0),
        sum(files.values()) + stored + sum(stage.disk for stage in stages),
    )


def as_lines(plan: Plan, found: list[Forecast]) -> Iterator[str]:
    """The forecast for people."""
    yield f"The plan, profile {plan.profile}; nothing was run:"
    slots = timeline_of(plan, found)
    places = {slot.task.name: slot for slot in slots}
    for one in found:
        yield f"{one.chapter}: {in_time(one.seconds)} ({one.source}){_place(places[one.chapter], slots, plan.jobs)}"
        for stage in one.stages:
            parameters = count_parameters(preset(stage.preset, vocab_size=stage.vocab_size))
            yield (f"    {stage.name}: {stage.preset} ({parameters:,} parameters), {stage.steps:,} steps, "
                   f"{stage.positions:,} tokens, {in_bytes(stage.memory)} of memory")  # fmt: skip
        for file, here in one.files:
            yield f"    {data_folder().name}/{file.name} ({in_bytes(file.size)}): {'there' if here else 'missing'}"
    seconds, memory, disk = totals(plan, found)
    at_a_time = f", {plan.jobs} at a time" if plan.jobs > 1 else ""
    yield f"All chapters{at_a_time}: ≈ {in_time(seconds)}, {in_bytes(memory)} of memory; {in_bytes(disk)} on disk"
    missing = dict.fromkeys(file.name for one in found for file, here in one.files if not here)
    if missing:
        yield f"Missing files: {download_command(missing, language_of(plan.chapters[0]))}"
    yield (
        "Times are measured in an earlier run here, stated in the chapter's settings, or estimated from the model's "
        f"arithmetic at {ASSUMED_MFU:.0%} of an {FULL_CARD}'s {CARDS[FULL_CARD].tflops:g} TFLOP/s. Memory is computed "
        "from the model's shape; disk counts published files, their tokens, models and checkpoints."
    )


def _place(slot: Slot, slots: list[Slot], jobs: int) -> str:
    """When a chapter starts and what runs beside it; nothing if they run one after another."""
    if jobs == 1:
        return ""
    others = beside(slot, slots)
    return f", after {in_time(slot.start)}, {'beside ' + ', '.join(others) if others else 'alone'}"


def without_gpu(plan: Plan) -> str:
    """Why the profile full needs a yes on this machine, with an estimate of what it would take here."""
    speed = _product_speed()
    seconds, memory, disk = totals(plan, forecast(plan, tflops=speed / 1e12, mfu=0.6))
    return (
        f'profile "full" is made for a GPU with 24 GB, and torch finds none. On this CPU it would take '
        f"≈ {in_time(seconds)}, {in_bytes(memory)} of memory and {in_bytes(disk)} on disk (estimated: 60 % of the "
        f"{speed / 1e9:.0f} GFLOP/s that its matrix product was just measured at). Give --yes to start all the same, "
        "--max-steps 2 to rehearse it, or --profile quick for the course on a laptop"
    )


def _product_speed(size: int = 1024, repeats: int = 3) -> float:
    """Floating-point operations a second of one fp32 matrix product, the best of a few."""
    one, best = torch.randn(size, size), float("inf")
    for _ in range(repeats):
        begun = time.perf_counter()
        one @ one
        best = min(best, time.perf_counter() - begun)
    return 2 * size**3 / best
