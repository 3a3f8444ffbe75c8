"""The one training loop: every stage brings data, a loss function and a measurement; none brings a second loop.

Choices: the loss is a *sum* over items, and gradients are divided by the items of the whole step, so accumulation
weights every token equally however unequal the micro-batches are (a mean of means would not) · the model and its loss
function are one module, so that DDP and autocast see the whole forward pass · data order and learning rate are
functions of the step, so a checkpoint needs only the step · a loss that is not finite never reaches the weights ·
with several processes only the main one writes files; the others wait for it.
"""

import json
import logging
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, is_dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.tracking import get_available_trackers
from accelerate.utils import GradScalerKwargs, LoggerType, gather_object, send_to_device
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from minimind_lite.config import ConfigError
from minimind_lite.device import pick_device
from minimind_lite.files import owned
from minimind_lite.model.losses import Loss, LossFn, next_token_loss
from minimind_lite.training.callbacks import Callback, MetricsFile, ProgressBar, RunState, StopTraining
from minimind_lite.training.checkpoint import (
    Checkpoint,
    CheckpointError,
    damaged_checkpoints,
    differences,
    drop_earlier,
    latest_checkpoint,
    random_states,
    save_checkpoint,
    set_aside,
    set_random_states,
)
from minimind_lite.training.optimizer import make_optimizer
from minimind_lite.training.options import Resume, TrainConfig

logger = logging.getLogger(__name__)


class TrainingDiverged(RuntimeError):
    """A loss or gradient diverged (NaN or infinity); the message names the step and the examples."""


@dataclass(frozen=True)
class TrainResult:
    """How a run went; steps, items and seconds include what was done before a resume."""

    history: list[dict[str, Any]]  # the rows of metrics.jsonl
    steps: int  # optimizer steps
    items: int  # what the loss function counted: trained tokens, or pairs
    seconds: float  # wall time of the steps
    resumed_from: int | None  # the step at which this call continued an earlier run
    nothing_learned: str = ""  # why no step had anything to learn from, if none had


def train(
    model: nn.Module,
    train_data: Any,
    config: TrainConfig,
    output_dir: str | Path,
    *,
    loss_fn: LossFn = next_token_loss,
    eval_data: Any = None,
    measure: Callable[[nn.Module], dict[str, float]] | None = None,
    collate: Callable[[list[Any]], Any] | None = None,
    identity: dict[str, Any] | None = None,
    callbacks: Sequence[Callback] = (),
    resume: Resume = "strict",
) -> TrainResult:
    """Train ``model`` in place; write metrics.jsonl and checkpoints/ into ``output_dir``.

    train_data, eval_data: map-style datasets; the mean loss on eval_data is logged as eval_loss. measure: called after
    each evaluation, adds to its metrics. collate: turns a list of examples into a batch; by default stacks tensors.
    identity: what a continued run must share besides its settings, such as a tokenizer's fingerprint.
    resume: "strict" continues from the last checkpoint and rejects another recipe; "if_unfinished" continues only an
    unfinished run of the same recipe and starts afresh otherwise; "never" starts afresh.
    Raises TrainingDiverged, FolderInUse, CheckpointError (a full disk, a recipe that differs),
    ConfigError.
    """
    trainer = Trainer(model, train_data, config, Path(output_dir), loss_fn, eval_data, measure, collate, identity or {})
    return trainer.fit(callbacks, resume)


