"""Fine-tuning an adapter: the loss of SFT, while the base stays frozen."""

from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from minimind_lite.config import ConfigError
from minimind_lite.data.documents import Document
from minimind_lite.data.packing import PackedDataset
from minimind_lite.data.store import TokenStore
from minimind_lite.model.lora import LoRAConfig, add_adapter
from minimind_lite.model.lora_files import save_adapter
from minimind_lite.training.config import FromSettings, TrainConfig
from minimind_lite.training.loop import train
from minimind_lite.training.stage import StageResult, load_base, token_store


@dataclass(frozen=True)
class LoRAOptions(LoRAConfig, FromSettings):
    """An adapter's shape, and what it is trained on. Raises ConfigError for a value that cannot work."""

    block_size: int = 512  # tokens in one packed row
    replay: str = ""  # conversations that the base can already answer, mixed in so that it goes on answering them
    replay_share: float = 0.5  # of the tokens in the mixture

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.replay_share < 1:
            raise ConfigError(f"replay_share is a share, from 0 to below 1, not {self.replay_share}")


def run_lora(
    data: str | Path,
    base: str | Path,
    output_dir: str | Path,
    train_config: TrainConfig,
    options: LoRAOptions = LoRAOptions(),
    *,
    eval_data: str | Path | None = None,
    strict: bool = False,
    **train_options: Any,
) -> StageResult:
    """Train an adapter for the model in ``base`` on conversations and leave it in ``output_dir``, in PEFT's format.

    data, eval_data: as ``run_sft`` takes them. train_options: callbacks, measure, resume … as ``train`` takes them.
    The result's model is the base with the adapter on it, called "adapter". A checkpoint holds the adapter only.
    Raises LoRAError, PretrainedError, DataError, CheckpointError, TrainingDiverged.
    """
    folder = Path(output_dir)
    model, tokenizer, identity = load_base(base)
    torch.manual_seed(train_config.seed)
    add_adapter(model, options)
    tokens = partial(token_store, kind="conversation", tokenizer=tokenizer, cache=folder / "tokens", strict=strict)
    paths = [path for path in (data, options.replay, eval_data) if path]
    stores = [tokens(path, max_length=options.block_size + 1) for path in paths]
    documents = _mixture(stores[0], stores[1], options, train_config) if options.replay else stores[0]
    held_out = PackedDataset(stores[-1], options.block_size) if eval_data else None
    identity |= {"lora": asdict(options) | {"replay": ""}, "tokens": [store.path.stem for store in stores]}
    dataset = PackedDataset(documents, options.block_size)
    result = train(model, dataset, train_config, folder, eval_data=held_out, identity=identity, **train_options)
    save_adapter(model, folder)
    return StageResult(model, result, dataset, folder)


def _mixture(own: TokenStore, replay: TokenStore, options: LoRAOptions, config: TrainConfig) -> list[Document]:
    """``own`` as often as its share of the run asks for (once, where the run counts epochs), and replay for the rest.

    Replayed conversations are taken evenly from the whole file, so a short run meets as many kinds as a long one.
    """
    share = options.replay_share
    blocks = config.total_steps * config.micro_batch_size * config.gradient_accumulation_steps
    copies = max(1, round((1 - share) * blocks * options.block_size / own.header["tokens"]))
    wanted = copies * own.header["tokens"] * share / (1 - share)
    every = max(1, round(replay.header["tokens"] / max(wanted, 1)))
    replayed = [replay[i] for i in range(0, len(replay), every)] if share else []
    return [own[i] for i in range(len(own))] * copies + replayed
