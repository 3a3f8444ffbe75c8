"""What a notebook calls: ``begin`` gives it its settings, folders and data, and records its figures.

from minimind_lite import course
chapter = course.begin("08_pretrain", profile=profile, output_dir=output_dir)
tokenizer = Tokenizer.load(chapter.require("tokenizer"))
chapter.record(bits_per_byte=1.9)
"""

import json
import logging
import os
import platform
import random
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from minimind_lite.device import pick_device
from minimind_lite.files import read_json, write_text

from .kit.bounds import step_bound
from .kit.data_files import data_path, require_data
from .kit.errors import CourseError
from .kit.language import language as spoken
from .kit.language import say, say_count, use_language
from .kit.parameters import refuse_unknown_parameters
from .kit.paths import DEFAULT_OUTPUT, notebook_of, resolve_output, shown, stage_of
from .kit.profiles import (
    PROFILES,
    RESULTS,
    artifact_of,
    check_profile,
    expected_minutes,
    is_smoke,
    published_data,
    settings_for,
)

__all__ = ["DEFAULT_OUTPUT", "PROFILES", "Chapter", "CourseError", "begin", "hello"]


@dataclass
class Chapter:
    """One run of one chapter: its settings, its folders, its figures."""

    name: str  # as the file: "08_pretrain"
    profile: str
    output_dir: Path  # holds one folder per chapter
    settings: Any  # the dataclass in the chapter's settings.py, at this profile
    device: torch.device
    figures: dict[str, Any] = field(default_factory=dict)  # what this run has recorded so far
    claims: dict[str, bool] = field(default_factory=dict)  # what its text says of this run: whether it held

    @property
    def stage(self) -> str:
        """The chapter's name without its number."""
        return stage_of(self.name)

    def output(self, stage: str | None = None) -> Path:
        """The folder of this chapter's own artifacts; created if it does not exist."""
        folder = self.output_dir / (stage or self.stage)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def require(self, stage: str) -> Path:
        """The folder that an earlier chapter made; if it lacks its file, CourseError says which chapter to run."""
        folder, file = self.output_dir / stage, artifact_of(stage)
        if not (folder / file).is_file():
            maker = notebook_of(stage)
            edition = "notebooks" if spoken() == "en" else f"notebooks/{spoken()}"
            raise CourseError(say(
                "{chapter} needs {file} in {folder}, which chapter {maker} makes. Run {notebook} first, with the same "
                "output_dir, or: {command}",
                chapter=self.name, file=f"{stage}/{file}", folder=self.output_dir, maker=maker,
                notebook=f"{edition}/{maker}.ipynb",
                command=f"minimind course run --to {maker.partition('_')[0]} --profile {self.profile}",
            ))  # fmt: skip
        return folder

    def data(self, name: str) -> Path:
        """A data file by its role ("pretrain", "sft_heldout"): the small sample, or the published data in `full`."""
        return data_path(name, self.profile)

    def record(self, **figures: Any) -> dict[str, Any]:
        """Merge named figures into this stage's results.json; returns everything the file now holds.

        Numbers (also torch's and NumPy's), strings, and lists of them. A number that is not finite is refused.
        """
        new = {name: _plain(name, value) for name, value in figures.items()}
        self.figures |= new
        return self._save("figures", new)

    def claim(self, text: str, held: Any) -> bool:
        """Say whether what the chapter's text says of its own run held in this one, and record it.

        text: the claim as an English sentence ("the experts' loss is below the dense one's"), a constant. It is shown
        in the language that is spoken and recorded as it stands. held: a bool, Python's, NumPy's or torch's. A claim
        that did not hold stops nothing: runs differ with seed and processor, so the text has words for both. Raises
        CourseError for anything else than a truth value.
        """
        value = held.item() if hasattr(held, "item") else held
        if not isinstance(value, bool):
            raise CourseError(say("claim {claim} is {value}: give a comparison, such as after > before",
                                  claim=repr(text), value=repr(value)))  # fmt: skip
        self.claims[text] = value
        self._save("claims", {text: value})
        held_here = say("✓ holds in this run: {claim}", claim=say(text))
        print(held_here if value else say("✗ does not hold in this run: {claim}", claim=say(text)))
        return value

    def _save(self, kind: str, new: dict[str, Any]) -> dict[str, Any]:
        """Merge ``new`` into one part of this stage's results.json; returns that part as it is now."""
        path = self.output() / RESULTS
        before = read_json(path) if path.is_file() else {}
        parts: dict[str, dict[str, Any]] = {name: before.get(name, {}) for name in ("figures", "claims")}
        parts[kind] = parts[kind] | new
        result = {"stage": self.stage, "profile": self.profile, "smoke": is_smoke()} | parts
        if step_bound():  # a rehearsal: nobody should take its figures for results
            result["max_steps"] = step_bound()
        write_text(path, json.dumps(result, ensure_ascii=False, indent=1, allow_nan=False) + "\n")
        return parts[kind]


