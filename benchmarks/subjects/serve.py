"""Serving: `minimind serve` under more and more clients, against transformers' generate behind the same API.

Each server is a process of its own with the same random weights; the clients stream greedy answers over the loopback
interface, each asking again as soon as it has its answer, and every answer must be the one that the plain decoding loop
gives alone. New tokens a second and the time to the first piece of text, over the number of clients; the servers take
turns at every number. With one thread both go by the server process's own CPU clock, as if it had a core to itself:
what other programs do to a wall clock says nothing about a server. llama.cpp's server (llama-cpp-python's) stands
beside them only where it is installed.
"""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import torch

from minimind_lite.interop.gguf_export import export_gguf
from minimind_lite.model.pretrained import save_pretrained
from minimind_lite.model.transformer import Transformer
from minimind_lite.tokenizer import Tokenizer
from subjects import DifferentWork, Run
from subjects.asking import Conversation, asked, conversations, read
from subjects.gguf_peer import tokenizer_of
from subjects.report import Times, clock_of, compare, rounded

PEERS = ("transformers", "llama.cpp server")
CLIENTS = (1, 2, 4, 8, 16, 32, 64)
FEWEST, EACH = 8, 2  # requests: so many at least, and so many of each client
# Twice as many as our server has slots, asked in a circle: a slot never still holds the prompt that comes.
CONVERSATIONS, NEW, CLEAR = 32, (8, 25), 1e-4
START_SECONDS = 180.0
NAME = "served"  # of the model's folder


@dataclass
class Seen:
    """What one server did with one number of clients, round by round."""

    times: Times = field(default_factory=Times)
    tokens: list[int] = field(default_factory=list)
    firsts: list[float] = field(default_factory=list)  # seconds to the first piece of every answer, by the same clock


@dataclass(frozen=True)
class Server:
    """A server that runs."""

    address: str
    pid: int
    more: Mapping[str, Any] = field(default_factory=dict)  # what its requests need besides

    def cpu_seconds(self) -> float:
        """CPU time that its process has used so far, all threads together."""
        if sys.platform == "linux":
            return time.clock_gettime((~self.pid << 3) | 2)  # how Linux numbers the CPU clocks of other processes
        import psutil

        times = psutil.Process(self.pid).cpu_times()
        return float(times.user + times.system)


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def command_of(server: str, folder: Path, port: int, threads: int) -> list[str]:
    """How a server is started on a model's folder."""
    if server == "ours":
        return [sys.executable, "-m", "minimind_lite.cli", "serve", str(folder), "--port", str(port)]
    if server == "transformers":
        return [sys.executable, str(Path(__file__).with_name("one_at_a_time.py")), str(folder), str(port)]
    options = {"model": folder.with_suffix(".gguf"), "port": port, "n_ctx": 1024, "n_threads": threads}
    options |= {"n_threads_batch": threads, "interrupt_requests": False, "verbose": False}
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    return [sys.executable, "-m", "llama_cpp.server", "--host", "127.0.0.1", *words]


@contextmanager
def started(server: str, folder: Path, threads: int) -> Iterator[Server]:
    """A server in a process of its own, from its first to its last request."""
    port = free_port()
    log = folder.with_name(f"{server}.log")
    with log.open("w", encoding="utf-8") as said:
        environment = os.environ | {"OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"}
        process = subprocess.Popen(
            command_of(server, folder, port, threads), stdout=said, stderr=subprocess.STDOUT, env=environment
        )
        try:
            wait_for(port, process, log)
            more = {"repeat_penalty": 1.0} if server.startswith("llama.cpp") else {}
            yield Server(f"http://127.0.0.1:{port}", process.pid, more)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=60)


def wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Return when something listens at ``port``. Raises RuntimeError with the server's last words if it ends."""
    until = time.monotonic() + START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if process.poll() is not None or time.monotonic() > until:
                said = log.read_text(encoding="utf-8", errors="replace")[-2000:]
                raise RuntimeError(f"{log.stem} did not start: {said}") from None
            time.sleep(0.1)
        else:
            return


def requests(clients: int) -> int:
    """How many are sent by so many clients together."""
    return max(FEWEST, EACH * clients)


