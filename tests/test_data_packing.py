"""Packing: full blocks, no leak between documents, every token predicted exactly once."""

import pickle
import tempfile
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from minimind_lite.data import packing
from minimind_lite.data.documents import Document, TokenStore
from minimind_lite.data.packing import (
    IGNORED_TARGET,
    MixedBlocks,
    PackedDataset,
    PaddedDataset,
    pack,
    pad_documents,
)
from minimind_lite.data.records import DataError
from minimind_lite.training.loop import DataOrder


def make(lengths, masked=False, seed=0):
    random = np.random.default_rng(seed)
    return [
        Document(
            random.integers(3, 60_000, length),
            random.integers(0, 2, length).astype(np.uint8) if masked else None,
        )
        for length in lengths
    ]


def pairs_of(documents):
    """Every (document, position, token, next token) that must be trained, computed without packing."""
    return sorted(
        (int(token), int(following))
        for document in documents
        for i, (token, following) in enumerate(zip(document.ids[:-1], document.ids[1:], strict=True))
        if document.loss_mask is None or document.loss_mask[i + 1]
    )


@given(st.lists(st.integers(0, 60), max_size=40), st.integers(1, 24))
def test_the_plan_holds_every_position_once_and_no_block_overflows(lengths, block_size):
    plan = pack(lengths, block_size)
    positions = [(p.document, i) for block in plan for p in block for i in range(p.start, p.stop)]
    assert sorted(positions) == [(d, i) for d, length in enumerate(lengths) for i in range(length)]
    assert all(sum(map(len, block)) <= block_size for block in plan)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=20).filter(lambda x: max(x) > 1), st.booleans())
def test_every_target_is_the_next_token_of_its_own_document(lengths, masked):
    documents = make(lengths, masked)
    trained = []
    for item in PackedDataset(documents, block_size=16):
        for token, target in zip(item["input_ids"].tolist(), item["targets"].tolist(), strict=True):
            if target != IGNORED_TARGET:
                trained.append((token, target))
    assert sorted(trained) == pairs_of(documents)


def test_positions_restart_and_padding_is_marked():
    item = PackedDataset(make([5, 4]), block_size=8)[0]  # 4 + 3 inputs, one position of padding
    assert item["document_ids"].tolist() == [0, 0, 0, 0, 1, 1, 1, -1]
    assert item["position_ids"].tolist() == [0, 1, 2, 3, 0, 1, 2, 0]
    assert item["targets"][-1] == IGNORED_TARGET


def test_short_documents_fill_97_percent_of_the_positions():
    lengths = np.random.default_rng(0).integers(20, 200, 2000).tolist()
    packed, padded = PackedDataset(make(lengths), 512), PaddedDataset(make(lengths), 512)
    assert packed.fill_share >= 0.97
    assert padded.fill_share < 0.3 and len(padded) == 2000
    tokens = sum((item["document_ids"] >= 0).sum() for item in packed)
    assert packed.fill_share == pytest.approx(float(tokens) / (len(packed) * 512))


def test_a_packed_batch_gives_the_loss_of_each_document_alone():
    from minimind_lite.config import preset
    from minimind_lite.model.attention import document_mask
    from minimind_lite.model.transformer import Transformer

    torch.manual_seed(0)
    model = Transformer(preset("pico", vocab_size=60_000))
    documents = make([9, 6, 12, 4, 30])
    batch = {
        k: torch.stack([item[k] for item in PackedDataset(documents, 32)]) for k in PackedDataset(documents, 32)[0]
    }
    packed, count = model.loss(
        batch["input_ids"],
        batch["targets"],
        position_ids=batch["position_ids"],
        attention_mask=document_mask(batch["document_ids"]),
    )
    alone = torch.stack(
        [
            torch.nn.functional.cross_entropy(
                model(torch.tensor(d.ids[None, :-1]))[0], torch.tensor(d.ids[1:]), reduction="sum"
            )
            for d in documents
        ]
    ).sum()
    assert count == sum(len(d) - 1 for d in documents)
    torch.testing.assert_close(packed, alone, rtol=1e-5, atol=1e-4)


def test_nothing_to_train_on_is_refused():
    with pytest.raises(DataError, match="nothing to predict"):
        PackedDataset(make([1, 1]), 8)
    with pytest.raises(DataError, match="block_size must be at least 1"):
        pack([3], 0)


def test_rows_are_as_wide_as_the_longest_document_has_inputs():
    padded = pad_documents(make([4, 7, 2]))
    assert padded["input_ids"].shape == padded["targets"].shape == (3, 6)
    assert (padded["targets"][0, 3:] == IGNORED_TARGET).all() and (padded["targets"][1] >= 0).all()


