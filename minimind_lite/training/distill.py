"""White-box distillation: a small student learns a large teacher's whole distribution, not only the label.

Hinton, Vinyals & Dean 2015, arXiv 1503.02531. Logits of both models are computed in chunks of trained positions and
recomputed in the backward pass: two whole tensors (positions, vocab_size) would be by far the largest in memory.
"""

import copy
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from minimind_lite.config import PRESETS, ConfigError, preset
from minimind_lite.model.attention import document_mask
from minimind_lite.model.losses import Direction, Loss, balanced, kl_divergence, next_token_loss
from minimind_lite.model.moe import recorded_routing
from minimind_lite.model.pretrained import load_pretrained, weights_digest
from minimind_lite.model.transformer import IGNORED_TARGET, Transformer
from minimind_lite.settings import Count, Positive, Share
from minimind_lite.tokenizer import Tokenizer
from minimind_lite.training.options import RunOptions, StageOptions, TrainConfig
from minimind_lite.training.stage import StageResult, StageRun


@dataclass(frozen=True)
class DistillOptions(StageOptions):
    """What distillation adds to the loop's settings. Raises ConfigError for a value that cannot work."""

    student: str = "half"  # half: every second layer of the teacher; or a preset's name: fresh weights; or a folder
    alpha: Share = 0.5  # weight of the labels; 1 is the control, labels alone: the teacher is never run
    temperature: Positive = 1.5  # both distributions are softened by it
    direction: Direction = "forward"  # forward: KL(teacher ‖ student); reverse: KL(student ‖ teacher)
    chunk_size: Count = 256  # trained positions whose logits are in memory at a time


@dataclass
class DistillLoss:
    """α·CE + (1 − α)·T²·KL, summed over the trained positions; the T² keeps the gradient's size as T grows.

    Called with (student, packed batch). While the student is in eval mode the loss is the plain cross-entropy, so that
    held-out losses are comparable whatever α and T are.
    """

    teacher: Transformer
    options: DistillOptions

    def __post_init__(self) -> None:
        self.teacher.eval().requires_grad_(False)

    def __call__(self, model: Transformer, batch: dict[str, Tensor]) -> Loss:
        if self.options.alpha == 1 or not model.training:
            return Loss(*next_token_loss(model, batch))
        inputs: dict[str, Any] = {
            "position_ids": batch["position_ids"],
            "attention_mask": document_mask(batch["document_ids"]),
        }
        trained = batch["targets"] != IGNORED_TARGET
        with recorded_routing(model) as routings:  # empty for a dense student
            hidden = model.hidden_states(batch["input_ids"], **inputs)[trained]  # (trained, student's hidden_size)
        teacher = self.teacher.to(hidden.device)
        with torch.no_grad():
            hints = teacher.hidden_states(batch["input_ids"], **inputs)[trained]  # (trained, teacher's hidden_size)
        pieces = [part.split(self.options.chunk_size) for part in (hidden, hints, batch["targets"][trained])]
        # checkpoint keeps the pieces but not the logits; the backward pass recomputes them, one chunk at a time
        once = partial(checkpoint, self._chunk, model, use_reentrant=False, preserve_rng_state=False)
        sums = [once(*piece) for piece in zip(*pieces, strict=True)]
        cross_entropy, kl = (torch.stack(column).sum() for column in zip(*sums, strict=True))
        weight = (1 - self.options.alpha) * self.options.temperature**2
        total = self.options.alpha * cross_entropy + weight * kl
        loss = Loss(total, trained.sum(), {"cross_entropy": cross_entropy.detach(), "kl": kl.detach()})
        return balanced(loss, model, routings)

    def _chunk(self, model: Transformer, hidden: Tensor, hints: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Cross-entropy and KL, each summed over one chunk of positions."""
        logits, wanted = model.logits(hidden).float(), self.teacher.logits(hints).float()  # (chunk, vocab_size)
        kl = kl_divergence(logits, wanted, self.options.temperature, self.options.direction)
        return F.cross_entropy(logits, targets, reduction="sum"), kl.sum()


def run_distill(
    data: str | Path,
    base: str | Path,
    output_dir: str | Path,
    config: TrainConfig,
    options: DistillOptions = DistillOptions(),
    run: RunOptions = RunOptions(),
) -> StageResult:
    """Train a student on conversations, with the model in the folder ``base`` as its teacher.

    output_dir becomes the student's folder. data, run.eval_data: JSON Lines of ``{"conversations": […]}``, or a folder
    of them. A fresh student's weights are drawn with ``config.seed``. Raises PretrainedError, DataError,
    CheckpointError, TrainingDiverged, and ConfigError for a student whose vocabulary is not the teacher's.
    """
    with StageRun(base, output_dir, config, run) as stage:
        student, origin = make_student(options, stage.model, stage.tokenizer, config.seed)
        blocks, held_out, tokens = stage.conversations(data, options.block_size)
        named = asdict(options) | {"student": origin}  # a student is its weights, wherever their folder is
        del named["chunk_size"]  # a run that ran out of memory may continue with smaller chunks
        identity = {"base": origin, "teacher": stage.base_digest, "distill": named, "tokens": tokens}
        return stage.train(student, blocks, identity, held_out=held_out, loss_fn=DistillLoss(stage.model, options))


def every_second_layer(model: Transformer) -> Transformer:
    """A new model with layers 0, 2, 4 … of ``model`` and its embeddings, copied.

    The result is broken, but close to a good model: it learns several times faster than random weights.
    Source: Sanh et al. 2019 (DistilBERT), arXiv 1910.01108, section 3.
    """
    half = copy.deepcopy(model).requires_grad_(True)
    half.model.layers = half.model.layers[::2]
    for index, block in enumerate(half.model.layers):
        attention: Any = block.self_attn
        attention.layer_index = index  # its place in the key/value cache
    half.config = replace(model.config, num_hidden_layers=len(half.model.layers))
    return half


def make_student(
    options: DistillOptions, teacher: Transformer, tokenizer: Tokenizer, seed: int
) -> tuple[Transformer, str]:
    """The student before its first step, and what identifies its weights; see ``DistillOptions.student``.

    Fresh weights are drawn with ``seed``. Raises ConfigError for an unknown name, or a different vocabulary.
    """
    if options.student == "half":
        return every_second_layer(teacher), "half"
    if options.student in PRESETS:
        same = {name: getattr(teacher.config, name) for name in ("vocab_size", "pad_token_id", "bos_token_id",
                                                                 "eos_token_id")}  # fmt: skip
        torch.manual_seed(seed)
        return Transformer(preset(options.student, **same)), options.student
    folder = Path(options.student)
    if not folder.is_dir():
        raise ConfigError(f"student {options.student!r} is neither a folder nor one of half, {', '.join(PRESETS)}")
    student, own = load_pretrained(folder, dtype=torch.float32), Tokenizer.load(folder)
    sizes = [model.config.vocab_size for model in (student, teacher)]
    if own.fingerprint != tokenizer.fingerprint or sizes[0] != sizes[1]:
        raise ConfigError(
            f"the student in {options.student} has another vocabulary than its teacher ({sizes[0]} and {sizes[1]} "
            "entries, or the same number with other tokens): id 300 means another token to each, so there is no "
            "distribution to compare. Start the student from a preset (it takes the teacher's vocabulary), or train "
            "it with the teacher's tokenizer; between vocabularies only the teacher's texts can be learned (run_sft)"
        )
    return student, weights_digest(folder)
