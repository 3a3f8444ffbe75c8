"""Data: tokenizing against the bare `tokenizers`, reading packed batches against slicing, opening a large store.

The texts are the course's; the tokenizer is trained on them first. The store that is opened holds random documents of
50 to 150 tokens and lies in the system's cache.
"""

import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
import torch

from minimind_lite.data.documents import Document, TokenStore, text_documents, token_store
from minimind_lite.data.packing import PackedDataset
from minimind_lite.data.records import read_records
from minimind_lite.files import repository_root
from minimind_lite.tokenizer import Tokenizer
from minimind_lite.training.loop import DataOrder
from subjects import DifferentWork, Run
from subjects.report import Goal, alone, compare, interleave

PEERS = ("tokenizers", "slicing")
MICRO_BATCH, BLOCK = 8, 512
PASSES, SLICING_PASSES = 5, 20  # a single one takes milliseconds
SHARE_OF_TOKENIZERS, READ_TOKENS, OPEN_SECONDS = 0.9, 50e6, 1.0  # the goals


def measure(run: Run) -> list[dict[str, Any]]:
    """MB a second tokenized, tokens a second read, seconds to open a store."""
    size, rows = run.amounts, []
    records = read_records(repository_root() / "data_samples" / "pretrain", "text")
    texts = [record.text for _, record in zip(range(size.texts), records, strict=False)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tokenizer = Tokenizer.train(texts, vocab_size=size.vocab)
        tokenizer.save(folder)
        store = TokenStore.write(folder / "texts.tokens", text_documents(texts, tokenizer), tokenizer.fingerprint)
        if "tokenizers" in run.peers:
            rows += tokenizing(run, texts, tokenizer, folder)
        if "slicing" in run.peers:
            rows += reading(run, store)
        rows += opening(run, folder)
    return rows


def tokenizing(run: Run, texts: list[str], tokenizer: Tokenizer, folder: Path) -> list[dict[str, Any]]:
    """Texts to documents, and a JSON Lines file to a store, as a share of what encode_batch alone reaches.

    The peer takes the tokenizer's file as it is; ours cuts words in one pass, and encodes in a thread of its own.
    """
    bare = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    file = folder / "texts.jsonl"
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    theirs = [one.ids for one in bare.encode_batch(texts, add_special_tokens=False)]
    ours = [document.ids[1:-1].tolist() for document in text_documents(texts, tokenizer)]
    if ours != theirs:
        raise DifferentWork("the bare tokenizer gives other tokens than ours")
    arms: dict[str, Callable[[], object]] = {
        "documents": lambda: list(text_documents(texts, tokenizer)),
        "store": lambda: token_store(file, "text", tokenizer, Path(tempfile.mkdtemp(dir=folder))),
        "tokenizers": lambda: [one.ids for one in bare.encode_batch(texts, add_special_tokens=False)],
    }
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    times, work = interleave(arms, run), dict.fromkeys(arms, megabytes)
    names = {"documents": "data: texts to documents", "store": "data: JSON Lines file to token store"}
    goal = Goal("ratio", SHARE_OF_TOKENIZERS)
    return [compare(name, "MB", run, times, work, "tokenizers", ours=arm, goal=goal) for arm, name in names.items()]


def reading(run: Run, store: TokenStore) -> list[dict[str, Any]]:
    """Packed batches through the loop's reader; the peer cuts the token file into pieces and knows no documents.

    Laid out from the plan, as in the first epochs, and copied from assembled blocks, as in a run of more than two.
    """
    planned, assembled = PackedDataset(store, BLOCK), PackedDataset(store, BLOCK)
    assembled.assemble()
    tokens = np.array(store.tokens)
    order, width = DataOrder(len(planned), MICRO_BATCH, 1, 0), MICRO_BATCH * BLOCK
    starts = range(0, len(tokens) - width + 1, width)

    def read(dataset: PackedDataset, passes: int) -> Callable[[], None]:
        def work() -> None:
            for _ in order.batches(dataset, 0, passes * order.steps_per_epoch):
                pass

        return work

    def slicing() -> None:
        for _ in range(SLICING_PASSES):
            for start in starts:
                torch.from_numpy(tokens[start : start + width].astype(np.int64)).view(MICRO_BATCH, BLOCK)

    names = {"planned": "laid out from the plan", "assembled": "from assembled blocks"}
    work = {"planned": float(planned.blocks.positions), "assembled": float(PASSES * planned.blocks.positions),
            "slicing": float(SLICING_PASSES * len(starts) * width)}  # fmt: skip
    arms = {"planned": read(planned, 1), "assembled": read(assembled, PASSES), "slicing": slicing}
    times, padding = interleave(arms, run), {"ours": round(1 - planned.fill_share, 3), "peer": 0.0}
    return [
        compare(
            f"data: reading packed batches, {name}", "tokens", run, times, work, "slicing", ours=arm,
            goal=Goal("ours", READ_TOKENS) if arm == "assembled" else None, padding_share=padding,
        )
        for arm, name in names.items()
    ]  # fmt: skip


def random_documents(count: int) -> Iterator[Document]:
    """Documents of 50 to 150 random tokens."""
    draw = np.random.default_rng(0)
    tokens = draw.integers(3, 6400, size=1 << 16).astype(np.uint16)
    lengths, starts = draw.integers(50, 151, size=count), draw.integers(len(tokens) - 150, size=count)
    for start, length in zip(starts.tolist(), lengths.tolist(), strict=True):
        yield Document(tokens[start : start + length])


def opening(run: Run, folder: Path) -> list[dict[str, Any]]:
    """Seconds until a store is open, its content checked, and until its blocks are planned."""
    count, path = run.amounts.documents, folder / "large.tokens"
    store = TokenStore.write(path, random_documents(count), "bench")
    megabytes = round(path.stat().st_size / 1e6)
    arms: dict[str, Callable[[], object]] = {
        "open": lambda: TokenStore.open(path, "bench"),
        "plan": lambda: PackedDataset(store, BLOCK),
    }
    times, amount = interleave(arms, run), f"a store of {count:,} documents ({megabytes:,} MB)"
    limit = Goal("ours", OPEN_SECONDS, at_most=True)
    return [
        alone(f"data: opening {amount}", "seconds of wall time", times["open"].wall, limit),
        alone(f"data: planning the blocks of {amount}", "seconds of wall time", times["plan"].wall),
    ]
