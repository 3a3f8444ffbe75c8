"""Generation: greedy decoding, one text and many, against transformers' generate, the original's loop and llama.cpp.

New tokens a second, the prompt's reading included; random weights, no end token. The tokens must be equal, but for
"ours, int8", which is not quite the same model: its rows say what share of each text is equal up to the first
difference. Continuous batching is compared with batches of fixed requests, on requests of mixed lengths. Where
llama-cpp-python is installed, llama.cpp reads the same model as GGUF: F32 beside ours, exactly as ours; Q8_0, with its
defaults, beside "ours, int8".
"""

from collections.abc import Callable
from typing import Any

import torch

from minimind_lite.course.chapters.scale.speed import NoText
from minimind_lite.generation.continuous import Engine, Request
from minimind_lite.generation.engine import checked_rows, decode_rows, generate
from minimind_lite.generation.laid_out import Quantize, has_int8
from minimind_lite.generation.sampling import GREEDY, row_generator
from minimind_lite.interop.gguf_export import GGUFType
from minimind_lite.model.transformer import Transformer
from subjects import DifferentWork, Run
from subjects.gguf_peer import peer_of
from subjects.original import Original
from subjects.original import generate as grown_cache
from subjects.report import Goal, Times, compare, interleave, rounded
from subjects.twin import twin_of

PEERS = ("transformers", "original", "llama.cpp", "llama.cpp Q8_0")
GOALS = {("small", 1): 1.4, ("small", 16): 1.5}  # over transformers
INT8_GOALS = {("small", 1): 2.5}
INT8 = "ours, int8"
ROUNDED = {INT8, "llama.cpp Q8_0"}  # not quite the same model
BESIDE = {"llama.cpp": ("ours",), "llama.cpp Q8_0": (INT8,)}  # the others: both of ours
SLOTS = 16
STREAMS_GOAL = 7.0  # 16 texts at once over one
Tokens = list[list[int]]


def ours(model: Transformer, prompts: Tokens, new: int, quantize: Quantize | None = None) -> Tokens:
    """The library's engine."""
    tokenizer: Any = NoText(model.config.vocab_size)
    answers = generate(model, tokenizer, prompts, max_new_tokens=new, eos_ids=[], quantize=quantize)
    return [one.ids for one in answers]


def fixed_batches(model: Transformer, requests: list[Request]) -> Tokens:
    """As many requests at once as there are slots; the next ones start when all of these are done."""
    tokenizer: Any = NoText(model.config.vocab_size)
    rows = [
        checked_rows(model, tokenizer, [one.prompt], one.max_new_tokens, (), [], [row_generator(0, 0)])[0]
        for one in requests
    ]
    for start in range(0, len(rows), SLOTS):
        for _ in decode_rows(model, rows[start : start + SLOTS], GREEDY, None):
            pass
    return [row.ids for row in rows]


def continuous(model: Transformer, requests: list[Request], longest: int) -> Tokens:
    """A request starts as soon as any other is done."""
    tokenizer: Any = NoText(model.config.vocab_size)
    engine = Engine(model, tokenizer, slots=SLOTS, max_length=longest)
    handles = [engine.submit(one) for one in requests]
    for _ in engine.run():
        pass
    return [handle.row.ids for handle in handles]


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
    if has_int8():
        arms[INT8] = lambda prompts, new: ours(model, prompts, new, "int8")
    if "transformers" in run.peers:
        twin = twin_of(model)
        arms["transformers"] = lambda prompts, new: transformers(twin, prompts, new)
    if "original" in run.peers:
        original = Original(size.config, size.prompt + max(size.new.values())).eval()
        original.load_state_dict(model.state_dict())
        arms["original"] = lambda prompts, new: grown_cache(original, prompts, new)
    arms |= llama_cpp_arms(model, run)
    rows, times = [], {}
    for batch, new in size.new.items():
        name = f"generate {run.size}: {batch} text{'s' * (batch > 1)}"
        prompts = torch.randint(3, size.config.vocab_size, (batch, size.prompt)).tolist()
        times[batch], equal = timed(name, arms, prompts, new, run)
        work = dict.fromkeys(arms, float(batch * new))
        for peer in (one for one in PEERS if one in arms):
            for arm, goals in (("ours", GOALS), (INT8, INT8_GOALS)):
                if arm in arms and arm in BESIDE.get(peer, ("ours", INT8)):
                    goal = goals.get((run.size, batch)) if peer == "transformers" else None
                    wanted = Goal("ratio", goal) if goal else None
                    title, more = (name, {}) if arm == "ours" else (f"{name}, int8", {"equal_tokens": equal[INT8]})
                    more |= {"peer_equal_tokens": equal[peer]} if peer in ROUNDED else {}
                    rows.append(compare(title, "new tokens", run, times[batch], work, peer, arm, wanted, **more))
    return [*rows, *(many_against_one(run, times, arm) for arm in ("ours", INT8) if arm in arms), mixed(model, run)]


