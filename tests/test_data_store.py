"""The token file: what goes in comes out, and a bad file is refused."""

import json

import numpy as np
import pytest

from minimind_lite.data.documents import (
    ConversationCounts,
    Document,
    StoreError,
    TokenStore,
    conversation_documents,
    text_documents,
    token_store,
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


@pytest.mark.parametrize("masked", [False, True])
def test_a_changed_body_is_noticed_wherever_it_was_changed(tmp_path, masked):
    path = tmp_path / "t.bin"
    TokenStore.write(path, documents(masked), FINGERPRINT)
    whole = path.read_bytes()
    for at in (1024, 1100, len(whole) - 1):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(StoreError, match="its content was changed"):
            TokenStore.open(path, FINGERPRINT)
    path.write_bytes(whole)
    assert len(TokenStore.open(path, FINGERPRINT)) == 4


@pytest.mark.parametrize(
    "change",
    [
        {"tokens": -2},
        {"tokens": 10**12},
        {"tokens": 61.0},
        {"documents": "4"},
        {"masked": 1},
        {"sha256": None},
        {"bytes": 0},
    ],
)
def test_a_damaged_header_is_a_store_error(tmp_path, change):
    path = tmp_path / "t.bin"
    header = TokenStore.write(path, documents(False), FINGERPRINT).header
    body = path.read_bytes()[1024:]
    for text in (json.dumps(header | change), "[]", "null", "{", "[" * 1000):
        path.write_bytes(b"MMLTOK02" + text.encode().ljust(1016) + body)
        with pytest.raises(StoreError, match="its header is damaged"):
            TokenStore.open(path, FINGERPRINT)
    path.write_bytes(b"MMLTOK02" + json.dumps(header).encode().ljust(1016) + body)
    assert len(TokenStore.open(path, FINGERPRINT)) == 4


def test_a_damaged_cache_is_made_anew_and_one_that_cannot_be_read_is_left_alone(
    tmp_path, tokenizer, caplog, monkeypatch
):
    data = tmp_path / "t.jsonl"
    data.write_text('{"text": "hello world"}\n' * 3)
    store = token_store(data, "text", tokenizer, tmp_path / "tokens")
    good = store.path.read_bytes()
    store.path.write_bytes(good[:-1] + b"x")
    assert token_store(data, "text", tokenizer, tmp_path / "tokens").path.read_bytes() == good
    assert "It is made anew" in caplog.text
    with monkeypatch.context() as patched:
        patched.setattr("minimind_lite.data.documents._body_digest", lambda _: (_ for _ in ()).throw(OSError(5, "EIO")))
        with pytest.raises(OSError, match="EIO"):
            token_store(data, "text", tokenizer, tmp_path / "tokens")
    assert store.path.read_bytes() == good


def test_a_store_is_another_for_another_length_or_limit(tmp_path, tokenizer):
    turns = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "how are you today?"}]
    data = tmp_path / "c.jsonl"
    data.write_text(json.dumps({"conversations": turns}))
    made = [
        token_store(data, "conversation", tokenizer, tmp_path, max_length=length, max_bad_share=share)
        for length, share in ((90, 0.05), (25, 0.05), (90, 0.5))
    ]
    assert len({store.path for store in made}) == 3
    assert len(made[0][0]) == len(made[2][0]) > len(made[1][0]) == 25


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
