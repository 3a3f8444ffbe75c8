"""Packing and token files of millions of documents: the plan of the plain algorithm, in a fraction of its memory."""

import json
import pickle
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minimind_lite.data import documents as module
from minimind_lite.data.documents import Document, TokenStore, text_documents
from minimind_lite.data.packing import PackedDataset, PaddedDataset, Piece, pack
from minimind_lite.training.loop import DataOrder

ROOT = Path(__file__).parents[1]
DOCUMENTS = 300_000


def pack_plainly(lengths: list[int], block_size: int) -> list[list[Piece]]:
    """Best-fit decreasing, one piece at a time, in lists: longest first, into the tightest room, the newest block."""
    pieces = [
        Piece(document, start, min(start + block_size, length))
        for document, length in enumerate(lengths)
        for start in range(0, length, block_size)
    ]
    pieces.sort(key=len, reverse=True)
    blocks: list[list[Piece]] = []
    by_room: list[list[int]] = [[] for _ in range(block_size + 1)]
    for piece in pieces:
        room = next((room for room in range(len(piece), block_size) if by_room[room]), block_size)
        if room == block_size:
            by_room[room].append(len(blocks))
            blocks.append([])
        block = by_room[room].pop()
        blocks[block].append(piece)
        by_room[room - len(piece)].append(block)
    return blocks


