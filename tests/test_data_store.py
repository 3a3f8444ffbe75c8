"""The token file: what goes in comes out, and a bad file is refused."""

import numpy as np
import pytest

from minimind_lite.data.documents import (
    ConversationCounts,
    Document,
    StoreError,
    TokenStore,
    conversation_documents,
    text_documents,
)
from minimind_lite.data.packing import PackedDataset
from minimind_lite.tokenizer import Tokenizer

FINGERPRINT = "a" * 64


def documents(masked):
    random = np.random.default_rng(1)
    return [
        Document(random.integers(0, 65_536, n), random.integers(0, 2, n).astype(np.uint8) if masked else None)
        for n in (3, 1, 50, 7)
    ]


@pytest.mark.parametrize("masked", [False, True])
def test_documents_come_back_the_same(tmp_path, masked):
    given = documents(masked)
    store = TokenStore.write(tmp_path / "sub" / "t.bin", given, FINGERPRINT)
    assert len(store) == len(given)
    for before, after in zip(given, [store[i] for i in range(len(store))], strict=True):
        np.testing.assert_array_equal(before.ids, after.ids)
        if masked:
            np.testing.assert_array_equal(before.loss_mask, after.loss_mask)
        else:
            assert after.loss_mask is None
    in_memory, on_disk = PackedDataset(given, 16), PackedDataset(store, 16)
    assert all((in_memory[i][k] == on_disk[i][k]).all() for i in range(len(in_memory)) for k in in_memory[i])
    with pytest.raises(IndexError):
        store[len(store)]


def test_a_store_of_another_tokenizer_is_refused(tmp_path):
    TokenStore.write(tmp_path / "t.bin", documents(False), FINGERPRINT)
    with pytest.raises(StoreError, match="made with another tokenizer"):
        TokenStore.open(tmp_path / "t.bin", "b" * 64)


@pytest.mark.parametrize("keep", [0, 500, 1030, -1])
def test_a_truncated_file_is_noticed(tmp_path, keep):
    path = tmp_path / "t.bin"
    TokenStore.write(path, documents(True), FINGERPRINT)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(StoreError, match=r"not a token file|cut short"):
        TokenStore.open(path, FINGERPRINT)


def test_a_missing_file_and_documents_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(StoreError, match="no such token file"):
        TokenStore.open(tmp_path / "none.bin", FINGERPRINT)
    with pytest.raises(StoreError, match=r"document 0: id 65536 does not fit"):
        TokenStore.write(tmp_path / "t.bin", [Document(np.array([65_536]))], FINGERPRINT)
    with pytest.raises(StoreError, match="one kind"):
        TokenStore.write(tmp_path / "t.bin", documents(True) + documents(False), FINGERPRINT)
    with pytest.raises(StoreError, match="no document"):
        TokenStore.write(tmp_path / "t.bin", [], FINGERPRINT)


def test_a_write_that_fails_leaves_the_old_file_and_no_litter(tmp_path):
    path = tmp_path / "t.bin"
    TokenStore.write(path, documents(False), FINGERPRINT)
    before = path.read_bytes()

    def breaks():
        yield documents(False)[0]
        raise RuntimeError("the source went away")

    with pytest.raises(RuntimeError):
        TokenStore.write(path, breaks(), FINGERPRINT)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer.train(["hello world, how are you today? 你好,世界。"] * 20, vocab_size=320)


def test_a_text_document_starts_and_ends_with_the_end_of_text_token(tokenizer):
    (document,) = text_documents(["hello 世界"], tokenizer)
    assert document.ids[0] == document.ids[-1] == tokenizer.end_of_text_id
    assert tokenizer.decode(document.ids[1:-1].tolist()) == "hello 世界"


def test_a_conversation_whose_targets_are_cut_away_is_dropped_and_counted(tokenizer):
    long = [{"role": "user", "content": "hello " * 50}, {"role": "assistant", "content": "hi"}]
    short = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "hi"}]
    counts = ConversationCounts()
    (document,) = conversation_documents([long, short], tokenizer, max_length=40, counts=counts)
    assert (counts.kept, counts.truncated, counts.dropped) == (1, 1, 1)
    trained = [int(i) for i, m in zip(document.ids, document.loss_mask, strict=True) if m]
    assert tokenizer.decode(trained) == "hi<|im_end|>"
