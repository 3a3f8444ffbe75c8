"""The loop: gradients weighted by tokens, every example once, a guard against NaN, hooks, other stages' losses."""

import json
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from accelerate.utils import LoggerType
from torch.utils._python_dispatch import TorchDispatchMode
from training_kit import TINY, same_weights, tiny_data, tiny_model, tiny_run

from minimind_lite.config import ConfigError
from minimind_lite.data.records import DataError
from minimind_lite.model.losses import Loss, LossFn, next_token_loss
from minimind_lite.training import loop
from minimind_lite.training.callbacks import Callback, StopTraining, read_metrics
from minimind_lite.training.loop import DataOrder, Trainer, TrainingDiverged, train
from minimind_lite.training.options import RunOptions, TrainConfig
from minimind_lite.training.stage import StageRun


class Bigram(torch.nn.Module):
    """The smallest language model: a table of logits, in float64 throughout, so that sums can be compared exactly."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table = torch.nn.Parameter(torch.randn(TINY.vocab_size, TINY.vocab_size, dtype=torch.float64))


def bigram_loss(model: Bigram, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    logits, targets = model.table[batch["input_ids"]].flatten(0, 1), batch["targets"].flatten()
    return F.cross_entropy(logits, targets, reduction="sum"), (targets >= 0).sum()


def gradient_of_one_step(folder: Path, model: torch.nn.Module, loss_fn: LossFn, **settings: Any) -> tuple[dict, dict]:
    """The gradients that the optimizer gets in the first step, and the step's metrics."""
    seen: dict[str, torch.Tensor] = {}
    trainer = Trainer(model, tiny_data(20), TrainConfig(total_steps=1, progress=False, **settings), folder, loss_fn)

    def look(*_: object) -> None:
        seen.update({name: parameter.grad.clone() for name, parameter in model.named_parameters()})

    trainer.optimizer.optimizer.register_step_pre_hook(look)
    trainer.fit(resume="never")
    return seen, trainer.row


SPLITS = [(1, 6), (2, 3), (6, 1), (4, 2)]  # micro-batch size, accumulation


@pytest.mark.parametrize(("micro", "accumulation"), SPLITS)
def test_accumulated_gradients_equal_those_of_one_large_batch(tmp_path: Path, micro: int, accumulation: int) -> None:
    split = {"micro_batch_size": micro, "gradient_accumulation_steps": accumulation, "max_grad_norm": 0.0}
    seen, row = gradient_of_one_step(tmp_path, Bigram(), bigram_loss, **split)
    indices = list(chain(*DataOrder(len(tiny_data(20)), micro, accumulation, seed=0).micro_batches(0)))
    rows = [tiny_data(20)[index] for index in indices]
    trained = [int((one["targets"] >= 0).sum()) for one in rows]
    assert len(set(trained)) > 1, "the rows must differ in targets, or a mean of means would pass as well"
    model = Bigram()
    logits = torch.cat([model.table[one["input_ids"]] for one in rows])
    F.cross_entropy(logits, torch.cat([one["targets"] for one in rows])).backward()
    torch.testing.assert_close(seen["table"], model.table.grad, rtol=1e-12, atol=1e-15)
    assert row["grad_norm"] == pytest.approx(float(model.table.grad.norm()), rel=1e-12)
    assert row["items"] == sum(trained)


@pytest.mark.parametrize(("micro", "accumulation"), SPLITS)
def test_the_same_holds_for_the_decoder_with_documents_apart(tmp_path: Path, micro: int, accumulation: int) -> None:
    split = {"micro_batch_size": micro, "gradient_accumulation_steps": accumulation, "max_grad_norm": 0.0}
    seen, _ = gradient_of_one_step(tmp_path, tiny_model(), next_token_loss, **split)
    indices = list(chain(*DataOrder(len(tiny_data(20)), micro, accumulation, seed=0).micro_batches(0)))
    model, logits, targets = tiny_model(), [], []
    for row in (tiny_data(20)[index] for index in indices):
        for document in range(int(row["document_ids"].max()) + 1):
            here = row["document_ids"] == document
            logits.append(model(row["input_ids"][here][None])[0])
            targets.append(row["targets"][here])
    F.cross_entropy(torch.cat(logits), torch.cat(targets)).backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(seen[name], parameter.grad, rtol=1e-4, atol=1e-7)


