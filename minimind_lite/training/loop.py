"""The one training loop: every stage brings data, a loss function and a measurement, none brings a second loop.

Choices: the loss is a *sum* over items, and gradients are divided by the items of the whole step, so accumulation
weighs every token alike however unequal the micro-batches are (a mean of means would not) · the model and its loss
function are one module, so that DDP and autocast see the whole forward pass · data order and learning rate are
functions of the step, so a checkpoint needs only the step · a loss that is not finite never reaches the weights.
"""

import math
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import torch
from accelerate.utils import send_to_device
from torch import Tensor, nn

from minimind_lite.training.callbacks import Callback, MetricsFile, ProgressBar, StopTraining
from minimind_lite.training.config import TrainConfig
from minimind_lite.training.data_order import DataOrder
from minimind_lite.training.device import make_accelerator
from minimind_lite.training.loss import Loss, LossFn, ModelWithLoss, next_token_loss
from minimind_lite.training.optimizer import make_adamw
from minimind_lite.training.result import TrainingDiverged, TrainResult
from minimind_lite.training.resume import Resume, recipe_of, restore_run, save_run
from minimind_lite.training.schedule import warmup_cosine


def train(
    model: nn.Module,
    train_data: Any,
    config: TrainConfig,
    output_dir: str | Path,
    *,
    callbacks: Sequence[Callback] = (),
    resume: Resume = "strict",
    **parts: Any,
) -> TrainResult:
    """Train ``model`` in place; write metrics.jsonl and checkpoints/ into ``output_dir``.

    train_data: a map-style dataset. ``parts`` are the further fields of Trainer: loss_fn, eval_data, measure, …
    resume: "strict" goes on from the last checkpoint and refuses another recipe; "if_unfinished" goes on only with an
    unfinished run of the same recipe and starts afresh otherwise; "never" starts afresh.
    Raises TrainingDiverged, CheckpointError (a full disk, a recipe that differs), ConfigError.
    """
    return Trainer(model, train_data, config, Path(output_dir), **parts).fit(callbacks, resume)


