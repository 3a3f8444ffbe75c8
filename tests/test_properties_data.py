"""What holds for any data: packing loses nothing, what is read can be rendered, and the rest is an error of ours."""

import contextlib
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minimind_lite.data.documents import Document, StoreError, TokenStore
from minimind_lite.data.exams import read_exam
from minimind_lite.data.packing import PackedDataset, pack
from minimind_lite.data.records import DataError, parse_line
from minimind_lite.model.transformer import IGNORED_TARGET
from minimind_lite.tokenizer import Tokenizer

QUICK = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
KINDS = ("text", "conversation", "preference", "reasoning", "reasoning_off")


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.train(["hello world, 你好"] * 5, vocab_size=290)


@QUICK
@given(st.lists(st.integers(0, 40), max_size=30), st.integers(1, 16))
def test_every_input_position_is_packed_once_and_no_block_overflows(lengths: list[int], block_size: int) -> None:
    blocks = pack(lengths, block_size)
    seen = [(one.document, at) for block in blocks for one in block for at in range(one.start, one.stop)]
    assert sorted(seen) == [(number, at) for number, length in enumerate(lengths) for at in range(length)]
    assert all(0 < sum(map(len, block)) <= block_size for block in blocks)
    fullest = sorted(sum(map(len, block)) for block in blocks)
    assert len(fullest) < 2 or fullest[0] + fullest[1] > block_size  # else best fit would have joined them


@QUICK
@given(st.lists(st.integers(2, 30), min_size=1, max_size=12), st.integers(2, 16), st.randoms(use_true_random=False))
def test_targets_are_the_next_token_of_the_same_document(lengths: list[int], block_size: int, random: Any) -> None:
    documents, masks = [], {}
    for number, length in enumerate(lengths):
        mask = [random.randrange(2) for _ in range(length)]
        documents.append(Document(np.arange(length) + 100 * number, np.array(mask, dtype=np.uint8)))
        masks |= {100 * number + at: marked for at, marked in enumerate(mask)}
    trained = []
    for item in PackedDataset(documents, block_size):
        rows = zip(*(item[name].tolist() for name in ("input_ids", "targets", "document_ids")), strict=True)
        for token, target, document in rows:
            if document < 0:
                assert (token, target) == (0, IGNORED_TARGET)
            elif target == IGNORED_TARGET:
                assert not masks[token + 1]
            else:
                assert target == token + 1 and masks[target]
                trained.append(target)
    assert sorted(trained) == sorted(t for t, marked in masks.items() if marked and t % 100)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
CALLS = st.lists(st.fixed_dictionaries({"name": st.text(max_size=4), "arguments": JSON}), max_size=2)
MESSAGE = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "user", "assistant", "tool"])},
    optional={
        "content": st.none() | st.text(max_size=9) | JSON,
        "reasoning_content": st.none() | st.text(max_size=9),
        "tools": JSON | st.lists(st.dictionaries(st.text(max_size=4), JSON, max_size=2), max_size=2).map(json.dumps),
        "tool_calls": JSON | CALLS | CALLS.map(json.dumps),
    },
)
USUAL = st.lists(MESSAGE, max_size=2).map(
    lambda some: [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}, *some]
)
LINE = st.fixed_dictionaries(
    {},
    optional={"text": st.text(max_size=20) | JSON, "conversations": USUAL | JSON, "chosen": USUAL, "rejected": USUAL},
)


@QUICK
@given(LINE, st.sampled_from(KINDS))
def test_what_is_read_can_be_rendered_and_the_rest_is_a_data_error(
    tokenizer: Tokenizer, line: dict[str, Any], kind: Any
) -> None:
    try:
        record = parse_line(json.dumps(line), kind, where="f.jsonl, line 7")
    except DataError as error:
        assert str(error).startswith("f.jsonl, line 7")
        return
    if kind == "text":
        tokenizer.encode(record.text)
    elif kind == "preference":
        for turns in (record.chosen, record.rejected):
            tokenizer.render([turn.model_dump(exclude_none=True) for turn in turns])
    else:
        tokenizer.render(record.messages)


GOOD = json.dumps({
    "text": "hello", "conversations": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}],
}).encode()  # fmt: skip


def harmed(content: bytes) -> st.SearchStrategy[bytes]:
    """Cut, with a bit flipped, with something put in, or nested and huge."""
    place = st.integers(0, len(content) - 1)
    cut = place.map(lambda at: content[:at])
    flipped = st.tuples(place, st.integers(0, 7)).map(
        lambda one: content[: one[0]] + bytes([content[one[0]] ^ 1 << one[1]]) + content[one[0] + 1 :]
    )
    put_in = st.tuples(place, st.binary(max_size=12)).map(lambda one: content[: one[0]] + one[1] + content[one[0] :])
    huge = st.sampled_from([b"[" * 10**5, b'{"a":' * 10**4, b"9" * 10**5, b'"' + b"a" * 10**6, b"\x00" * 10**5])
    return cut | flipped | put_in | huge


@QUICK
@given(harmed(GOOD), st.sampled_from(KINDS))
def test_a_harmed_line_is_read_or_a_data_error_within_a_second(line: bytes, kind: Any) -> None:
    begun = time.perf_counter()
    with contextlib.suppress(DataError):
        parse_line(line, kind)
    assert time.perf_counter() - begun < 1


@QUICK
@given(st.data())
def test_a_harmed_token_file_never_opens_as_something_else(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "t.tokens"
    documents = [Document(np.arange(5)), Document(np.arange(3))]
    whole = TokenStore.write(path, documents, "f" * 64)
    content = path.read_bytes()
    path.write_bytes(data.draw(harmed(content)))
    try:
        store = TokenStore.open(path, "f" * 64)
    except StoreError:
        return
    assert [store[i].ids.tolist() for i in range(len(store))] == [whole[i].ids.tolist() for i in range(len(whole))]


@QUICK
@given(harmed(b"id,question,A,B,C,D,answer\n0,q,1,2,3,4,A\n"))
def test_a_harmed_exam_is_read_or_a_data_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "e.csv").write_bytes(content)
    with contextlib.suppress(DataError):
        read_exam(tmp_path / "e.csv")
