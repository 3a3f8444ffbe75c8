"""Fine-tuning an adapter: the loss of SFT, while the base stays frozen."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch.utils.data import ConcatDataset, Subset

from minimind_lite.data.documents import TokenStore
from minimind_lite.data.packing import Documents, PackedDataset
from minimind_lite.model.lora import LoRAConfig, add_adapter, save_adapter
from minimind_lite.settings import ShareBelow1
from minimind_lite.training.options import RunOptions, StageOptions, TrainConfig
from minimind_lite.training.stage import StageResult, StageRun


@dataclass(frozen=True)
class LoRAOptions(LoRAConfig, StageOptions):
    """An adapter's shape, and what it is trained on. Raises ConfigError for a value that cannot work."""

    replay: str = ""  # conversations that the base can already answer, mixed in so that it keeps answering them
    replay_share: ShareBelow1 = 0.5  # their share of the mixture's tokens


def run_lora(
    data: str | Path,
    base: str | Path,
    output_dir: str | Path,
    config: TrainConfig,
    options: LoRAOptions = LoRAOptions(),
    run: RunOptions = RunOptions(),
) -> StageResult:
    """Train an adapter for the model in ``base`` on conversations and leave it in ``output_dir``, in PEFT's format.

    data, run.eval_data: as in ``run_sft``. The result's model is the base with the adapter on it, called
    "adapter". A checkpoint holds the adapter only.
    Raises LoRAError, PretrainedError, DataError, CheckpointError, TrainingDiverged.
    """
    with StageRun(base, output_dir, config, run) as stage:
        digest = stage.base_digest
        torch.manual_seed(config.seed)
        add_adapter(stage.model, options)
        paths = [path for path in (data, options.replay, run.eval_data) if path]
        stores = [stage.tokens(path, "conversation", options.block_size + 1) for path in paths]
        documents: Documents = stores[0]
        if options.replay:
            per_step = config.micro_batch_size * config.gradient_accumulation_steps * stage.accelerator.num_processes
            documents = _mixture(stores[0], stores[1], options, config.total_steps * per_step)
        held_out = PackedDataset(stores[-1], options.block_size) if run.eval_data else None
        adapter = asdict(options) | {"replay": ""}
        identity = {"base": digest, "lora": adapter, "tokens": [store.path.stem for store in stores]}
        dataset = PackedDataset(documents, options.block_size)
        return stage.train(stage.model, dataset, identity, held_out=held_out, save=save_adapter)


def _mixture(own: TokenStore, replay: TokenStore, options: LoRAOptions, blocks: int) -> Documents:
    """``own``, repeated to fill its share of the run (once, if the run counts epochs), and replay for the rest.

    Replayed conversations are taken evenly from the whole file, so a short run sees as many kinds as a long one.
    """
    share = options.replay_share
    copies = max(1, round((1 - share) * blocks * options.block_size / own.header["tokens"]))
    wanted = copies * own.header["tokens"] * share / (1 - share)
    every = max(1, round(replay.header["tokens"] / max(wanted, 1)))
    parts: list[Any] = [own] * int(copies)  # read when they are needed, never a list of all documents
    if share:
        parts.append(Subset(cast(Any, replay), range(0, len(replay), every)))
    return ConcatDataset(parts)