def begin(
    name: str,
    *,
    profile: str = "quick",
    output_dir: str | Path = DEFAULT_OUTPUT,
    language: str = "en",
    **parameters: Any,
) -> Chapter:
    """Start a chapter: check its parameters, fix its sizes and folders, seed the random numbers.

    ``language``, "en" or "zh", is that of its figures, widgets and messages. ``parameters`` change the profile's
    settings where they are not None. A relative ``output_dir`` counts from the repository's root. Raises CourseError
    for an unknown profile, language, parameter or setting, listing the known ones, and if the profile is full and a
    published file is not there; ConfigError for a value that a setting refuses.
    """
    check_profile(profile)
    use_language(language)
    refuse_unknown_parameters({"profile", "output_dir", "language", *parameters})
    stage = stage_of(name)
    settings = settings_for(stage, profile, parameters)
    require_data(published_data(stage), profile)
    folder = resolve_output(output_dir)
    chapter = Chapter(name, profile, folder, settings, pick_device())
    use_one_thread()
    silence_known_messages()
    random.seed(settings.seed)
    np.random.seed(settings.seed)  # noqa: NPY002  the reference libraries use the old generator
    torch.manual_seed(settings.seed)
    minutes = expected_minutes(stage, profile)
    time = say("time unknown")
    if minutes:
        time = say_count("about {count} minute", "about {count} minutes", minutes)
    if is_smoke() or step_bound():
        time = say_count("a rehearsal, at most {count} step a stage", "a rehearsal, at most {count} steps a stage",
                         step_bound())  # fmt: skip
        time = say("seconds (smoke size)") if is_smoke() else time
    place = shown(folder / stage)
    print(say("{name} · profile {profile} · {time} · artifacts in {place}", name=name, profile=profile, time=time,
              place=place))  # fmt: skip
    return chapter


def hello(name: str, exercises: int = 0, *, chapter: bool = True) -> None:
    """Print what a setup cell prints: the device, the versions, and the minutes that its notebook takes.

    exercises: minutes that the chapter's exercises take, where the notebook holds those. chapter: whether to name the
    chapter's own minutes.
    """
    use_one_thread()
    stage = stage_of(name)
    minutes = [f"{p} {m:g}" for p in PROFILES if (m := expected_minutes(stage, p)) is not None]
    device = pick_device()
    threads = torch.get_num_threads()
    cpu = f"{device.type}, " + say_count("{count} thread", "{count} threads", threads)
    where = torch.cuda.get_device_name() if device.type == "cuda" else cpu
    print(f"Python {platform.python_version()} · torch {torch.__version__} · {where}")
    if chapter:
        known = ", ".join(minutes) or say("not measured yet")
        print(say("{name}: minutes by profile: {minutes}", name=name, minutes=known))
    if exercises:
        print(say_count("{name}, exercises: about {count} minute in all",
                        "{name}, exercises: about {count} minutes in all", exercises, name=name))  # fmt: skip


def use_one_thread() -> None:
    """One thread for torch on the CPU, unless OMP_NUM_THREADS has said how many.

    The course's models are so small that two threads wait for each other many times per step: on an idle machine a
    second thread makes training about 1.5 times as fast, but seven times as slow as soon as another program wants its
    core.
    """
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)


def silence_known_messages() -> None:
    """Silence two messages of libraries that a chapter compares its own code with; a learner can do nothing about them.

    peft asks transformers for a property under its old name. And transformers, given one of its layers of experts
    without the model around it, as chapter 06 uses it, says that this is expected. All else is said as before.
    """
    warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated", category=FutureWarning)
    logging.getLogger("transformers.integrations.moe").addFilter(_is_news)


def _is_news(record: logging.LogRecord) -> bool:
    """Whether a record of transformers' experts says anything but that they stand alone."""
    return not record.getMessage().startswith("You tried to access the `ExpertsInterface`")


def _plain(name: str, value: Any) -> Any:
    """A value that JSON can hold."""
    if isinstance(value, (list, tuple)):
        return [_plain(name, one) for one in value]
    value = value.item() if hasattr(value, "item") else value
    if not isinstance(value, (int, float, str, bool)) or value != value or value in (float("inf"), float("-inf")):
        raise CourseError(say("figure {name} is {value}: record finite numbers, strings, or lists of them",
                              name=name, value=repr(value)))  # fmt: skip
    return value
