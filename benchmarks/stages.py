"""`make evidence`: the training stages at the quick profile with three seeds, measured on held-out items.

Writes benchmarks/results/stages.json (what ran where, figures of each seed and their mean) and the bands in which the
losses lay, minimind_lite/course/assets/bands.json, which chapters 08 and 10 draw under the learner's curve.
The tokenizer is the one that chapter 01 makes. Takes about five minutes a seed on two cores.
"""

import argparse
import json
import os
import platform
import subprocess
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from minimind_lite.config import preset
from minimind_lite.course import use_one_thread
from minimind_lite.course.bands import FILE, make_band
from minimind_lite.course.data_files import data_path
from minimind_lite.course.paths import repository_root, write_atomically
from minimind_lite.course.profiles import settings_for
from minimind_lite.course.run import make_plan, run_course
from minimind_lite.data.records import read_records
from minimind_lite.evaluation.closed_book import exact_match
from minimind_lite.evaluation.ngram import TrigramModel
from minimind_lite.evaluation.perplexity import bits_per_byte, documents_of
from minimind_lite.model.pretrained import load_pretrained
from minimind_lite.tokenizer import Tokenizer
from minimind_lite.training.config import TrainConfig
from minimind_lite.training.pretrain import run_pretrain
from minimind_lite.training.resume import Resume
from minimind_lite.training.sft import run_sft
from minimind_lite.training.stage import StageResult

SEEDS = (1, 2, 3)  # not 0, the chapters' own: a band that a run helped to make says little about it


def pretrain(seed: int, tokenizer: Tokenizer, folder: Path, resume: Resume) -> tuple[dict[str, float], StageResult]:
    """One run of chapter 08 and its figures."""
    settings = settings_for("pretrain", "quick", seed=seed)
    stage = run_pretrain(
        data_path("pretrain", "quick"), tokenizer, folder, preset(settings.preset, vocab_size=tokenizer.vocab_size),
        TrainConfig.from_settings(settings), block_size=settings.block_size,
        eval_data=data_path("pretrain_heldout", "quick"), resume=resume,
    )  # fmt: skip
    texts = [record.text for record in read_records(data_path("pretrain_heldout", "quick"), "text")]
    trigram = TrigramModel(stage.data.documents, tokenizer.vocab_size)
    return {
        "bits_per_byte": bits_per_byte(stage.model, tokenizer, texts, block_size=settings.block_size),
        "trigram_bits_per_byte": trigram.bits_per_byte(*documents_of(texts, tokenizer)),
        "fill_share": stage.data.fill_share,
        "train_seconds": stage.training.seconds,
        "tokens_per_second": stage.training.items / stage.training.seconds,
    }, stage


def sft(seed: int, base: Path, folder: Path, resume: Resume) -> tuple[dict[str, float], StageResult]:
    """One run of chapter 10 and its figures."""
    settings = settings_for("sft", "quick", seed=seed)
    questions = [record.messages for record in read_records(data_path("sft_heldout", "quick"), "conversation")]
    tokenizer, limit = Tokenizer.load(base), settings.max_new_tokens
    before = exact_match(load_pretrained(base), tokenizer, questions, max_new_tokens=limit)
    stage = run_sft(
        data_path("sft", "quick"), base, folder, TrainConfig.from_settings(settings), block_size=settings.block_size,
        eval_data=data_path("sft_heldout", "quick"), resume=resume,
    )  # fmt: skip
    after = exact_match(stage.model, tokenizer, questions, max_new_tokens=limit)
    return {
        "exact_match_before": before.share,
        "exact_match": after.share,
        "exact_match_low": after.interval[0],
        "exact_match_high": after.interval[1],
        "questions": len(questions),
        "train_seconds": stage.training.seconds,
    }, stage


def make_tokenizer(folder: Path) -> Tokenizer:
    """Run chapter 01, so that the tokenizer is the learner's."""
    if not (folder / "tokenizer" / "tokenizer.json").is_file():
        run_course(make_plan("quick", "01", "01", (), folder))
    return Tokenizer.load(folder / "tokenizer")


def machine() -> dict[str, Any]:
    """Where the figures come from."""
    root = repository_root()
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, check=False)
    changed = subprocess.run(["git", "status", "--porcelain"], cwd=root, capture_output=True, text=True, check=False)
    return {
        "commit": commit.stdout.strip() or "unknown",
        "uncommitted_changes": bool(changed.stdout.strip()),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else f"cpu ({platform.machine()})",
        "threads": torch.get_num_threads(),
        "load_before": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def main() -> None:
    """Run all seeds, write the results, print the means."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--work", type=Path, default=repository_root() / "build" / "evidence")
    parser.add_argument("--resume", action="store_true", help="take up what an earlier call left, finished or not")
    options = parser.parse_args()
    resume: Resume = "strict" if options.resume else "never"
    use_one_thread()
    where, begun = machine(), time.perf_counter()
    tokenizer = make_tokenizer(options.work)
    runs: dict[str, list[dict[str, float]]] = {"pretrain": [], "sft": []}
    histories: dict[str, list[list[dict[str, Any]]]] = {"pretrain": [], "sft": []}
    for seed in options.seeds:
        base = options.work / f"pretrain-{seed}"
        for name, (figures, stage) in (
            ("pretrain", pretrain(seed, tokenizer, base, resume)),
            ("sft", sft(seed, base, options.work / f"sft-{seed}", resume)),
        ):
            runs[name].append(figures)
            histories[name].append(stage.training.history)
            print(name, seed, {key: round(value, 4) for key, value in figures.items()}, flush=True)
    means = {
        f"{name}.{key}": sum(one[key] for one in all_runs) / len(all_runs)
        for name, all_runs in runs.items()
        for key in all_runs[0]
    }
    settings = {name: settings_for(name, "quick") for name in runs}
    result = where | {
        "profile": "quick", "seeds": list(options.seeds), "resumed": options.resume,
        "total_seconds": time.perf_counter() - begun,
        "mean": means, "per_seed": runs, "settings": {name: asdict(one) for name, one in settings.items()},
    }  # fmt: skip
    results = repository_root() / "benchmarks" / "results" / "stages.json"
    write_atomically(results, json.dumps(result, indent=1) + "\n")
    bands = {name: make_band(histories[name], settings[name], options.seeds) for name in runs}
    write_atomically(FILE, json.dumps(bands) + "\n")
    print(json.dumps(means, indent=1))


if __name__ == "__main__":
    main()