def test_a_mean_of_means_is_a_different_gradient() -> None:
    """The common mistake, executed: on these rows the error is far larger than rounding."""
    mistaken, right = Bigram(), Bigram()
    rows = [{name: tensor[None] for name, tensor in tiny_data(20)[index].items()} for index in range(6)]
    for row in rows:
        total, items = bigram_loss(mistaken, row)
        (total / items / len(rows)).backward()
    totals, counts = zip(*(bigram_loss(right, row) for row in rows), strict=True)
    (sum(totals) / sum(counts)).backward()
    assert float((mistaken.table.grad - right.table.grad).norm() / right.table.grad.norm()) > 0.1


def test_gradients_are_clipped_to_their_longest(tmp_path: Path) -> None:
    seen, row = gradient_of_one_step(tmp_path, Bigram(), bigram_loss, micro_batch_size=2, max_grad_norm=0.01)
    assert float(seen["table"].norm()) == pytest.approx(0.01, rel=1e-3)
    assert row["grad_norm"] > 0.01  # the metric shows the norm before clipping


@pytest.mark.parametrize("length", [1, 5, 8, 13])
def test_every_example_is_seen_once_per_epoch(length: int) -> None:
    order = DataOrder(length, micro_batch_size=2, accumulation=2, seed=3)
    epochs = []
    for epoch in range(2):
        steps = range(epoch * order.steps_per_epoch, (epoch + 1) * order.steps_per_epoch)
        epochs.append([index for step in steps for batch in order.micro_batches(step) for index in batch])
        assert sorted(epochs[-1]) == list(range(length))
    assert length < 5 or epochs[0] != epochs[1]
    assert order.micro_batches(1) == DataOrder(length, 2, 2, seed=3).micro_batches(1)


def test_processes_share_a_step_and_none_is_left_out() -> None:
    ranks = [DataOrder(10, 2, 2, seed=0, rank=rank, ranks=2) for rank in range(2)]
    for step in range(ranks[0].steps_per_epoch):
        parts = [[index for batch in order.micro_batches(step) for index in batch] for order in ranks]
        assert all(parts)
        assert not set(parts[0]) & set(parts[1])
    assert all(DataOrder(3, 1, 1, 0, rank=rank, ranks=2).micro_batches(1) for rank in range(2))


