"""Reasoning distillation: fine-tuning on thoughts that a teacher wrote down, with extra weight on the tags.

Choices: where the tags are single tokens of the tokenizer, as in ours, a weight on them affects nothing else; where
they are pieces (MiniMind2's), it lies on those that stand together as a tag, not on every ``>`` and ``answer`` · the
weighted sum is divided by the sum of the weights, so the loss stays a mean in nats and the learning rate keeps its
meaning; `items` are therefore weights, not tokens · the mix is made of whole blocks, so its shares are shares of the
positions that are computed.
Source: DeepSeek-R1 (arXiv 2501.12948), section 2.4; the weight is MiniMind2's.
"""

from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from minimind_lite.config import ConfigError
from minimind_lite.data.packing import MixedBlocks, PackedDataset
from minimind_lite.data.reasoning import REASONING_TAGS
from minimind_lite.data.records import Kind
from minimind_lite.model.losses import next_token_loss
from minimind_lite.settings import Positive, Share, ShareBelow1
from minimind_lite.tokenizer import Tokenizer
from minimind_lite.training.options import RunOptions, StageOptions, TrainConfig
from minimind_lite.training.stage import StageResult, StageRun


@dataclass(frozen=True)
class ReasonOptions(StageOptions):
    """What this stage adds to the loop's settings. Raises ConfigError for a value that cannot work."""

    tag_weight: Positive = 10.0  # how much more than another token a tag counts
    off_share: Share = 0.0  # share of the blocks with thinking switched off: the same records, answered directly
    replay: str = ""  # conversations of an earlier stage, mixed in to prevent forgetting
    replay_share: ShareBelow1 = 0.0  # their share of the blocks

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.off_share + self.replay_share > 1:
            raise ConfigError(f"off_share and replay_share are together {self.off_share + self.replay_share:g}: "
                              "they are shares of one whole, 1 at most")  # fmt: skip
        if self.replay_share and not self.replay:
            raise ConfigError("replay_share needs replay: the file of conversations to mix in")


class Part(NamedTuple):
    """One ingredient of the mixture."""

    path: str | Path
    kind: Kind  # how its records are read
    share: float  # of the blocks


def mixture(data: str | Path, options: ReasonOptions) -> list[Part]:
    """What is mixed: thoughts, the same records answered directly, replayed conversations."""
    parts = [
        Part(data, "reasoning", 1 - options.off_share - options.replay_share),
        Part(data, "reasoning_off", options.off_share),
        Part(options.replay, "conversation", options.replay_share),
    ]
    return [part for part in parts if part.share > 1e-9]


def tag_weights(tokenizer: Tokenizer, weight: float, size: int) -> Tensor:
    """(size,) float32: ``weight`` for the four tags, 1 for every other token of a model's vocabulary.

    Raises ConfigError when a tag that should weigh more is not a token of its own.
    """
    weights = torch.ones(size)
    for tag in REASONING_TAGS:
        ids = tokenizer.tag_ids(tag)
        if weight != 1 and len(ids) > 1:
            raise ConfigError(f"{tag} is not a token of this tokenizer: its weight would fall on pieces that stand "
                              "everywhere. Train one by minimind train tokenizer, or set tag_weight=1")  # fmt: skip
        if len(ids) == 1:
            weights[ids] = weight
    return weights


@dataclass(frozen=True)
class TagPieces:
    """The weights of targets by their places, for a tokenizer that writes tags in pieces."""

    tags: tuple[tuple[int, ...], ...]  # the tokens of each
    weight: float

    @classmethod
    def of(cls, tokenizer: Tokenizer, weight: float) -> "TagPieces":
        """For the four tags of this tokenizer."""
        return cls(tuple(tuple(tokenizer.tag_ids(tag)) for tag in REASONING_TAGS), weight)

    def __call__(self, targets: Tensor) -> Tensor:
        """(batch, seq) token ids → (batch, seq) float32: ``weight`` inside a whole tag, 1 elsewhere."""
        weights = torch.ones(targets.shape, device=targets.device)
        for tag in self.tags:
            if len(tag) > targets.shape[1]:
                continue
            found = (targets.unfold(1, len(tag), 1) == targets.new_tensor(tag)).all(dim=-1)  # where it begins
            for place in range(len(tag)):
                weights[:, place : place + found.shape[1]].masked_fill_(found, self.weight)
        return weights


def target_weights(tokenizer: Tokenizer, weight: float, size: int) -> Tensor | TagPieces:
    """``tag_weights`` where every tag is a token, else ``TagPieces``."""
    pieces = TagPieces.of(tokenizer, weight)
    return tag_weights(tokenizer, weight, size) if all(len(tag) == 1 for tag in pieces.tags) else pieces


def run_reason(
    data: str | Path,
    base: str | Path,
    output_dir: str | Path,
    config: TrainConfig,
    options: ReasonOptions = ReasonOptions(),
    run: RunOptions = RunOptions(),
) -> StageResult:
    """Train the model in ``base`` on visible reasoning and leave it in ``output_dir`` as a folder of the same kind.

    data, run.eval_data: JSON Lines of conversations whose assistant turns are well-formed (``data.reasoning``).
    Raises PretrainedError, DataError (a record without an answer block …), ConfigError, CheckpointError.
    """
    with StageRun(base, output_dir, config, run) as stage:
        parts = mixture(data, options)
        stores = [stage.tokens(part.path, part.kind, options.block_size + 1) for part in parts]
        mixed = MixedBlocks(
            [PackedDataset(store, options.block_size) for store in stores], [part.share for part in parts]
        )
        held_out = None
        if run.eval_data is not None:  # read like the first part: with thoughts or without
            stores.append(stage.tokens(run.eval_data, parts[0].kind, options.block_size + 1))
            held_out = PackedDataset(stores[-1], options.block_size)
        weights = target_weights(stage.tokenizer, options.tag_weight, stage.model.config.vocab_size)
        names = [store.path.stem for store in stores]
        identity = {"base": stage.base_digest} | asdict(options) | {"replay": "", "tokens": names}
        loss_fn = partial(next_token_loss, token_weights=weights)
        return stage.train(stage.model, mixed, identity, held_out=held_out, loss_fn=loss_fn)
