"""What 8 bits cost in quality: bits per byte on held-out text, and the share of greedy tokens that stay the same.

    python benchmarks/quantized.py FOLDER TEXTS.jsonl …    writes benchmarks/results/quantized.json

FOLDER holds a trained model; TEXTS are lines {"text": …} that it was not trained on.
"""

import argparse
import json
import math
from pathlib import Path

import torch
import torch.nn.functional as F

from minimind_lite.data.records import read_records
from minimind_lite.evaluation.perplexity import documents_of
from minimind_lite.files import write_text
from minimind_lite.generation.laid_out import LaidOut
from minimind_lite.model.attention import KVCache
from minimind_lite.model.pretrained import load_pretrained
from minimind_lite.tokenizer import Tokenizer

OUTPUT = Path(__file__).parent / "results" / "quantized.json"


@torch.inference_mode()
def scored(arm: LaidOut, cache: KVCache, ids: torch.Tensor) -> tuple[float, torch.Tensor]:
    """Nats over a document's tokens after the first, and the likeliest token at each place."""
    cache.length = 0
    logits = arm.logits(arm.hidden_states(ids[None, :-1], cache=cache))[0]
    return float(F.cross_entropy(logits, ids[1:], reduction="sum")), logits.argmax(dim=-1)


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("texts", type=Path, nargs="+")
    options = parser.parse_args()
    model, tokenizer = load_pretrained(options.folder).eval(), Tokenizer.load(options.folder)
    documents, size = documents_of(
        [record.text for path in options.texts for record in read_records(path, "text")], tokenizer
    )
    arms = {"float32": LaidOut(model), "int8": LaidOut(model, "int8")}
    longest = max(len(one.ids) for one in documents)
    cache = KVCache(model.config, 1, longest)
    nats, same, places = dict.fromkeys(arms, 0.0), 0, 0
    for document in documents:
        likeliest = []
        for name, arm in arms.items():
            lost, best = scored(arm, cache, torch.tensor(document.ids, dtype=torch.long))
            nats[name] += lost
            likeliest.append(best)
        same, places = same + int((likeliest[0] == likeliest[1]).sum()), places + len(likeliest[0])
    report = {
        "parameters": sum(one.numel() for one in model.parameters()),
        "texts": [path.name for path in options.texts],
        "bytes": size,
        "bits_per_byte": {name: round(value / math.log(2) / size, 5) for name, value in nats.items()},
        "equal_greedy_tokens": round(same / places, 5),
        "tokens": places,
    }
    write_text(OUTPUT, json.dumps(report, indent=1) + "\n")
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
