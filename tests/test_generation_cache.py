"""The cache changes only the time: cached and uncached logits are equal, however the tokens are fed."""

import pytest
import torch
from generation_kit import small_model
from torch import Tensor

from minimind_lite.config import preset
from minimind_lite.generation.engine import BatchDecoder
from minimind_lite.model.attention import KVCache, cache_bytes
from minimind_lite.model.transformer import Transformer

KINDS = {"llama": {}, "qwen3": {"qk_norm": True, "rms_norm_eps": 1e-6}, "untied": {"tie_word_embeddings": False}}


def fed_in_pieces(model: Transformer, ids: Tensor, sizes: list[int]) -> Tensor:
    cache = KVCache(model.config, len(ids), ids.shape[1])
    with torch.inference_mode():
        return torch.cat([model(piece, cache=cache) for piece in ids.split(sizes, dim=1)], dim=1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sizes", [[1] * 24, [24], [7, 1, 1, 15], [23, 1], [2, 11, 11]])
def test_cached_logits_equal_uncached(kind: str, sizes: list[int]) -> None:
    model = small_model(**KINDS[kind])
    ids = torch.randint(0, 256, (3, 24))
    with torch.no_grad():
        whole = model(ids)
    torch.testing.assert_close(fed_in_pieces(model, ids, sizes), whole, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("chunk", [1, 3, 4, 512])
@pytest.mark.parametrize("kind", ["llama", "qwen3"])
def test_left_padded_prefill_equals_each_prompt_alone(kind: str, chunk: int) -> None:
    model = small_model(**KINDS[kind])
    prompts = [[5, 6, 7], [8] * 11, [9], [10, 11, 12, 13, 14, 15]]
    with torch.inference_mode():
        batch = BatchDecoder(model, prompts, max_new_tokens=2)
        first, second = batch.prefill(chunk), batch.step(torch.tensor([1, 2, 3, 4]))
        for row, prompt in enumerate(prompts):
            alone = model(torch.tensor([[*prompt, row + 1]]))[0, -2:]
            torch.testing.assert_close(torch.stack([first[row], second[row]]), alone, atol=1e-5, rtol=1e-5)


def test_rows_that_are_dropped_leave_the_others_alone() -> None:
    model = small_model()
    prompts = [[5, 6, 7], [8, 9, 10, 11], [12, 13]]
    with torch.inference_mode():
        batch = BatchDecoder(model, prompts, max_new_tokens=3)
        batch.prefill()
        batch.step(torch.tensor([1, 2, 3]))
        batch.keep([0, 2])
        rest = batch.step(torch.tensor([4, 5]))
        assert batch.previous_ids.tolist() == [[-1, 5, 6, 7, 1, 4], [-1, -1, 12, 13, 3, 5]]
        for logits, ids in zip(rest, ([5, 6, 7, 1, 4], [12, 13, 3, 5]), strict=True):
            torch.testing.assert_close(logits, model(torch.tensor([ids]))[0, -1], atol=1e-5, rtol=1e-5)


def test_cache_is_never_copied_and_knows_its_size() -> None:
    config = preset("minimind3")
    cache = KVCache(config, 2, 64, dtype=torch.bfloat16)
    assert cache.keys.nbytes + cache.values.nbytes == cache_bytes(config, 2, 64, bytes_per_value=2)
    shape = (2, config.num_key_value_heads, 3, config.head_dim)
    for layer in range(config.num_hidden_layers):
        assert cache.length == 0  # it moves on only when the last layer has stored its part
        keys, values = cache.update(layer, torch.ones(shape), torch.zeros(shape))
    assert cache.length == 3
    assert keys.data_ptr() == cache.keys[-1].data_ptr() and values.data_ptr() == cache.values[-1].data_ptr()
    assert keys.shape == shape and keys.dtype == torch.bfloat16


def test_full_cache_and_empty_cache_are_refused() -> None:
    config = preset("pico")
    cache = KVCache(config, 1, 4)
    piece = torch.zeros(1, config.num_key_value_heads, 5, config.head_dim)
    with pytest.raises(ValueError, match="room for 4 tokens, not 5"):
        cache.update(0, piece, piece)
    with pytest.raises(ValueError, match="at least one row"):
        KVCache(config, 0, 4)
