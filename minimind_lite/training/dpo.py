"""Direct preference optimisation: learn which of two answers people preferred, without a reward model.

Choices: a sequence's log-probability is the *sum* over its answer's tokens, as in the paper; averaging is another loss,
with its own name · the reference is the model the run starts from: its log-probabilities never change, so they are
computed once, before the first step, and stored along with what they depend on · chosen and rejected answers go through
the model in one batch.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from minimind_lite.data.packing import pad_documents
from minimind_lite.data.preferences import Pair, Pairs, read_pairs
from minimind_lite.model.losses import Loss, PreferenceLoss, balanced, pair_logprobs, preference_loss
from minimind_lite.model.moe import recorded_routing
from minimind_lite.model.pretrained import PretrainedError, read_tensors, write_tensors
from minimind_lite.model.transformer import Transformer
from minimind_lite.settings import Positive
from minimind_lite.training.options import RunOptions, StageOptions, TrainConfig
from minimind_lite.training.stage import StageResult, StageRun

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class DPOOptions(StageOptions):
    """What preference training adds to the loop's settings. Raises ConfigError for a value that cannot work."""

    beta: Positive = 0.1  # penalty for drifting from the reference: the lower, the further the model may go
    loss_type: PreferenceLoss = "sigmoid"  # the paper's; sigmoid_norm and ipo use log-probabilities per token


def dpo_loss(model: Any, batch: dict[str, Tensor], options: DPOOptions) -> Loss:
    """Summed over the pairs of a ``collate_pairs`` batch with a reference; extras named as TRL names its metrics.

    A reward is β times the whole answer's log-ratio to the reference, whatever the loss.
    """
    with recorded_routing(model) as routings:
        policy, lengths = pair_logprobs(model, batch)
    losses = preference_loss(policy, batch["reference"], lengths, options.beta, options.loss_type)
    rewards = options.beta * (policy - batch["reference"]).detach()  # (pairs, 2)
    extras = {
        "rewards/chosen": rewards[:, 0].sum(),
        "rewards/rejected": rewards[:, 1].sum(),
        "rewards/margins": (rewards[:, 0] - rewards[:, 1]).sum(),
        "rewards/accuracies": (rewards[:, 0] > rewards[:, 1]).sum(),
        "logps/chosen": policy[:, 0].detach().sum(),
        "logps/rejected": policy[:, 1].detach().sum(),
    }
    return balanced(Loss(losses.sum(), len(policy), extras), model, routings)


def collate_pairs(pairs: Sequence[tuple[Pair, Tensor]]) -> dict[str, Tensor]:
    """Pairs and their reference as one batch: the chosen answers in the first half of the rows, then the rejected."""
    documents = [pair.chosen for pair, _ in pairs] + [pair.rejected for pair, _ in pairs]
    return pad_documents(documents) | {"reference": torch.stack([reference for _, reference in pairs])}


@torch.no_grad()
def reference_logprobs(model: Transformer, pairs: Sequence[Pair], batch_size: int = 16) -> Tensor:
    """``model``'s summed log-probability of every answer, in nats: (pairs, 2) fp32 on the CPU."""
    device, was_training = model.model.norm.weight.device, model.training
    model.eval()
    found = []
    for start in range(0, len(pairs), batch_size):
        some = pairs[start : start + batch_size]
        documents = pad_documents([pair.chosen for pair in some] + [pair.rejected for pair in some])
        batch = {name: tensor.to(device) for name, tensor in documents.items()}
        found.append(pair_logprobs(model, batch)[0].float().cpu())
    model.train(was_training)
    return torch.cat(found)


def stored_reference(model: Transformer, pairs: Pairs, path: Path, identity: Mapping[str, str]) -> Tensor:
    """``reference_logprobs``, read from ``path`` if they are stored there for this reference and these pairs.

    identity: the digest of the reference's weights, and whatever else changes its numbers. A file that was made for
    another identity or other pairs, or is damaged, is replaced.
    """
    stamp = dict(identity) | {"pairs": pairs.digest}
    if path.is_file():
        try:
            tensors, metadata = read_tensors(path)
            if stamp.items() <= metadata.items():
                return tensors["logprobs"]
            logger.warning("%s belongs to another base or other pairs; the reference is computed again", path)
        except (PretrainedError, KeyError) as error:
            logger.warning("%s; the reference is computed again", error)
    logprobs = reference_logprobs(model, pairs.pairs).contiguous()
    write_tensors(path, {"logprobs": logprobs}, stamp)
    return logprobs


def run_dpo(
    data: str | Path,
    base: str | Path,
    output_dir: str | Path,
    config: TrainConfig,
    options: DPOOptions = DPOOptions(),
    run: RunOptions = RunOptions(),
) -> StageResult:
    """Train the model in the folder ``base`` on preference pairs and leave it in ``output_dir``.

    data, run.eval_data: JSON Lines of ``{"chosen": […], "rejected": […]}``, or a folder of them. The result's ``data``
    is a list of (Pair, reference).
    Raises PretrainedError, DataError, ConfigError, CheckpointError, TrainingDiverged.
    """
    with StageRun(base, output_dir, config, run) as stage:
        pairs, held_out = _pairs(stage, data, options, "train"), None
        if run.eval_data is not None:
            held_out = _pairs(stage, run.eval_data, options, "eval")[1]
        identity = {"base": stage.base_digest, "dpo": asdict(options), "pairs": pairs[0].digest}
        loss_fn = partial(dpo_loss, options=options)
        return stage.train(stage.model, pairs[1], identity, held_out=held_out, loss_fn=loss_fn, collate=collate_pairs)


def _pairs(
    stage: StageRun, path: str | Path, options: DPOOptions, name: str
) -> tuple[Pairs, list[tuple[Pair, Tensor]]]:
    """The pairs of a file, and each with its reference log-probabilities, measured in the precision of the training.

    So the policy starts out equal to the reference, and every margin at 0.
    """
    accelerator, model = stage.accelerator, stage.model
    run, longest = stage.run, options.block_size + 1
    pairs = stage.from_main_process(
        lambda: read_pairs(path, stage.tokenizer, longest, strict=run.strict, max_bad_share=run.max_bad_share)
    )
    model.to(accelerator.device)
    stamp = {"base": stage.base_digest, "precision": str(accelerator.mixed_precision)}
    with accelerator.main_process_first(), accelerator.autocast():
        reference = stored_reference(model, pairs, stage.folder / f"reference-{name}.safetensors", stamp)
    return pairs, list(zip(pairs.pairs, reference, strict=True))
