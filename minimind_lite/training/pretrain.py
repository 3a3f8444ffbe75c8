"""Pretraining: next-token prediction on plain texts."""

from pathlib import Path
from typing import Any

import torch

from minimind_lite.config import ConfigError, ModelConfig
from minimind_lite.model.transformer import Transformer
from minimind_lite.tokenizer import Tokenizer
from minimind_lite.training.config import TrainConfig
from minimind_lite.training.stage import StageResult, token_store, train_stage


def run_pretrain(
    data: str | Path,
    tokenizer: Tokenizer,
    output_dir: str | Path,
    model_config: ModelConfig,
    train_config: TrainConfig,
    *,
    block_size: int = 512,
    eval_data: str | Path | None = None,
    strict: bool = False,
    **options: Any,
) -> StageResult:
    """Train a new model on the texts of ``data`` and leave it in ``output_dir`` as a Hugging Face folder.

    data, eval_data: JSON Lines of ``{"text": …}``, or a folder of them; eval_data gives the held-out loss.
    block_size: positions in one packed row. strict: stop at the first bad line instead of skipping it.
    options: callbacks, measure, resume … as ``training.loop.train`` takes them.
    The weights start from ``train_config.seed``. Raises ConfigError, DataError, CheckpointError, TrainingDiverged.
    """
    if tokenizer.vocab_size > model_config.vocab_size:
        raise ConfigError(
            f"the tokenizer has {tokenizer.vocab_size} entries and the model only {model_config.vocab_size} rows: "
            f"use preset(..., vocab_size={tokenizer.vocab_size})"
        )
    folder = Path(output_dir)
    files = [data] if eval_data is None else [data, eval_data]
    stores = [token_store(file, "text", tokenizer, folder / "tokens", strict=strict) for file in files]
    torch.manual_seed(train_config.seed)
    return train_stage(Transformer(model_config), tokenizer, stores, block_size, train_config, folder, **options)
