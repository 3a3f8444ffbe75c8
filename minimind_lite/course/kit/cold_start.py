"""What chapters 15 and 15b start from: a model that can think before answering a sum, but mostly does not."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from minimind_lite.files import write_text

from ...data.reasoning import parse_reasoning
from ...data.records import read_records
from ...evaluation.reasoning import ReasonedAnswers
from ...tokenizer import Message
from ...training.options import Device, Resume, RunOptions, TrainConfig
from ...training.sft import SFTOptions, run_sft
from ...training.stage import StageResult


def easy_sums(path: Path, max_digits: int) -> list[list[Message]]:
    """The conversations of ``path`` whose question has at most ``max_digits`` digits (23+59 has 4); 0 takes all."""
    records = (record.messages for record in read_records(path, "conversation"))
    return [t for t in records if not max_digits or sum(map(str.isdigit, t[-2]["content"])) <= max_digits]


def mostly_at_once(conversations: Sequence[list[Message]]) -> list[list[Message]]:
    """Every question four times: answered once after a thought, and three times without one."""
    mixed = []
    for *asked, said in conversations:
        direct = f"<answer>\n{parse_reasoning(said['content']).answer}\n</answer>"
        mixed += [[*asked, said]] + 3 * [[*asked, said | {"content": direct}]]
    return mixed


def cold_start(
    data: Path, base: Path, folder: Path, settings: Any, *, device: Device = "auto", resume: Resume = "if_unfinished"
) -> StageResult:
    """Teach ``base`` easy sums with thoughts, then the habit of answering at once; leaves ``folder``/cold."""
    sums = easy_sums(data, settings.max_digits)
    config = TrainConfig(
        total_steps=settings.cold_steps, learning_rate=settings.cold_learning_rate,
        embedding_lr_ratio=settings.cold_embedding_lr_ratio, micro_batch_size=settings.cold_micro_batch_size,
        seed=settings.seed, precision=settings.precision, min_lr_ratio=0.03, save_every=100, progress=False,
        device=device,
    )  # fmt: skip
    habit = replace(config, total_steps=settings.habit_steps, learning_rate=settings.habit_learning_rate)
    thoughts = _fine_tune(sums, base, folder / "cold_thoughts", config, settings.block_size, resume)
    return _fine_tune(mostly_at_once(sums), thoughts.folder, folder / "cold", habit, settings.block_size, resume)


def _fine_tune(
    conversations: Sequence[list[Message]], base: Path, folder: Path, config: TrainConfig, size: int, resume: Resume
) -> StageResult:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "conversations.jsonl"
    write_text(file, "".join(json.dumps({"conversations": one}) + "\n" for one in conversations))
    return run_sft(file, base, folder, config, SFTOptions(block_size=size), run=RunOptions(resume=resume))


def thinks(answers: ReasonedAnswers) -> float:
    """The share of answers with a thought."""
    return sum(bool(answer.parsed.thought) for answer in answers.answers) / len(answers.answers)