@dataclass
class Trainer(RunState):
    """A run in progress: callbacks read it, and ``train`` creates it."""

    model: nn.Module
    train_data: Any
    config: TrainConfig
    output_dir: Path
    loss_fn: LossFn = next_token_loss
    eval_data: Any = None
    measure: Callable[[nn.Module], dict[str, float]] | None = None
    collate: Callable[[list[Any]], Any] | None = None
    identity: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        config, examples = self.config, len(self.train_data)
        self.accelerator = make_accelerator(config, self.output_dir)
        device, rank = self.accelerator.device, self.accelerator.process_index
        optimizer = make_optimizer(self.model.to(device), config, device)
        self.module, self.optimizer = self.accelerator.prepare(ModelWithLoss(self.model, self.loss_fn), optimizer)
        if rank:  # dropout must not zero the same places in every process; the weights are the main process's
            torch.manual_seed(torch.initial_seed() + rank)
        accumulation, ranks = config.gradient_accumulation_steps, self.accelerator.num_processes
        self.order = DataOrder(examples, config.micro_batch_size, accumulation, config.seed, rank, ranks)
        self.total_steps = config.steps(self.order.steps_per_epoch)
        if self.total_steps > 2 * self.order.steps_per_epoch and hasattr(self.train_data, "assemble"):
            self.train_data.assemble()

    def fit(self, callbacks: Sequence[Callback] = (), resume: Resume = "strict") -> TrainResult:
        """Run to the end, or to the exception that ends it; the main process owns the folder meanwhile."""
        with owned(self.output_dir) if self.accelerator.is_main_process else nullcontext():
            return self._fit(callbacks, resume)

    def _fit(self, callbacks: Sequence[Callback], resume: Resume) -> TrainResult:
        resumed_from = self.step if self._restore(resume) else None
        hooks = [*callbacks]
        if self.accelerator.is_main_process:
            hooks.append(MetricsFile(self.output_dir / "metrics.jsonl"))
            if self.config.progress:
                hooks.append(ProgressBar())
        if self.config.trackers:
            self.accelerator.init_trackers("minimind", {k: str(v) for k, v in vars(self.config).items()})
        for hook in hooks:
            hook.before_fit(self)
        try:
            self._run(hooks)
        finally:
            for hook in hooks:
                hook.after_fit(self)
            for tracker in self.accelerator.trackers:  # end_training() would end the other processes' group, too
                tracker.finish()
            self.model.eval()
        if self.accelerator.is_main_process:
            drop_earlier(self.output_dir / "checkpoints", self.output_dir / "metrics.jsonl")
        nothing = self._nothing_learned()
        if nothing:
            logger.warning("%s", nothing)
        return TrainResult(self.history, self.step, self.items, self.seconds, resumed_from, nothing)

    def _nothing_learned(self) -> str:
        """Why no step had anything to learn from; "" if one had."""
        if self.items or not self.step:
            return ""
        reason = getattr(self.loss_fn, "nothing_learned", "no example has a token to be trained on")
        return (
            f"none of the {self.step} steps over {len(self.train_data)} examples had anything to learn from: {reason}. "
            f"The weights are as they were; see {self.output_dir / 'metrics.jsonl'}"
        )

    def _run(self, hooks: Sequence[Callback]) -> None:
        workers = self.config.num_workers
        for step, batches in self.order.batches(self.train_data, self.step, self.total_steps, self.collate, workers):
            begun, stop = time.perf_counter(), False
            self.row = self._train_step(step, batches)
            self.step, self.seconds = step + 1, self.seconds + time.perf_counter() - begun
            if self._due(self.config.eval_every):
                self.row |= self.evaluate()
            self.row |= {"items": self.items, "seconds": round(self.seconds, 3)}
            self.logging = self._due(self.config.log_every) or self.step == 1 or "eval_loss" in self.row
            if self.logging:
                self.history.append(self.row)
                self.accelerator.log(self.row, step=self.step)
            for hook in hooks:
                try:
                    hook.after_step(self)
                except StopTraining:
                    stop = True
            if self.config.save_every and (stop or self._due(self.config.save_every)):
                self._save()
            if stop:
                return

    def _due(self, every: int) -> bool:
        return self.step == self.total_steps or bool(every and self.step % every == 0)

    def _train_step(self, step: int, batches: list[Any]) -> dict[str, Any]:
        """One update of the weights; returns its metrics."""
        self.module.train()
        rate = self._set_learning_rate(step)
        losses = self._accumulate(step, batches)
        sums = self._sums(losses)
        norm = self._scale_and_clip(sums[1])
        total, items, *extras, norm = torch.cat((sums, norm)).tolist()  # the step's only wait for the device
        self._refuse_divergence(step, losses, total, norm)
        if not items:
            self.optimizer.zero_grad()  # nothing to learn from: without gradients AdamW leaves the weights alone
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.items += int(items)
        metrics = {"step": step + 1, "epoch": round((step + 1) / self.order.steps_per_epoch, 4)}
        metrics |= {"loss": total / max(items, 1.0), "learning_rate": rate, "grad_norm": norm}
        return metrics | _means(losses[0].extras, extras, items)

    def _set_learning_rate(self, step: int) -> float:
        """Set the learning rate of every parameter group for ``step``; returns the schedule's."""
        warmup = round(self.config.warmup_ratio * self.total_steps)
        rate = self.config.learning_rate * warmup_cosine(step, self.total_steps, warmup, self.config.min_lr_ratio)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["lr_ratio"]
        return rate

    def _accumulate(self, step: int, batches: list[Any]) -> list[Loss]:
        """Forward and backward through every micro-batch; only the last one exchanges gradients between processes."""
        losses, own = [], self.order.own_batches(step)
        for number, batch in enumerate(batches, start=1):
            with nullcontext() if number == len(batches) else self.accelerator.no_sync(self.module):
                loss = self.module(send_to_device(batch, self.accelerator.device))
                if number > own:
                    nothing = {name: value * 0 for name, value in loss.extras.items()}
                    loss = Loss(loss.total * 0, loss.items * 0, nothing)
                self.accelerator.backward(loss.total)
            losses.append(loss)
        return losses

    def _scale_and_clip(self, items: Tensor) -> Tensor:
        """Turn the gradient of the summed loss into that of the mean over ``items``; returns its norm before clipping.

        items: (). Returns (1,). Like ``clip_grad_norm_``, but no number leaves the device: the divisor is a tensor.
        """
        divisor = items.clamp(min=1) / self.accelerator.num_processes  # DDP averaged over processes; items are summed
        gradients = [parameter.grad for parameter in self.module.parameters() if parameter.grad is not None]
        self.accelerator.unscale_gradients()  # fp16's; does nothing in other precisions
        norm: Tensor = torch.nn.utils.get_total_norm(gradients).to(divisor.device)
        longest = (self.config.max_grad_norm or math.inf) * divisor
        share = (longest * (norm + 1e-6).reciprocal()).clamp(max=1.0)  # rounded as torch's clipping is
        for gradient in gradients:
            gradient.mul_(share).div_(divisor)
        return torch.div(norm, divisor).reshape(1)

    def _sums(self, losses: Sequence[Loss]) -> Tensor:
        """Totals, items and extras, in this order, each summed over micro-batches and processes: (values,) float32."""
        total: Tensor = self.accelerator.reduce(torch.stack([self._flat(loss) for loss in losses]).sum(dim=0), "sum")
        return total

    def _flat(self, loss: Loss) -> Tensor:
        """Total, items and extras of a micro-batch in one vector, so that they are added, sent and read together."""
        device, parts = self.accelerator.device, (loss.total, loss.items, *loss.extras.values())
        return torch.cat([torch.as_tensor(part, device=device).detach().float().reshape(-1) for part in parts])

    def _refuse_divergence(self, step: int, losses: list[Loss], total: float, norm: float) -> None:
        """Raise TrainingDiverged before a NaN or an infinity can reach the weights."""
        may_overflow = self.accelerator.mixed_precision == "fp16"  # its scaler skips the step
        if math.isfinite(total) and (math.isfinite(norm) or may_overflow):
            return
        batches = self.order.indices_in(self.train_data, step)
        bad = [indices for indices, loss in zip(batches, losses, strict=True) if not torch.isfinite(loss.total)]
        raise TrainingDiverged(
            f"step {step + 1}: the {'loss' if bad else 'gradient'} diverged (NaN or infinity) in the micro-batches of "
            f"examples {', '.join(map(str, bad or batches))}. The weights were not touched, nor were earlier "
            "checkpoints. Look at these examples (train_data[i]), lower the learning rate, or choose precision "
            f"bf16 or fp32; the losses up to here are in {self.output_dir / 'metrics.jsonl'}"
        )

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """The mean loss on held-out data, and the stage's own measurement; training is not affected."""
        self.module.eval()
        values: dict[str, float] = {}
        with torch.random.fork_rng():
            if self.eval_data is not None:
                order = DataOrder(len(self.eval_data), self.config.micro_batch_size, 1, 0)
                losses = []
                count = min(self.config.eval_batches or order.steps_per_epoch, order.steps_per_epoch)
                for _, batches in order.batches(self.eval_data, 0, count, self.collate):
                    loss = self.module(send_to_device(batches[0], self.accelerator.device))
                    losses.append(self._flat(loss)[:2])
                total, items = map(math.fsum, torch.stack(losses).T.tolist())  # read once, at the end
                values["eval_loss"] = total / max(items, 1.0)
            return values | (self.measure(self.model) if self.measure else {})

    def recipe(self) -> dict[str, Any]:
        """What must be the same for a run to be continued, as plain JSON."""
        model_config = getattr(self.model, "config", None)
        described: Any = type(self.model).__name__
        if is_dataclass(model_config) and not isinstance(model_config, type):
            described = asdict(model_config)
        recipe = {
            "config": self.config.recipe() | {"total_steps": self.total_steps},
            "model": described,
            "data": {"examples": len(self.train_data)},
            "processes": self.accelerator.num_processes,
        }
        plain: dict[str, Any] = json.loads(json.dumps(recipe | self.identity, default=str))
        return plain

    def _save(self) -> None:
        """Write a checkpoint of everything that the next step depends on; the main process writes, the others wait."""
        own = {
            "random": random_states(),
            "loss_fn": self.loss_fn.state_dict() if hasattr(self.loss_fn, "state_dict") else {},
        }
        processes = gather_object([send_to_device(own, torch.device("cpu"))])
        if self.accelerator.is_main_process:
            scaler = self.accelerator.scaler
            state = {
                "model": {k: v for k, v in self.model.state_dict().items() if k not in _frozen(self.model)},
                "optimizer": self.optimizer.state_dict(),
                "scaler": scaler.state_dict() if scaler else {},
                "processes": processes,
                "items": self.items,
                "seconds": self.seconds,
            }
            save_checkpoint(self.output_dir / "checkpoints", self.step, state, self.recipe())
            drop_earlier(self.output_dir / "checkpoints", self.output_dir / "metrics.jsonl")
        self.accelerator.wait_for_everyone()

    def _restore(self, resume: Resume) -> bool:
        """Continue from the last checkpoint if ``resume`` allows it (see ``train``); returns whether it did."""
        folder, metrics = self.output_dir / "checkpoints", self.output_dir / "metrics.jsonl"
        with self.accelerator.main_process_first():  # it renames what is damaged; the others find only good ones
            found = None if resume == "never" else latest_checkpoint(folder)
        changed = differences(found.recipe, self.recipe()) if found else []
        damaged = damaged_checkpoints(folder)
        if found is None and damaged and resume == "strict":
            raise CheckpointError(
                f"{folder} holds no checkpoint but damaged ones ({', '.join(damaged)}). Put back a good copy as "
                'step-…, use another output folder, or start afresh with resume="never" (--resume never on the '
                "command line)"
            )
        if found is None or (resume == "if_unfinished" and (changed or found.step >= self.total_steps)):
            self.accelerator.wait_for_everyone()  # all have read the folder before the main process changes it
            if self.accelerator.is_main_process:
                set_aside(folder, metrics)
            self.accelerator.wait_for_everyone()
            return False
        if changed:
            raise CheckpointError(
                f"{folder} holds a run with another recipe:\n  " + "\n  ".join(changed) + "\nUse the old settings (and "
                'as many processes) to continue it, another output folder to keep it, or resume="never" '
                "(--resume never on the command line) to discard it and start afresh"
            )
        self._load(found)
        return True

    def _load(self, found: Checkpoint) -> None:
        self.model.load_state_dict(_frozen(self.model) | found.state["model"])
        self.optimizer.load_state_dict(found.state["optimizer"])
        if self.accelerator.scaler:
            self.accelerator.scaler.load_state_dict(found.state["scaler"])
        own = found.state["processes"][self.accelerator.process_index]
        if hasattr(self.loss_fn, "load_state_dict"):  # one that carries something from step to step: rollouts
            self.loss_fn.load_state_dict(send_to_device(own["loss_fn"], self.accelerator.device))
        self.step, self.items, self.seconds = found.step, found.state["items"], found.state["seconds"]
        set_random_states(own["random"])


