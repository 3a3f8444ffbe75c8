"""Chapter 18's experiments: functions that several processes run together, joined by gloo.

A new process imports the function it is to run, so these cannot be defined in the notebook. Each takes its rank and the
number of ranks, and returns plain data. Source of the ring: Patarasuk & Yuan 2009, section 4.
"""

import contextlib
import faulthandler
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn
from torch.distributed import FileStore  # type: ignore[attr-defined]
from torch.distributed.device_mesh import init_device_mesh
from torch.nn.parallel import DistributedDataParallel

from minimind_lite import training
from minimind_lite.config import preset
from minimind_lite.files import repository_root
from minimind_lite.model.transformer import IGNORED_TARGET, Transformer

from ...kit.language import say

Job = Callable[[int, int], Any]
LAUNCH_FILES = Path(training.__file__).parent / "launch"  # for `accelerate launch --config_file`
EXAMPLES, LENGTH, VOCABULARY = 8, 32, 300
# A launch takes 10 seconds on an idle laptop, a minute on a very busy one; one in many was seen never to end: processes
# that join or leave a group can wait for each other. So the wait for them has a limit, and is tried once more.
LONGEST, TRIES = 240.0, 2  # seconds


def together(jobs: Mapping[str, Job], ranks: int = 2, seconds: float = LONGEST) -> dict[str, list[Any]]:
    """Run every job in ``ranks`` new processes at once; returns what each rank returned, in the order of the ranks.

    jobs: functions that can be imported, or ``functools.partial`` of one, called with (rank, ranks). Raises
    torch.multiprocessing.ProcessRaisedException with the traceback of the first rank that failed, and RuntimeError if
    the processes do not end within ``seconds``, twice.
    """
    for _ in range(TRIES):
        with tempfile.TemporaryDirectory() as folder:
            started = mp.spawn(  # type: ignore[attr-defined, no-untyped-call]
                _member, args=(ranks, dict(jobs), folder, seconds), nprocs=ranks, join=False
            )
            if _all_end(started, seconds):
                answers = [torch.load(Path(folder) / f"{rank}.pt", weights_only=True) for rank in range(ranks)]
                return {name: [answer[name] for answer in answers] for name in jobs}
    raise RuntimeError(say(
        "{count} processes did not end within {seconds} s, {times} times. Run it again; if the machine is only slow, "
        "allow more: seconds=600.", count=ranks, seconds=f"{seconds:g}", times=TRIES,
    ))  # fmt: skip


def _all_end(started: Any, seconds: float) -> bool:
    """Whether all processes of ``mp.spawn`` end in time; those that do not are killed."""
    deadline = time.monotonic() + seconds
    try:
        while time.monotonic() < deadline:
            if started.join(timeout=1):
                return True
        return False
    finally:
        for process in started.processes:
            process.kill()  # nothing happens to one that has ended
            process.join(5)


