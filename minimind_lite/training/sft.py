"""Supervised fine-tuning: the same loss as in pretraining, on the assistant's tokens only."""

from dataclasses import dataclass
from pathlib import Path

from minimind_lite.training.options import RunOptions, StageOptions, TrainConfig
from minimind_lite.training.stage import StageResult, StageRun


@dataclass(frozen=True)
class SFTOptions(StageOptions):
    """Fine-tuning adds nothing to what every stage has."""


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
        identity = {"base": stage.base_digest, "block_size": options.block_size, "tokens": tokens}
        return stage.train(stage.model, blocks, identity, held_out=held_out)
