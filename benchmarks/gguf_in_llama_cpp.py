"""Does llama.cpp read our GGUF files as they are meant? Tokens of texts, chat layouts, greedy answers; f32, f16, q8_0.

    pip install '.[llama-cpp]'
    python benchmarks/gguf_in_llama_cpp.py [FOLDER …]    writes benchmarks/results/llama_cpp.json

Random models, one for every architecture that is written, and the trained ones in FOLDERs: in the recorded run presets
nano and nano-moe after 80 steps on the samples, the dense one fine-tuned for 80 more. All is compared with our float32
model, so the rows of f16 and q8_0 say what is lost on the way: llama.cpp also rounds to the matrix's type what it
multiplies by it, and a router that is undecided then takes another expert.
"""

import argparse
import json
import platform
import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from subjects.gguf_peer import GGUFPeer, built_for, has_llama_cpp
from subjects.report import processor, rounded, version_of

from minimind_lite.config import ModelConfig, preset
from minimind_lite.data.records import read_records
from minimind_lite.files import write_text
from minimind_lite.generation.engine import generate
from minimind_lite.interop.gguf_export import GGUFType, architecture_of, export_gguf
from minimind_lite.model.pretrained import load_pretrained
from minimind_lite.model.transformer import Transformer
from minimind_lite.tokenizer import Message, Tokenizer
from minimind_lite.tokenizer.chat_template import TAGS

ROOT = Path(__file__).parents[1]
SAMPLES = ROOT / "data_samples"
OUTPUT = Path(__file__).parent / "results" / "llama_cpp.json"
VOCABULARY, CONTEXT, NEW, PROMPTS, SHOWN = 5120, 512, 48, 24, 5
RANDOM = {
    "dense": preset("nano"),
    "dense, untied": preset("nano", tie_word_embeddings=False),
    "dense, QK-norm": preset("nano", qk_norm=True),
    "experts": preset("nano-moe", qk_norm=False),
    "experts, QK-norm": preset("nano-moe"),
    "experts, one of them shared": preset("nano-moe", qk_norm=False, num_shared_experts=1),
    "experts, two shared, weights not rescaled":
        preset("nano-moe", qk_norm=False, num_shared_experts=2, norm_topk_prob=False),
}  # fmt: skip
TAG = re.compile("(" + "|".join(map(re.escape, TAGS)) + ")")
AWKWARD = (  # where cuts before merging, or bytes, could differ
    "", " ", "\n", "\r\n\r\n  \t x", "a  b   c    d", "naïve café, Ünïcödé", "I'll we've DON'T o'clock",
    "12,345.67 -8e9 ٣٤ ½ ²", "湖南的简称是湘。The capital is Changsha（长沙）！", "全角１２３ＡＢＣ，　。",
    "한국어와 日本語のカタカナ", "𠀀𠮷 野家", "😀👩\u200d👩\u200d👧 🇨🇳 e\u0301 ا\u064b",
    "def f(x):\n    return x ** 2  # 平方\n", "<|im_start|>user\nhi<|im_end|>", "http://a.b/c?d=e&f=%20",
    "\u200b\ufeff\u00a0\u3000x", "…——“”‘’《》、；：？！", "$x^2 + y_1 = \\frac{1}{2}$ ≤ ∞ → €5",
    "word\u2028word\u2029\x0b\x0c\x85end", "\x01\x7f",
)  # fmt: skip


