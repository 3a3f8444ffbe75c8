"""A rehearsal of any profile: at most so many steps a stage, and evaluations of a handful of items.

``minimind course run --max-steps N`` sets one environment variable, which every chapter's kernel inherits. All settings
are made in one place (``profiles.settings_for``), so every stage of every chapter obeys it. What is rehearsed is the
code, the data files and the memory, never a result: artifacts go into a folder of their own.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from typing import Any

import torch

from minimind_lite.config import PRESETS

from .errors import CourseError
from .language import say

VARIABLE = "MINIMIND_MAX_STEPS"
_AT_MOST = {  # what takes time besides training
    "eval_batches": 2, "eval_questions": 4, "eval_documents": 8, "eval_pairs": 6, "medical_questions": 2,
    "max_new_tokens": 8, "medical_tokens": 8, "max_characters": 1_000_000,
}  # fmt: skip
_ALL = {"eval_batches"}  # settings whose 0 means all there are, not none
_FEWEST = {"steps": 3}  # of the small experiments of chapters 02-07, whose curves need three points
_INTERVALS = {"log_every", "eval_every", "save_every"}  # at least once in a run that is so short
_BATCHES = ("micro_batch_size", "gradient_accumulation_steps")


def step_bound() -> int:
    """The most steps that a stage may take; 0 if nobody set a bound. Raises CourseError if it is no whole number."""
    text = os.environ.get(VARIABLE, "0")
    if not text.isdecimal():
        raise CourseError(say("{variable} must be a whole number of steps, not {value}; unset it to train in full",
                              variable=VARIABLE, value=repr(text)))  # fmt: skip
    return int(text)


@contextmanager
def at_most(steps: int) -> Iterator[None]:
    """Bound every stage of the chapters run meanwhile, in their kernels too; 0 leaves everything as it is."""
    before = os.environ.get(VARIABLE)
    if steps:
        os.environ[VARIABLE] = str(steps)
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(VARIABLE, None)
        else:
            os.environ[VARIABLE] = before


def bounded(settings: Any, limit: int) -> Any:
    """``settings`` with no stage longer than ``limit`` steps.

    Without a GPU also the smallest model of its kind, micro-batches of two and fp32: a step of the 26M model's full
    batch takes nine minutes on a CPU core.
    """
    on_gpu = torch.cuda.is_available()
    return replace(settings, **{
        field.name: _bounded(field.name, getattr(settings, field.name), limit, on_gpu) for field in fields(settings)
    })  # fmt: skip


def _bounded(name: str, value: Any, limit: int, on_gpu: bool) -> Any:
    if not on_gpu and name == "preset":
        return "pico-moe" if PRESETS[value].num_experts else "pico"
    if not on_gpu and name == "precision":
        return "fp32"
    if name.endswith(_BATCHES):
        return value if on_gpu else min(value, 2)
    if name in _AT_MOST:
        return _AT_MOST[name] if name in _ALL and not value else min(value, _AT_MOST[name])
    return min(value, max(limit, _FEWEST.get(name, 0))) if name.endswith("steps") or name in _INTERVALS else value