def llama_cpp_arms(model: Transformer, run: Run) -> dict[str, Callable[[Tokens, int], Tokens]]:
    """llama.cpp with this model in F32 and in Q8_0, as far as they are asked for."""
    size = run.amounts
    context, rows = size.prompt + max(size.new.values()), max(size.new)
    kinds: dict[str, GGUFType] = {"llama.cpp": "f32", "llama.cpp Q8_0": "q8_0"}
    return {name: peer_of(model, kind, context, rows, run.threads).greedy
            for name, kind in kinds.items() if name in run.peers}  # fmt: skip


def timed(
    name: str, arms: dict[str, Callable[[Tokens, int], Tokens]], prompts: Tokens, new: int, run: Run
) -> tuple[dict[str, Times], dict[str, float]]:
    """Interleave the arms on one list of prompts, and check that all texts are equal.

    Returns the times, and for arms in 8 bits the share of tokens that come before a text first differs.
    """
    made: dict[str, Tokens] = {}

    def arm(peer: str) -> Callable[[], None]:
        return lambda: made.update({peer: arms[peer](prompts, new)})

    times = interleave({peer: arm(peer) for peer in arms}, run)
    for peer in arms.keys() - ROUNDED - {"ours"}:
        check_tokens(name, made["ours"], made[peer], peer)
    return times, {arm: equal_share(made["ours"], made[arm]) for arm in ROUNDED & arms.keys()}


def equal_share(ours: Tokens, theirs: Tokens) -> float:
    """The share of tokens that come before each pair's first difference."""
    pairs = [list(zip(mine, other, strict=True)) for mine, other in zip(ours, theirs, strict=True)]
    equal = [next((at for at, (mine, other) in enumerate(pair) if mine != other), len(pair)) for pair in pairs]
    return rounded(sum(equal) / sum(len(pair) for pair in pairs))


def mixed(model: Transformer, run: Run) -> dict[str, Any]:
    """Requests of mixed lengths, twice as many as there are slots: continuous batching against fixed batches."""
    size, longest = run.amounts, max(run.amounts.new.values())
    drawn = [(torch.randint(size.prompt // 4, size.prompt + 1, ()), torch.randint(longest // 8, longest + 1, ()))
             for _ in range(2 * SLOTS)]  # fmt: skip
    requests = [
        Request(torch.randint(3, size.config.vocab_size, (int(prompt),)).tolist(), max(1, int(new)), eos_ids=[])
        for prompt, new in drawn
    ]
    made: dict[str, Tokens] = {}
    arms = {
        "ours": lambda: made.update(ours=continuous(model, requests, size.prompt + longest)),
        "fixed batches": lambda: made.update(fixed=fixed_batches(model, requests)),
    }
    times = interleave(arms, run)
    name = f"generate {run.size}: {2 * SLOTS} requests of mixed lengths through {SLOTS} slots"
    check_tokens(name, made["ours"], made["fixed"], "fixed batches")
    work = dict.fromkeys(arms, float(sum(one.max_new_tokens for one in requests)))
    return compare(name, "new tokens", run, times, work, "fixed batches")


def many_against_one(run: Run, times: dict[int, dict[str, Times]], arm: str) -> dict[str, Any]:
    """One arm's rate with many texts at once over its rate with one."""
    one, many = min(times), max(times)
    rounds = min(len(times[one][arm].cpu), len(times[many][arm].cpu))
    pair = {name: Times(part[arm].cpu[:rounds], part[arm].wall[:rounds])
            for name, part in (("ours", times[many]), ("ours, one text", times[one]))}  # fmt: skip
    new = run.amounts.new
    work = {"ours": float(many * new[many]), "ours, one text": float(new[one])}
    goal = Goal("ratio", STREAMS_GOAL) if run.size == "small" else None
    name = f"generate {run.size}: {many} texts against one{', int8' * (arm == INT8)}"
    return compare(name, "new tokens", run, pair, work, "ours, one text", goal=goal)
