"""What pretraining and fine-tuning share: tokens made once, packed blocks, a model folder at the end."""

import hashlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minimind_lite.data.documents import ConversationCounts, Document, conversation_documents, text_documents
from minimind_lite.data.packing import PackedDataset
from minimind_lite.data.records import Kind, data_files, read_records
from minimind_lite.data.store import StoreError, TokenStore
from minimind_lite.model.pretrained import load_pretrained, save_pretrained
from minimind_lite.model.transformer import Transformer
from minimind_lite.tokenizer import Tokenizer
from minimind_lite.training.config import TrainConfig
from minimind_lite.training.loop import TrainResult, train

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class StageResult:
    """What a stage leaves: the trained model, how it went, and the packed data it saw."""

    model: Transformer
    training: TrainResult
    data: Any  # the dataset: packed blocks, or pairs, or prompts
    folder: Path  # a Hugging Face folder, and metrics.jsonl, checkpoints/, tokens/


def load_base(folder: str | Path) -> tuple[Transformer, Tokenizer, dict[str, Any]]:
    """Model and tokenizer of a folder, and what identifies its weights in the recipe of a run that starts from them.

    Raises PretrainedError, ConfigError or a tokenizer's error, naming the file.
    """
    folder = Path(folder)
    model, tokenizer = load_pretrained(folder), Tokenizer.load(folder)
    with (folder / "model.safetensors").open("rb") as weights:
        return model, tokenizer, {"base": hashlib.file_digest(weights, "sha256").hexdigest()}


def token_store(
    path: str | Path, kind: Kind, tokenizer: Tokenizer, cache: Path, *, max_length: int = 0, strict: bool = False
) -> TokenStore:
    """The records of ``path`` as tokens on disk, kept in ``cache`` under a name that changes with what they depend on.

    max_length: where conversations are cut; what was cut is logged. Raises DataError.
    """
    depends_on = f"{tokenizer.fingerprint} {tokenizer.default_system} {kind} {max_length}"
    digest = hashlib.sha256(depends_on.encode())
    for file in data_files(path):
        with file.open("rb") as content:
            digest.update(hashlib.file_digest(content, "sha256").digest())
    store = cache / f"{kind}-{digest.hexdigest()[:16]}.tokens"
    try:
        return TokenStore.open(store, tokenizer.fingerprint)
    except StoreError:  # not there yet, or damaged
        return TokenStore.write(store, _documents(path, kind, tokenizer, max_length, strict), tokenizer.fingerprint)


def train_stage(
    model: Transformer,
    tokenizer: Tokenizer,
    stores: Sequence[TokenStore],
    block_size: int,
    train_config: TrainConfig,
    folder: Path,
    **options: Any,
) -> StageResult:
    """Train on the first of ``stores`` (the second, if there is one, is held out) and save the model in ``folder``."""
    data, *held_out = (PackedDataset(store, block_size) for store in stores)
    identity = options.pop("identity", {}) | {"block_size": block_size, "tokens": stores[0].path.stem}
    eval_data = held_out[0] if held_out else None
    result = train(model, data, train_config, folder, eval_data=eval_data, identity=identity, **options)
    save_pretrained(model, tokenizer, folder)
    return StageResult(model, result, data, folder)


def _documents(path: str | Path, kind: Kind, tokenizer: Tokenizer, max_length: int, strict: bool) -> Iterator[Document]:
    records = read_records(path, kind, strict=strict)
    if kind == "text":
        yield from text_documents((record.text for record in records), tokenizer)
        return
    counts = ConversationCounts()
    yield from conversation_documents((record.messages for record in records), tokenizer, max_length, counts)
    if counts.truncated:
        logger.warning("%s: %d conversations were cut to %d tokens, and %d of them lost every target and were dropped",
                       path, counts.truncated, max_length, counts.dropped)  # fmt: skip