def traced_peak(work: Callable[[], Any]) -> int:
    """The most bytes that ``work`` held at once, NumPy's arrays included."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def short_lengths(count: int = DOCUMENTS) -> np.ndarray:
    return np.random.default_rng(0).integers(4, 60, count).astype(np.int32)


@settings(deadline=None, max_examples=300)
@given(st.lists(st.integers(-1, 70), max_size=60) | st.lists(st.integers(1, 6), max_size=60), st.integers(1, 32))
def test_the_plan_is_the_one_of_the_plain_algorithm(lengths: list[int], block_size: int) -> None:
    plain = pack_plainly(lengths, block_size)
    assert list(pack(lengths, block_size)) == plain
    assert list(pack(np.array(lengths, dtype=np.int32), block_size)) == plain


def test_the_plan_is_the_same_across_the_chunks_in_which_it_is_made() -> None:
    random = np.random.default_rng(1)
    for block_size, longest in ((64, 20), (16, 50)):
        lengths = random.integers(0, longest, 70_000).tolist()
        assert list(pack(lengths, block_size)) == pack_plainly(lengths, block_size)


def test_a_plan_is_read_like_a_list() -> None:
    lengths = [3, 5, 2, 6, 20]
    plan, plain = pack(lengths, 8), pack_plainly(lengths, 8)
    assert len(plan) == len(plain) == 5
    for part in (slice(2), slice(1, 100, 2), slice(None, None, -1), 0, -1):
        assert plan[part] == plain[part]
    assert all(type(value) is int for piece in plan[0] for value in (piece.document, piece.start, piece.stop))
    assert plan.positions == 36
    assert list(plan.unpacked()) == [[piece] for block in plain for piece in block]
    for outside in (5, -6):
        with pytest.raises(IndexError):
            plan[outside]


def test_a_plan_takes_8_bytes_a_piece_and_its_making_20() -> None:
    lengths = short_lengths()
    plan = pack(lengths, 512)
    held = sum(array.nbytes for array in (plan.documents, plan.parts, plan.lengths, plan.bounds))
    assert held <= 8 * DOCUMENTS
    assert traced_peak(lambda: pack(lengths, 512)) <= 20 * DOCUMENTS + 2**23  # lists: 150 bytes


def stream(count: int, masked: bool) -> Iterator[Document]:
    mask = np.ones(4, dtype=np.uint8) if masked else None
    return (Document(np.arange(4) + number % 1000, mask) for number in range(count))


@pytest.mark.parametrize("masked", [False, True])
def test_a_store_is_written_in_memory_that_does_not_grow(tmp_path: Path, masked: bool) -> None:
    path, fingerprint = tmp_path / "t.tokens", "a" * 64
    assert traced_peak(lambda: TokenStore.write(path, stream(30_000, masked), fingerprint)) < 2**20
    assert [one.name for one in tmp_path.iterdir()] == ["t.tokens"]
    store = TokenStore.open(path, fingerprint)
    assert len(store) == 30_000 and store[29_999].ids.tolist() == [999, 1000, 1001, 1002]


def test_a_store_is_packed_in_24_bytes_a_document(tmp_path: Path) -> None:
    store = TokenStore.write(tmp_path / "t.tokens", stream(200_000, False), "a" * 64)
    assert traced_peak(lambda: PackedDataset(store, 64)) <= 24 * 200_000 + 2**23  # lists: 190 bytes


def test_the_lengths_of_a_store_are_read_in_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = [Document(np.zeros(length, dtype=np.int64)) for length in (3, 0, 1, 7, 2, 9, 4)]
    store = TokenStore.write(tmp_path / "t.tokens", given, "a" * 64)
    for size in (1, 3, 7, 100):
        monkeypatch.setattr(module, "_CHUNK", size)
        assert store.lengths().tolist() == [3, 0, 1, 7, 2, 9, 4]
    assert list(PackedDataset(store, 4).blocks) == list(PackedDataset(given, 4).blocks)
    assert len(PaddedDataset(store, 4)) == 7  # 2, 4 + 2, 1, 4 + 4, 3 positions


def test_a_store_is_sent_to_another_process_by_name(tmp_path: Path) -> None:
    store = TokenStore.write(tmp_path / "t.tokens", stream(2000, True), "a" * 64)
    sent = pickle.dumps(store)
    assert len(sent) < 1000
    received = pickle.loads(sent)  # noqa: S301
    assert received[7].ids.tolist() == store[7].ids.tolist() and received.header == store.header


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the process's own pages from /proc")
def test_the_pages_of_a_store_are_let_go_of(tmp_path: Path) -> None:
    store = TokenStore.write(tmp_path / "t.tokens", [Document(np.zeros(100_000))] * 400, "a" * 64)  # 80 MB

    def mapped() -> int:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        return int(status.split("RssFile:")[1].split()[0]) // 1024

    before, first = mapped(), store[0]
    for number in range(len(store)):
        assert not store[number].ids.any()
    assert mapped() - before < 60  # without: 80
    assert not first.ids.any()  # what was read earlier is still there


def test_batches_for_the_tokenizer_hold_so_many_texts_or_characters() -> None:
    seen: list[list[int]] = []

    class Counting:
        end_of_text_id = 0

        def encode_batch(self, texts: list[str]) -> list[list[int]]:
            seen.append([len(text) for text in texts])
            return [[len(text)] for text in texts]

    tokenizer: Any = Counting()
    made = text_documents(["a" * size for size in (1, 2, 3, 400_000, 700_000, 5, 2_000_000, 6)], tokenizer, 3)
    assert [one.ids[1] for one in made] == [1, 2, 3, 400_000, 700_000, 5, 2_000_000, 6]
    assert seen == [[1, 2, 3], [400_000, 700_000], [5, 2_000_000], [6]]


def test_the_order_of_a_run_is_made_step_by_step() -> None:
    order = DataOrder(200_000, 4, 1, seed=0)
    batches = order.batches(range(200_000), 0, 500_000)  # ten epochs, two million examples
    assert traced_peak(lambda: next(batches)) < 2**20
    assert [step for step, _ in (next(batches), next(batches))] == [1, 2]


def test_the_benchmark_runs(tmp_path: Path) -> None:
    pytest.importorskip("resource", reason="Windows counts a process's memory in another way")
    output = tmp_path / "memory.json"
    script = [sys.executable, ROOT / "benchmarks" / "memory.py", "--lines", "300", "600", "--output", output]
    subprocess.run([*script, "--folder", tmp_path], check=True, capture_output=True, timeout=300)
    report = json.loads(output.read_text(encoding="utf-8"))
    assert [report[f"{lines} lines"]["documents"] for lines in (300, 600)] == [300, 600]
    assert 0 <= report["difference_megabytes"] < 100 < report["600 lines"]["peak_megabytes"]
    assert [one.name for one in tmp_path.iterdir()] == ["memory.json"]