async def ask_all(
    server: Server, name: str, known: Sequence[Conversation], clients: int, clock: Callable[[], float]
) -> tuple[int, list[float]]:
    """(new tokens, seconds to the first piece of each answer) of ``clients`` clients at a time.

    Raises DifferentWork if an answer is not the one that the conversation gets alone.
    """
    waiting = iter([known[place % len(known)] for place in range(requests(clients))])
    firsts: list[float] = []
    tokens = 0

    async def follow(client: httpx.AsyncClient) -> None:
        nonlocal tokens
        for one in waiting:
            text, first, ended = await read(client, asked(one, NAME, **server.more), clock=clock)
            if not ended or text != one.answer:
                raise DifferentWork(f"{name} said {text!r} to {one.content!r}, which alone gets {one.answer!r}")
            firsts.append(first)
            tokens += one.tokens

    limits = httpx.Limits(max_connections=clients)
    async with httpx.AsyncClient(base_url=server.address, timeout=600, limits=limits) as client:
        await asyncio.gather(*(follow(client) for _ in range(clients)))
    return tokens, firsts


def write_model(run: Run, folder: Path) -> tuple[Transformer, Tokenizer]:
    """A model with random weights in ``folder``, and as GGUF beside it where llama.cpp is asked."""
    size = run.amounts
    torch.manual_seed(0)
    model, tokenizer = Transformer(size.config).eval(), tokenizer_of(size.config.vocab_size)
    save_pretrained(model, tokenizer, folder)
    if "llama.cpp server" in run.peers:
        export_gguf(model, tokenizer, folder.with_suffix(".gguf"), "f32")
    return model, tokenizer


def measure(run: Run) -> list[dict[str, Any]]:
    """Tokens a second and the time to the first piece for every number of clients, against every peer."""
    clients = (1, 3) if run.size == "pico" else CLIENTS
    new = (3, 7) if run.size == "pico" else NEW
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name) / NAME
        known, _ = conversations(*write_model(run, folder), CONVERSATIONS, new, CLEAR, whole=True)
        names = ("ours", *(peer for peer in PEERS if peer in run.peers))
        servers = {one: stack.enter_context(started(one, folder, run.threads)) for one in names}
        asked_so_far = 2  # to warm up
        seen = {(one, count): Seen() for one in names for count in clients}
        for one, server in servers.items():
            asyncio.run(ask_all(server, one, known[:2], 1, time.perf_counter))
        begun = time.perf_counter()
        for number in range(run.rounds):
            for count in clients:
                at = asked_so_far % len(known)
                for one in names[:: -1 if number % 2 else 1]:
                    one_turn(run, servers[one], one, [*known[at:], *known[:at]], count, seen[one, count])
                asked_so_far += requests(count)
            if time.perf_counter() - begun > run.seconds:
                break
    return [row for count in clients for row in rows_of(run, names, seen, count)]


def one_turn(run: Run, server: Server, name: str, known: Sequence[Conversation], clients: int, seen: Seen) -> None:
    """All requests of one number of clients once."""
    clock = server.cpu_seconds if clock_of(run) == "cpu" else time.perf_counter
    cpu, wall = server.cpu_seconds(), time.perf_counter()
    tokens, firsts = asyncio.run(ask_all(server, name, known, clients, clock))
    seen.times.wall.append(time.perf_counter() - wall)
    seen.times.cpu.append(server.cpu_seconds() - cpu)
    seen.tokens.append(tokens)
    seen.firsts += firsts


def rows_of(run: Run, names: Sequence[str], seen: Mapping[tuple[str, int], Seen], clients: int) -> list[dict[str, Any]]:
    """The results of one number of clients."""
    title = f"serve {run.size}: {clients} client{'s' * (clients > 1)} at a time"
    times = {one: seen[one, clients].times for one in names}
    work = {one: np.asarray(seen[one, clients].tokens, dtype=float) for one in names}
    rows = []
    for peer in names[1:]:
        pair = {"ours": seen["ours", clients], "peer": seen[peer, clients]}
        more = {
            "clients": clients,
            "first_token_ms": {key: milliseconds(one.firsts, 0.5) for key, one in pair.items()},
            "first_token_ms_p95": {key: milliseconds(one.firsts, 0.95) for key, one in pair.items()},
        }
        rows.append(compare(title, "new tokens", run, times, work, peer, **more))
    return rows


def milliseconds(seconds: Sequence[float], share: float) -> float:
    """The quantile, to four digits."""
    ordered = sorted(seconds)
    return rounded(1000 * ordered[round(share * (len(ordered) - 1))])
