"""Reasoning distillation: fine-tuning on thoughts that a teacher wrote down, with the tags counted more than the rest.

Choices: the tags are single tokens of the tokenizer, so a weight on them falls on nothing else (a tag in pieces would
put it on every ``>`` and ``answer`` of the text) · the weighted sum is divided by the sum of the weights, so the loss
stays a mean in nats and the learning rate keeps its meaning; `items` are therefore weights, not tokens · the mix is
made of whole blocks, so its shares are shares of the positions that are computed.
Source: DeepSeek-R1 (arXiv 2501.12948), section 2.4; the weight is MiniMind2's.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import ConcatDataset, Subset

from minimind_lite.config import ConfigError
from minimind_lite.data.packing import PackedDataset
from minimind_lite.data.reasoning import REASONING_TAGS
from minimind_lite.model.pretrained import save_pretrained
from minimind_lite.tokenizer import Tokenizer
from minimind_lite.training.config import FromSettings, TrainConfig
from minimind_lite.training.loop import train
from minimind_lite.training.loss import next_token_loss
from minimind_lite.training.stage import StageResult, load_base, token_store


@dataclass(frozen=True)
class ReasonOptions(FromSettings):
    """What this stage has besides the loop's settings. Raises ConfigError for a value that cannot work."""

    block_size: int = 512  # tokens in one packed row
    tag_weight: float = 10.0  # how much more than another token a tag counts
    off_share: float = 0.0  # share of the blocks with thinking switched off: the same records, answered directly
    replay: str = ""  # conversations of an earlier stage, mixed in against forgetting
    replay_share: float = 0.0  # their share of the blocks

    def __post_init__(self) -> None:
        if not self.tag_weight > 0:
            raise ConfigError(f"tag_weight must be above 0, not {self.tag_weight}")
        if (
            min(self.off_share, self.replay_share) < 0
            or self.off_share + self.replay_share > 1
            or self.replay_share == 1
        ):
            raise ConfigError("off_share and replay_share are shares: 0 or more, together 1 at most, not all replay")
        if self.replay_share and not self.replay:
            raise ConfigError("replay_share needs replay: the file of conversations to mix in")

    def parts(self, data: str | Path, eval_data: str | Path | None = None) -> list[Any]:
        """What is mixed: (path, kind of its records, share of the blocks); at the end what is held out, share 0."""
        shares = {"reasoning": 1 - self.off_share - self.replay_share, "reasoning_off": self.off_share}
        parts = [(data, kind, share) for kind, share in shares.items() if share > 1e-9]
        parts += [(self.replay, "conversation", self.replay_share)] * bool(self.replay_share)
        return parts + [(eval_data, parts[0][1], 0.0)] * bool(eval_data)  # as trained: with thoughts or without


def tag_weights(tokenizer: Tokenizer, weight: float, size: int) -> Tensor:
    """(size,) float32: ``weight`` for the four tags, 1 for every other token of a model's vocabulary.

    Raises ConfigError when a tag that should weigh more is no token of its own.
    """
    weights = torch.ones(size)
    for tag in REASONING_TAGS:
        ids = tokenizer.render([{"role": "assistant", "content": tag}]).ids
        piece = [token for token in ids if token in tokenizer.control_ids and tokenizer.decode([token]) == tag]
        if weight != 1 and not piece:
            raise ConfigError(f"{tag} is no token of this tokenizer: its weight would fall on pieces that stand "
                              "everywhere. Train one by minimind train tokenizer, or set tag_weight=1")  # fmt: skip
        weights[piece] = weight
    return weights


def mix_blocks(data: Sequence[PackedDataset], shares: Sequence[float]) -> ConcatDataset[dict[str, Tensor]]:
    """All blocks of the first, and of each other one so many, evenly taken or repeated, that its share holds."""
    parts: list[Any] = [data[0]]
    for other, share in zip(data[1:], shares[1:], strict=True):
        count = round(len(data[0]) * share / shares[0])
        parts.append(Subset(other, [place * len(other) // count for place in range(count)]))
    return ConcatDataset(parts)


def run_reason(
    data: str | Path,
    base: str | Path,
    output_dir: str | Path,
    train_config: TrainConfig,
    options: ReasonOptions = ReasonOptions(),
    *,
    eval_data: str | Path | None = None,
    strict: bool = False,
    **train_options: Any,
) -> StageResult:
    """Train the model in ``base`` on visible reasoning and leave it in ``output_dir`` as a folder of the same kind.

    data, eval_data: JSON Lines of conversations whose assistant turns are well-formed (``data.reasoning``).
    train_options: callbacks, measure, resume … as ``training.loop.train`` takes them.
    Raises PretrainedError, DataError (a record without an answer block …), ConfigError, CheckpointError.
    """
    model, tokenizer, identity = load_base(base)
    parts = options.parts(data, eval_data)
    limits: Any = {"max_length": options.block_size + 1, "strict": strict}
    stores = [token_store(path, kind, tokenizer, Path(output_dir) / "tokens", **limits) for path, kind, _ in parts]
    blocks = [PackedDataset(store, options.block_size) for store in stores]
    held_out = blocks.pop() if eval_data else None
    mixed = mix_blocks(blocks, [share for _, _, share in parts if share])
    weights = tag_weights(tokenizer, options.tag_weight, model.config.vocab_size)
    loss_fn = partial(next_token_loss, token_weights=weights)
    identity |= asdict(options) | {"replay": "", "tokens": [store.path.stem for store in stores]}
    parts_of_loop = {"loss_fn": loss_fn, "eval_data": held_out, "identity": identity} | train_options
    result = train(model, mixed, train_config, output_dir, **parts_of_loop)
    save_pretrained(model, tokenizer, output_dir)
    return StageResult(model, result, mixed, Path(output_dir))
