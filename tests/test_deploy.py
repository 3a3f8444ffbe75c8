"""Chapter 17's experiments: plans of slots equal the engine's, kernels equal codes, a header, a server."""

import json
import random
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from model_kit import random_model
from serving_kit import TOKENIZER, running, served, tiny_model

from minimind_lite.config import ModelConfig, preset
from minimind_lite.course.chapters.deploy import experiments, figures, widgets
from minimind_lite.course.kit.language import speaking
from minimind_lite.generation.continuous import Engine, Request
from minimind_lite.model.pretrained import save_pretrained
from minimind_lite.model.quantization import quantize
from minimind_lite.model.transformer import Transformer


def random_answers(seed: int) -> list[tuple[int, int]]:
    draw = random.Random(seed)
    came = sorted(draw.randint(0, 12) for _ in range(10))
    return [(step, draw.randint(1, 9)) for step in came]


@pytest.mark.parametrize("seed", range(6))
def test_the_plan_is_what_the_engine_does(seed: int) -> None:
    answers, slots = random_answers(seed), 1 + seed % 4
    engine = Engine(tiny_model(), TOKENIZER, slots=slots, max_length=32)
    requests = [(step, Request([5, 6], tokens, eos_ids=[])) for step, tokens in answers]
    planned = [(one.begins, one.ends) for one in experiments.continuous(answers, slots)]
    assert experiments.steps_of_engine(engine, requests) == planned


@pytest.mark.parametrize("way", experiments.WAYS)
@pytest.mark.parametrize("seed", range(6))
def test_a_slot_has_one_answer_at_a_time_and_none_begins_before_it_comes(way: str, seed: int) -> None:
    answers, slots = random_answers(seed), 1 + seed % 4
    spans = experiments.WAYS[way](answers, slots)
    assert [(one.came, one.ends - one.begins) for one in spans] == answers
    assert all(one.begins >= one.came and 0 <= one.slot < slots for one in spans)
    for slot in range(slots):
        own = sorted((one.begins, one.ends) for one in spans if one.slot == slot)
        assert all(before[1] <= after[0] for before, after in pairwise(own))


def test_a_batch_waits_for_its_longest_answer() -> None:
    spans = experiments.batch_by_batch([(0, 9), (0, 2), (1, 3), (2, 1), (30, 4)], 2)
    assert [(one.slot, one.begins, one.ends) for one in spans] == [
        (0, 0, 9), (1, 0, 2), (0, 9, 12), (1, 9, 10), (0, 30, 34),
    ]  # fmt: skip


@pytest.mark.parametrize("bits", experiments.KERNELS)
def test_torchs_kernels_multiply_with_our_codes(bits: int) -> None:
    weight, x = torch.randn(64, 128), torch.randn(2, 3, 128)
    expected = x @ quantize(weight, experiments.KERNELS[bits]).weight().T
    got = experiments.FewBits(weight, bits)(x)
    assert got.dtype == torch.float32 and got.shape == (2, 3, 64)
    assert (got - expected).abs().max() < 0.02 * expected.abs().max()


@pytest.mark.parametrize("bits", [16, 8, 4])
def test_a_model_on_kernels_decodes(bits: int) -> None:
    model = Transformer(preset("pico", vocab_size=330)).eval()
    twin = experiments.on_kernels(model, bits)
    assert next(model.parameters()).dtype == torch.float32, "the model itself stays as it is"
    ids = torch.arange(20)[None]
    with torch.no_grad():
        apart = (twin(ids).float() - model(ids)).abs().max() / model(ids).abs().max()
    assert apart < {16: 0.05, 8: 0.05, 4: 0.5}[bits]
    assert experiments.decoding_step(twin, twin, 2)().shape == (2, 330)


def test_the_shortest_of_several_times_is_kept_and_the_first_forgotten() -> None:
    naps = iter([0.0, 0.05, 0.01, 0.03])
    found = experiments.fastest_seconds({"nap": lambda: time.sleep(next(naps))}, 3)
    assert 0.01 <= found["nap"] < 0.03


def test_what_is_timed_is_the_models_own_answer() -> None:
    model = Transformer(preset("pico", vocab_size=330)).eval()
    with torch.no_grad():
        expected = model(torch.zeros(1, 8, dtype=torch.int64))[:, -1]
    assert torch.allclose(experiments.prompt_reading(model, model, 8)(), expected, atol=1e-5)


def test_the_header_read_by_hand_is_the_files(tmp_path: Path) -> None:
    model = random_model(ModelConfig(vocab_size=90, hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
                                     num_key_value_heads=1, intermediate_size=64))  # fmt: skip
    save_pretrained(model, None, tmp_path)
    size, header = experiments.header_of(tmp_path / "model.safetensors")
    assert header.keys() - {"__metadata__"} == model.state_dict().keys()
    assert (tmp_path / "model.safetensors").read_bytes()[8 : 8 + size].strip() == json.dumps(
        header, ensure_ascii=False, separators=(",", ":")
    ).encode()


def test_a_server_is_watched_and_its_numbers_are_read() -> None:
    with running(served()) as server, experiments.watched(server.address, "tiny", every=0.005) as moments:
        until = time.monotonic() + 30
        while len(moments) < 3 and time.monotonic() < until:
            time.sleep(0.01)
        said = experiments.metrics_of(server.address, "tiny")
    assert said["free"] == 4 and said["queued"] == said["running"] == said["new_tokens"] == 0
    assert len(moments) >= 3 and [one.seconds for one in moments] == sorted(one.seconds for one in moments)


def test_a_server_is_seen_while_it_works(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []

    class Shown:
        def update(self, picture: Any) -> None:
            shown.append(picture.data)

    monkeypatch.setattr("IPython.display.display", lambda *_, **__: Shown())
    with running(served()) as server, widgets.watch_live(server.address, "tiny", 4, apart=0.01) as moments:
        until = time.monotonic() + 30
        while len(shown) < 3 and time.monotonic() < until:
            time.sleep(0.01)
        during = len(shown)
    assert 3 <= during < len(shown) and moments, "pictures come during the block, and one more at its end"
    assert "0 / 4" in shown[-1] and "0 of 4 slots are at work" in shown[-1]


def test_as_many_boxes_are_full_as_slots_are_at_work() -> None:
    moments = [experiments.Moment(0.1 * number, 5, 3, 10.0 * number) for number in range(12)]
    drawn = figures.server_now(moments, 4).data
    assert drawn.count(f"background:{figures.GREEN}") == 3 and drawn.count("background:none") == 1
    assert "3 / 4" in drawn and "5 requests wait" in drawn and "100 tokens are made per second" in drawn
    with speaking("zh"):
        assert "4 个槽位里有 3 个在忙，5 个请求在等" in figures.server_now(moments, 4).data


def test_rates_are_tokens_by_seconds() -> None:
    moments = [experiments.Moment(0.5 * number, 0, 1, 10.0 * number) for number in range(12)]
    rates: list[Any] = figures.token_rates(moments, window=4)
    assert {rate for _, rate in rates} == {20.0} and len(rates) == 8
    assert figures.token_rates(moments[:2]) == [(0.0, 0.0), (0.5, 0.0)]
