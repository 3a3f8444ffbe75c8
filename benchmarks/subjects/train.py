"""Training: one step of `training.loop.train` on packed blocks, against a packed transformers loop and the original's.

Positions and useful tokens (trained targets) a second, forward to optimizer step, reading the batches included. The
documents are random tokens, 12 to 74 % of a block long, so that a loop that pads them to the block wastes 57 % of it.
"""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Subset

from minimind_lite.config import ModelConfig, count_parameters
from minimind_lite.data.documents import Document, TokenStore
from minimind_lite.data.packing import PackedDataset, pack, pad_documents
from minimind_lite.model.transformer import IGNORED_TARGET, Transformer
from minimind_lite.training.loop import DataOrder, train
from minimind_lite.training.optimizer import make_adamw
from minimind_lite.training.options import TrainConfig
from subjects import Run, Size, agree
from subjects.original import Original, masked_loss, padded, train_step
from subjects.report import Goal, MatrixPeak, Times, alone, clock_of, compare, interleave, median
from subjects.twin import twin_of

PEERS = ("transformers", "original")
GOALS = {  # positions per second over a peer's; share of the matrix peak
    "nano": {"transformers": 1.3, "original": 1.35, "share": 0.5},
    "small": {"transformers": 1.1, "original": 1.15, "share": 0.7},
}


def draw_documents(size: Size) -> list[Document]:
    """Random documents, one for each block of a step, then as many more of these lengths as packing finds room for."""
    draw, blocks = np.random.default_rng(0), size.micro_batch * size.accumulation
    shortest, longest = round(0.12 * size.block), round(0.74 * size.block)
    lengths: list[int] = np.linspace(shortest, longest, blocks).round().astype(int).tolist()
    for length in draw.integers(shortest, longest + 1, size=20 * blocks).tolist():
        if len(pack(np.array([*lengths, length]) - 1, size.block)) <= blocks:
            lengths.append(length)
    return [Document(draw.integers(3, size.config.vocab_size, size=n).astype(np.uint16)) for n in lengths]