def block_piece_by_piece(dataset: PackedDataset, index: int) -> dict[str, list[int]]:
    """A block as its definition reads, token by token."""
    block: dict[str, list[int]] = {"input_ids": [], "targets": [], "position_ids": [], "document_ids": []}
    for number, piece in enumerate(dataset.blocks[index]):
        document = dataset.documents[piece.document]
        for position, at in enumerate(range(piece.start, piece.stop)):
            learned = document.loss_mask is None or document.loss_mask[at + 1]
            block["input_ids"].append(int(document.ids[at]))
            block["targets"].append(int(document.ids[at + 1]) if learned else IGNORED_TARGET)
            block["position_ids"].append(position)
            block["document_ids"].append(number)
    for name, fill in (("input_ids", 0), ("targets", IGNORED_TARGET), ("position_ids", 0), ("document_ids", -1)):
        block[name] += [fill] * (dataset.block_size - len(block[name]))
    return block


@settings(max_examples=40, deadline=None)
@given(
    lengths=st.lists(st.integers(0, 40), min_size=1, max_size=25).filter(lambda some: max(some) > 1),
    block_size=st.integers(1, 16), kind=st.sampled_from(["store", "list"]), masked=st.booleans(),
    padded=st.booleans(), seed=st.integers(0, 9),
)  # fmt: skip
def test_blocks_read_at_once_are_those_of_the_definition(
    tmp_path_factory, lengths, block_size, kind, masked, padded, seed
):
    draw = np.random.default_rng(seed)
    documents: Any = [
        Document(draw.integers(0, 60000, n).astype(np.uint16), draw.integers(0, 2, n, np.uint8) if masked else None)
        for n in lengths
    ]
    if kind == "store":
        documents = TokenStore.write(tmp_path_factory.mktemp("s") / "a.tokens", documents, "t")
    dataset = (PaddedDataset if padded else PackedDataset)(documents, block_size)
    asked = draw.permutation(len(dataset))[:5].tolist()
    for index, item in zip(asked, dataset.__getitems__(asked), strict=True):
        assert {name: tensor.tolist() for name, tensor in item.items()} == block_piece_by_piece(dataset, index)
        assert all(tensor.dtype == torch.int64 for tensor in item.values())
    whole = dataset.batch_of(asked)
    dataset.assemble()
    assert (dataset._assembled is not None) == (kind == "store")
    for name, tensor in dataset.batch_of(asked).items():
        assert torch.equal(tensor, whole[name]) and tensor.dtype == torch.int64
        assert torch.equal(tensor, torch.stack([dataset[index][name] for index in asked]))
    last = {name: tensor.tolist() for name, tensor in dataset[-1].items()}
    assert last == block_piece_by_piece(dataset, len(dataset) - 1)
    with pytest.raises(IndexError):
        dataset[len(dataset)]


def test_assembled_blocks_leave_no_file_and_none_are_made_without_room(tmp_path, monkeypatch):
    documents = make([9, 30, 4, 17] * 200)
    store = TokenStore.write(tmp_path / "a.tokens", documents, "t")
    dataset = PackedDataset(store, 16)
    monkeypatch.setattr(packing, "MOST_ASSEMBLED", 100)
    dataset.assemble()
    assert dataset._assembled is None
    monkeypatch.undo()
    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    dataset.assemble()
    assert dataset._assembled is None
    monkeypatch.undo()
    dataset.assemble()
    assert dataset._assembled is not None and [one.name for one in tmp_path.iterdir()] == ["a.tokens"]
    order = list(range(len(dataset)))[::-1]
    read = {name: torch.cat([dataset.batch_of(order[at : at + 7])[name] for at in range(0, len(order), 7)])
            for name in dataset[0]}  # fmt: skip
    sent = pickle.loads(pickle.dumps(dataset))  # noqa: S301
    plain = PackedDataset(documents, 16).batch_of(order)
    assert all(torch.equal(read[name], plain[name]) for name in plain)
    assert all(torch.equal(sent.batch_of(order)[name], plain[name]) for name in plain)


def full(*_: object, **__: object) -> Any:
    raise OSError("No space left on device")


@pytest.mark.parametrize("workers", [0, 1])
def test_the_loops_batches_are_the_datas(tmp_path, workers):
    store = TokenStore.write(tmp_path / "a.tokens", make([9, 30, 4, 17] * 9), "t")
    packed = PackedDataset(store, 16)
    mixed = MixedBlocks([packed, PackedDataset(make([20] * 9), 16)], [0.7, 0.3])
    for data in (packed, mixed):
        order = DataOrder(len(data), 3, 2, 0)
        read = list(order.batches(data, 1, 2 * order.steps_per_epoch, num_workers=workers))
        for step, batches in read:
            asked = order.indices_in(data, step)
            assert len(batches) == len(asked)
            for batch, indices in zip(batches, asked, strict=True):
                rows = [data[index] for index in indices]
                assert all(torch.equal(batch[name], torch.stack([row[name] for row in rows])) for name in rows[0])
        data.assemble()
        again = list(order.batches(data, 1, 2 * order.steps_per_epoch, num_workers=workers))
        flat = [[batch for _, batches in some for batch in batches] for some in (read, again)]
        assert all(torch.equal(a[name], b[name]) for a, b in zip(*flat, strict=True) for name in a)
