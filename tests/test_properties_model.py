"""What holds for any prompt, any logits and any adapter."""

import copy

import pytest
import torch
from generation_kit import small_model
from hypothesis import given, settings
from hypothesis import strategies as st
from model_kit import random_model
from torch import Tensor

from minimind_lite.config import preset
from minimind_lite.generation.sampling import SamplingConfig, row_generator, sample, sampling_logits
from minimind_lite.model.attention import KVCache
from minimind_lite.model.lora import LoRAConfig, add_adapter, lora_layers, merge, merged, unmerge
from minimind_lite.model.transformer import Transformer

QUICK = settings(deadline=None, max_examples=40)


@pytest.fixture(scope="module")
def model() -> Transformer:
    return small_model()


@QUICK
@given(st.lists(st.integers(1, 9), min_size=1, max_size=8), st.integers(0, 99))
def test_however_a_prompt_is_split_the_cache_gives_the_same_logits(
    model: Transformer, sizes: list[int], seed: int
) -> None:
    ids = torch.randint(0, 256, (2, sum(sizes)), generator=torch.Generator().manual_seed(seed))
    cache = KVCache(model.config, 2, sum(sizes) + 3)
    with torch.inference_mode():
        pieces = [model(piece, cache=cache) for piece in ids.split(sizes, dim=1)]
        torch.testing.assert_close(torch.cat(pieces, dim=1), model(ids), atol=1e-5, rtol=1e-5)
    assert cache.length == sum(sizes)


# No two so near to each other, such as 0 and -1.4e-45, that dividing by the temperature makes them equal.
SCORE = st.floats(-30, 30).map(lambda value: round(value, 4))
LOGITS = st.lists(SCORE, min_size=1, max_size=12).map(lambda row: torch.tensor([row]))
CONFIG = st.builds(
    SamplingConfig,
    temperature=st.floats(0.1, 5),
    top_k=st.integers(0, 15),
    top_p=st.floats(0.01, 1),
    min_p=st.floats(0, 1),
)


@QUICK
@given(LOGITS, CONFIG, st.integers(0, 9))
def test_filters_keep_the_likeliest_and_what_is_drawn_was_kept(
    logits: Tensor, config: SamplingConfig, seed: int
) -> None:
    kept = sampling_logits(logits, config)[0].isfinite()
    row, count = logits[0], int(kept.sum())
    assert row[kept].max() == row.max()
    if count < len(row):  # nothing that was left out is likelier than what was kept
        assert row[~kept].max() <= row[kept].min()
    if config.top_k:  # ties at the cutoff stay
        assert count <= int((row >= row.topk(min(config.top_k, len(row))).values[-1]).sum())
    if not (config.top_k or config.min_p or config.top_p < 1):
        assert count == len(row)
    drawn = sample(logits, config, row_generator(seed, 0))
    assert kept[drawn.ids[0]] and drawn.logprobs[0] <= 1e-6
    assert torch.equal(drawn.ids, sample(logits, config, row_generator(seed, 0)).ids)


@QUICK
@given(LOGITS, st.floats(0.05, 0.99))
def test_the_nucleus_reaches_p_and_no_smaller_one_does(logits: Tensor, p: float) -> None:
    kept = sampling_logits(logits, SamplingConfig(temperature=1, top_p=p))[0].isfinite()
    probabilities = logits[0].double().softmax(dim=0)
    inside = float(probabilities[kept].sum())
    assert inside >= p - 1e-5
    assert inside - float(probabilities[kept].min()) <= p + 1e-5 or int(kept.sum()) == 1


@settings(deadline=None, max_examples=15)
@given(st.integers(1, 8), st.floats(0.5, 64), st.integers(0, 99), st.sampled_from(["nano", "pico", "pico-moe"]))
def test_merging_changes_no_answer_and_unmerging_no_bit(rank: int, alpha: float, seed: int, name: str) -> None:
    base = random_model(preset(name, vocab_size=64), seed)
    adapted = copy.deepcopy(base)
    add_adapter(adapted, LoRAConfig(rank=rank, alpha=alpha))
    with torch.no_grad():
        for _, layer in lora_layers(adapted):
            layer.lora_B["adapter"].normal_(std=0.02 / alpha)
    before = {key: tensor.clone() for key, tensor in adapted.state_dict().items()}
    ids = torch.randint(0, 64, (2, 9), generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        beside = adapted.eval()(ids)
        assert not torch.equal(beside, base.eval()(ids))
        merge(adapted)
        torch.testing.assert_close(adapted(ids), beside, atol=2e-4, rtol=2e-4)
        unmerge(adapted)
        assert all(torch.equal(before[key], tensor) for key, tensor in adapted.state_dict().items())
        plain = merged(adapted)
        torch.testing.assert_close(plain(ids), beside, atol=2e-4, rtol=2e-4)
    assert plain.state_dict().keys() == base.state_dict().keys()