@dataclass
class Loops:
    """The models of all arms, with equal weights in the beginning, and one step's data."""

    size: Size
    folder: Path  # for what our loop writes

    def __post_init__(self) -> None:
        size, documents = self.size, draw_documents(self.size)
        store = TokenStore.write(self.folder / "bench.tokens", documents, "bench")
        rows = size.micro_batch * size.accumulation
        packed = PackedDataset(store, size.block)
        self.data = Subset(packed, range(rows))
        self.rows = documents[:rows]  # the original's step: one document a row
        batches = [self.rows[start : start + size.micro_batch] for start in range(0, rows, size.micro_batch)]
        self.padded = [padded([one.ids.tolist() for one in batch], size.block) for batch in batches]
        self.config = TrainConfig(
            total_steps=1, learning_rate=1e-4, warmup_ratio=0.0, micro_batch_size=size.micro_batch,
            gradient_accumulation_steps=size.accumulation, device="cpu", precision="fp32", progress=False,
        )  # fmt: skip
        torch.manual_seed(0)
        self.model = Transformer(size.config)

    def ours(self) -> tuple[float, float]:
        """One step of the library's loop: (loss, norm of the gradient)."""
        folder = tempfile.mkdtemp(dir=self.folder)
        row = train(self.model, self.data, self.config, folder, resume="never").history[-1]
        return row["loss"], row["grad_norm"]

    def batches(self) -> list[dict[str, Tensor]]:
        """The micro-batches of the step, read as our loop reads them."""
        order = DataOrder(len(self.data), self.size.micro_batch, self.size.accumulation, self.config.seed)
        return next(order.batches(self.data, 0, 1))[1]

    def transformers(self, twin: Any) -> tuple[float, float]:
        """The same step, packed, by hand; documents are kept apart by their positions: (loss, norm)."""
        twin.train()
        optimizer, batches = make_adamw(twin, self.config, torch.device("cpu")), self.batches()
        items = sum(int((batch["targets"] != IGNORED_TARGET).sum()) for batch in batches)
        losses = []
        for batch in batches:
            targets = batch["targets"]
            loss = twin(
                input_ids=batch["input_ids"], position_ids=batch["position_ids"], labels=targets, shift_labels=targets,
                num_items_in_batch=items, use_cache=False,
            ).loss  # fmt: skip
            loss.backward()
            losses.append(loss.item())
        norm = torch.nn.utils.clip_grad_norm_(twin.parameters(), self.config.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad()
        return sum(losses), float(norm)

    def original(self, model: Original) -> float:
        """One step of the original's method."""
        return train_step(model, self.padded, self.config.learning_rate, self.config.max_grad_norm)

    @torch.no_grad()
    def check_original(self, model: Original) -> None:
        """On the original's first batch, ours gives the same loss."""
        inputs, targets, mask = self.padded[0]
        total, items = self.model.loss(**pad_documents(self.rows[: self.size.micro_batch]))
        theirs = float(masked_loss(model(inputs)[0], targets, mask))
        agree("the loss of a padded batch", float(total / items), theirs)


def checked(ours: Callable[[], Any], peer: Callable[[], Any]) -> tuple[Callable[[], None], Callable[[], None]]:
    """The two arms; whichever runs second in a round compares loss and gradient norm with the first."""
    waiting: list[Any] = []

    def arm(step: Callable[[], Any], mine: bool) -> Callable[[], None]:
        def work() -> None:
            waiting.append((mine, step()))
            if len(waiting) == 2:
                (_, one), (_, other) = sorted(waiting, key=lambda pair: not pair[0])
                waiting.clear()
                for what, a, b in zip(("the loss of a step", "the gradient's norm"), one, other, strict=True):
                    agree(what, a, b)

        return work

    return arm(ours, True), arm(peer, False)


def flops_per_position(config: ModelConfig, context: float) -> float:
    """Forward and backward: 6 per weight of a matrix, and attention over ``context`` keys on average."""
    norms = config.hidden_size * (2 * config.num_hidden_layers + 1)
    attention = 12 * config.num_hidden_layers * config.num_attention_heads * config.head_dim * context
    return 6 * (count_parameters(config) - norms) + attention


def measure(run: Run) -> list[dict[str, Any]]:
    """Positions and useful tokens a second against every peer, and the share of the matrix peak."""
    size = run.amounts
    with tempfile.TemporaryDirectory() as name:
        loops = Loops(size, Path(name))
        peak = MatrixPeak(size.micro_batch * size.block, size.config.hidden_size, size.config.intermediate_size)
        arms: dict[str, Callable[[], Any]] = {"ours": loops.ours, "peak": peak}
        if "original" in run.peers:
            original = Original(size.config, size.block)
            original.load_state_dict(loops.model.state_dict())
            loops.check_original(original)
            arms["original"] = lambda: loops.original(original)
        if "transformers" in run.peers:
            twin = twin_of(loops.model)
            arms["ours"], arms["transformers"] = checked(loops.ours, lambda: loops.transformers(twin))
        return results(run, loops, interleave(arms, run), peak)


def results(run: Run, loops: Loops, times: dict[str, Times], peak: MatrixPeak) -> list[dict[str, Any]]:
    """The rows of the report."""
    size, batches = run.amounts, loops.batches()
    positions = float(size.micro_batch * size.accumulation * size.block)
    useful = sum(float((batch["targets"] != IGNORED_TARGET).sum()) for batch in batches)
    theirs = sum(float(mask.sum()) for _, _, mask in loops.padded)
    context = float(np.mean([batch["position_ids"].float().mean() for batch in batches])) + 1
    goals, rows = GOALS.get(run.size, {}), []
    tokens = {"ours": useful, "transformers": useful, "original": theirs}
    contexts = {"ours": context, "transformers": context, "original": (size.block + 1) / 2}
    padding = {arm: round(1 - count / positions, 3) for arm, count in tokens.items()}
    shares = {
        arm: peak.share(positions / median(times[arm].cpu) * flops_per_position(size.config, contexts[arm]))
        for arm in times.keys() - {"peak"}
    }
    for peer in (one for one in PEERS if one in times):
        goal = Goal("ratio", goals[peer]) if goals else None
        more = {key: {"ours": values["ours"], "peer": values[peer]}
                for key, values in (("padding_share", padding), ("share_of_peak", shares))}  # fmt: skip
        name, every = f"train {run.size}", dict.fromkeys(times, positions)
        rows.append(compare(f"{name}: positions", "positions", run, times, every, peer, goal=goal, **more))
        rows.append(compare(f"{name}: useful tokens", "trained tokens", run, times, tokens, peer, **more))
    if clock_of(run) == "cpu":
        rows.append(share_of_peak(run, peak, positions * flops_per_position(size.config, context), times["ours"]))
    return rows


def share_of_peak(run: Run, peak: MatrixPeak, flops: float, times: Times) -> dict[str, Any]:
    """Model FLOPs a second over the fastest matrix product of this run."""
    goal = Goal("ours", GOALS[run.size]["share"]) if run.size in GOALS else None
    shares: Sequence[float] = [peak.share(flops / seconds) for seconds in times.cpu]
    name = f"train {run.size}: share of the matrix peak"
    return alone(name, "share", shares, goal, matrix_peak_gflops=peak.medians)
