"""Attention against a written-out softmax and torch's SDPA: groups, masks, caches, empty rows."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from model_kit import GrowingCache, random_model
from torch import Tensor

from minimind_lite.config import preset
from minimind_lite.model import attention
from minimind_lite.model.attention import (
    LONG_ROW,
    Documents,
    attend,
    causal_mask,
    document_mask,
    open_empty_rows,
    packed_mask,
    repeat_heads,
)
from minimind_lite.model.losses import next_token_loss
from minimind_lite.model.transformer import Transformer


def _written_out(queries: Tensor, keys: Tensor, values: Tensor, allowed: Tensor) -> Tensor:
    """Textbook attention, one query head at a time, in float64."""
    group = queries.shape[1] // keys.shape[1]
    heads = []
    for head in range(queries.shape[1]):
        q, k, v = queries[:, head].double(), keys[:, head // group].double(), values[:, head // group].double()
        scores = q @ k.mT / math.sqrt(q.shape[-1])
        heads.append(scores.masked_fill(~allowed, -math.inf).softmax(-1) @ v)
    return torch.stack(heads, dim=1).float()


@pytest.mark.parametrize("kv_heads", [1, 2, 4])
@pytest.mark.parametrize(("query_length", "key_length"), [(7, 7), (1, 7), (3, 7), (1, 1)])
def test_attend_equals_the_book(kv_heads: int, query_length: int, key_length: int) -> None:
    torch.manual_seed(0)
    queries = torch.randn(2, 4, query_length, 16)
    keys, values = torch.randn(2, 2, kv_heads, key_length, 16)
    allowed = causal_mask(query_length, key_length)
    expected = _written_out(queries, keys, values, allowed)
    torch.testing.assert_close(attend(queries, keys, values), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(attend(queries, keys, values, allowed[None, None]), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("masked", [False, True])
def test_repeated_keys_equal_grouped_ones(masked: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    queries, (keys, values) = torch.randn(2, 4, 5, 16), torch.randn(2, 2, 2, 5, 16)
    mask = document_mask(torch.tensor([[0, 0, 1, 1, 1], [0, 1, 1, -1, -1]])) if masked else None
    grouped = attend(queries, keys, values, mask)
    monkeypatch.setattr(attention, "_kernel_shares_heads", lambda *_: False)  # as on a GPU without such a kernel
    torch.testing.assert_close(attend(queries, keys, values, mask), grouped, rtol=1e-5, atol=1e-5)
    theirs = F.scaled_dot_product_attention(
        queries, repeat_heads(keys, 2), repeat_heads(values, 2), attn_mask=mask, is_causal=mask is None
    )
    torch.testing.assert_close(grouped, theirs, rtol=1e-5, atol=1e-5)
    assert torch.equal(repeat_heads(keys, 2), keys.repeat_interleave(2, dim=1))


def test_sdpa_never_gets_a_mask_and_is_causal_together(monkeypatch: pytest.MonkeyPatch) -> None:
    calls, real = [], F.scaled_dot_product_attention

    def spy(*args: Tensor, **options: object) -> Tensor:
        calls.append((options["attn_mask"] is not None, options["is_causal"]))
        return real(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(F, "scaled_dot_product_attention", spy)
    model = random_model(preset("pico", num_hidden_layers=1))
    ids, cache = torch.arange(6)[None], GrowingCache()
    model(ids)
    model(ids, attention_mask=causal_mask(6, 6)[None, None])
    cache.step(model, ids[:, :2])
    cache.step(model, ids[:, 2:5])
    cache.step(model, ids[:, 5:])
    assert calls == [(False, True), (True, False), (False, True), (True, False), (False, False)]


def test_causal_mask_lines_up_with_the_last_key() -> None:
    assert causal_mask(2, 4).tolist() == [[True, True, True, False], [True, True, True, True]]


def test_document_mask_is_causal_within_documents_and_leaves_no_row_empty() -> None:
    mask = document_mask(torch.tensor([[0, 0, 1, 1, -1, -1]]))
    assert mask.shape == (1, 1, 6, 6) and mask.dtype == torch.bool
    assert mask[0, 0].int().tolist() == [
        [1, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [0, 0, 1, 0, 0, 0],
        [0, 0, 1, 1, 0, 0],
        [0, 0, 0, 0, 1, 0],
        [0, 0, 0, 0, 1, 1],
    ]


def test_packed_documents_get_the_logits_they_get_alone() -> None:
    model = random_model(preset("pico"))
    documents = [torch.randint(0, 6400, (1, length)) for length in (5, 1, 9)]
    document_ids = torch.tensor([[0] * 5 + [1] + [2] * 9 + [-1] * 3])
    position_ids = torch.cat([torch.arange(n) for n in (5, 1, 9, 3)])[None]
    packed = torch.cat([*documents, torch.zeros(1, 3, dtype=torch.int64)], dim=1)
    logits = model(packed, position_ids=position_ids, attention_mask=document_mask(document_ids))
    alone = torch.cat([model(document) for document in documents], dim=1)
    torch.testing.assert_close(logits[:, :15], alone, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("sizes", [(10,), (1,) * 10, (4, 1, 3, 2), (9, 1), (1, 9)])
@pytest.mark.parametrize("qk_norm", [False, True])
def test_cached_pieces_give_the_logits_of_one_pass(sizes: tuple[int, ...], qk_norm: bool) -> None:
    model, cache = random_model(preset("pico", qk_norm=qk_norm)), GrowingCache()
    ids = torch.randint(0, 6400, (2, 10))
    pieces = [cache.step(model, piece) for piece in ids.split(sizes, dim=1)]
    torch.testing.assert_close(torch.cat(pieces, dim=1), model(ids), rtol=1e-5, atol=1e-5)


def _left_padded(lengths: list[int], width: int) -> tuple[Tensor, Tensor]:
    """Positions and mask of prompts that all end at the same column."""
    column = torch.arange(width)
    real = column >= width - torch.tensor(lengths)[:, None]
    mask = real[:, None, None, :] & causal_mask(width, width)
    return (column - (width - torch.tensor(lengths)[:, None])).clamp(min=0), mask


def test_left_padding_gives_the_logits_of_each_prompt_alone() -> None:
    model = random_model(preset("pico"))
    ids = torch.randint(0, 6400, (3, 8))
    position_ids, mask = _left_padded([8, 3, 1], 8)
    logits = model(ids, position_ids=position_ids, attention_mask=mask)
    for row, length in enumerate([8, 3, 1]):
        alone = model(ids[row : row + 1, -length:])
        torch.testing.assert_close(logits[row : row + 1, -length:], alone, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_rows_that_may_look_nowhere_give_no_nan(dtype: torch.dtype) -> None:
    model = random_model(preset("pico", qk_norm=True)).to(dtype)
    ids = torch.randint(0, 6400, (2, 6))
    position_ids, mask = _left_padded([6, 2], 6)
    assert not mask[1, 0, 0].any()
    targets = ids.clone()
    targets[1, :4] = -100
    loss, _ = model.loss(ids, targets, position_ids=position_ids, attention_mask=mask)
    loss.backward()
    assert loss.isfinite()
    assert model(ids, position_ids=position_ids, attention_mask=mask).isfinite().all()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name


def test_open_empty_rows_touches_only_empty_rows() -> None:
    mask = torch.tensor([[True, False], [False, False]])[None, None]
    assert open_empty_rows(mask).tolist() == [[[[True, False], [True, True]]]]


@pytest.mark.parametrize(
    "mask", [torch.ones(2, 6, dtype=torch.bool), torch.zeros(2, 1, 6, 6), torch.ones(2, 1, 6, 6, dtype=torch.int64)]
)
def test_a_mask_of_another_kind_is_refused_with_the_way_out(mask: Tensor) -> None:
    with pytest.raises(ValueError, match=r"bool, \(batch, 1, q_len, k_len\).*mask\[:, None, None, :\]"):
        random_model(preset("pico"))(torch.zeros(2, 6, dtype=torch.int64), attention_mask=mask)


def test_a_cache_lies_where_it_was_asked_for() -> None:
    cache = attention.KVCache(preset("pico"), 1, 4, device="meta", dtype=torch.float16)
    assert {one.device.type for one in (cache.keys, cache.values)} == {"meta"}
    assert {one.dtype for one in (cache.keys, cache.values)} == {torch.float16}


@settings(max_examples=40, deadline=None)
@given(
    lengths=st.lists(st.lists(st.integers(1, 7), max_size=5), min_size=1, max_size=3).filter(any),
    padding=st.integers(0, 4), kv_heads=st.sampled_from([1, 2, 4]),
)  # fmt: skip
def test_documents_one_by_one_equal_the_mask(lengths: list[list[int]], padding: int, kv_heads: int) -> None:
    seq = max(map(sum, lengths)) + padding or 1
    ids = torch.full((len(lengths), seq), -1)
    for row, some in zip(ids, lengths, strict=True):
        row[: sum(some)] = torch.arange(len(some)).repeat_interleave(torch.tensor(some, dtype=torch.int64))
    torch.manual_seed(0)
    inputs = [torch.randn(len(ids), heads, seq, 8, requires_grad=True) for heads in (4, kv_heads, kv_heads)]
    real = (ids >= 0)[:, None, :, None]
    results = []
    for mask in (document_mask(ids), Documents.of(ids)):
        output = attend(*inputs, mask) * real
        results.append([output, *torch.autograd.grad((output * torch.arange(8.0)).sum(), inputs)])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_long_rows_take_the_documents_and_short_ones_the_mask() -> None:
    assert isinstance(packed_mask(torch.zeros(1, LONG_ROW - 1, dtype=torch.int64)), torch.Tensor)
    ids = torch.arange(LONG_ROW)[None] // 200
    ids[0, -3:] = -1
    assert packed_mask(ids) == Documents((((0, 200), (200, 400), (400, LONG_ROW - 3)),))


def test_a_long_packed_row_has_the_loss_of_its_mask() -> None:
    torch.manual_seed(0)
    model = Transformer(preset("pico", vocab_size=50))
    ids = torch.randint(0, 50, (2, LONG_ROW + 1))
    documents = torch.tensor([100, 37, 300, LONG_ROW - 437]).expand(2, 4)
    numbers = torch.stack([torch.arange(4).repeat_interleave(one) for one in documents])
    positions = torch.stack([torch.cat([torch.arange(n) for n in one.tolist()]) for one in documents])
    inputs = {"input_ids": ids[:, :-1], "targets": ids[:, 1:], "position_ids": positions}
    total, items = next_token_loss(model, inputs | {"document_ids": numbers})
    total.backward()
    gradient = model.model.embed_tokens.weight.grad.clone()
    model.zero_grad()
    masked, _ = model.loss(**inputs, attention_mask=document_mask(numbers))
    masked.backward()
    torch.testing.assert_close(total, masked, rtol=1e-6, atol=1e-3)
    torch.testing.assert_close(gradient, model.model.embed_tokens.weight.grad, rtol=1e-4, atol=1e-4)
    assert items == 2 * LONG_ROW


def test_documents_are_refused_beside_a_cache() -> None:
    queries, keys = torch.randn(1, 2, 3, 4), torch.randn(1, 2, 5, 4)
    with pytest.raises(ValueError, match="with a cache, use a mask"):
        attend(queries, keys, keys, Documents((((0, 3),),)))
