"""Pretraining: next-token prediction on plain texts."""

from dataclasses import dataclass, field
from pathlib import Path

import torch

from minimind_lite.config import ConfigError, ModelConfig, preset
from minimind_lite.model.transformer import Transformer
from minimind_lite.training.options import RunOptions, StageOptions, TrainConfig
from minimind_lite.training.stage import StageResult, StageRun


@dataclass(frozen=True)
class PretrainOptions(StageOptions):
    """Which model to train. Raises ConfigError for a value that cannot work."""

    preset: str = "nano"  # the model's shape, a name from config.PRESETS, with the tokenizer's vocabulary
    model: ModelConfig | None = field(default=None, metadata={"python_only": True})  # a shape of your own instead


def run_pretrain(
    data: str | Path,
    base: str | Path,
    output_dir: str | Path,
    config: TrainConfig,
    options: PretrainOptions = PretrainOptions(),
    run: RunOptions = RunOptions(),
) -> StageResult:
    """Train a new model on the texts of ``data`` and leave it in ``output_dir`` as a Hugging Face folder.

    data: JSON Lines of ``{"text": …}``, or a folder of them; so is ``run.eval_data``. base: a tokenizer's folder.
    ``config.seed`` determines the initial weights. Raises ConfigError, DataError, CheckpointError, TrainingDiverged.
    """
    with StageRun(base, output_dir, config, run) as stage:
        size = stage.tokenizer.vocab_size
        model_config = options.model or preset(options.preset, vocab_size=size)
        if size > model_config.vocab_size:
            raise ConfigError(
                f"the tokenizer has {size} entries and the model only {model_config.vocab_size} rows: "
                f"use preset(..., vocab_size={size})"
            )
        blocks, held_out, tokens = stage.packed(data, "text", options.block_size)
        torch.manual_seed(config.seed)
        identity = {"block_size": options.block_size, "tokens": tokens}
        return stage.train(Transformer(model_config), blocks, identity, held_out=held_out)
