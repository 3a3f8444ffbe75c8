"""Supervised fine-tuning: the same loss as in pretraining, on the assistant's tokens only."""

from pathlib import Path
from typing import Any

from minimind_lite.training.config import TrainConfig
from minimind_lite.training.stage import StageResult, load_base, token_store, train_stage


def run_sft(
    data: str | Path,
    base: str | Path,
    output_dir: str | Path,
    train_config: TrainConfig,
    *,
    block_size: int = 512,
    eval_data: str | Path | None = None,
    strict: bool = False,
    **options: Any,
) -> StageResult:
    """Train the model in the folder ``base`` on conversations and leave it in ``output_dir`` as such a folder again.

    data, eval_data: JSON Lines of ``{"conversations": […]}``, or a folder of them. A conversation longer than
    ``block_size`` is cut; one that loses every target so is dropped, and both are logged.
    options: callbacks, measure, resume … as ``training.loop.train`` takes them.
    Raises PretrainedError, DataError, CheckpointError, TrainingDiverged.
    """
    folder = Path(output_dir)
    model, tokenizer, identity = load_base(base)
    files = [data] if eval_data is None else [data, eval_data]
    stores = [
        token_store(file, "conversation", tokenizer, folder / "tokens", max_length=block_size + 1, strict=strict)
        for file in files
    ]
    return train_stage(model, tokenizer, stores, block_size, train_config, folder, identity=identity, **options)
