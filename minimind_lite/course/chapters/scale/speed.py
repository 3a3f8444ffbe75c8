"""Each gain of one process, switched off: the same work with and without it, in turn, in CPU time."""

import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from minimind_lite.config import preset
from minimind_lite.data.documents import Document, TokenStore
from minimind_lite.data.packing import PackedDataset, PaddedDataset
from minimind_lite.generation.continuous import Engine, Request
from minimind_lite.generation.laid_out import LaidOut, Stepper, has_int8
from minimind_lite.model.attention import KVCache
from minimind_lite.model.losses import next_token_loss
from minimind_lite.model.transformer import IGNORED_TARGET, Transformer, linear_cross_entropy

BLOCK = 256
Pair = tuple[Callable[[], object], Callable[[], object]]  # with the gain, without it


@dataclass(frozen=True)
class Gain:
    """Seconds of CPU time of each round with something and without it."""

    on: Sequence[float]
    off: Sequence[float]

    @property
    def ratios(self) -> list[float]:
        """How many times as long it takes without, in every round, smallest first."""
        return sorted(without / with_it for with_it, without in zip(self.on, self.off, strict=True))

    @property
    def ratio(self) -> float:
        """The median."""
        return statistics.median(self.ratios)


def switched_off(model: Transformer, rounds: int) -> dict[str, Gain]:
    """What each gain gives, by name. The pairs of one thing run in turn; a first round, not counted, warms up."""
    with tempfile.TemporaryDirectory() as folder:
        store = TokenStore.write(Path(folder) / "short.tokens", short_documents(model.config.vocab_size), "speed")
        pairs = training(model, store) | reading(store) | optimizing(model) | generating(model.eval())
        return {name: interleaved(*pair, rounds) for name, pair in pairs.items()}


def nano_model() -> Transformer:
    """A small model with random weights: how fast it is does not depend on what it knows."""
    torch.manual_seed(0)
    return Transformer(preset("nano"))


def interleaved(on: Callable[[], object], off: Callable[[], object], rounds: int) -> Gain:
    """Time both once per round, in the opposite order in every other one."""
    times: dict[int, list[float]] = {0: [], 1: []}
    for number in range(rounds + 1):
        for which in (0, 1) if number % 2 else (1, 0):
            begun = time.process_time()
            (on, off)[which]()
            if number:
                times[which].append(time.process_time() - begun)
    return Gain(times[0], times[1])


