"""Chapter 18: the calculator, the launch files, and that a launch which shards is refused."""

import doctest
import os
import re
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
import yaml
from accelerate.commands.config.config_args import load_config_from_file

from minimind_lite.config import ConfigError, preset
from minimind_lite.course.chapters.scale import experiments, speed
from minimind_lite.model.transformer import Block, Transformer
from minimind_lite.training import scaling
from minimind_lite.training.loop import make_accelerator
from minimind_lite.training.options import TrainConfig

KINDS = {"ddp": "MULTI_GPU", "fsdp": "FSDP", "zero1": "DEEPSPEED", "zero2": "DEEPSPEED", "zero3": "DEEPSPEED"}


def test_the_calculators_worked_examples_are_right() -> None:
    tried = doctest.testmod(scaling)
    assert tried.attempted >= 7 and tried.failed == 0


@pytest.mark.parametrize(("sharding", "ranks", "said"), [("zero4", 2, "ddp, zero1"), ("ddp", 0, "at least one")])
def test_impossible_plans_are_refused(sharding: Any, ranks: int, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        scaling.memory_per_rank(10, ranks, sharding)


def test_ranks_must_fill_machines() -> None:
    with pytest.raises(ConfigError, match="multiple of 8"):
        scaling.efficiency(10, 10, 12, scaling.Cluster())


def test_activations_are_those_that_autograd_saves() -> None:
    layer = torch.nn.Linear(4, 3)
    assert scaling.saved_activations(layer, torch.ones(5, 4)) == 5 * 4 * 4  # the input, and not the weight


@pytest.mark.parametrize("name", list(KINDS))
def test_a_launch_file_is_what_accelerate_reads(name: str) -> None:
    """Only read: neither FSDP through accelerate nor DeepSpeed is run here, which has no cards and no DeepSpeed."""
    config = load_config_from_file(str(experiments.LAUNCH_FILES / f"{name}.yaml"))
    assert str(config.distributed_type) in (KINDS[name], f"DistributedType.{KINDS[name]}")
    raw = yaml.safe_load((experiments.LAUNCH_FILES / f"{name}.yaml").read_text(encoding="utf-8"))
    if name.startswith("zero"):
        assert raw["deepspeed_config"]["zero_stage"] == int(name[-1])
    if name == "fsdp":
        assert raw["fsdp_config"]["fsdp_version"] == 2
        assert raw["fsdp_config"]["fsdp_transformer_layer_cls_to_wrap"] == Block.__name__


def test_every_launch_file_is_tested() -> None:
    assert {path.stem for path in experiments.LAUNCH_FILES.glob("*.yaml")} == KINDS.keys()


@pytest.mark.parametrize("name", ["FSDP", "DEEPSPEED"])
def test_a_launch_that_shards_is_refused(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv(f"ACCELERATE_USE_{name}", "true")
    with pytest.raises(ConfigError, match=rf"asks for {name}(.|\n)*ddp\.yaml"):
        make_accelerator(TrainConfig(device="cpu"), tmp_path)


def test_processes_exchange_what_one_computes() -> None:
    """Three ranks, so that pieces are unequal and the ring is more than a pair."""
    jobs = {"gradients": experiments.exchanged_gradients, "bytes": experiments.measured_bytes}
    found = experiments.together(jobs, ranks=3)
    expected, tokens = experiments.mean_gradient(experiments.tiny_model(), *experiments.double_batch())
    assert sum(int(one["items"]) for one in found["gradients"]) == tokens
    for one in found["gradients"]:
        assert (one["ring"] - expected).abs().max() < 1e-5
        assert (one["all_reduce"] - expected).abs().max() < 1e-5
        assert (one["mean_of_means"] - expected).abs().max() > 1e-3
    whole = scaling.memory_per_rank(expected.numel())
    for part in ("weights", "gradients", "optimizer"):
        assert sum(one["zero3"][part] for one in found["bytes"]) == getattr(whole, part)
        assert all(one["ddp"][part] == getattr(whole, part) for one in found["bytes"])


def test_ddp_by_its_launch_file_gives_two_processes() -> None:
    said = experiments.launch("ddp.yaml", "minimind_lite.course.chapters.scale.launched")
    assert '"processes": 2' in said and '"kind": "MULTI_CPU"' in said


def wait_for_ever(rank: int, ranks: int) -> None:
    """A job that rank 1 never ends."""
    threading.Event().wait(600.0 if rank else 0.0)


def test_processes_that_do_not_end_are_stopped() -> None:
    before = {one.pid for one in psutil.Process().children(recursive=True)}
    with pytest.raises(RuntimeError, match=r"2 processes did not end within 6 s, 2 times(.|\n)*seconds=600"):
        experiments.together({"waits": wait_for_ever}, seconds=6)
    left = [one for one in psutil.Process().children(recursive=True) if one.pid not in before]
    assert not [one for one in left if "spawn_main" in " ".join(one.cmdline())]


HANGING = """
import subprocess, sys, time
sleeper = "import time; print('the worker waits', flush=True); time.sleep(600)"
worker = subprocess.Popen([sys.executable, "-c", sleeper], start_new_session=True)
print(f"worker {worker.pid}", flush=True)
time.sleep(600 if len(sys.argv) == 1 else 0)
"""


def ends(pid: int, seconds: float = 30.0) -> bool:
    """Whether a process that was killed is gone soon, or dead and only not fetched."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("launcher_ends", [False, True])
def test_a_command_is_bounded_with_its_sessions(launcher_ends: bool) -> None:
    """As with torch's launcher, the worker is a session of its own, and holds both outputs open."""
    command = [sys.executable, "-c", HANGING, *(["end"] if launcher_ends else [])]
    begun = time.monotonic()
    code, said, _ = experiments.run_bounded(command, dict(os.environ), 3.0)
    assert time.monotonic() - begun < 60
    worker = int(re.findall(r"worker (\d+)", said)[0])
    if launcher_ends:  # it is not waited for; nobody is left who knows it
        assert code == 0
        experiments.kill_tree(worker)
    else:
        assert code is None and "the worker waits" in said
    assert ends(worker)


def test_a_launch_that_hangs_is_tried_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes: list[tuple[int | None, str, str]] = [(None, "", "Timeout!"), (0, "well", "")]
    monkeypatch.setattr(experiments, "run_bounded", lambda *_: outcomes.pop(0))
    assert experiments.launch("ddp.yaml", "some.module") == "well"
    outcomes[:] = [(None, "", "Timeout!"), (None, "step 3", "in wait_for_everyone")]
    with pytest.raises(RuntimeError, match=r"some.module did not end within 240 s(.|\n)*step 3\nin wait_for_everyone"):
        experiments.launch("ddp.yaml", "some.module")
    assert not outcomes


def test_a_launch_that_fails_says_why() -> None:
    with pytest.raises(RuntimeError, match=r"no_such_module"):
        experiments.launch("ddp.yaml", "minimind_lite.no_such_module")


def test_what_is_switched_off_does_the_same_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both sides of a pair give the same tokens or gradients; only their time may differ."""
    torch.manual_seed(0)
    model = Transformer(preset("pico")).eval()
    prompt = torch.randint(3, 6400, (1, 9))
    cached = speed.decode(model, model, prompt, 12)
    assert cached == speed.decode_anew(model, prompt, 12) == speed.decode(speed.LaidOut(model), model, prompt, 12)
    pairs: dict[str, speed.Pair] = speed.generating(model)
    for name in ("continuous batching", "eight at a time"):
        with_it, without = pairs[name]
        assert with_it() == without()
    monkeypatch.setattr(speed, "interleaved", lambda on, off, rounds: speed.Gain([1.0, 2.0, 4.0], [2.0, 2.0, 4.0]))
    found = speed.switched_off(model, 3)
    assert found["packing"].ratios == [1.0, 1.0, 2.0] and found["KV cache"].ratio == 1.0
    assert "1.00 (1.00 to 2.00)" in speed.table(found)
    assert "0.50 (0.50 to 0.50)" in speed.table({"one round": speed.Gain([1.0], [0.5])})


def test_losses_switched_off_have_the_same_gradients(tmp_path: Path) -> None:
    model = Transformer(preset("pico"))
    store = speed.TokenStore.write(tmp_path / "a.tokens", speed.short_documents(6400, 20), "t")
    pairs = speed.training(model, store)
    for name in ("loss in chunks", "trained positions only"):
        ours, plain = (work() for work in pairs[name])
        for one, other in zip(ours, plain, strict=True):  # type: ignore[call-overload]
            torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


def test_both_sides_of_a_pair_take_turns() -> None:
    seen: list[str] = []
    gain = speed.interleaved(lambda: seen.append("on"), lambda: seen.append("off"), 2)
    assert seen == ["off", "on", "on", "off", "off", "on"] and len(gain.on) == len(gain.off) == 2
