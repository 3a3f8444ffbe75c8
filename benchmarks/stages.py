"""`make evidence`: the training stages with the quick profile and three seeds, measured on held-out items.

Each stage and seed leaves its figures in build/evidence/STAGE-SEED/evidence.json (so two calls can share the work);
together they become benchmarks/results/stages.json (what ran where, the figures of each seed and their mean) and the
bands that the losses fell into, minimind_lite/course/kit/bands.json, which the training chapters draw under the
learner's curve. The tokenizer is the one that chapter 01 makes. Takes about half an hour per seed on one core.
"""

import argparse
import json
import os
import platform
import subprocess
import time
from collections.abc import Iterable
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from evidence import Run  # the folder beside this file

from minimind_lite.course import use_one_thread
from minimind_lite.course.kit.bands import FILE, make_band
from minimind_lite.course.kit.profiles import settings_for
from minimind_lite.course.runner.plan import make_plan
from minimind_lite.course.runner.run import run_course
from minimind_lite.files import repository_root, write_text

STAGES = ("pretrain", "exam", "language", "sft", "moe", "lora", "dpo", "distill", "reason", "grpo")
SEEDS = (1, 2, 3)  # not 0, the chapters' own: a band that a run helped to make proves little about that run


def make_tokenizer(folder: Path) -> None:
    """Run chapter 01, so that the tokenizer is the learner's."""
    if not (folder / "tokenizer" / "tokenizer.json").is_file():
        run_course(make_plan("quick", "01", "01", (), folder))


def machine() -> dict[str, Any]:
    """The machine and the commit that the figures come from."""
    root = repository_root()
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, check=False, timeout=60
    )
    source = ["git", "status", "--porcelain", "--", "minimind_lite", "data_samples", "benchmarks/evidence"]
    changed = subprocess.run(source, cwd=root, capture_output=True, text=True, check=False, timeout=60)
    return {
        "commit": commit.stdout.strip() or "unknown",
        "uncommitted_changes": bool(changed.stdout.strip()),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else f"cpu ({platform.machine()})",
        "threads": torch.get_num_threads(),
        "load_before": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def measure(stage: str, run: Run) -> None:
    """Run one stage with one seed and save the result."""
    where, begun = machine(), time.perf_counter()
    module = import_module(f"evidence.{stage}")
    figures, history = module.measure(run)
    seconds = time.perf_counter() - begun
    result = {"machine": where | {"seconds": round(seconds, 1)}, "figures": figures, "history": history}
    result["settings"] = asdict(settings_for(getattr(module, "SETTINGS", stage), "quick"))
    write_text(run.folder(stage) / "evidence.json", json.dumps(result) + "\n")
    print(stage, run.seed, {name: round(value, 4) for name, value in figures.items()}, flush=True)


def collect(work: Path, stages: Iterable[str], seeds: list[int]) -> dict[str, Any]:
    """Write stages.json and bands.json from the stages that are done for every seed; returns their mean figures.

    Stages that are not done keep what is recorded of them; ``machines`` says which commit each comes from.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for stage in stages:
        files = [work / f"{stage}-{seed}" / "evidence.json" for seed in seeds]
        if all(file.is_file() for file in files):
            found[stage] = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    means = {
        f"{stage}.{name}": sum(one["figures"][name] for one in runs) / len(runs)
        for stage, runs in found.items()
        for name in runs[0]["figures"]
    }
    file = repository_root() / "benchmarks" / "results" / "stages.json"
    before = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    if before.get("seeds") != seeds:
        before = {}  # another experiment
    parts = {
        "per_seed": {stage: [one["figures"] for one in runs] for stage, runs in found.items()},
        "settings": {stage: runs[0]["settings"] for stage, runs in found.items()},
        "machines": {stage: [one["machine"] for one in runs] for stage, runs in found.items()},
    }
    kept = {name: value for name, value in before.get("mean", {}).items() if name.split(".")[0] not in found}
    result = {"profile": "quick", "seeds": seeds, "mean": means | kept}
    result |= {name: before.get(name, {}) | part for name, part in parts.items()}
    write_text(file, json.dumps(result, indent=1) + "\n")
    bands = {
        stage: make_band([one["history"] for one in runs], settings_for(stage, "quick"), seeds)
        for stage, runs in found.items()
        if runs[0]["history"]  # what only measures a model has no curve
    }
    old_bands = json.loads(FILE.read_text(encoding="utf-8")) if before else {}
    write_text(FILE, json.dumps(old_bands | bands) + "\n")
    return means


def main() -> None:
    """Run what was asked for, write the results, print the means."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stages", nargs="*", choices=STAGES, default=STAGES, help="none: only collect")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--work", type=Path, default=repository_root() / "build" / "evidence")
    parser.add_argument("--resume", action="store_true", help="continue an earlier call; skip what is already measured")
    options = parser.parse_args()
    use_one_thread()
    make_tokenizer(options.work)
    for seed in options.seeds:
        run = Run(seed, options.work, "strict" if options.resume else "never")
        for stage in options.stages:
            if not (options.resume and (run.folder(stage) / "evidence.json").is_file()):
                measure(stage, run)
    print(json.dumps(collect(options.work, STAGES, list(SEEDS)), indent=1))


if __name__ == "__main__":
    main()