def _member(rank: int, ranks: int, jobs: dict[str, Job], folder: str, seconds: float) -> None:
    """One of the processes: join the group, do the jobs, leave the answers in a file."""
    say_where(0.9 * seconds)
    torch.set_num_threads(1)
    dist.init_process_group("gloo", store=FileStore(f"{folder}/store", ranks), rank=rank, world_size=ranks)
    answers = {name: job(rank, ranks) for name, job in jobs.items()}
    torch.save(answers, Path(folder) / f"{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


def say_where(seconds: float) -> None:
    """After so many seconds, if this process still lives then, print where each of its threads stands."""
    with contextlib.suppress(OSError, ValueError, AttributeError):  # a standard error stream that is no file
        faulthandler.dump_traceback_later(seconds)


def launch(config_file: str, *arguments: str, processes: int = 2, seconds: float = LONGEST) -> str:
    """``accelerate launch --config_file … -m …`` on the CPU; returns what it printed.

    config_file: a name in LAUNCH_FILES. arguments: the module to run and its own. Raises RuntimeError if it fails, or
    does not end within ``seconds``, twice. ACCELERATE_USE_CPU makes accelerate choose gloo; `--cpu` would start a
    single process.
    """
    environment = os.environ | {"ACCELERATE_USE_CPU": "true", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(LAUNCH_FILES / config_file)]
    command += ["--num_processes", str(processes), "--main_process_port", "0", "-m", *arguments]
    said, what = "", " ".join(arguments[:3])
    for _ in range(TRIES):
        code, said, complaints = run_bounded(command, environment, seconds)
        if code == 0:
            return said
        if code is not None:
            raise RuntimeError(say("{what} ended with exit code {code}:", what=what, code=code)
                               + f"\n{complaints[-2000:]}")  # fmt: skip
    printed = f"{said[-1000:]}\n{complaints[-4000:]}".strip() or say("nothing")
    raise RuntimeError(say(
        "{what} did not end within {seconds} s, {times} times. Run it again; if the machine is only slow, allow more: "
        "seconds=600. It had printed:", what=what, seconds=f"{seconds:g}", times=TRIES,
    ) + f"\n{printed}")  # fmt: skip


def run_bounded(command: list[str], environment: dict[str, str], seconds: float) -> tuple[int | None, str, str]:
    """Exit code and both outputs of a command; the code is None if it was killed after ``seconds``.

    Outputs go to files: a pipe would be waited for as long as any process that the command started holds it open. The
    workers of torch's launcher are sessions of their own, so they are killed as its descendants, not as its group.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = subprocess.Popen(  # noqa: S603  a command of our own
            command, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=err, cwd=repository_root(),
            start_new_session=True,
        )  # fmt: skip
        code: int | None = None
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            pass
        finally:  # also when the kernel is interrupted
            if code is None:
                kill_tree(process.pid)
                process.wait(10)
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode("utf-8", errors="replace"))
    return code, texts[0], texts[1]


def kill_tree(pid: int) -> None:
    """Kill a process and all that descend from it."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        for one in (*process.children(recursive=True), process):
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()


def ring_all_reduce(mine: Tensor) -> Tensor:
    """The sum of every rank's ``mine`` (any shape): pieces are sent to the next rank and received from the one before.

    Each rank sends 2(n-1) pieces of 1/n of the data, however many ranks there are.
    """
    rank, ranks = dist.get_rank(), dist.get_world_size()
    pieces = [piece.clone() for piece in mine.flatten().tensor_split(ranks)]
    for step in range(ranks - 1):  # reduce-scatter: afterwards piece rank+1 is complete here
        received = _pass_on(pieces[(rank - step) % ranks], pieces[(rank - step - 1) % ranks])
        pieces[(rank - step - 1) % ranks] += received
    for step in range(ranks - 1):  # all-gather: complete pieces travel once round
        received = _pass_on(pieces[(rank + 1 - step) % ranks], pieces[(rank - step) % ranks])
        pieces[(rank - step) % ranks] = received
    return torch.cat(pieces).view_as(mine)


def _pass_on(piece: Tensor, like: Tensor) -> Tensor:
    """Send ``piece`` to the next rank while receiving one with the shape of ``like`` from the previous rank."""
    rank, ranks = dist.get_rank(), dist.get_world_size()
    received = torch.empty_like(like)
    sending: Any = dist.isend(piece, (rank + 1) % ranks)
    dist.recv(received, (rank - 1) % ranks)
    sending.wait()
    return received


def tiny_model(seed: int = 0) -> Transformer:
    """A model of 0.1 million parameters, the same for the same seed."""
    torch.manual_seed(seed)
    return Transformer(preset("pico", vocab_size=VOCABULARY))


def double_batch(equal: bool = False) -> tuple[Tensor, Tensor]:
    """Token ids and targets, each (EXAMPLES, LENGTH).

    Odd examples are trained on a quarter of their positions, unless all are to be ``equal``.
    """
    ids = torch.randint(3, VOCABULARY, (EXAMPLES, LENGTH + 1), generator=torch.Generator().manual_seed(1))
    targets = ids[:, 1:].clone()
    if not equal:
        targets[1::2, LENGTH // 4 :] = IGNORED_TARGET
    return ids[:, :-1], targets


def mean_gradient(model: nn.Module, ids: Tensor, targets: Tensor) -> tuple[Tensor, int]:
    """The gradient of the mean loss over the trained tokens, all parameters in one row, and the number of tokens."""
    model.zero_grad()
    total, items = model.loss(ids, targets)  # type: ignore[operator]
    (total / items).backward()
    return torch.cat([one.grad.flatten() for one in model.parameters() if one.grad is not None]), int(items)


def exchanged_gradients(rank: int, ranks: int) -> dict[str, Tensor]:
    """The gradient of a batch of which each rank has a share, by each of several ways of exchanging it."""
    ids, targets = double_batch()
    own, items = mean_gradient(tiny_model(), ids[rank::ranks], targets[rank::ranks])
    everyone = _all_reduced(torch.tensor(float(items)))
    summed = _all_reduced(own)  # the sum of two means
    return {
        "ring": ring_all_reduce(own * items) / everyone,
        "all_reduce": _all_reduced(own * items) / everyone,
        "not_divided": summed,
        "mean_of_means": summed / ranks,
        "not_exchanged": own,
        "items": torch.tensor(items),
    }


def _all_reduced(mine: Tensor) -> Tensor:
    """The same with torch's own function, which works in place."""
    summed = mine.clone()
    dist.all_reduce(summed)
    return summed


def trained_weights(rank: int, ranks: int, steps: int = 3) -> dict[str, Tensor]:
    """All weights after a few steps with averaged gradients: begun alike, begun from different seeds, and broadcast."""
    found = {}
    for name, seed, broadcast in (("alike", 0, False), ("different_seeds", rank, False), ("broadcast", rank, True)):
        model = tiny_model(seed)
        for parameter in model.parameters() if broadcast else ():
            dist.broadcast(parameter.data, src=0)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
        ids, targets = double_batch(equal=True)
        for _ in range(steps):
            mean_gradient(model, ids[rank::ranks], targets[rank::ranks])
            for parameter in model.parameters():
                parameter.grad = _all_reduced(parameter.grad) / ranks  # type: ignore[arg-type]
            optimizer.step()
        found[name] = torch.cat([parameter.detach().flatten() for parameter in model.parameters()])
    return found


def counted_exchanges(rank: int, ranks: int, micro_batches: int) -> dict[str, int]:
    """Bytes that DDP hands to all-reduce in one step of several micro-batches, with ``no_sync`` and without it."""
    ids, targets = double_batch()
    found = {}
    for name in ("every micro-batch", "no_sync until the last"):
        model = DistributedDataParallel(ModelWithMeanLoss(tiny_model()))
        sent: list[int] = []
        model.register_comm_hook(sent, _counting_hook)
        for number in range(micro_batches):
            waits = name.startswith("no_sync") and number < micro_batches - 1
            with model.no_sync() if waits else nullcontext():
                model(ids[rank::ranks], targets[rank::ranks]).backward()
        found[name] = sum(sent)
    return found


def _counting_hook(
    sent: list[int],
    bucket: dist.GradBucket,  # type: ignore[name-defined]
) -> torch.futures.Future[Tensor]:
    """Average a bucket of gradients, as DDP would by itself, and note its bytes."""
    buffer = bucket.buffer()
    sent.append(buffer.nbytes)
    work: Any = dist.all_reduce(buffer.div_(dist.get_world_size()), async_op=True)
    averaged: torch.futures.Future[Tensor] = work.get_future().then(lambda done: done.value()[0])
    return averaged


class ModelWithMeanLoss(nn.Module):
    """Model and mean loss as one forward pass: what DDP and FSDP hook."""

    def __init__(self, model: Transformer) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: Tensor, targets: Tensor) -> Tensor:
        total, items = self.model.loss(ids, targets)
        return total / items


def measured_bytes(rank: int, ranks: int) -> dict[str, dict[str, float]]:
    """Bytes of weights, gradients and optimizer states on this rank after one step of each kind of sharding."""
    from torch.distributed.fsdp import fully_shard  # takes a second or two, which the chapter's start need not wait for
    from torch.distributed.optim import ZeroRedundancyOptimizer

    ids, targets = double_batch()
    found = {}
    for name in ("ddp", "zero1", "zero3"):
        wrapped = ModelWithMeanLoss(tiny_model())
        if name == "zero3":
            mesh = init_device_mesh("cpu", (ranks,))
            for block in wrapped.model.model.layers:
                fully_shard(block, mesh=mesh)
            module: Any = fully_shard(wrapped, mesh=mesh)
        else:
            module = DistributedDataParallel(wrapped)
        adamw: Any = torch.optim.AdamW
        make = partial(ZeroRedundancyOptimizer, optimizer_class=adamw) if name == "zero1" else adamw
        optimizer = make(module.parameters(), lr=1e-3)
        loss = module(ids[rank::ranks], targets[rank::ranks])
        loss.backward()
        optimizer.step()
        found[name] = {"loss": loss.item()} | _bytes_of(module, getattr(optimizer, "optim", optimizer))
    return found


def _bytes_of(module: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, float]:
    """What this rank itself holds."""
    parameters = list(module.parameters())
    states = [one for state in optimizer.state.values() for one in state.values() if isinstance(one, Tensor)]
    return {
        "weights": _local_bytes(parameters),
        "gradients": _local_bytes([one.grad for one in parameters if one.grad is not None]),
        "optimizer": _local_bytes([one for one in states if one.numel() > 1]),  # without the step counters
    }


def _local_bytes(tensors: list[Any]) -> float:
    from torch.distributed.tensor import DTensor

    return float(sum((one.to_local() if isinstance(one, DTensor) else one).nbytes for one in tensors))


def timed_all_reduce(rank: int, ranks: int, largest_kibibytes: int, rounds: int) -> list[tuple[int, float]]:
    """(bytes, median seconds) of an all-reduce, for sizes that grow by factors of 4 up to the largest."""
    found = []
    size = 4
    while size <= largest_kibibytes:
        data, seconds = torch.ones(size * 256), []  # float32
        for _ in range(rounds + 1):
            dist.barrier()
            begun = time.perf_counter()
            dist.all_reduce(data)
            seconds.append(time.perf_counter() - begun)
            data.fill_(1.0)
        found.append((data.nbytes, statistics.median(seconds[1:])))  # the first one also makes the connections
        size *= 4
    return found


def written_lines(rank: int, ranks: int, folder: str, only_main: bool) -> int:
    """Every rank (or only the main one) appends three lines to one file; returns how many lines there are then."""
    path = Path(folder) / ("main.txt" if only_main else "everyone.txt")
    if rank == 0 or not only_main:
        with path.open("a", encoding="utf-8") as file:
            file.writelines(f"step {step}\n" for step in range(3))
    dist.barrier()
    return len(path.read_text(encoding="utf-8").splitlines())
