"""Generated tokens per second: this library compared with recomputing everything, and with transformers.

Run ``OMP_NUM_THREADS=1 python benchmarks/generation.py``: about five minutes on one core. Random weights, fp32, greedy,
no end token; process CPU time, the variants interleaved, medians over the rounds. Writes results/generation.json.
"""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from minimind_lite.config import ModelConfig, preset
from minimind_lite.generation.engine import generate
from minimind_lite.model.pretrained import config_to_hf
from minimind_lite.model.transformer import Transformer

RESULTS = Path(__file__).parent / "results" / "generation.json"
PROMPT = 64  # tokens


class NoText:
    """Stands in for the tokenizer that the engine needs; the text is not read here."""

    eos_id = end_of_text_id = 0

    def __init__(self, vocab_size: int) -> None:
        self.vocab_size = vocab_size

    def token_bytes(self, token: int) -> bytes:
        return b"x"


def ours(model: Transformer, prompts: list[list[int]], new: int) -> list[list[int]]:
    tokenizer: Any = NoText(model.config.vocab_size)
    return [g.ids for g in generate(model, tokenizer, prompts, max_new_tokens=new, eos_ids=[])]


@torch.inference_mode()
def without_cache(model: Transformer, prompts: list[list[int]], new: int) -> list[list[int]]:
    ids = torch.tensor(prompts)
    for _ in range(new):
        ids = torch.cat((ids, model.logits(model.hidden_states(ids)[:, -1:]).argmax(-1)), dim=1)
    return ids[:, len(prompts[0]) :].tolist()


def with_transformers(twin: Any, prompts: list[list[int]], new: int) -> list[list[int]]:
    ids = torch.tensor(prompts)
    made = twin.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=new)
    return made[:, len(prompts[0]) :].tolist()


def twin_of(model: Transformer) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    twin = LlamaForCausalLM(LlamaConfig(**config_to_hf(model.config))).eval()
    twin.load_state_dict(model.state_dict(), strict=False)
    twin.tie_weights()
    twin.generation_config.eos_token_id = None
    twin.generation_config.pad_token_id = 0
    return twin


def measure(config: ModelConfig, batch: int, new: int, rounds: int) -> dict[str, Any]:
    torch.manual_seed(0)
    model = Transformer(config).eval()
    twin = twin_of(model)
    prompts = torch.randint(3, config.vocab_size, (batch, PROMPT)).tolist()
    arms: dict[str, Callable[[], list[list[int]]]] = {
        "minimind_lite": lambda: ours(model, prompts, new),
        "transformers": lambda: with_transformers(twin, prompts, new),
    }
    if batch == 1:  # with eight texts it is just as slow per token, and takes minutes
        arms["without_cache"] = lambda: without_cache(model, prompts, new)
    outputs, rates = {}, {name: [] for name in arms}
    for round_number in range(rounds + 1):
        for name, run in arms.items():
            start = time.process_time()
            outputs[name] = run()
            if round_number:  # the first round warms up
                rates[name].append(batch * new / (time.process_time() - start))
    result: dict[str, Any] = {name: round(statistics.median(values), 1) for name, values in rates.items()}
    result["same_tokens"] = all(made == outputs["minimind_lite"] for made in outputs.values())
    for other in arms.keys() - {"minimind_lite"}:
        result[f"over_{other}"] = round(result["minimind_lite"] / result[other], 2)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--new", type=int, default=192, help="new tokens")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    report: dict[str, Any] = {
        "unit": "new tokens per second of CPU time, one thread, the prompt's reading included",
        "prompt_tokens": PROMPT, "new_tokens": options.new, "rounds": options.rounds,
        "machine": platform.machine(), "python": platform.python_version(),
        "torch": torch.__version__, "transformers": version("transformers"),
    }  # fmt: skip
    for name in ("nano", "minimind2-small"):
        for batch in (1, 8):
            report[f"{name}, batch {batch}"] = measure(preset(name), batch, options.new, options.rounds)
            print(name, batch, report[f"{name}, batch {batch}"], flush=True)
    options.output.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
