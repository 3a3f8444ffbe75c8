"""Small models and data for the tests of training."""

from pathlib import Path

import numpy as np
import torch

from minimind_lite.config import ModelConfig
from minimind_lite.data.documents import Document
from minimind_lite.data.packing import PackedDataset
from minimind_lite.model.transformer import Transformer
from minimind_lite.training.loop import TrainResult, train
from minimind_lite.training.options import TrainConfig

TINY = ModelConfig(
    vocab_size=40, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1,
    intermediate_size=32, max_position_embeddings=64,
)  # fmt: skip


def tiny_model(seed: int = 0) -> Transformer:
    torch.manual_seed(seed)
    return Transformer(TINY)


def tiny_data(documents: int = 60, block_size: int = 24, seed: int = 0) -> PackedDataset:
    """Packed documents of unequal lengths, partly masked, so that blocks hold unequal numbers of targets."""
    random = np.random.default_rng(seed)
    made = []
    for _ in range(documents):
        length = int(random.integers(4, 22))
        mask = (random.random(length) < random.random()).astype(np.uint8)
        mask[-1] = 1
        made.append(Document(random.integers(0, TINY.vocab_size, length), mask))
    return PackedDataset(made, block_size)


def tiny_run(folder: Path, resume: str = "strict", **changes: object) -> tuple[Transformer, TrainResult]:
    """Thirty steps with a checkpoint every five, unless ``changes`` say otherwise."""
    settings = {"total_steps": 30, "save_every": 5, "micro_batch_size": 2, "learning_rate": 1e-2, "progress": False}
    parts = {name: changes.pop(name) for name in ("callbacks", "loss_fn", "eval_data", "measure") if name in changes}
    model = tiny_model()
    config = TrainConfig(**(settings | changes))  # type: ignore[arg-type]
    return model, train(model, tiny_data(), config, folder, resume=resume, **parts)  # type: ignore[arg-type]


def same_weights(first: Transformer, second: Transformer) -> bool:
    """Bit for bit."""
    return all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
