"""Chapter 17's experiments: torch's kernels for few bits, timings, who holds a slot when, and a server watched."""

import copy
import json
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from minimind_lite.files import read_json, repository_root
from minimind_lite.generation.continuous import Engine, Handle, Request
from minimind_lite.generation.laid_out import Stepper
from minimind_lite.model.attention import KVCache
from minimind_lite.model.quantization import Scheme, quantize
from minimind_lite.model.transformer import Transformer

KERNELS = {8: Scheme(8), 4: Scheme(4, 32, minimum=True)}  # what torch has kernels for
Key = TypeVar("Key")
WIDE = torch.bfloat16  # of the activations: the kernels for float32 are there, and slow


def header_of(path: Path) -> tuple[int, dict[str, Any]]:
    """A safetensors file's header, read by hand: (its bytes, what it says)."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        return size, json.loads(file.read(size))


class FewBits(nn.Module):
    """A linear layer on torch's weight-only kernels: the codes are unpacked in registers, never in memory."""

    def __init__(self, weight: Tensor, bits: int) -> None:
        super().__init__()
        scheme = KERNELS[bits]
        made = quantize(weight, scheme)
        scales, codes = made.scales.float(), made.codes
        self.group = scheme.group
        if made.minimums is None:
            self.codes, self.scales = codes.to(torch.int8), scales[:, 0].to(WIDE)
            return
        # This kernel counts its codes from 8, and wants scales and offsets together: (groups, outputs, 2)
        self.codes = torch.ops.aten._convert_weight_to_int4pack_for_cpu(codes.int(), 1)
        pairs = torch.stack([scales, made.minimums.float() + 8 * scales], dim=-1)
        self.scales = pairs.transpose(0, 1).contiguous().to(WIDE)

    def forward(self, x: Tensor) -> Tensor:
        """x: (..., inputs) → (..., outputs), in x's precision."""
        rows = x.flatten(0, -2).to(WIDE)
        if self.group is None:
            y: Tensor = torch.ops.aten._weight_int8pack_mm(rows, self.codes, self.scales)
        else:
            y = torch.ops.aten._weight_int4pack_mm_for_cpu(rows, self.codes, self.group, self.scales)
        return y.view(*x.shape[:-1], -1).to(x.dtype)


def on_kernels(model: Transformer, bits: int) -> Transformer:
    """A copy in bfloat16 whose linear layers multiply with codes of so many bits; 16: plain bfloat16."""
    twin = copy.deepcopy(model).to(WIDE).eval()
    if bits == 16:
        return twin
    for name, layer in list(twin.named_modules()):
        if isinstance(layer, nn.Linear):
            parent, _, own = name.rpartition(".")
            original = model.get_submodule(name).weight
            setattr(twin.get_submodule(parent), own, FewBits(original, bits))  # type: ignore[arg-type]
    return twin


def fastest_seconds(works: Mapping[Key, Callable[[], Any]], rounds: int) -> dict[Key, float]:
    """The shortest time of each: whatever else the machine does can only make it longer.

    They take turns, so that a busy minute does not hit one of them alone; one more round warms up.
    """
    seconds: dict[Key, list[float]] = {name: [] for name in works}
    for _ in range(rounds + 1):
        for name, work in works.items():
            begun = time.perf_counter()
            work()
            seconds[name].append(time.perf_counter() - begun)
    return {name: min(taken[1:]) for name, taken in seconds.items()}


def decoding_step(stepper: Stepper, model: Transformer, batch: int = 1, length: int = 64) -> Callable[[], Any]:
    """What makes one token for each of ``batch`` texts of ``length`` tokens, logits included."""
    return _forward(stepper, model, torch.zeros(batch, 1, dtype=torch.int64), length)


def prompt_reading(stepper: Stepper, model: Transformer, tokens: int) -> Callable[[], Any]:
    """What reads a prompt of so many tokens at once, up to the logits of its last one."""
    return _forward(stepper, model, torch.zeros(1, tokens, dtype=torch.int64), 0)