def test_the_loss_falls_and_the_metrics_say_how(tmp_path: Path) -> None:
    model, result = tiny_run(tmp_path, eval_data=tiny_data(5, seed=9), eval_every=10, log_every=3)
    lines = (tmp_path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == result.history
    assert result.history[-1]["loss"] < result.history[0]["loss"]
    assert [row["step"] for row in result.history] == [1, 3, 6, 9, 10, 12, 15, 18, 20, 21, 24, 27, 30]
    assert [row["step"] for row in result.history if "eval_loss" in row] == [10, 20, 30]
    held_out = {name: torch.stack([row[name] for row in tiny_data(5, seed=9)]) for name in tiny_data()[0]}
    with torch.no_grad():
        total, items = next_token_loss(model, held_out)
    assert result.history[-1]["eval_loss"] == pytest.approx(float(total / items), rel=1e-5)


def test_evaluation_leaves_no_trace_in_the_training(tmp_path: Path) -> None:
    def measure(model: torch.nn.Module) -> dict[str, float]:
        return {"drawn": float(torch.rand(()))}

    plain, _ = tiny_run(tmp_path / "plain")
    watched, result = tiny_run(tmp_path / "watched", eval_data=tiny_data(4), eval_every=3, measure=measure)
    assert same_weights(plain, watched)
    assert "drawn" in result.history[-1]


def poisoned(model: torch.nn.Module, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """A loss that is NaN for the rows of example 7."""
    total, items = next_token_loss(model, batch)
    bad = tiny_data()[7]["input_ids"]
    return total * (float("nan") if (batch["input_ids"] == bad).all(dim=1).any() else 1.0), items


def test_a_nan_stops_the_run_and_names_the_examples(tmp_path: Path) -> None:
    order = DataOrder(len(tiny_data()), 2, 1, seed=0)
    step, batch = next((s, b) for s in range(30) for b in order.micro_batches(s) if 7 in b)
    with pytest.raises(TrainingDiverged) as caught:
        tiny_run(tmp_path, loss_fn=poisoned, save_every=1)
    assert f"step {step + 1}:" in str(caught.value) and str(batch) in str(caught.value)
    # The last checkpoint holds the weights before the bad step: the same as those of a run that stopped there.
    saved = sorted((tmp_path / "checkpoints").glob("step-*"))[-1]
    assert saved.name == f"step-{step:08d}"
    state = torch.load(saved / "state.pt", weights_only=True)
    assert all(torch.isfinite(tensor).all() for tensor in state["model"].values())


def test_a_batch_without_targets_changes_nothing_and_breaks_nothing(tmp_path: Path) -> None:
    def nothing(model: torch.nn.Module, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        return next_token_loss(model, batch | {"targets": torch.full_like(batch["targets"], -100)})

    def nothing_at_first(model: torch.nn.Module, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        before.append([parameter.clone() for parameter in model.parameters()])
        return nothing(model, batch) if len(before) <= 3 else next_token_loss(model, batch)

    before: list[list[torch.Tensor]] = []
    _, result = tiny_run(tmp_path, loss_fn=nothing_at_first, total_steps=4)
    assert [row["loss"] for row in result.history[:1]] == [0] and result.history[-1]["loss"] > 1
    assert all(torch.equal(a, b) for a, b in zip(before[0], before[3], strict=True))  # no weight decay either
    _, result = tiny_run(tmp_path / "never", loss_fn=nothing, total_steps=3)
    assert "none of the 3 steps over 31 examples had anything to learn from: no exa" in result.nothing_learned
    assert read_metrics(tmp_path / "never" / "metrics.jsonl")[-1]["loss"] == 0


def test_a_metric_with_its_own_count_weighs_every_value_equally(tmp_path: Path) -> None:
    values = iter([[1.0], [0.0, 0.0, 0.0], [5.0], []])

    def loss(model: torch.nn.Module, batch: dict[str, torch.Tensor]) -> Loss:
        some = torch.tensor(next(values))
        return Loss(
            *next_token_loss(model, batch), {"reward": torch.stack([some.sum(), torch.tensor(float(len(some)))])}
        )

    settings = {"total_steps": 2, "gradient_accumulation_steps": 2, "log_every": 1}
    _, result = tiny_run(tmp_path, loss_fn=loss, **settings)
    assert [row["reward"] for row in result.history] == [0.25, 5.0]


def test_an_evaluation_leaves_the_random_numbers_alone(tmp_path: Path) -> None:
    drawn: list[float] = []

    def noisy(model: torch.nn.Module, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        number = float(torch.rand(()))
        if model.training:
            drawn.append(number)
        return next_token_loss(model, batch)

    tiny_run(tmp_path / "a", loss_fn=noisy, total_steps=6, eval_every=2, eval_data=tiny_data(10), seed=0)
    evaluated, drawn[:] = list(drawn), []
    tiny_run(tmp_path / "b", loss_fn=noisy, total_steps=6, seed=0)
    assert len(drawn) == 6 and drawn == evaluated  # training draws what it would without evaluations


def test_two_epochs_of_neighbouring_seeds_are_not_the_same_order() -> None:
    order = [DataOrder(100, 100, 1, seed)._all(epoch) for seed, epoch in ((0, 1), (1, 0), (1, 1), (2, 0))]
    assert len({tuple(one) for one in order}) == 4


def test_callbacks_and_held_out_data_are_checked_before_anything_else(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="callbacks must be "):
        RunOptions(callbacks=[print])  # type: ignore[list-item]
    with pytest.raises(ConfigError, match="measure must be "):
        RunOptions(measure=3)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"nowhere\.jsonl: there is no such file"):
        StageRun(tmp_path / "base", tmp_path / "out", TrainConfig(), RunOptions(eval_data=tmp_path / "nowhere.jsonl"))
    assert not (tmp_path / "out").exists()


def test_a_callback_can_stop_a_run_that_continues_later(tmp_path: Path) -> None:
    class StopAt(Callback):
        def after_step(self, trainer: Trainer) -> None:
            if trainer.step == 12:
                raise StopTraining

    _, first = tiny_run(tmp_path / "a", callbacks=[StopAt()])
    stopped, second = tiny_run(tmp_path / "a")
    whole, _ = tiny_run(tmp_path / "b")
    assert (first.steps, second.resumed_from, second.steps) == (12, 12, 30)
    assert same_weights(stopped, whole)


def test_another_stage_brings_only_data_and_a_loss(tmp_path: Path) -> None:
    """Preferences, as in DPO: pairs instead of tokens, a reference model, a measurement."""
    reference = tiny_model().requires_grad_(False)
    before = [parameter.clone() for parameter in reference.parameters()]
    random = torch.Generator().manual_seed(0)
    draw = lambda: torch.randint(0, TINY.vocab_size, (12, 9), generator=random)  # noqa: E731  too short for a def
    pairs = [{"chosen": c, "rejected": r} for c, r in zip(draw(), draw(), strict=True)]

    def score(model: torch.nn.Module, ids: torch.Tensor) -> torch.Tensor:
        logprobs = model(ids[:, :-1]).log_softmax(-1)
        return logprobs.gather(2, ids[:, 1:, None]).sum(dim=(1, 2))

    def preference_loss(model: torch.nn.Module, batch: dict[str, torch.Tensor]) -> Loss:
        margin = score(model, batch["chosen"]) - score(reference, batch["chosen"])
        margin = margin - score(model, batch["rejected"]) + score(reference, batch["rejected"])
        return Loss(-F.logsigmoid(margin).sum(), len(margin), {"accuracy": (margin > 0).float().sum()})

    config = TrainConfig(total_steps=20, micro_batch_size=5, learning_rate=1e-2, progress=False)
    result = train(tiny_model(), pairs, config, tmp_path, loss_fn=preference_loss)
    assert result.history[0]["loss"] == pytest.approx(0.6931, abs=1e-3)  # ln 2: the model is its reference
    assert result.history[-1]["loss"] < 0.2 and result.history[-1]["accuracy"] == 1.0
    assert result.items == 6 * 12 + 2 * 5  # 6 whole epochs (of 5, 5 and 2 pairs per step) and two more steps
    assert all(torch.equal(a, b) for a, b in zip(before, reference.parameters(), strict=True))


def test_a_tracker_that_cannot_record_is_refused_before_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "get_available_trackers", lambda: [LoggerType.TENSORBOARD])
    for name, words in (
        ("wandb", r"wandb is not installed \(installed here: tensorboard\); install it with: pip install wandb"),
        ("wandbb", r"no tracker called 'wandbb'; there are: aim, .*wandb, .*\(installed here: tensorboard\)"),
        ("all", "no tracker called 'all'"),
    ):
        with pytest.raises(ConfigError, match=words):
            tiny_run(tmp_path / "out", trackers=("tensorboard", name))
    monkeypatch.setattr(loop, "get_available_trackers", list)
    with pytest.raises(ConfigError, match=r"tensorboard is not installed \(installed here: none\)"):
        tiny_run(tmp_path / "out", trackers=("tensorboard",))
    assert not (tmp_path / "out").exists()


@pytest.mark.filterwarnings("ignore:.*no supported trackers")
def test_trackers_get_the_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[int, dict] = {}
    monkeypatch.setattr(loop, "get_available_trackers", lambda: [LoggerType.TENSORBOARD])
    monkeypatch.setattr(Accelerator, "init_trackers", lambda self, name, config: seen.update({0: config}))
    monkeypatch.setattr(Accelerator, "log", lambda self, row, step: seen.update({step: row}))
    tiny_run(tmp_path, trackers=("tensorboard",), total_steps=2, log_every=1)
    assert seen[0]["learning_rate"] == "0.01" and set(seen) == {0, 1, 2} and "loss" in seen[2]


@pytest.mark.filterwarnings("ignore:.*no supported trackers")
def test_trackers_are_ended_with_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[str] = []

    class Recorder:
        def finish(self) -> None:
            ended.append("finished")

    monkeypatch.setattr(loop, "get_available_trackers", lambda: [LoggerType.TENSORBOARD])
    monkeypatch.setattr(
        Accelerator, "init_trackers", lambda self, name, config: setattr(self, "trackers", [Recorder()])
    )
    monkeypatch.setattr(Accelerator, "log", lambda self, row, step: None)
    tiny_run(tmp_path, trackers=("tensorboard",), total_steps=1)
    assert ended == ["finished"]


def test_a_second_run_in_one_process_has_its_own_precision(tmp_path: Path) -> None:
    for precision, wanted in (("fp32", "no"), ("bf16", "bf16"), ("fp32", "no")):
        config = TrainConfig(total_steps=1, device="cpu", precision=precision, progress=False)
        assert loop.make_accelerator(config, tmp_path).mixed_precision == wanted


def test_a_model_without_a_config_is_told_by_its_class(tmp_path: Path) -> None:
    config = TrainConfig(total_steps=1, progress=False)
    assert Trainer(Bigram(), tiny_data(20), config, tmp_path, bigram_loss).recipe()["model"] == "Bigram"
    with_class = Bigram()
    with_class.config = TrainConfig  # the class itself, not one of its objects
    assert Trainer(with_class, tiny_data(20), config, tmp_path, bigram_loss).recipe()["model"] == "Bigram"


def test_what_another_process_reads_counts_for_nothing_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process with fewer micro-batches of its own goes through the others' as well: in step, and without effect."""

    def loss_fn(model: Bigram, batch: dict[str, torch.Tensor]) -> Loss:
        total, items = bigram_loss(model, batch)
        return Loss(total, items, {"share": total.detach() * 2})

    config = TrainConfig(total_steps=1, micro_batch_size=2, gradient_accumulation_steps=3, progress=False)
    trainer = Trainer(Bigram(), tiny_data(20), config, tmp_path, loss_fn)
    monkeypatch.setattr(DataOrder, "own_batches", lambda order, step: 1)
    ((_, batches),) = trainer.order.batches(trainer.train_data, 0, 1)
    first, *others = trainer._accumulate(0, batches)
    assert first.items > 0 and first.total != 0 and first.extras["share"] != 0
    assert [(float(one.total), int(one.items), float(one.extras["share"])) for one in others] == [(0.0, 0, 0.0)] * 2


def test_the_others_wait_until_a_checkpoint_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = Trainer(tiny_model(), tiny_data(20), TrainConfig(total_steps=1, progress=False), tmp_path)
    seen: list[bool] = []
    waiting = lambda: seen.append(any((tmp_path / "checkpoints").glob("step-*")))  # noqa: E731
    monkeypatch.setattr(trainer.accelerator, "wait_for_everyone", waiting)
    trainer._save()
    assert seen == [True]


class Reads(TorchDispatchMode):
    """Counts the numbers that leave a tensor: on a GPU each of them waits for everything queued before it."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        reads = (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.is_nonzero.default)
        self.count += func in reads and args[0].is_floating_point()  # the data loader's seed is an integer
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("max_grad_norm", [0.0, 0.01])
def test_a_step_reads_its_figures_from_the_device_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, max_grad_norm: float
) -> None:
    def loss(model: torch.nn.Module, batch: dict[str, torch.Tensor]) -> Loss:
        return Loss(*bigram_loss(model, batch), {"a": torch.ones(()), "b": torch.ones(2)})

    config = TrainConfig(total_steps=1, micro_batch_size=2, max_grad_norm=max_grad_norm, device="cpu", progress=False,
                         gradient_accumulation_steps=3)  # fmt: skip
    trainer = Trainer(Bigram(), tiny_data(20), config, tmp_path, loss)
    ((step, batches),) = trainer.order.batches(trainer.train_data, 0, 1)
    whole: list[torch.Tensor] = []
    read = torch.Tensor.tolist
    monkeypatch.setattr(torch.Tensor, "tolist", lambda self: (whole.append(self), read(self))[1])
    with Reads() as reads:
        assert trainer._train_step(step, batches)["b"] == 1
    figures = [one.numel() for one in whole if one.is_floating_point()]  # the others are the data order's indices
    assert figures == [2 + 1 + 2 + 1]  # loss and items, the extras, the norm
    assert reads.count == 0
    with Reads() as reads:
        float(torch.ones(()))
    assert reads.count == 1


def test_an_evaluation_reads_its_losses_at_the_end(tmp_path: Path) -> None:
    config = TrainConfig(total_steps=1, micro_batch_size=2, device="cpu", progress=False)
    trainer = Trainer(Bigram(), tiny_data(20), config, tmp_path, bigram_loss, tiny_data(20, seed=1))
    with Reads() as reads:
        loss = trainer.evaluate()["eval_loss"]
    assert reads.count == 0
    rows = {name: torch.stack([row[name] for row in tiny_data(20, seed=1)]) for name in tiny_data()[0]}
    with torch.no_grad():
        total, items = bigram_loss(Bigram(), rows)
    assert loss == pytest.approx(float(total / items), rel=1e-6)


def test_an_infinite_loss_with_finite_gradients_stops_the_run_too(tmp_path: Path) -> None:
    def infinite(model: torch.nn.Module, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        total, items = next_token_loss(model, batch)
        return total + float("inf"), items

    with pytest.raises(TrainingDiverged, match="step 1: the loss diverged"):
        tiny_run(tmp_path, loss_fn=infinite)
