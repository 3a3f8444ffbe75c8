"""Direct preference optimisation: learn from pairs which answer people liked better, without a reward model.

Choices: a sequence's log-probability is the *sum* over its answer's tokens, as in the paper; averaging is another loss,
with a name of its own · the reference is the model the run starts from: its log-probabilities never change, so they
are computed once, before the first step, and stored with what they depend on · chosen and rejected answers go through
the model in one batch.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from minimind_lite.config import ConfigError
from minimind_lite.data.padding import pad_documents
from minimind_lite.data.preferences import Pair, Pairs, read_pairs
from minimind_lite.model.pretrained import save_pretrained
from minimind_lite.model.transformer import IGNORED_TARGET, Transformer
from minimind_lite.training.config import FromSettings, TrainConfig
from minimind_lite.training.device import make_accelerator
from minimind_lite.training.logprobs import token_logprobs
from minimind_lite.training.loop import train
from minimind_lite.training.loss import Loss
from minimind_lite.training.stage import StageResult, load_base

logger = logging.getLogger(__name__)

LossType = Literal["sigmoid", "sigmoid_norm", "ipo"]  # TRL's names


@dataclass(frozen=True)
class DPOOptions(FromSettings):
    """What preference training has beside the loop's settings. Raises ConfigError for a value that cannot work."""

    beta: float = 0.1  # how dear it is to leave the reference: lower lets the model go further
    loss_type: LossType = "sigmoid"  # the paper's; sigmoid_norm and ipo look at log-probabilities per token
    block_size: int = 512  # a longer conversation is cut to this

    def __post_init__(self) -> None:
        if not self.beta > 0:
            raise ConfigError(f"beta must be above 0, not {self.beta}: at 0 no pair has any weight")
        if self.loss_type not in get_args(LossType):
            raise ConfigError(f"loss_type is {self.loss_type!r}; there are: {', '.join(get_args(LossType))}")
        if self.block_size < 1:
            raise ConfigError(f"block_size must be 1 or more, not {self.block_size}")


def preference_loss(
    policy: Tensor, reference: Tensor, lengths: Tensor, beta: float, loss_type: LossType = "sigmoid"
) -> Tensor:
    """The loss of each pair, (pairs,).

    policy, reference: (pairs, 2) summed log-probabilities of the chosen and the rejected answer, nats.
    lengths: (pairs, 2) their tokens. sigmoid: Rafailov et al. 2023, eq. 7, arXiv 2305.18290. sigmoid_norm: the same on
    means over tokens (MiniMind2's; Meng et al. 2024, arXiv 2405.14734, argue for it). ipo: Azar et al. 2023, eq. 17,
    arXiv 2310.12036, on means, as its authors run it: no logarithm that a sure pair could drive to infinity.
    """
    ratios = policy - reference  # (pairs, 2)
    if loss_type != "sigmoid":
        ratios = ratios / lengths
    margin = ratios[:, 0] - ratios[:, 1]
    if loss_type == "ipo":
        return (margin - 1 / (2 * beta)) ** 2
    return -F.logsigmoid(beta * margin)


