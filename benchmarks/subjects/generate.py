"""Generation: greedy decoding in fp32, one text and many, against transformers' generate and the original's loop.

New tokens a second, the prompt's reading included; random weights, no end token. The tokens must be equal.
"""

from collections.abc import Callable
from typing import Any

import torch

from minimind_lite.generation.engine import generate
from minimind_lite.model.transformer import Transformer
from subjects import DifferentWork, Run
from subjects.original import Original
from subjects.original import generate as grown_cache
from subjects.report import Goal, Times, compare, interleave
from subjects.twin import twin_of

PEERS = ("transformers", "original")
GOALS = {("small", 1): 1.4, ("small", 16): 1.5}  # over transformers
STREAMS_GOAL = 7.0  # 16 texts at once over one
Tokens = list[list[int]]


class NoText:
    """Stands in for the tokenizer that the engine needs; the text is not read here."""

    eos_id = end_of_text_id = 0

    def __init__(self, vocab_size: int) -> None:
        self.vocab_size = vocab_size

    def token_bytes(self, token: int) -> bytes:
        """Any text will do."""
        return b"x"


def ours(model: Transformer, prompts: Tokens, new: int) -> Tokens:
    """The library's engine."""
    tokenizer: Any = NoText(model.config.vocab_size)
    return [one.ids for one in generate(model, tokenizer, prompts, max_new_tokens=new, eos_ids=[])]


def transformers(twin: Any, prompts: Tokens, new: int) -> Tokens:
    """transformers' generate."""
    ids = torch.tensor(prompts)
    made = twin.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=new)
    tokens: Tokens = made[:, len(prompts[0]) :].tolist()
    return tokens


def check_tokens(name: str, ours: Tokens, theirs: Tokens, peer: str) -> None:
    """Raise DifferentWork with the first place at which two greedy texts part."""
    for row, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
        if mine != other:
            at = next((i for i, (a, b) in enumerate(zip(mine, other, strict=False)) if a != b), len(mine))
            raise DifferentWork(f"{name}: text {row} differs from {peer}'s from new token {at} on")


def measure(run: Run) -> list[dict[str, Any]]:
    """Tokens a second for every number of texts at once, against every peer; and many texts against one."""
    size = run.amounts
    torch.manual_seed(0)
    model = Transformer(size.config).eval()
    arms: dict[str, Callable[[Tokens, int], Tokens]] = {"ours": lambda prompts, new: ours(model, prompts, new)}
    if "transformers" in run.peers:
        twin = twin_of(model)
        arms["transformers"] = lambda prompts, new: transformers(twin, prompts, new)
    if "original" in run.peers:
        original = Original(size.config, size.prompt + max(size.new.values())).eval()
        original.load_state_dict(model.state_dict())
        arms["original"] = lambda prompts, new: grown_cache(original, prompts, new)
    rows, times = [], {}
    for batch, new in size.new.items():
        name = f"generate {run.size}: {batch} text{'s' * (batch > 1)}"
        prompts = torch.randint(3, size.config.vocab_size, (batch, size.prompt)).tolist()
        times[batch] = timed(name, arms, prompts, new, run)
        for peer in (one for one in PEERS if one in arms):
            goal = GOALS.get((run.size, batch)) if peer == "transformers" else None
            work = dict.fromkeys(arms, float(batch * new))
            wanted = Goal("ratio", goal) if goal else None
            rows.append(compare(name, "new tokens", run, times[batch], work, peer, goal=wanted))
    return [*rows, many_against_one(run, times)]


def timed(
    name: str, arms: dict[str, Callable[[Tokens, int], Tokens]], prompts: Tokens, new: int, run: Run
) -> dict[str, Times]:
    """Interleave the arms on one list of prompts, and check that all texts are equal."""
    made: dict[str, Tokens] = {}

    def arm(peer: str) -> Callable[[], None]:
        return lambda: made.update({peer: arms[peer](prompts, new)})

    times = interleave({peer: arm(peer) for peer in arms}, run)
    for peer in arms.keys() - {"ours"}:
        check_tokens(name, made["ours"], made[peer], peer)
    return times


def many_against_one(run: Run, times: dict[int, dict[str, Times]]) -> dict[str, Any]:
    """Our rate with many texts at once over our rate with one."""
    one, many = min(times), max(times)
    rounds = min(len(times[one]["ours"].cpu), len(times[many]["ours"].cpu))
    pair = {name: Times(part["ours"].cpu[:rounds], part["ours"].wall[:rounds])
            for name, part in (("ours", times[many]), ("ours, one text", times[one]))}  # fmt: skip
    new = run.amounts.new
    work = {"ours": float(many * new[many]), "ours, one text": float(new[one])}
    goal = Goal("ratio", STREAMS_GOAL) if run.size == "small" else None
    name = f"generate {run.size}: {many} texts against one"
    return compare(name, "new tokens", run, pair, work, "ours, one text", goal=goal)
