"""Chapter 06: a mixture of experts and its dense twin, equal in active parameters, data and steps, held out."""

from pathlib import Path

from minimind_lite.config import ModelConfig, count_active_parameters, count_parameters, dense_twin, preset
from minimind_lite.course.data_files import data_path
from minimind_lite.data.packing import PackedDataset
from minimind_lite.evaluation.routing import routing_loads
from minimind_lite.model.moe import load_entropy
from minimind_lite.tokenizer import Tokenizer
from minimind_lite.training.config import TrainConfig
from minimind_lite.training.pretrain import run_pretrain
from minimind_lite.training.stage import StageResult, token_store

from . import Measured, Run


def measure(run: Run) -> Measured:
    """Train both and measure."""
    settings, tokenizer = run.settings("moe"), Tokenizer.load(run.work / "tokenizer")
    held_out = data_path("pretrain_heldout", "quick")

    def trained(folder: Path, config: ModelConfig) -> StageResult:
        return run_pretrain(
            data_path("pretrain", "quick"), tokenizer, folder, config,
            TrainConfig.from_settings(settings, progress=False), block_size=settings.block_size, eval_data=held_out,
            resume=run.resume,
        )  # fmt: skip

    config = preset(settings.preset, vocab_size=tokenizer.vocab_size)
    experts, dense = trained(run.folder("moe"), config), trained(run.folder("moe") / "dense", dense_twin(config))
    store = token_store(held_out, "text", tokenizer, run.folder("moe") / "tokens")
    entropies = load_entropy(routing_loads(experts.model, PackedDataset(store, settings.block_size)))
    return {
        "loss": experts.training.history[-1]["eval_loss"],
        "dense_loss": dense.training.history[-1]["eval_loss"],
        "router_entropy": float(entropies.mean()),
        "router_entropy_lowest_layer": float(entropies.min()),
        "active_parameters": count_active_parameters(config),
        "parameters": count_parameters(config),
        "dense_parameters": count_parameters(dense_twin(config)),
        "seconds": experts.training.seconds,
        "dense_seconds": dense.training.seconds,
    }, experts.training.history