class ModelWithLoss(nn.Module):
    """Model and loss function as one forward pass.

    DDP hooks the forward pass of what it wraps, and autocast covers it: a loss computed beside it, through
    ``.module``, would train each process separately.
    """

    def __init__(self, model: nn.Module, loss_fn: LossFn) -> None:
        super().__init__()
        self.model = model
        self._loss_fn = [loss_fn]  # in a list: a module inside it (a reference model) is not ours to train

    def forward(self, batch: Any) -> Loss:
        return Loss(*self._loss_fn[0](self.model, batch))


def _means(extras: Mapping[str, Tensor], values: Sequence[float], items: float) -> dict[str, float]:
    """Metrics from the sums of ``extras`` in their order: each over ``items``, or over the count that it brings."""
    left = iter(values)
    return {
        name: next(left) / max(next(left) if extra.ndim else items, 1.0)  # the sum is taken first, then its count
        for name, extra in extras.items()
    }


def _frozen(model: nn.Module) -> dict[str, Any]:
    """Weights that do not train: a LoRA run's base. The recipe identifies them, so a checkpoint need not hold them."""
    return {name: parameter for name, parameter in model.named_parameters() if not parameter.requires_grad}


def warmup_cosine(step: int, total_steps: int, warmup_steps: int = 0, min_ratio: float = 0.1) -> float:
    """Factor for the peak learning rate at ``step`` (0 .. total_steps - 1), between 0 and 1.

    It rises in ``warmup_steps`` equal steps, the first of which is not 0 (a step of size 0 wastes a batch), reaches 1,
    and falls along half a cosine to ``min_ratio`` at the last step. Source: Loshchilov & Hutter 2017 (SGDR,
    arXiv 1608.03983), eq. 5, without restarts; warm-up: Goyal et al. 2017 (arXiv 1706.02677), section 2.2.

    >>> [round(warmup_cosine(step, 6, warmup_steps=2), 3) for step in range(6)]
    [0.5, 1.0, 0.868, 0.55, 0.232, 0.1]
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    # The peak is at the last warm-up step (or at step 0), so the descent starts there.
    peak = max(0, warmup_steps - 1)
    progress = min(1.0, (step - peak) / max(1, total_steps - 1 - peak))
    return min_ratio + (1 - min_ratio) * (1 + math.cos(math.pi * progress)) / 2


@lru_cache(maxsize=2)
def _shuffled(length: int, seed: int, epoch: int) -> torch.Tensor:
    """The order of one epoch: different in every epoch, the same in every run with this seed."""
    return torch.randperm(length, generator=torch.Generator().manual_seed((seed << 20) + epoch))


@dataclass(frozen=True)
class Batches(Dataset[Any]):
    """Data that makes whole batches, as a dataset of them: the index is the list of examples."""

    data: Any

    def __getitem__(self, indices: list[int]) -> Any:
        return self.data.batch_of(indices)

    @staticmethod
    def as_it_is(batch: Any) -> Any:
        """A collate function for what is a batch already."""
        return batch


@dataclass(frozen=True)
class DataOrder:
    """Which examples each step sees: a function of the seed and the step alone, so a resumed run needs no bookkeeping.

    The last step of an epoch takes what is left, so every example is seen once per epoch and no accumulation is lost.
    With several processes each takes its share of the step. A process with fewer micro-batches than the others runs
    an example again, because every process must take part in each gradient exchange, but gives it no weight.
    """

    length: int  # examples in the data
    micro_batch_size: int
    accumulation: int
    seed: int
    rank: int = 0
    ranks: int = 1

    @property
    def steps_per_epoch(self) -> int:
        """Steps that see every example once; the last may be smaller."""
        return -(-self.length // self._per_step)

    @property
    def _per_step(self) -> int:
        return self.micro_batch_size * self.accumulation * self.ranks

    def _all(self, step: int) -> list[int]:
        """Indices of the examples of ``step`` (counted from 0) over all processes."""
        epoch, position = divmod(step, self.steps_per_epoch)
        start = position * self._per_step
        indices: list[int] = _shuffled(self.length, self.seed, epoch)[start : start + self._per_step].tolist()
        return indices

    def micro_batches(self, step: int) -> list[list[int]]:
        """Indices of the examples of each of this process's micro-batches of ``step``; equally many in every one."""
        everyone, size = self._all(step), self.micro_batch_size
        mine, most = everyone[self.rank :: self.ranks], everyone[:: self.ranks]
        repeated = [everyone[:1]] * (-(-len(most) // size) - -(-len(mine) // size))
        return [mine[i : i + size] for i in range(0, len(mine), size)] + repeated

    def indices_in(self, data: Dataset[Any], step: int) -> list[list[int]]:
        """``micro_batches`` of ``step`` as indices of ``data``.

        Data with a true ``index_goes_on`` is not the same in every epoch: its second begins at the index ``length``.
        """
        before = step // self.steps_per_epoch * self.length if getattr(data, "index_goes_on", False) else 0
        return [[before + index for index in indices] for indices in self.micro_batches(step)]

    def own_batches(self, step: int) -> int:
        """How many of the micro-batches count; any after them only keep pace with the other processes."""
        return -(-len(self._all(step)[self.rank :: self.ranks]) // self.micro_batch_size)

    def batches(
        self, data: Dataset[Any], start: int, stop: int, collate: Any = None, num_workers: int = 0
    ) -> Iterator[tuple[int, list[Any]]]:
        """(step, its micro-batches) for the steps ``start`` to ``stop - 1``; ``num_workers`` processes read ahead."""
        plan = (indices for step in range(start, stop) for indices in self.indices_in(data, step))
        source: Any = data
        whole = collate is None and hasattr(source, "batch_of")  # the data makes batches by itself
        batches: Iterator[Any]
        if whole and not num_workers:
            batches = map(source.batch_of, plan)
        else:
            # With its own generator the loader leaves the global one alone: a resumed run must not draw from it.
            how: dict[str, Any] = {"num_workers": num_workers, "generator": torch.Generator()}
            if whole:
                how |= {"sampler": plan, "batch_size": None, "collate_fn": Batches.as_it_is}
            else:
                how |= {"batch_sampler": plan, "collate_fn": collate}
            batches = iter(DataLoader(Batches(data) if whole else data, **how))
        for step in range(start, stop):
            yield step, [next(batches) for _ in self.micro_batches(step)]


def processes() -> tuple[int, int]:
    """(this process's number, how many there are) of the run in progress; (0, 1) outside torchrun."""
    if not torch.distributed.is_initialized():
        return 0, 1
    return torch.distributed.get_rank(), torch.distributed.get_world_size()


def _check_trackers(names: Sequence[str]) -> None:
    """Raise ConfigError for a tracker that accelerate does not know, or that is not installed: it would only warn."""
    known = [str(one) for one in LoggerType if one is not LoggerType.ALL]
    installed = [str(one) for one in get_available_trackers()]
    listed = f"installed here: {', '.join(installed) or 'none'}"
    for name in names:
        if name not in known:
            raise ConfigError(f"there is no tracker called {name!r}; there are: {', '.join(known)} ({listed})")
        if name not in installed:
            raise ConfigError(f"the tracker {name} is not installed ({listed}); install it with: pip install {name}")


def _refuse_sharding() -> None:
    """Raise ConfigError under FSDP, whose shards would be saved as the model, and DeepSpeed, which steps by itself."""
    for name in ("FSDP", "DEEPSPEED"):
        if os.environ.get(f"ACCELERATE_USE_{name}", "false").lower() == "true":
            raise ConfigError(
                f"this launch asks for {name}, and `minimind train` keeps the whole model in every process: launch it "
                "with minimind_lite/training/launch/ddp.yaml, or shard in a loop of your own (chapter 18 has one)"
            )


def make_accelerator(config: TrainConfig, output_dir: Path) -> Accelerator:
    """An Accelerator with this run's device and precision, over several processes if torchrun started them.

    device "auto" is what ``pick_device`` picks. precision "auto" is bf16 or fp16 on a GPU and fp32 on a CPU, because
    bf16 is many times slower on most CPUs. Raises ConfigError for a GPU that is not there, a tracker, or a launch with
    FSDP or DeepSpeed.
    """
    _check_trackers(config.trackers)
    _refuse_sharding()
    device = pick_device().type if config.device == "auto" else config.device
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if device in there and not there[device]:
        raise ConfigError(
            f"device {device!r} was asked for, and torch finds none: use -p device=cpu, or install a torch build for it"
        )
    on_gpu = device in there
    if config.precision != "auto":
        precision = "no" if config.precision == "fp32" else config.precision
    elif device != "cuda":
        precision = "no"
    else:
        precision = "bf16" if torch.cuda.is_bf16_supported() else "fp16"
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        # accelerate keeps device and precision in a global; those of an earlier run in this notebook would be used.
        AcceleratorState._reset_state(reset_partial_state=True)
    # The loss is a sum, about a thousand times a mean: fp16's loss scale starts lower, or the first steps overflow.
    scaler = [GradScalerKwargs(init_scale=64.0)] if precision == "fp16" else []
    return Accelerator(
        cpu=not on_gpu,
        mixed_precision=precision,
        log_with=list(config.trackers) or None,
        project_dir=output_dir,
        kwargs_handlers=scaler,
    )
