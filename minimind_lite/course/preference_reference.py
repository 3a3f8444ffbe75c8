"""Chapter 12's reference: a model that could have given either answer of each pair.

DPO compares answers that the reference itself might give: in the paper the pairs are drawn from it (Rafailov et al.
2023, section 4, arXiv 2305.18290), and where they come from elsewhere, it is fine-tuned on the preferred ones first.
Here that is on both endings alike, without a word about which is better: what the model prefers later, DPO has taught.
"""

import json
import shutil
from pathlib import Path

from ..data.records import data_files, read_records
from ..training.options import Resume, RunOptions, TrainConfig
from ..training.sft import SFTOptions, run_sft
from ..training.stage import StageResult


def write_endings(path: str | Path, target: Path) -> int:
    """Write both endings of every preference record as conversations for fine-tuning; returns how many there are."""
    lines = [
        json.dumps({"conversations": [turn.model_dump(exclude_none=True) for turn in turns]}, ensure_ascii=False)
        for record in read_records(path, "preference")
        for turns in (record.chosen, record.rejected)
    ]
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return len(lines)


def run_reference(
    data: Path,
    conversations: Path,
    base: Path,
    folder: Path,
    config: TrainConfig,
    options: SFTOptions = SFTOptions(),
    resume: Resume = "strict",
) -> StageResult:
    """Fine-tune the model in ``base`` on both endings of the preference file ``data``, and leave it in ``folder``.

    conversations: the file that ``base`` was fine-tuned on, mixed in, so that what it knows is not forgotten. There
    are few endings, so they stand in the mixture twice.
    """
    mixture = folder / "mixture"
    for copy in range(2):
        write_endings(data, mixture / f"endings-{copy}.jsonl")
    for file in data_files(conversations):
        shutil.copyfile(file, mixture / f"conversations-{file.name}")
    return run_sft(mixture, base, folder, config, options, RunOptions(resume=resume))
