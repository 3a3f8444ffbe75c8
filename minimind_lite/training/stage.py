"""What every stage shares: how a run begins, and how it ends.

A stage is a function ``run_NAME(data, base, output_dir, config, options, run)``: it chooses the data, the loss and
the module that learns. Opening the base, tokenizing, the loop and writing the result's folder are here, once. With
several processes (torchrun) the main one tokenizes and writes while the others wait.
"""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self, TypeVar

import torch
from accelerate.utils import broadcast_object_list
from torch import nn

from minimind_lite.config import ConfigError
from minimind_lite.data.documents import TokenStore, token_store
from minimind_lite.data.packing import PackedDataset
from minimind_lite.data.records import Kind, data_files
from minimind_lite.files import owned
from minimind_lite.model.losses import LossFn, next_token_loss
from minimind_lite.model.pretrained import load_pretrained, save_pretrained, weights_digest
from minimind_lite.model.transformer import Transformer
from minimind_lite.tokenizer import Tokenizer
from minimind_lite.training.estimate import RunEstimate
from minimind_lite.training.loop import TrainResult, make_accelerator, train
from minimind_lite.training.micro_batch import is_out_of_memory, out_of_memory
from minimind_lite.training.options import RunOptions, TrainConfig

Result = TypeVar("Result")


@dataclass(frozen=True)
class StageResult:
    """What a stage leaves: the trained model, how it went, and the data it saw."""

    model: Transformer
    training: TrainResult
    data: Any  # the dataset: packed blocks, or pairs, or prompts
    folder: Path  # a Hugging Face folder, and metrics.jsonl, checkpoints/, tokens/


class StageRun:
    """One run of one stage, from the folder it starts from to the folder it leaves, which it owns meanwhile.

    Use it in a ``with`` block. base: a model's folder, or for pretraining a tokenizer's. Raises what loading and the
    loop raise: PretrainedError, ConfigError, DataError, CheckpointError, TrainingDiverged, FolderInUse,
    or a tokenizer's error; each names the file.
    """

    def __init__(self, base: str | Path, output_dir: str | Path, config: TrainConfig, run: RunOptions) -> None:
        self.base, self.folder, self.config, self.run = Path(base), Path(output_dir), config, run
        if self.folder.resolve() == self.base.resolve():
            raise ConfigError(f"{output_dir} is the folder that the run starts from: use another one for the result")
        if run.eval_data is not None:
            data_files(run.eval_data)  # whether it is there should not turn out after an hour of tokenizing
        self.accelerator = make_accelerator(config, self.folder)
        self._owner = ExitStack()

    def __enter__(self) -> Self:
        if self.accelerator.is_main_process:
            self._owner.enter_context(owned(self.folder))
        return self

    def __exit__(self, *_: object) -> None:
        self._owner.close()

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The base's tokenizer, which the result gets too."""
        return Tokenizer.load(self.base)

    @cached_property
    def model(self) -> Transformer:
        """The base's model, in float32 whatever its file has: steps below the rounding of bfloat16 would be lost."""
        return load_pretrained(self.base, dtype=torch.float32)

    @cached_property
    def base_digest(self) -> str:
        """Identifies the base's weights in the recipe: a run may not be continued on another base."""
        return weights_digest(self.base)

    def from_main_process(self, work: Callable[[], Result]) -> Result:
        """What ``work`` returns, done by the main process and sent to the others."""
        boxes: list[Any] = [work() if self.accelerator.is_main_process else None]
        if self.accelerator.num_processes > 1:
            broadcast_object_list(boxes)
        return boxes[0]  # type: ignore[no-any-return]  # a Result, as sent by the main process

    def tokens(self, path: str | Path, kind: Kind, max_length: int = 0) -> TokenStore:
        """The records of ``path`` as tokens on disk, under ``tokens/``; see ``data.documents.token_store``."""
        with self.accelerator.main_process_first():
            return token_store(
                path,
                kind,
                self.tokenizer,
                self.folder / "tokens",
                max_length=max_length,
                strict=self.run.strict,
                max_bad_share=self.run.max_bad_share,
            )

    def conversations(self, data: str | Path, block_size: int) -> tuple[PackedDataset, PackedDataset | None, str]:
        """Conversations, and the held-out ones, packed into blocks; and what identifies the tokens in the recipe.

        A conversation longer than a block is cut; one that loses every target is dropped. Both are logged.
        """
        return self.packed(data, "conversation", block_size, max_length=block_size + 1)

    def packed(
        self, data: str | Path, kind: Kind, block_size: int, max_length: int = 0
    ) -> tuple[PackedDataset, PackedDataset | None, str]:
        """Like ``conversations``, for records of any kind, cut to ``max_length`` tokens."""
        files = [data] if self.run.eval_data is None else [data, self.run.eval_data]
        stores = [self.tokens(file, kind, max_length) for file in files]
        blocks, *held_out = (PackedDataset(store, block_size) for store in stores)
        return blocks, held_out[0] if held_out else None, stores[0].path.stem

    def train(
        self,
        model: Transformer,
        data: Any,
        identity: Mapping[str, Any],
        *,
        held_out: Any = None,
        loss_fn: LossFn = next_token_loss,
        collate: Callable[[list[Any]], Any] | None = None,
        measure: Callable[[nn.Module], dict[str, float]] | None = None,
        module: nn.Module | None = None,
        save: Callable[[Transformer, Path], None] | None = None,
    ) -> StageResult:
        """Run the loop, then write the result into the run's folder.

        identity: what a continued run must share besides its settings. module: what learns, if it is more than
        ``model`` (PPO's critic beside it). measure: the stage's own, unless the run has one. save: writes the
        result; None writes a model's folder.
        """
        says = [RunEstimate()] if self.config.progress and self.accelerator.is_main_process else []
        try:
            result = train(
                module or model, data, self.config, self.folder, loss_fn=loss_fn, eval_data=held_out,
                measure=self.run.measure or measure, collate=collate, identity=dict(identity),
                callbacks=[*self.run.callbacks, *says], resume=self.run.resume,
            )  # fmt: skip
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise out_of_memory(error, self.config, self.folder) from error
        if self.accelerator.is_main_process:
            if save is None:
                save_pretrained(model, self.tokenizer, self.folder)
            else:
                save(model, self.folder)
        self.accelerator.wait_for_everyone()
        return StageResult(model, result, data, self.folder)
