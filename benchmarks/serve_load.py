"""Load on the server, over the loopback interface: is anything lost, mixed up or leaked?

    python benchmarks/serve_load.py --seconds 300    writes benchmarks/results/serving.json

A small random model, 16 slots, 64 clients at a time; the server is a process of its own. Most clients stream an answer
and compare it with the greedy answer that the plain decoding loop gave the same conversation alone; some leave in the
middle, some send what no server can read, some read slowly. How fast it is: `minimind bench serve`.

An answer of a batch may differ from a solo one where two candidates are equal up to rounding (see
``generation.continuous``); conversations whose solo answer passes such a place are left out before the load begins, and
the report counts them. So are answers in which the random model opens a think block: the server moves these to another
field, and the comparison here is of contents.
"""

import argparse
import asyncio
import json
import random
import re
import statistics
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import torch
from subjects.asking import Conversation, asked, conversations, read
from subjects.report import description, load_average

from minimind_lite.config import preset
from minimind_lite.files import write_text
from minimind_lite.generation.continuous import Engine
from minimind_lite.model.transformer import Transformer
from minimind_lite.serving.app import create_server
from minimind_lite.serving.guard import Limits
from minimind_lite.serving.models import ServedModel
from minimind_lite.serving.run import RunningServer
from minimind_lite.tokenizer import Tokenizer

OUTPUT = Path(__file__).parent / "results" / "serving.json"
CLIENTS, SLOTS, CONVERSATIONS = 64, 16, 48
CLEAR = 1e-3  # by how much, in logits, the likeliest token must lead at every place of a solo answer
KINDS = {"whole": 70, "leaves": 14, "malformed": 8, "slow": 8}  # out of 100 clients
MALFORMED: tuple[bytes, ...] = (
    b"{", b"", b"[]", b"\xff", b'{"model": "load"}',
    b'{"model": "none", "messages": [{"role": "user", "content": "a"}]}',
    b'{"model": "load", "messages": [{"role": "user", "content": "a"}], "temperature": 9}',
    b'{"model": "load", "messages": [{"role": "user", "content": "a"}], "unknown": 1}',
)  # fmt: skip


@dataclass
class Seen:
    """What happened under load."""

    counts: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    memory: list[tuple[float, int]] = field(default_factory=list)  # (seconds, resident bytes)


