"""Two gloo processes train what one does, write each file once, and resume as one would."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from processes_kit import BATCH, OPTIONS, run, run_all, write_data
from safetensors.torch import load_file

from minimind_lite.training.checkpoint import CheckpointError
from minimind_lite.training.loop import DataOrder
from minimind_lite.training.registry import STAGES

HERE = Path(__file__).parent


def torchrun(*arguments: str, processes: int = 2) -> str:
    """Run a program in several processes; returns what it printed."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true", "CUDA_VISIBLE_DEVICES": ""}
    environment["PYTHONPATH"] = os.pathsep.join([str(HERE.parent), str(HERE)])
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    done = subprocess.run([*command, *arguments], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def weights(folder: Path) -> dict[str, torch.Tensor]:
    (file,) = folder.glob("*model.safetensors")
    return load_file(file)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data, the base, every stage run by one process in one/ and by two in two/."""
    folder = tmp_path_factory.mktemp("processes")
    write_data(folder)
    run_all(folder, folder / "one", 1)
    torchrun(str(HERE / "processes_kit.py"), "all", str(folder), str(folder / "two"), "2")
    return folder


@pytest.mark.parametrize("name", list(STAGES))
def test_two_processes_equal_one(folder: Path, name: str) -> None:
    one, two = weights(folder / "one" / name), weights(folder / "two" / name)
    assert one.keys() == two.keys()
    apart = torch.cat([(one[key] - two[key]).abs().flatten() for key in one])
    # AdamW turns a gradient of almost 0, whose last digits depend on the order of a sum, into a step of full length:
    # one weight in ten thousand may differ by more than 1e-5, and none by a tenth of a step at the rate of 1e-3.
    assert (apart > 1e-5).double().mean() <= 1e-4, name
    assert apart.max() <= 1e-4, name
    if name not in ("pretrain", "lora"):  # and they did learn something: fresh and adapter weights have no before
        before = weights(folder / "base")
        assert any(not torch.equal(two[key], before[key]) for key in two if key in before)


def test_each_metric_is_written_once(folder: Path) -> None:
    for name in STAGES:
        lines = (folder / "two" / name / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        assert len(lines) == 5, name


def test_a_stopped_run_of_two_processes_ends_like_one_that_was_not(folder: Path) -> None:
    torchrun(str(HERE / "processes_kit.py"), "interrupted", str(folder), str(folder / "stopped"), "2")
    whole, parts = weights(folder / "stopped" / "whole"), weights(folder / "stopped" / "parts")
    assert all(torch.equal(whole[key], parts[key]) for key in whole)
    state = torch.load(next((folder / "stopped/whole/checkpoints").glob("step-*5/state.pt")), weights_only=True)
    first, second = (one["random"]["torch"] for one in state["processes"])
    assert not torch.equal(first, second)  # each process has its own random numbers, and both are kept


def test_another_number_of_processes_is_refused(folder: Path) -> None:
    with pytest.raises(CheckpointError, match=r"processes: 2 then, 1 now(.|\n)*as many processes"):
        run("sft", folder, folder / "two" / "sft", 1)


def test_the_command_line_runs_under_torchrun(folder: Path) -> None:
    output = folder / "cli"
    said = torchrun(
        "-m", "minimind_lite.cli", "train", "pretrain", str(folder / "texts.jsonl"), str(folder / "base"), str(output),
        "-p", "preset=pico", "-p", "block_size=32", "-p", "total_steps=3", "-p", "progress=False",
    )  # fmt: skip
    assert said.count("trained:") == 1
    assert len(list((output / "tokens").iterdir())) == 1
    assert weights(output)


@pytest.mark.parametrize(("length", "ranks", "accumulation"), [(7, 2, 1), (9, 4, 2), (1, 2, 1), (5, 3, 2)])
def test_every_example_counts_once_per_epoch(length: int, ranks: int, accumulation: int) -> None:
    orders = [DataOrder(length, 2, accumulation, seed=1, rank=rank, ranks=ranks) for rank in range(ranks)]
    seen: list[int] = []
    for step in range(orders[0].steps_per_epoch):
        batches = [order.micro_batches(step) for order in orders]
        assert len({len(one) for one in batches}) == 1  # every process takes part in every exchange
        for order, one in zip(orders, batches, strict=True):
            seen += [index for batch in one[: order.own_batches(step)] for index in batch]
    assert sorted(seen) == list(range(length))


def test_the_kit_covers_every_stage() -> None:
    assert OPTIONS.keys() == STAGES.keys() and BATCH % 2 == 0