def pair_logprobs(model: Any, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Summed log-probabilities of the answers of a ``collate_pairs`` batch, and their tokens: each (pairs, 2)."""
    summed = token_logprobs(model, batch["input_ids"], batch["targets"]).sum(dim=1)  # (2 * pairs,)
    lengths = (batch["targets"] != IGNORED_TARGET).sum(dim=1)
    return summed.view(2, -1).T, lengths.view(2, -1).T


def dpo_loss(model: Any, batch: dict[str, Tensor], options: DPOOptions) -> Loss:
    """Summed over the pairs of a ``collate_pairs`` batch with a reference; extras named as TRL names its metrics.

    A reward is β times the log-ratio to the reference, of the whole answer, whatever the loss.
    """
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
    return Loss(losses.sum(), len(policy), extras)


def collate_pairs(pairs: Sequence[tuple[Pair, Tensor]]) -> dict[str, Tensor]:
    """Pairs and their reference as one batch: the chosen answers in the first half of the rows, then the rejected."""
    documents = [pair.chosen for pair, _ in pairs] + [pair.rejected for pair, _ in pairs]
    return pad_documents(documents) | {"reference": torch.stack([reference for _, reference in pairs])}


@torch.no_grad()
def reference_logprobs(model: Transformer, pairs: Sequence[Pair], batch_size: int = 16) -> Tensor:
    """What ``model`` makes of every answer, (pairs, 2) fp32 on the CPU: summed log-probabilities, nats."""
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
    """``reference_logprobs``, read from ``path`` where they were stored for this reference and these pairs.

    identity: the digest of the reference's weights, and whatever else changes its numbers. A file that was made for
    another identity or other pairs, or that is damaged, is replaced.
    """
    stamp = dict(identity) | {"pairs": pairs.digest}
    try:
        with safe_open(path, framework="pt") as file:
            if file.metadata() == stamp:
                return file.get_tensor("logprobs")
        logger.warning("%s belongs to another base or other pairs; the reference is computed again", path)
    except FileNotFoundError:
        pass
    except SafetensorError as error:
        logger.warning("%s is damaged (%s); the reference is computed again", path, error)
    logprobs = reference_logprobs(model, pairs.pairs).contiguous()
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".partial")
    save_file({"logprobs": logprobs}, part, metadata=stamp)
    part.replace(path)
    return logprobs


def run_dpo(
    data: str | Path,
    base: str | Path,
    output_dir: str | Path,
    train_config: TrainConfig,
    options: DPOOptions = DPOOptions(),
    *,
    eval_data: str | Path | None = None,
    strict: bool = False,
    **train_options: Any,
) -> StageResult:
    """Train the model in the folder ``base`` on preference pairs and leave it in ``output_dir``.

    data, eval_data: JSON Lines of ``{"chosen": […], "rejected": […]}``, or a folder of them. The result's ``data`` is
    a list of (Pair, reference). train_options: callbacks, measure, resume … as ``training.loop.train`` takes them.
    Raises PretrainedError, DataError, ConfigError, CheckpointError, TrainingDiverged.
    """
    folder = Path(output_dir)
    if folder.resolve() == Path(base).resolve():
        raise ConfigError(f"{folder} holds the base, which is the reference too: give another folder for the result")
    model, tokenizer, identity = load_base(base)
    files = {"train": data} | ({"eval": eval_data} if eval_data is not None else {})
    pairs = {name: read_pairs(file, tokenizer, options.block_size + 1, strict=strict) for name, file in files.items()}
    datasets = _with_reference(pairs, model, identity["base"], train_config, folder)
    identity |= {"dpo": asdict(options), "pairs": pairs["train"].digest}
    train_options |= {"loss_fn": partial(dpo_loss, options=options), "collate": collate_pairs, "identity": identity}
    result = train(model, datasets["train"], train_config, folder, eval_data=datasets.get("eval"), **train_options)
    save_pretrained(model, tokenizer, folder)
    return StageResult(model, result, datasets["train"], folder)


def _with_reference(
    pairs: dict[str, Pairs], model: Transformer, base: str, train_config: TrainConfig, folder: Path
) -> dict[str, list[tuple[Pair, Tensor]]]:
    """Each pair with its reference log-probabilities, measured in the precision of the training.

    So the policy starts out as the reference, and every margin as 0.
    """
    accelerator = make_accelerator(train_config, folder)
    model.to(accelerator.device)
    stamp, datasets = {"base": base, "precision": str(accelerator.mixed_precision)}, {}
    for name, some in pairs.items():
        with accelerator.main_process_first(), accelerator.autocast():
            reference = stored_reference(model, some, folder / f"reference-{name}.safetensors", stamp)
        datasets[name] = list(zip(some.pairs, reference, strict=True))
    return datasets