def _forward(stepper: Stepper, model: Transformer, ids: Tensor, before: int) -> Callable[[], Any]:
    """ids: (batch, seq), read behind ``before`` tokens that are in the cache already."""
    batch, new = ids.shape
    cache = KVCache(model.config, batch, before + new, "cpu", model.model.embed_tokens.weight.dtype)
    for memory in (cache.keys, cache.values):
        memory.zero_()

    @torch.inference_mode()
    def forward() -> Tensor:
        cache.length = before
        return stepper.logits(stepper.hidden_states(ids, cache=cache)[:, -1])

    return forward


class Span(NamedTuple):
    """One request, in steps counted from 0: when it came, and from its first token to behind its last."""

    slot: int
    came: int
    begins: int
    ends: int


def continuous(answers: Sequence[tuple[int, int]], slots: int) -> list[Span]:
    """Who holds which slot when, if a slot that is free takes whoever waits longest.

    answers: (the step before which it comes, its tokens), in the order of arrival.
    """
    free, spans = [0] * slots, []
    for came, tokens in answers:
        slot = min(range(slots), key=lambda one: max(free[one], came))
        begins = max(free[slot], came)
        free[slot] = begins + tokens
        spans.append(Span(slot, came, begins, free[slot]))
    return spans


def batch_by_batch(answers: Sequence[tuple[int, int]], slots: int) -> list[Span]:
    """The same if a batch takes all who wait when the batch before has ended, and runs until its longest answer has."""
    spans: list[Span] = []
    begins = 0
    while len(spans) < len(answers):
        begins = max(begins, answers[len(spans)][0])
        members = [one for one in answers[len(spans) : len(spans) + slots] if one[0] <= begins]
        spans += [Span(slot, came, begins, begins + tokens) for slot, (came, tokens) in enumerate(members)]
        begins += max(tokens for _, tokens in members)
    return spans


WAYS = {"batch_by_batch": batch_by_batch, "continuous": continuous}  # by their labels


def steps_of_engine(engine: Engine, requests: Sequence[tuple[int, Request]]) -> list[tuple[int, int]]:
    """(the step of the first token, the step after the last) of every request, made by the engine itself."""
    handles: list[Handle] = []
    seen: dict[int, list[int]] = {}
    waiting, step = list(requests), 0
    while waiting or not engine.idle:
        while waiting and waiting[0][0] <= step:
            handles.append(engine.submit(waiting.pop(0)[1]))
        for event in engine.step():
            seen.setdefault(handles.index(event.handle), []).append(step)
        step += 1
    return [(seen[number][0], seen[number][-1] + 1) for number in range(len(handles))]


class Moment(NamedTuple):
    """What /metrics said at one time."""

    seconds: float
    queued: float
    busy: float
    new_tokens: float


@contextmanager
def watched(
    address: str, model: str, every: float = 0.01, tell: Callable[[list[Moment]], None] | None = None
) -> Iterator[list[Moment]]:
    """Ask a server's /metrics again and again from another thread, and collect what it says.

    tell: called in that thread after every answer, with all moments so far.
    """
    moments: list[Moment] = []
    over, begun = threading.Event(), time.perf_counter()

    def watch() -> None:
        while not over.wait(every):
            said = metrics_of(address, model)
            busy = said["running"] + said["reading"]
            moments.append(Moment(time.perf_counter() - begun, said["queued"], busy, said["new_tokens"]))
            if tell:
                tell(moments)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield moments
    finally:
        over.set()
        thread.join(60)


def recorded_serving(size: str) -> dict[str, Any]:
    """What `minimind bench serve` recorded for a model of this size: the device, the command, the results."""
    found: dict[str, Any] = read_json(repository_root() / "benchmarks" / "results" / "bench" / f"serve-{size}.json")
    return found


def metrics_of(address: str, model: str) -> dict[str, float]:
    """The numbers of one model on a server's /metrics, by name: queued, running, new_tokens …"""
    with urllib.request.urlopen(f"{address}/metrics", timeout=60) as answer:  # noqa: S310  the server of this notebook
        lines = answer.read().decode("utf-8").splitlines()
    ending = f'{{model="{model}"}} '
    found = (line.split(ending) for line in lines if ending in line)
    return {name.removeprefix("minimind_"): float(value) for name, value in found}