@dataclass
class Trainer:
    """A run in progress: callbacks read it, and ``train`` is the way to make one."""

    model: nn.Module
    train_data: Any
    config: TrainConfig
    output_dir: Path
    loss_fn: LossFn = next_token_loss
    eval_data: Any = None  # a dataset whose mean loss is logged as eval_loss
    measure: Callable[[nn.Module], dict[str, float]] | None = None  # called after each evaluation; joins its metrics
    collate: Callable[[list[Any]], Any] | None = None  # makes a batch; torch's default stacks tensors
    identity: dict[str, Any] = field(default_factory=dict)  # what a continued run must share: a tokenizer's fingerprint
    step: int = 0  # optimizer steps done
    items: int = 0
    seconds: float = 0.0
    row: dict[str, Any] = field(default_factory=dict)  # the metrics of the last step
    history: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        config, examples = self.config, len(self.train_data)
        self.accelerator = make_accelerator(config, self.output_dir)
        device, rank, ranks = (getattr(self.accelerator, x) for x in ("device", "process_index", "num_processes"))
        adamw = make_adamw(self.model.to(device), config, device)
        self.module, self.optimizer = self.accelerator.prepare(ModelWithLoss(self.model, self.loss_fn), adamw)
        accumulation = config.gradient_accumulation_steps
        self.order = DataOrder(examples, config.micro_batch_size, accumulation, config.seed, rank, ranks)
        self.total_steps = config.steps(self.order.steps_per_epoch)
        self.recipe = recipe_of(self.model, config, self.total_steps, examples, self.identity)

    def fit(self, callbacks: Sequence[Callback] = (), resume: Resume = "strict") -> TrainResult:
        """Run to the end, or to the exception that ends it."""
        self.output_dir.mkdir(parents=True, exist_ok=True)
        resumed_from = self.step if restore_run(self, resume) else None
        hooks = [*callbacks]
        if self.accelerator.is_main_process:
            hooks += [MetricsFile(self.output_dir / "metrics.jsonl")] + [ProgressBar()] * self.config.progress
        if self.config.trackers:
            self.accelerator.init_trackers("minimind", {k: str(v) for k, v in vars(self.config).items()})
        for hook in hooks:
            hook.before_fit(self)
        try:
            self._run(hooks)
        finally:
            for hook in hooks:
                hook.after_fit(self)
            self.accelerator.end_training()
            self.model.eval()
        return TrainResult(self.history, self.step, self.items, self.seconds, resumed_from)

    def _run(self, hooks: Sequence[Callback]) -> None:
        workers = self.config.num_workers
        for step, batches in self.order.batches(self.train_data, self.step, self.total_steps, self.collate, workers):
            begun, stop = time.perf_counter(), False
            self.row = self._train_step(step, batches)
            self.step, self.seconds = step + 1, self.seconds + time.perf_counter() - begun
            if self._due(self.config.eval_every):
                self.row |= self.evaluate()
            self.row |= {"items": self.items, "seconds": round(self.seconds, 3)}
            if self.logging:
                self.history.append(self.row)
                self.accelerator.log(self.row, step=self.step)
            for hook in hooks:
                try:
                    hook.after_step(self)
                except StopTraining:
                    stop = True
            if self.config.save_every and (stop or self._due(self.config.save_every)):
                save_run(self)
            if stop:
                return

    @property
    def logging(self) -> bool:
        """Whether this step's row goes to the metrics."""
        return self._due(self.config.log_every) or self.step == 1 or "eval_loss" in self.row

    def _due(self, every: int) -> bool:
        return self.step == self.total_steps or bool(every and self.step % every == 0)

    def _train_step(self, step: int, batches: list[Any]) -> dict[str, Any]:
        """One update of the weights; returns its metrics."""
        self.module.train()
        warmup = round(self.config.warmup_ratio * self.total_steps)
        rate = self.config.learning_rate * warmup_cosine(step, self.total_steps, warmup, self.config.min_lr_ratio)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["lr_ratio"]
        losses = []
        for number, batch in enumerate(batches, start=1):
            # Only the last backward pass of a step exchanges gradients between processes.
            with nullcontext() if number == len(batches) else self.accelerator.no_sync(self.module):
                loss = self.module(send_to_device(batch, self.accelerator.device))
                self.accelerator.backward(loss.total)
            losses.append(loss)
        items, total = self._sum(loss.items for loss in losses), self._sum(loss.total for loss in losses)
        norm = self._scale_and_clip(items) if math.isfinite(total) else math.nan
        may_overflow = math.isfinite(total) and self.accelerator.mixed_precision == "fp16"  # its scaler skips the step
        if not (math.isfinite(norm) or may_overflow):
            self._diverged(step, losses)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.items += int(items)
        metrics = {"step": step + 1, "epoch": round((step + 1) / self.order.steps_per_epoch, 4)}
        metrics |= {"loss": total / max(items, 1.0), "learning_rate": rate, "grad_norm": norm}
        extras = {name: self._sum(loss.extras[name] for loss in losses) for name in losses[0].extras}
        return metrics | {name: value / max(items, 1.0) for name, value in extras.items()}

    def _scale_and_clip(self, items: float) -> float:
        """Turn the gradient of the summed loss into that of the mean over ``items``; returns its norm."""
        divisor = max(items, 1.0) / self.accelerator.num_processes  # DDP averaged over processes; items are summed
        parameters = [parameter for parameter in self.module.parameters() if parameter.grad is not None]
        longest = (self.config.max_grad_norm or math.inf) * divisor
        norm = self.accelerator.clip_grad_norm_(parameters, longest)
        for parameter in parameters:
            parameter.grad.div_(divisor)
        if not items:
            self.optimizer.zero_grad()  # nothing to learn from: without gradients AdamW leaves the weights alone
        return float(norm) / divisor

    def _sum(self, parts: Iterable[Tensor | int]) -> float:
        """The sum over micro-batches and processes, as a number."""
        local = torch.stack([torch.as_tensor(part, device=self.accelerator.device).detach().float() for part in parts])
        return float(self.accelerator.reduce(local.sum(), "sum"))

    def _diverged(self, step: int, losses: list[Loss]) -> NoReturn:
        batches = self.order.micro_batches(step)
        bad = [indices for indices, loss in zip(batches, losses, strict=True) if not torch.isfinite(loss.total)]
        raise TrainingDiverged(
            f"step {step + 1}: the {'loss' if bad else 'gradient'} is not finite, in the micro-batches of examples "
            f"{', '.join(map(str, bad or batches))}. The weights were not touched and no checkpoint was written over "
            "the good ones. Look at these examples (train_data[i]), lower the learning rate, or choose precision bf16 "
            f"or fp32; the losses before are in {self.output_dir / 'metrics.jsonl'}"
        )

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """The mean loss on held-out data, and the stage's own measurement; training notices nothing of it."""
        self.module.eval()
        values: dict[str, float] = {}
        with torch.random.fork_rng():
            if self.eval_data is not None:
                order = DataOrder(len(self.eval_data), self.config.micro_batch_size, 1, 0)
                total = items = 0.0
                count = min(self.config.eval_batches or order.steps_per_epoch, order.steps_per_epoch)
                for _, batches in order.batches(self.eval_data, 0, count, self.collate):
                    loss = self.module(send_to_device(batches[0], self.accelerator.device))
                    total, items = total + float(loss.total), items + float(loss.items)
                values["eval_loss"] = total / max(items, 1.0)
            return values | (self.measure(self.model) if self.measure else {})