def texts() -> Iterator[str]:
    """The awkward ones, and every text and turn of the samples."""
    yield from AWKWARD
    for path in sorted(SAMPLES.rglob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            yield from strings(json.loads(line))


def strings(record: Any) -> Iterator[str]:
    """What is text in a record."""
    if isinstance(record, str):
        yield record
    elif isinstance(record, dict | list):
        for part in record.values() if isinstance(record, dict) else record:
            yield from strings(part)


def conversations() -> list[list[Message]]:
    """Held-out ones, each up to its last question."""
    found = []
    for path in sorted((SAMPLES / "chat_heldout").glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            turns = [{"role": one["role"], "content": one["content"]} for one in json.loads(line)["conversations"]]
            while turns and turns[-1]["role"] != "user":
                turns.pop()
            found.append(turns)
    return found


def prompts(tokenizer: Tokenizer) -> list[list[int]]:
    """As many held-out conversations, spread evenly over the files."""
    known = conversations()
    chosen = known[:: len(known) // PROMPTS][:PROMPTS]
    return [tokenizer.render(one, add_generation_prompt=True).ids for one in chosen]


def random_model(config: ModelConfig) -> Transformer:
    """Every parameter is random, norms included, and no router or answer is nearly undecided."""
    torch.manual_seed(0)
    model = Transformer(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


def same_tokens(tokenizer: Tokenizer, peer: GGUFPeer) -> dict[str, Any]:
    """How many texts become the same tokens, and the first that do not.

    In llama.cpp a tag such as <think>, where it stands in a text, is always its token; here that holds for what the
    assistant says only. Texts with tags are compared with the tokens of their parts, and counted.
    """
    every = list(dict.fromkeys(texts()))
    parts = [TAG.split(text) for text in every]
    plain = iter(tokenizer.encode_batch([part for some in parts for part in some[::2]]))
    ours = [[token for at, part in enumerate(some) for token in (tokenizer.tag_ids(part) if at % 2 else next(plain))]
            for some in parts]  # fmt: skip
    other = [text for text, ids in zip(every, ours, strict=True) if peer.encode(text) != ids]
    tagged = sum(len(some) > 1 for some in parts)
    return {"texts": len(every), "with_tags": tagged, "tokens": sum(map(len, ours)),
            "different": len(other), "first": other[:SHOWN]}  # fmt: skip


def same_layouts(tokenizer: Tokenizer, peer: GGUFPeer) -> dict[str, Any]:
    """How many conversations become the same tokens by each of two readers of the chat template in the file."""
    from llama_cpp.llama_chat_format import Jinja2ChatFormatter

    jinja = Jinja2ChatFormatter(template=peer.template(), eos_token="<|im_end|>", bos_token="<|im_start|>")  # noqa: S106
    known = conversations()
    ours = [tokenizer.render(one, add_generation_prompt=True).ids for one in known]
    by_reader = {
        "llama.cpp's own": [peer.encode(peer.render(one), control=True) for one in known],
        "llama-cpp-python's Jinja": [peer.encode(jinja(messages=one).prompt, control=True) for one in known],
    }
    different = {name: sum(mine != other for mine, other in zip(ours, made, strict=True))
                 for name, made in by_reader.items()}  # fmt: skip
    return {"conversations": len(known), "tokens": sum(map(len, ours)), "different": different}


@torch.inference_mode()
def same_answers(model: Transformer, tokenizer: Tokenizer, path: Path) -> dict[str, Any]:
    """Greedy answers of llama.cpp beside ours, and its choice after every token of ours."""
    asked, peer = prompts(tokenizer), GGUFPeer(path, CONTEXT)
    ours = [one.ids for one in generate(model, tokenizer, asked, max_new_tokens=NEW, eos_ids=())]
    equal_texts = equal = choices = places = 0
    furthest, leads = 0.0, []
    for prompt, mine in zip(asked, ours, strict=True):
        theirs = peer.greedy([prompt], len(mine))[0]
        same = next((at for at, pair in enumerate(zip(mine, theirs, strict=True)) if pair[0] != pair[1]), len(mine))
        equal_texts, equal = equal_texts + (same == len(mine)), equal + same
        logits = model(torch.tensor([prompt + mine]))[0, :, : tokenizer.vocab_size].numpy()
        other = peer.logits(prompt + mine)[:, : tokenizer.vocab_size]
        furthest = max(furthest, float(np.abs(logits - other).max()))
        differ = logits.argmax(-1) != other.argmax(-1)
        places, choices = places + len(logits), choices + int((~differ).sum())
        best = np.sort(logits[differ], axis=-1)[:, -2:]
        leads += (best[:, 1] - best[:, 0]).tolist()
    peer.close()
    return {
        "texts": len(ours), "equal_texts": equal_texts, "tokens": sum(map(len, ours)), "equal_tokens": equal,
        "places": places, "same_choice": round(choices / places, 5), "largest_difference": rounded(furthest),
        "largest_lead_lost": rounded(max(leads, default=0.0)),
    }  # fmt: skip


def report(folders: Sequence[Path]) -> dict[str, Any]:
    """Everything that is compared."""
    learned = (
        one.text for path in sorted((SAMPLES / "pretrain").glob("*.jsonl")) for one in read_records(path, "text")
    )
    tokenizer = Tokenizer.train(learned, VOCABULARY)
    models = [(f"random: {name}", random_model(replace(config, vocab_size=tokenizer.vocab_size)), tokenizer)
              for name, config in RANDOM.items()]  # fmt: skip
    models += [(f"trained: {one.name}", load_pretrained(one).eval(), Tokenizer.load(one)) for one in folders]
    rows, shared = [], {}
    with tempfile.TemporaryDirectory() as folder:
        for name, model, its in models:
            for kind in get_args(GGUFType):
                path = export_gguf(model, its, Path(folder) / "a.gguf", kind)[0]
                row = {"model": name, "architecture": architecture_of(model.config), "type": kind}
                rows.append(row | same_answers(model, its, path))
                print(json.dumps(rows[-1]), flush=True)
            if not shared:
                peer = GGUFPeer(path, CONTEXT)
                shared = {"text": same_tokens(its, peer), "chat": same_layouts(its, peer)}
                peer.close()
                print(json.dumps(shared, ensure_ascii=False), flush=True)
    return {"tokenizer": {"entries": tokenizer.vocab_size} | shared, "new_tokens": NEW, "answers": rows}


def main() -> None:
    """Compare and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="*", metavar="FOLDER")
    options = parser.parse_args()
    if not has_llama_cpp():
        raise SystemExit("llama.cpp is not here: pip install '.[llama-cpp]'")
    found = report(options.folders)
    packages = ("llama-cpp-python", "gguf", "torch", "tokenizers")
    versions = {"python": platform.python_version()} | {one: version_of(one) for one in packages}
    about = {"device": f"cpu ({processor()})", "built_for": built_for(), "versions": versions}
    write_text(OUTPUT, json.dumps(about | found, indent=1, ensure_ascii=False) + "\n")
    print(f"written: {OUTPUT}")


if __name__ == "__main__":
    main()
