"""Reasoning distillation: fine-tuning on thoughts that a teacher wrote down, with extra weight on the tags.

Choices: the tags are single tokens of the tokenizer, so a weight on them affects nothing else (a tag in pieces would
put it on every ``>`` and ``answer`` in the text) · the weighted sum is divided by the sum of the weights, so the loss
stays a mean in nats and the learning rate keeps its meaning; `items` are therefore weights, not tokens · the mix is
made of whole blocks, so its shares are shares of the positions that are computed.
Source: DeepSeek-R1 (arXiv 2501.12948), section 2.4; the weight is MiniMind2's.
"""

from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from minimind_lite.config import ConfigError
from minimind_lite.data.packing import PackedDataset, mix_blocks
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
        ids = tokenizer.render([{"role": "assistant", "content": tag}]).ids
        piece = [token for token in ids if token in tokenizer.control_ids and tokenizer.decode([token]) == tag]
        if weight != 1 and not piece:
            raise ConfigError(f"{tag} is not a token of this tokenizer: its weight would fall on pieces that stand "
                              "everywhere. Train one by minimind train tokenizer, or set tag_weight=1")  # fmt: skip
        weights[piece] = weight
    return weights


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
        mixed = mix_blocks(
            [PackedDataset(store, options.block_size) for store in stores], [part.share for part in parts]
        )
        held_out = None
        if run.eval_data is not None:  # read like the first part: with thoughts or without
            stores.append(stage.tokens(run.eval_data, parts[0].kind, options.block_size + 1))
            held_out = PackedDataset(stores[-1], options.block_size)
        weights = tag_weights(stage.tokenizer, options.tag_weight, stage.model.config.vocab_size)
        names = [store.path.stem for store in stores]
        identity = {"base": stage.base_digest} | asdict(options) | {"replay": "", "tokens": names}
        loss_fn = partial(next_token_loss, token_weights=weights)
        return stage.train(stage.model, mixed, identity, held_out=held_out, loss_fn=loss_fn)
