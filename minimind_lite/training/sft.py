"""Supervised fine-tuning: the same loss as in pretraining, on the assistant's tokens only."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minimind_lite.config import ConfigError
from minimind_lite.data.packing import MixedBlocks, PackedDataset
from minimind_lite.settings import ShareBelow1
from minimind_lite.training.options import RunOptions, StageOptions, TrainConfig
from minimind_lite.training.stage import StageResult, StageRun


@dataclass(frozen=True)
class SFTOptions(StageOptions):
    """What fine-tuning adds: plain text beside the conversations, so that the language is not forgotten."""

    replay: str = ""  # texts of pretraining (JSON Lines of {"text": …}, or a folder of them), mixed in
    replay_share: ShareBelow1 = 0.0  # their share of the blocks

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.replay_share and not self.replay:
            raise ConfigError("replay_share needs replay: the texts to mix in")


def run_sft(
    data: str | Path,
    base: str | Path,
    output_dir: str | Path,
    config: TrainConfig,
    options: SFTOptions = SFTOptions(),
    run: RunOptions = RunOptions(),
) -> StageResult:
    """Train the model in the folder ``base`` on conversations and leave it in ``output_dir``, in the same format.

    data: JSON Lines of ``{"conversations": […]}``, or a folder of them; so is ``run.eval_data``. A conversation longer
    than ``block_size`` is cut; one that loses every target is dropped, and both are logged.
    Raises PretrainedError, DataError, CheckpointError, TrainingDiverged.
    """
    with StageRun(base, output_dir, config, run) as stage:
        blocks, held_out, tokens = stage.conversations(data, options.block_size)
        identity: dict[str, Any] = {"base": stage.base_digest, "block_size": options.block_size, "tokens": tokens}
        mixed: Any = blocks
        if options.replay_share:
            texts = stage.tokens(options.replay, "text")
            plain = PackedDataset(texts, options.block_size)
            mixed = MixedBlocks([blocks, plain], [1 - options.replay_share, options.replay_share])
            identity |= {"replay": texts.path.stem, "replay_share": options.replay_share}
        return stage.train(stage.model, mixed, identity, held_out=held_out)
