"""Does `minimind eval` find what lm-eval finds? The same model on the sample exams and language tests, item by item.

    python benchmarks/lm_eval_agreement.py [MODEL]    writes benchmarks/results/lm_eval.json

MODEL: a folder; by default the course's pretrained model or, where that is not here, a small one with random weights.
An item agrees if both engines find the same choice right or wrong, and every log-likelihood equal to 1e-3 nats.
lm-eval is no package of the course: how to install it beside it is said in tests/test_evaluation_lm_eval.py, which
compares many more layouts on small files.
"""

import argparse
import json
import tempfile
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from minimind_lite.config import preset
from minimind_lite.data.records import read_records
from minimind_lite.files import read_json, repository_root, write_text
from minimind_lite.interop.scored_folders import score_folders
from minimind_lite.model.pretrained import save_pretrained
from minimind_lite.model.transformer import Transformer
from minimind_lite.tokenizer import Tokenizer

# By letters, by whole answers, and minimal pairs; lm-eval has no task for the sample exams by whole answers.
SUITES = ("samples", "openbookqa=data_samples/exam/openbookqa", "samples-zh", "samples-en")
CLOSE = 1e-3  # nats
RESULT = Path(__file__).parent / "results" / "lm_eval.json"


def random_model(folder: Path) -> Path:
    """A small model that has learned nothing, and does not find everything equally likely."""
    records = read_records(repository_root() / "data_samples" / "pretrain", "text")
    tokenizer = Tokenizer.train([record.text for record in islice(records, 5000)], 2000)
    torch.manual_seed(0)
    model = Transformer(preset("pico", vocab_size=tokenizer.vocab_size)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)
    save_pretrained(model, tokenizer, folder)
    return folder


def items(model: Path, engine: str, output: Path, limit: int | None) -> list[dict[str, Any]]:
    """Every item as an engine scored it, in one order."""
    suites = [one.replace("=", f"={repository_root()}/") for one in SUITES]
    for _ in score_folders([model], suites, output, document_start=False, limit=limit, engine=engine):
        pass
    lines = (output / "items.jsonl").read_text(encoding="utf-8").splitlines()
    return sorted(map(json.loads, lines), key=lambda one: (one["suite"], one["item"]))


def compared(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> dict[str, Any]:
    """The share of items that agree, of all and by suite, and the largest difference of two log-likelihoods."""
    agree: dict[str, list[bool]] = {}
    largest = 0.0
    for mine, other in zip(ours, theirs, strict=True):
        apart = max(abs(a - b) for a, b in zip(mine.pop("logprobs"), other.pop("logprobs"), strict=True))
        largest = max(largest, apart)
        agree.setdefault(mine["suite"], []).append(mine == other and apart <= CLOSE)
    every = [one for found in agree.values() for one in found]
    return {
        "eval.lm_eval_agreement": sum(every) / len(every),
        "items": {suite: len(found) for suite, found in agree.items()},
        "agree": {suite: sum(found) for suite, found in agree.items()},
        "largest_difference_in_nats": float(f"{largest:.2g}"),
    }


def main() -> None:
    """Score twice, compare and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, nargs="?")
    parser.add_argument("--limit", type=int, help="items of each suite")
    parser.add_argument("--output", type=Path, default=RESULT)
    parser.add_argument("--if-installed", action="store_true", help="without lm-eval, keep the record and say so")
    options = parser.parse_args()
    if find_spec("lm_eval") is None:
        if options.if_installed:
            print(f"lm-eval is not installed: {RESULT.name} stays as it was recorded")
            return
        raise SystemExit("lm-eval is not installed: see tests/test_evaluation_lm_eval.py")
    course = repository_root() / "build" / "course" / "artifacts" / "pretrain"
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        model = options.model or (course if course.is_dir() else random_model(work / "random"))
        found = [items(model, engine, work / engine, options.limit) for engine in ("own", "lm-eval")]
        about = read_json(work / "lm-eval" / "results.json")
    report = compared(*found) | {name: about[name] for name in ("models", "settings")}
    write_text(options.output, json.dumps(report, ensure_ascii=False, indent=1) + "\n")
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