def short_documents(vocab_size: int, count: int = 400) -> list[Document]:
    """Random documents of 12 to 74 % of a block, each followed by a mask that trains a third of it."""
    draw = np.random.default_rng(0)
    lengths = draw.integers(round(0.12 * BLOCK), round(0.74 * BLOCK), size=count)
    return [
        Document(draw.integers(3, vocab_size, n).astype(np.uint16), (np.arange(n) >= n - n // 3).astype(np.uint8))
        for n in lengths
    ]


def training(model: Transformer, store: TokenStore) -> dict[str, Pair]:
    """Packing, and two parts of the loss."""
    documents = [Document(store[place].ids) for place in range(8)]  # without masks: all of it is trained
    packed, padded = PackedDataset(documents, BLOCK), PaddedDataset(documents, BLOCK)

    def step(data: PackedDataset) -> Callable[[], None]:
        batch = data.batch_of(range(len(data)))
        return lambda: next_token_loss(model.train(), batch)[0].backward()

    hidden = torch.randn(4 * BLOCK, model.config.hidden_size)
    weight = model.head_weight.detach()
    targets = torch.randint(3, model.config.vocab_size, (len(hidden),))
    answers = torch.arange(len(hidden)) % 3 == 0  # a third, as in conversations
    masked = targets.where(answers, IGNORED_TARGET)

    def gradients(loss: Callable[[Tensor, Tensor], Tensor]) -> Callable[[], object]:
        def work() -> object:
            own, head = hidden.clone().requires_grad_(), weight.clone().requires_grad_()
            return torch.autograd.grad(loss(own, head), (own, head))

        return work

    plain = gradients(lambda own, head: F.cross_entropy(own @ head.T, targets, reduction="sum"))
    everywhere = gradients(lambda own, head: F.cross_entropy(own @ head.T, masked, reduction="sum"))
    return {
        "packing": (step(packed), step(padded)),
        "loss in chunks": (gradients(lambda own, head: linear_cross_entropy(own, head, targets)), plain),
        "trained positions only": (
            gradients(lambda own, head: linear_cross_entropy(own[answers], head, targets[answers])), everywhere,
        ),
    }  # fmt: skip


def reading(store: TokenStore) -> dict[str, Pair]:
    """Batches from blocks that were laid out once, against laying them out each time."""
    planned, assembled = PackedDataset(store, BLOCK), PackedDataset(store, BLOCK)
    assembled.assemble()
    rows = [list(range(start, start + 8)) for start in range(0, len(planned) - 8, 8)]

    def read(data: PackedDataset) -> Callable[[], None]:
        def work() -> None:
            for _ in range(20):
                for indices in rows:
                    data.batch_of(indices)

        return work

    return {"assembled blocks": (read(assembled), read(planned))}


def optimizing(model: Transformer) -> dict[str, Pair]:
    """AdamW's step as one kernel, against torch's default for the CPU, a loop over tensors."""
    steps = []
    for fused in (True, False):
        weights = [torch.zeros_like(one, requires_grad=True) for one in model.parameters()]
        for one in weights:
            one.grad = torch.ones_like(one)
        adamw = torch.optim.AdamW(weights, lr=1e-6, fused=fused, foreach=False)
        steps.append(lambda adamw=adamw: [adamw.step() for _ in range(10)])
    return {"fused AdamW": (steps[0], steps[1])}


@torch.inference_mode()
def decode(stepper: Stepper, model: Transformer, prompt: Tensor, new: int) -> list[int]:
    """Greedy decoding with a cache, one token a step."""
    cache, tokens, fresh = KVCache(model.config, 1, prompt.shape[1] + new), [], prompt
    for _ in range(new):
        logits = stepper.logits(stepper.hidden_states(fresh, cache=cache)[:, -1:])
        fresh = logits.argmax(dim=-1)
        tokens.append(int(fresh))
    return tokens


@torch.inference_mode()
def decode_anew(model: Transformer, prompt: Tensor, new: int) -> list[int]:
    """The same without a cache: every step reads the whole text again."""
    ids = prompt
    for _ in range(new):
        ids = torch.cat((ids, model.logits(model.hidden_states(ids)[:, -1:]).argmax(dim=-1)), dim=1)
    tokens: list[int] = ids[0, prompt.shape[1] :].tolist()
    return tokens


class NoText:
    """Stands in for the tokenizer that the engine asks for a token's text."""

    eos_id = end_of_text_id = 0

    def __init__(self, vocab_size: int) -> None:
        self.vocab_size = vocab_size

    def token_bytes(self, token: int) -> bytes:
        """Any text will do."""
        return b"x"


def answered(model: Transformer, requests: Sequence[Request], together: int, slots: int = 8) -> list[list[int]]:
    """Submit so many requests at a time and wait for all of them; the engine has 8 places."""
    tokenizer: Any = NoText(model.config.vocab_size)
    handles = []
    for start in range(0, len(requests), together):
        engine = Engine(model, tokenizer, slots=slots, max_length=128)
        handles += [engine.submit(one) for one in requests[start : start + together]]
        for _ in engine.run():
            pass
    return [one.row.ids for one in handles]


def generating(model: Transformer) -> dict[str, Pair]:
    """The cache, the weights' layout, 8 bits, and requests of unequal lengths."""
    prompt, new = torch.randint(3, model.config.vocab_size, (1, 64)), 48
    laid_out = LaidOut(model)
    lengths = [8, 16, 24, 96] * 4
    requests = [Request(prompt[0, :16].tolist(), length, eos_ids=[]) for length in lengths]
    some = requests[:8]
    pairs: dict[str, Pair] = {
        "KV cache": (lambda: decode(model, model, prompt, new), lambda: decode_anew(model, prompt, new)),
        "weights laid out": (lambda: decode(laid_out, model, prompt, new), lambda: decode(model, model, prompt, new)),
        "continuous batching": (lambda: answered(model, requests, 16), lambda: answered(model, requests, 8)),
        "eight at a time": (lambda: answered(model, some, 8), lambda: answered(model, some, 1, slots=1)),
    }  # fmt: skip
    if has_int8():
        int8 = LaidOut(model, "int8")
        pairs["int8"] = (lambda: decode(int8, model, prompt, new), lambda: decode(laid_out, model, prompt, new))
    return pairs


def table(gains: Mapping[str, Gain]) -> str:
    """A line for each: milliseconds with and without, and the ratio with its smallest and largest."""
    lines = [f"{'':>24}  with, ms  without  ratio (smallest to largest)"]
    for name, gain in gains.items():
        on, off = (1000 * statistics.median(some) for some in (gain.on, gain.off))
        low, high = gain.ratios[0], gain.ratios[-1]
        lines.append(f"{name:>24}  {on:8.1f}  {off:7.1f}  {gain.ratio:5.2f} ({low:.2f} to {high:.2f})")
    return "\n".join(lines)
