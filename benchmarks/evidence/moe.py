"""Chapter 06: held-out loss of experts and their dense twin, with equal active parameters, data and steps."""

from pathlib import Path

import torch

from minimind_lite.config import ModelConfig, count_active_parameters, count_parameters, dense_twin, preset
from minimind_lite.course.kit.data_files import data_path
from minimind_lite.data.documents import token_store
from minimind_lite.data.packing import PackedDataset
from minimind_lite.evaluation.routing import routing_loads
from minimind_lite.model.moe import load_entropy
from minimind_lite.model.transformer import Transformer
from minimind_lite.tokenizer import Tokenizer
from minimind_lite.training.loop import TrainResult, train
from minimind_lite.training.options import TrainConfig

from . import Measured, Run


def measure(run: Run) -> Measured:
    """Train both and measure."""
    settings, tokenizer = run.settings("moe"), Tokenizer.load(run.work / "tokenizer")
    cache, limit = run.folder("moe") / "tokens", settings.block_size + 1
    blocks, held_out = (
        PackedDataset(
            token_store(data_path(name, "quick"), "conversation", tokenizer, cache, max_length=limit),
            settings.block_size,
        )
        for name in ("sft", "sft_heldout")
    )

    def trained(folder: Path, config: ModelConfig) -> tuple[Transformer, TrainResult]:
        torch.manual_seed(settings.seed)
        model, loop = Transformer(config), TrainConfig.from_settings(settings, progress=False)
        return model, train(model, blocks, loop, folder, eval_data=held_out, resume=run.resume)

    config = preset(settings.preset, vocab_size=tokenizer.vocab_size)
    model, experts = trained(run.folder("moe"), config)
    _, dense = trained(run.folder("moe") / "dense", dense_twin(config))
    entropies = load_entropy(routing_loads(model, held_out))
    return {
        "loss": experts.history[-1]["eval_loss"],
        "dense_loss": dense.history[-1]["eval_loss"],
        "router_entropy": float(entropies.mean()),
        "router_entropy_lowest_layer": float(entropies.min()),
        "active_parameters": count_active_parameters(config),
        "parameters": count_parameters(config),
        "dense_parameters": count_parameters(dense_twin(config)),
        "seconds": experts.seconds,
        "dense_seconds": dense.seconds,
    }, experts.history
