"""What chapters 15 and 15b start from: a model that has met two ways to answer a sum, and prefers neither."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..data.reasoning import parse_reasoning
from ..data.records import read_records
from ..evaluation.reasoning import ReasonedAnswers
from ..tokenizer import Message
from ..training.config import TrainConfig
from ..training.resume import Resume
from ..training.sft import run_sft
from ..training.stage import StageResult
from .paths import write_atomically


def easy_sums(path: Path, max_digits: int) -> list[list[Message]]:
    """The conversations of ``path`` whose question has at most ``max_digits`` digits (23+59 has 4); 0 takes all."""
    records = (record.messages for record in read_records(path, "conversation"))
    return [t for t in records if not max_digits or sum(map(str.isdigit, t[-2]["content"])) <= max_digits]


def both_ways(conversations: Sequence[list[Message]]) -> list[list[Message]]:
    """Every question twice: answered after a thought, and at once."""
    mixed = []
    for *asked, said in conversations:
        direct = f"<answer>\n{parse_reasoning(said['content']).answer}\n</answer>"
        mixed += [[*asked, said], [*asked, said | {"content": direct}]]
    return mixed


def cold_start(
    data: Path, base: Path, folder: Path, settings: Any, *, device: str = "auto", resume: Resume = "if_unfinished"
) -> StageResult:
    """Fine-tune ``base`` for ``settings.cold_steps`` steps on easy sums, both ways; leaves ``folder``/cold."""
    lines = [json.dumps({"conversations": one}) for one in both_ways(easy_sums(data, settings.max_digits))]
    folder.mkdir(parents=True, exist_ok=True)
    mixed = folder / "cold_start.jsonl"
    write_atomically(mixed, "\n".join(lines) + "\n")
    config = TrainConfig(
        total_steps=settings.cold_steps, learning_rate=settings.cold_learning_rate,
        embedding_lr_ratio=settings.cold_embedding_lr_ratio, micro_batch_size=settings.cold_micro_batch_size,
        seed=settings.seed, precision=settings.precision, min_lr_ratio=0.03,
        save_every=100, progress=False, device=device,  # type: ignore[arg-type]
    )  # fmt: skip
    return run_sft(mixed, base, folder / "cold", config, block_size=settings.block_size, resume=resume)


def thinks(answers: ReasonedAnswers) -> float:
    """The share of answers with a thought."""
    return sum(bool(answer.parsed.thought) for answer in answers.answers) / len(answers.answers)
