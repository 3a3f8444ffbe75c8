"""What a run will take: memory by formula against what autograd saves, micro-batches that fit, plans, costs."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from training_kit import same_weights, tiny_run
from typer.testing import CliRunner

from minimind_lite.cli.main import app
from minimind_lite.config import PRESETS, ModelConfig, count_parameters, preset
from minimind_lite.course.kit.errors import CourseError
from minimind_lite.course.runner.cards import CARDS, anchor, training_flops
from minimind_lite.course.runner.costs import as_markdown, costs, parse_rents
from minimind_lite.course.runner.forecast import as_lines, forecast, totals
from minimind_lite.course.runner.plan import make_plan
from minimind_lite.data.published import DATA_VARIABLE
from minimind_lite.files import repository_root
from minimind_lite.model.losses import next_token_loss
from minimind_lite.model.transformer import Transformer
from minimind_lite.tokenizer import Tokenizer
from minimind_lite.training.checkpoint import CheckpointError
from minimind_lite.training.estimate import MEASURED, WARM_UP, RunEstimate, in_time
from minimind_lite.training.memory import saved_for_backward, training_memory
from minimind_lite.training.micro_batch import OutOfMemory, divisions, fitted
from minimind_lite.training.optimizer import make_adamw
from minimind_lite.training.options import RunOptions, TrainConfig
from minimind_lite.training.pretrain import PretrainOptions, run_pretrain

ROWS, LENGTH = 3, 190  # their product is no width of a layer, so no activation has the size of a matrix


def saved_bytes(config: ModelConfig, half: bool) -> int:
    """What autograd keeps from a packed batch: each storage once, but neither the weights nor their casts."""
    torch.manual_seed(0)
    model = Transformer(config)
    batch = {
        "input_ids": torch.randint(0, config.vocab_size, (ROWS, LENGTH)),
        "targets": torch.randint(0, config.vocab_size, (ROWS, LENGTH)),
        "position_ids": torch.arange(LENGTH).expand(ROWS, LENGTH).contiguous(),
        "document_ids": torch.zeros(ROWS, LENGTH, dtype=torch.long),
    }
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    sizes = {parameter.numel() for parameter in model.parameters() if parameter.dim() == 2}
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights and tensor.numel() not in sizes:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=half),
    ):
        loss = next_token_loss(model, batch)
    assert loss[0].requires_grad
    return sum(kept.values())


@pytest.mark.parametrize("half", [False, True], ids=["fp32", "bf16"])
@pytest.mark.parametrize("name", ["nano", "minimind2-small", "minimind3", "nano-moe"])
def test_activations_are_what_autograd_saves(name: str, half: bool) -> None:
    config = preset(name, num_hidden_layers=2, vocab_size=3000)
    expected = saved_for_backward(config, ROWS, LENGTH, half=half)
    assert expected == pytest.approx(saved_bytes(config, half), rel=0.10 if config.num_experts else 0.03)


def test_weights_gradients_and_optimizer_are_counted_to_the_byte() -> None:
    config = PRESETS["pico"]
    model = Transformer(config)
    optimizer = make_adamw(model, TrainConfig(), torch.device("cpu"))
    model(torch.zeros(1, 4, dtype=torch.long)).sum().backward()
    optimizer.step()
    found = training_memory(config, 1, 4)
    parameters = list(model.parameters())
    assert found.weights == sum(one.nbytes for one in parameters)
    assert found.gradients == sum(one.grad.nbytes for one in parameters if one.grad is not None)
    averages = [value for state in optimizer.state.values() for value in state.values() if value.dim()]
    assert found.optimizer == sum(one.nbytes for one in averages)
    frozen = training_memory(config, 1, 4, trainable=1000)
    assert (frozen.weights, frozen.gradients, frozen.optimizer) == (found.weights, 4000, 8000)


def test_the_micro_batch_that_fits_keeps_the_steps_examples() -> None:
    config, model = TrainConfig(micro_batch_size=32, gradient_accumulation_steps=8), PRESETS["minimind2-small"]
    large, small, none = (fitted(config, model, 512, gigabytes * 10**9, half=True) for gigabytes in (80, 8, 0))
    for one in (large, small, none):
        assert one.micro_batch_size * one.gradient_accumulation_steps == 256
    assert large.micro_batch_size > small.micro_batch_size > none.micro_batch_size == 1
    assert training_memory(model, small.micro_batch_size, 512, half=True).total <= 0.9 * 8e9
    assert training_memory(model, 2 * small.micro_batch_size, 512, half=True).total > 0.9 * 8e9
    assert divisions(replace(config, micro_batch_size=3, gradient_accumulation_steps=1)) == [(3, 1), (1, 3)]


def test_a_run_goes_on_with_smaller_micro_batches_and_the_same_steps(tmp_path: Path) -> None:
    whole, _ = tiny_run(tmp_path / "whole", micro_batch_size=4)
    tiny_run(tmp_path / "cut", micro_batch_size=4, callbacks=[StopAt(10)])
    cut, result = tiny_run(tmp_path / "cut", micro_batch_size=2, gradient_accumulation_steps=2)
    assert result.resumed_from == 10
    for ours, theirs in zip(cut.parameters(), whole.parameters(), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-4)
    assert not same_weights(cut, tiny_run(tmp_path / "other", micro_batch_size=2)[0])
    with pytest.raises(CheckpointError, match="examples_per_step: 4 then, 2 now"):
        tiny_run(tmp_path / "cut", micro_batch_size=2)


class StopAt(RunEstimate):
    """Ends a run after a number of steps."""

    def __init__(self, step: int) -> None:
        self.step = step

    def before_fit(self, state: Any) -> None: ...

    def after_step(self, state: Any) -> None:
        from minimind_lite.training.callbacks import StopTraining

        if state.step == self.step:
            raise StopTraining


class Fails(StopAt):
    """Runs out of memory instead."""

    def after_step(self, state: Any) -> None:
        if state.step == self.step:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nmore lines")


class AsksForTooMuch(StopAt):
    """Asks the CPU for more memory than there is; ``step`` 0 fails in another way."""

    def after_step(self, state: Any) -> None:
        if state.step == self.step:
            torch.empty(10**15)
        if not self.step:
            raise RuntimeError("not a matter of memory")


@pytest.fixture(scope="module")
def tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    Tokenizer.train(["a city on a river, and a list of them. 北京是一座城市。"] * 20, 300).save(folder)
    return folder


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("data") / "texts.jsonl"
    lines = (json.dumps({"text": f"City {n} is a city on a river, and number {n} on the list."}) for n in range(400))
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


SIZES = {"micro_batch_size": 4, "save_every": 2, "progress": False, "device": "cpu"}


def test_out_of_memory_names_the_next_setting_and_goes_on_with_it(
    tmp_path: Path, tokenizer_folder: Path, texts: Path
) -> None:
    config, options = TrainConfig(total_steps=4, **SIZES), PretrainOptions(preset="pico", block_size=32)
    out = tmp_path / "out"
    with pytest.raises(OutOfMemory) as caught:
        run_pretrain(texts, tokenizer_folder, out, config, options, RunOptions(callbacks=[Fails(3)]))
    said = str(caught.value)
    assert (
        "micro_batch_size=4: run the same command again with -p micro_batch_size=2 -p gradient_accumulation_steps=2"
        in said
    )
    assert said.endswith("from the checkpoint of step 2. torch says: CUDA out of memory. Tried to allocate 2.00 GiB.")
    smaller = replace(config, micro_batch_size=2, gradient_accumulation_steps=2)
    assert run_pretrain(texts, tokenizer_folder, out, smaller, options).training.resumed_from == 2
    single = replace(config, micro_batch_size=1, save_every=0)
    with pytest.raises(OutOfMemory, match=r"smaller block_size or model; it starts at step 0"):
        run_pretrain(texts, tokenizer_folder, tmp_path / "one", single, options, RunOptions(callbacks=[Fails(1)]))


def test_the_cpu_s_memory_runs_out_in_the_same_words(tmp_path: Path, tokenizer_folder: Path, texts: Path) -> None:
    config, options = TrainConfig(total_steps=2, **SIZES), PretrainOptions(preset="pico", block_size=32)
    with pytest.raises(OutOfMemory, match=r"-p micro_batch_size=2 .* torch says: .*can't allocate memory"):
        run_pretrain(texts, tokenizer_folder, tmp_path, config, options, RunOptions(callbacks=[AsksForTooMuch(1)]))
    with pytest.raises(RuntimeError, match=r"^not a matter of memory$"):
        run_pretrain(
            texts, tokenizer_folder, tmp_path / "other", config, options, RunOptions(callbacks=[AsksForTooMuch(0)])
        )


def test_the_command_measures_a_short_run_and_leaves_nothing(
    tmp_path: Path, tokenizer_folder: Path, texts: Path
) -> None:
    sizes = [f"-p{pair}" for pair in ("preset=pico", "block_size=32", "micro_batch_size=auto", "total_steps=5000")]
    out = tmp_path / "out"
    ran = CliRunner().invoke(
        app, ["train", "pretrain", *map(str, (texts, tokenizer_folder, out)), *sizes, "--estimate"]
    )
    assert ran.exit_code == 0, ran.output
    assert "for 5,000 steps" in ran.output and "of memory on the CPU" in ran.output and "on disk" in ran.output
    assert not out.exists()


def test_automatic_is_refused_where_no_rows_are_packed(tmp_path: Path) -> None:
    ran = CliRunner().invoke(app, ["train", "grpo", *["x"] * 3, "-p", "micro_batch_size=auto"])
    assert ran.exit_code == 1 and "stages that train on packed rows" in ran.output


def test_a_long_run_says_once_what_is_still_to_come(capsys: pytest.CaptureFixture[str]) -> None:
    for seconds_a_step, expected in ((2.0, 1), (0.001, 0)):
        meter, state = RunEstimate(), State()
        meter.before_fit(state)
        for step in range(1, 20):
            state.step, state.seconds = step, state.seconds + (60.0 if step <= WARM_UP else seconds_a_step)
            meter.after_step(state)
        said = capsys.readouterr().err
        assert said.count("still to come") == expected
        if expected:
            left = 5000 - WARM_UP - MEASURED
            assert f"≈ {in_time(2 * left)} for {left:,} steps" in said  # the slow first steps do not count


class State:
    """What a callback sees."""

    total_steps, step, seconds = 5000, 0, 0.0
    model = torch.nn.Linear(10, 10)


def test_a_dry_run_needs_no_file_and_says_where_its_numbers_come_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MINIMIND_SMOKE", raising=False)
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path / "data"))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "sft_mini_512.jsonl").touch()
    plan = make_plan("full", "08", "15", output_dir=tmp_path / "out")
    found = forecast(plan)
    text = "\n".join(as_lines(plan, found))
    assert "pretrain: minimind2-small (25,829,888 parameters), 3,500 steps, 458,752,000 tokens" in text
    assert "data/pretrain_hq.jsonl (1.6 GB): missing" in text and "data/sft_mini_512.jsonl (1.2 GB): there" in text
    wanted = "pretrain_hq.jsonl lora_identity.jsonl lora_medical.jsonl dpo.jsonl r1_mix_1024.jsonl"
    assert f"minimind data download {wanted}\n" in text
    sources = {one.chapter: one.source for one in found}
    assert (sources["08_pretrain"], sources["09_generation"], sources["15_grpo"]) == ("estimated", "stated", "stated")
    seconds, memory, disk = totals(plan, found)
    assert seconds == sum(one.seconds for one in found) and memory > 5e9 and disk > 4e9
    assert not (tmp_path / "out").exists()


def test_full_without_a_gpu_asks_for_a_yes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.delenv("MINIMIND_SMOKE", raising=False)
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path))
    command = [
        "course",
        "run",
        "--profile",
        "full",
        "--from",
        "08",
        "--to",
        "08",
        "--output-dir",
        str(tmp_path / "out"),
    ]
    asked = CliRunner().invoke(app, command)
    assert asked.exit_code == 1 and "Give --yes" in asked.output and "of memory" in asked.output
    agreed = CliRunner().invoke(app, [*command, "--yes"])
    assert agreed.exit_code == 1 and "data download pretrain_hq.jsonl" in agreed.output


def test_costs_stand_on_arithmetic_and_the_published_hours() -> None:
    found = costs({"RTX 3090": 1.0, "H100": 0.0}, 0.4)
    rows = {row["name"]: row for row in found["cards"]}
    assert list(rows) == list(CARDS)
    row = rows["RTX 3090"]
    small = PRESETS["minimind2-small"]
    flops = 6 * count_parameters(small) + 6 * 8 * 512 * 512
    assert training_flops(small, 512) == flops
    assert row["hours"]["pretrain"] == pytest.approx(3500 * 131_072 * flops / (71e12 * 0.4) / 3600, abs=1e-3)
    assert row["dollars"] == pytest.approx(sum(row["hours"].values()), abs=0.01) and rows["H100"]["dollars"] == 0
    assert {row["kind"] for row in rows.values()} == {"estimated"}
    assert 0.9 < anchor(0.4) < 1.15 and anchor(0.2) == pytest.approx(2 * anchor(0.4))
    assert "+8%" in as_markdown(found) and len(as_markdown(found).splitlines()) == len(CARDS) + 4


def test_the_stored_costs_are_what_the_command_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MINIMIND_SMOKE", raising=False)
    ran = CliRunner().invoke(app, ["course", "costs", "--output", str(tmp_path / "costs.json")])
    assert ran.exit_code == 0
    stored = repository_root() / "benchmarks" / "results" / "costs.json"
    assert stored.read_bytes() == (tmp_path / "costs.json").read_bytes()


@pytest.mark.parametrize(
    ("rents", "mfu", "message"),
    [
        (["RTX 3090"], 0.4, "must look like CARD=DOLLARS"),
        (["RTX 309=1"], 0.4, "no card called 'RTX 309'; there are: RTX 3060"),
        (["T4=-1"], 0.4, "the rent of the T4 must be 0 or more"),
        (["T4=nan"], 0.4, "the rent of the T4 must be 0 or more"),
        ([], 0.0, "--mfu must be a share above 0"),
    ],
)
def test_costs_refuse_what_makes_no_sense(rents: list[str], mfu: float, message: str) -> None:
    with pytest.raises(CourseError, match=message):
        costs(parse_rents(rents), mfu)