def made_model() -> tuple[Transformer, Tokenizer]:
    """A random model with a distribution that is not flat."""
    tokenizer = Tokenizer.train(["the quick brown fox jumps over the lazy dog", "湖南的简称是湘"] * 3, vocab_size=330)
    torch.manual_seed(0)
    model = Transformer(preset("pico", vocab_size=tokenizer.vocab_size, tie_word_embeddings=False)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(3)
        model.head_weight.mul_(10)
    return model, tokenizer


async def one_client(client: httpx.AsyncClient, known: list[Conversation], draw: random.Random, seen: Seen) -> None:
    """One request of a kind drawn by its share."""
    kind = draw.choices(list(KINDS), list(KINDS.values()))[0]
    conversation = draw.choice(known)
    seen.counts[f"{kind} sent"] += 1
    try:
        if kind == "malformed":
            headers = {"content-type": "application/json"}
            answer = await client.post("/v1/chat/completions", content=draw.choice(MALFORMED), headers=headers)
            good = answer.status_code in (400, 404) and "message" in answer.json()["error"]
            seen.counts["malformed refused" if good else "malformed wrong"] += 1
            return
        leave = draw.randrange(1, 8) if kind == "leaves" else None
        body = asked(conversation, "load")
        text, _, ended = await read(client, body, leave_after=leave, pause=0.02 if kind == "slow" else 0.0)
    except (httpx.HTTPError, json.JSONDecodeError, KeyError) as error:
        seen.counts[f"{kind} lost"] += 1
        seen.problems.append(f"{kind}: {type(error).__name__}: {error}"[:200])
        return
    if text is None:
        seen.counts["left"] += 1
    elif not ended:
        seen.counts[f"{kind} lost"] += 1
    elif text != conversation.answer:
        seen.counts[f"{kind} mixed up"] += 1
        seen.problems.append(f"{conversation.content[:40]!r}: {text[:60]!r} is not {conversation.answer[:60]!r}")
    else:
        seen.counts[f"{kind} right"] += 1


async def load(address: str, known: list[Conversation], seconds: float, seen: Seen, process: psutil.Process) -> None:
    """CLIENTS clients, each with one request after the other; the server's memory is watched."""
    until, begun = time.monotonic() + seconds, time.monotonic()
    limits = httpx.Limits(max_connections=CLIENTS, max_keepalive_connections=CLIENTS)

    async def follow(number: int, client: httpx.AsyncClient) -> None:
        draw = random.Random(number)  # noqa: S311
        while time.monotonic() < until:
            await one_client(client, known, draw, seen)

    async def watch() -> None:
        while time.monotonic() < until:
            seen.memory.append((time.monotonic() - begun, process.memory_info().rss))
            await asyncio.sleep(2)

    async with httpx.AsyncClient(base_url=address, timeout=120, limits=limits) as client:
        await asyncio.gather(watch(), *(follow(number, client) for number in range(CLIENTS)))


def report_of(seen: Seen, seconds: float, left_out: Counter[str], now: dict[str, int]) -> dict[str, Any]:
    """What was lost, mixed up or leaked, and by how much memory grew after the first fifth of the time."""
    warm = [size for at, size in seen.memory if at >= seconds / 5]
    half = len(warm) // 2
    growth = statistics.median(warm[half:]) - statistics.median(warm[:half]) if half else 0.0

    def total(word: str) -> int:
        return sum(count for name, count in seen.counts.items() if name.endswith(word))

    return {
        "seconds": seconds, "clients": CLIENTS, "slots": SLOTS,
        "conversations": CONVERSATIONS, "left_out": dict(left_out),
        "requests": total(" sent"), "by_kind": dict(sorted(seen.counts.items())),
        "lost": total(" lost"), "mixed_up": total(" mixed up"), "malformed_answered_wrongly": total(" wrong"),
        "leaked_slots": SLOTS - now["free"], "requests_left_open": now["open_requests"] - 1,
        "cancelled": now["cancelled"],
        "memory_growth_mb_second_half_over_first": round(growth / 1e6, 2),
        "memory_mb_start_end": [round(size / 1e6, 1) for _, size in (seen.memory[0], seen.memory[-1])],
        "problems": seen.problems[:20],
    }  # fmt: skip


def serve() -> None:
    """The server's process: says its address and ends when its input does."""
    model, tokenizer = made_model()
    engine = Engine(model, tokenizer, slots=SLOTS, max_length=512)
    server = create_server([ServedModel("load", engine)], limits=Limits(requests=2 * CLIENTS))
    with RunningServer(server, port=0) as running:
        print(running.address, flush=True)
        sys.stdin.read()


def numbers(address: str) -> dict[str, int]:
    """What /metrics says about slots and requests, once nothing is being answered any more (or after ten seconds)."""
    until = time.monotonic() + 10
    while True:
        text = httpx.get(f"{address}/metrics").text
        found = {
            name: int(float(value)) for name, value in re.findall(r"^minimind_(\w+)(?:{model.*})? (\S+)$", text, re.M)
        }
        if (found["open_requests"] == 1 and found["free"] == SLOTS) or time.monotonic() > until:
            return found
        time.sleep(0.05)


def commit() -> str:
    """What the working copy is a copy of."""
    git = ["git", "rev-parse", "HEAD"]
    return subprocess.run(git, cwd=Path(__file__).parent, capture_output=True, text=True, check=False).stdout.strip()


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=300.0, help="of mixed load")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve()
        return
    load_before = load_average()
    known, left_out = conversations(*made_model(), CONVERSATIONS, (4, 80), CLEAR)
    command = [sys.executable, __file__, "--serve"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None  # noqa: S101  both are pipes
        address, seen = process.stdout.readline().strip(), Seen()
        asyncio.run(load(address, known, options.seconds, seen, psutil.Process(process.pid)))
        report = report_of(seen, options.seconds, left_out, numbers(address))
        process.stdin.close()
    report |= {
        "model_parameters": sum(one.numel() for one in made_model()[0].parameters()),
        "commit": commit(),
    }  # fmt: skip
    report |= description(f"python benchmarks/serve_load.py --seconds {options.seconds:g}", 1, load_before)
    write_text(options.output, json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    print(json.dumps(report, indent=1, ensure_ascii=False))
    failed = ("lost", "mixed_up", "malformed_answered_wrongly", "leaked_slots", "requests_left_open")
    raise SystemExit(any(report[name] for name in failed))


if __name__ == "__main__":
    main()
