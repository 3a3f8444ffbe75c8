"""Continuous batching: a request gets what it gets alone, in order, in bounded memory, and slots are never lost."""

import random
import resource
from dataclasses import replace
from typing import Any

import pytest
import torch
from generation_kit import TOKENIZER, scripted_model, small_model
from hypothesis import given, settings
from hypothesis import strategies as st

from minimind_lite.generation.continuous import Engine, Event, Handle, QueueFull, Request
from minimind_lite.generation.engine import generate
from minimind_lite.generation.sampling import GenerationError, SamplingConfig
from minimind_lite.model.lora import LoRAConfig, add_adapter
from minimind_lite.model.transformer import Transformer

MODEL = small_model()
SAMPLED = SamplingConfig(temperature=0.8, top_p=0.9, seed=7)
OPTIONS = (SamplingConfig(temperature=0.0), SAMPLED, SamplingConfig(top_k=5, seed=3),
           SamplingConfig(temperature=0.0, repetition_penalty=1.3))  # fmt: skip


def engine(model: Transformer = MODEL, **options: Any) -> Engine:
    return Engine(model, TOKENIZER, **{"slots": 3, "max_length": 64, "prefill_chunk": 8} | options)


def solo(request: Request, model: Transformer = MODEL) -> list[int]:
    """What the request gets alone."""
    made = generate(model, TOKENIZER, [request.prompt], max_new_tokens=request.max_new_tokens,
                    sampling=request.sampling, stop=request.stop, eos_ids=request.eos_ids)  # fmt: skip
    return made[0].ids


def requests(count: int, seed: int = 0) -> list[Request]:
    """Of mixed lengths and ways of sampling."""
    draw = random.Random(seed)
    return [
        Request(
            [draw.randrange(256) for _ in range(draw.randrange(1, 30))],
            draw.randrange(1, 20),
            replace(draw.choice(OPTIONS), seed=number),
        )
        for number in range(count)
    ]


def check_slots(running: Engine) -> None:
    """Running first, then at most one that is being read, then free ones; nothing is held twice."""
    states = [slot.handle.state if slot.handle else "free" for slot in running._slots]
    now = running.statistics
    assert states == ["running"] * now.running + ["reading"] * now.reading + ["free"] * now.free


@pytest.mark.parametrize("slots", [1, 2, 16])
def test_each_request_gets_what_it_gets_alone(slots: int) -> None:
    wanted = requests(20)
    busy = engine(slots=slots)
    handles = [busy.submit(request) for request in wanted]
    for event in busy.run():
        assert event.handle.row.ids[-1] == event.token or event.handle.finished
        check_slots(busy)
    for request, handle in zip(wanted, handles, strict=True):
        assert handle.state == "done" and handle.result().ids == solo(request)
    assert busy.idle and busy.statistics.done == 20 and busy.statistics.free == slots
    assert busy.statistics.new_tokens == sum(len(handle.row.ids) for handle in handles)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 5), st.integers(1, 40))
def test_any_schedule(seed: int, slots: int, chunk: int) -> None:
    draw = random.Random(seed)
    waiting, handles, cancelled = requests(8, seed), [], []
    wanted = list(waiting)
    busy = engine(slots=slots, prefill_chunk=chunk)
    while waiting or not busy.idle:
        for _ in range(min(len(waiting), draw.randrange(3))):
            handles.append(busy.submit(waiting.pop(0)))
        open_ones = [handle for handle in handles if not handle.finished]
        if open_ones and draw.random() < 0.1:
            cancelled.append(draw.choice(open_ones))
            busy.cancel(cancelled[-1])
        busy.step()
        check_slots(busy)
    for request, handle in zip(wanted, handles, strict=True):
        alone = solo(request)
        if handle in cancelled:
            assert handle.state == "cancelled" and handle.row.ids == alone[: len(handle.row.ids)]
        else:
            assert handle.state == "done" and handle.row.ids == alone
    assert busy.statistics.free == slots and busy.statistics.cancelled == len(cancelled)


@pytest.mark.parametrize("kind", ["qwen3", "moe", "lora"])
def test_other_models(kind: str) -> None:
    changes: dict[str, dict[str, Any]] = {
        "qwen3": {"qk_norm": True},
        "moe": {"num_experts": 4, "num_experts_per_tok": 2},
    }
    model = small_model(**changes.get(kind, {}))
    if kind == "lora":
        add_adapter(model, LoRAConfig(rank=2))
    busy = engine(model)
    handles = [busy.submit(request) for request in requests(6)]
    list(busy.run())
    assert [handle.row.ids for handle in handles] == [solo(handle.request, model) for handle in handles]


def test_int8_under_load() -> None:
    busy = engine(quantize="int8", slots=4)
    handles = [busy.submit(request) for request in requests(6)]
    list(busy.run())
    for handle in handles:
        wanted = generate(
            MODEL, TOKENIZER, [handle.request.prompt], max_new_tokens=handle.request.max_new_tokens,
            sampling=handle.request.sampling, quantize="int8",
        )[0]  # fmt: skip
        assert handle.row.ids == wanted.ids


def test_requests_are_admitted_in_order_and_leave_at_once() -> None:
    busy = engine(slots=2, prefill_chunk=64)
    first, second, third, last = (busy.submit(Request([5 + n], new, eos_ids=[])) for n, new in enumerate((2, 5, 2, 1)))
    assert busy.statistics.queued == 4
    busy.step()
    assert [one.state for one in (first, second, third)] == ["running", "running", "queued"]
    events = busy.step()
    assert [(event.handle, event.finish_reason) for event in events] == [(first, "length"), (second, None)]
    assert busy.statistics.free == 1
    busy.step()
    assert third.state == "running" and last.state == "queued"
    list(busy.run())
    assert busy.step() == [] and busy.idle


def test_a_long_prompt_does_not_stall_the_others() -> None:
    busy = engine(prefill_chunk=4)
    running = busy.submit(Request([5], 30, eos_ids=[]))
    busy.step()
    long = busy.submit(Request(list(range(20)), 4, eos_ids=[]))
    for step in range(5):
        assert long.state == ("queued" if step == 0 else "reading")
        assert [event.handle for event in busy.step()][:1] == [running]
    assert long.state == "running" and len(running.row.ids) == 6


@pytest.mark.parametrize("when", ["queued", "reading", "running", "done"])
def test_cancelling(when: str) -> None:
    busy = engine(slots=2, prefill_chunk=4)
    others = [busy.submit(Request([5, 6], 6, eos_ids=[])) for _ in range(1 if when != "queued" else 2)]
    handle = busy.submit(Request(list(range(8)), 3, eos_ids=[]))
    while handle.state != when:
        busy.step()
    busy.cancel(handle)
    assert handle.state == ("done" if when == "done" else "cancelled")
    assert busy.statistics.cancelled == (0 if when == "done" else 1)
    check_slots(busy)
    assert handle not in [event.handle for event in busy.run()]
    assert [other.row.ids for other in others] == [solo(other.request) for other in others]
    busy.cancel(handle)  # once more: nothing happens
    assert busy.statistics.cancelled == (0 if when == "done" else 1) and busy.statistics.free == 2


def test_a_full_queue_and_impossible_requests_are_refused() -> None:
    busy = engine(max_queue=2)
    busy.submit(Request([5]))
    busy.submit(Request([6]))
    with pytest.raises(QueueFull, match="2 requests are waiting already"):
        busy.submit(Request([7]))
    with pytest.raises(GenerationError, match=r"has 64 tokens and a slot of the engine holds 64 .*at most 63"):
        engine().submit(Request([5] * 64))
    with pytest.raises(GenerationError, match="is empty"):
        engine().submit(Request([]))
    with pytest.raises(GenerationError, match="holds id 999"):
        engine().submit(Request([999]))
    for wrong in ({"slots": 0}, {"max_queue": 0}, {"prefill_chunk": 0}, {"max_length": 1}, {"max_length": 10**6}):
        with pytest.raises(GenerationError, match="must be at least 1"):
            engine(**wrong)


def test_an_answer_that_fills_its_slot_ends() -> None:
    busy = engine(max_length=16)
    handle = busy.submit(Request([5] * 10, 100, eos_ids=[]))
    list(busy.run())
    assert len(handle.row.ids) == 6 and handle.result().finish_reason == "length"


def test_a_prompt_that_a_free_slot_holds_is_not_read_again() -> None:
    busy = engine(prefill_chunk=64)
    first = busy.submit(Request(list(range(20)), 5, eos_ids=[]))
    other = busy.submit(Request([99] * 6, 3, eos_ids=[]))
    list(busy.run())
    assert busy.statistics.reused_tokens == 0
    followed = Request([*range(20), *first.row.ids, 40, 41], 6, SAMPLED)
    second = busy.submit(followed)
    again = busy.submit(other.request)
    list(busy.run())
    assert busy.statistics.reused_tokens == 24 + 5  # all that was fed, and all but a prompt's last token
    assert second.row.ids == solo(followed) and again.row.ids == other.row.ids
    assert busy.statistics.prompt_tokens == 20 + 6 + 3 + 1


def test_the_slot_that_is_free_the_longest_is_taken_first() -> None:
    busy = engine(slots=3, prefill_chunk=64)
    prompts = [[start] * 10 for start in (1, 2, 3)]
    for prompt in prompts:  # one after the other: each finds an unused slot
        busy.submit(Request(prompt, 2, eos_ids=[]))
        list(busy.run())
    busy.submit(Request([4] * 10, 2, eos_ids=[]))  # takes the place of the first
    list(busy.run())
    held = [slot.tokens[:10] for slot in busy._slots]
    assert prompts[0] not in held and all(prompt in held for prompt in prompts[1:])


def test_stop_strings_and_end_tokens() -> None:
    busy = engine(scripted_model("one\n\ntwo"), slots=1)
    handle = busy.submit(Request([5], stop=["\n\n"]))
    text = "".join(event.text for event in busy.run())
    assert text == handle.result().text == "one" and handle.result().finish_reason == "stop"


def test_logits_can_be_adjusted_for_one_request_alone() -> None:
    seen: list[list[int]] = []

    def only_65(logits: torch.Tensor, tokens: Any) -> torch.Tensor:
        seen.append(list(tokens))
        return torch.full_like(logits, -30.0).index_fill(0, torch.tensor([65]), 30.0)

    busy = engine()
    forced, free = busy.submit(Request([5, 6], 3, adjust=only_65)), busy.submit(Request([7], 3))
    list(busy.run())
    assert forced.row.ids == [65, 65, 65] and free.row.ids == solo(free.request)
    assert seen == [[5, 6], [5, 6, 65], [5, 6, 65, 65]]


def test_a_seed_gives_the_same_tokens_under_load() -> None:
    request = Request([5, 6, 7], 12, SamplingConfig(seed=11), eos_ids=[])
    quiet, busy = engine(), engine(slots=8)
    alone = quiet.submit(request)
    list(quiet.run())
    noise = [busy.submit(one) for one in requests(6, 5)]
    loaded = busy.submit(request)
    list(busy.run())
    assert loaded.row.ids == alone.row.ids and all(one.finished for one in noise)


def test_memory_stays_flat_over_many_requests() -> None:
    busy = engine(slots=4, max_length=16)
    places = busy._cache.keys.data_ptr(), busy._cache.values.data_ptr()

    def serve(count: int) -> int:
        events: list[Event] = []
        for number in range(count):
            busy.submit(Request([number % 256, 5], 2, eos_ids=[]))
            events = busy.step()
        list(busy.run())
        assert all(isinstance(event.handle, Handle) for event in events)
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    before = serve(200)
    assert serve(800) - before < 8_000  # KiB
    assert busy.statistics.done == 1000 and busy.statistics.free == 4
    assert (busy._cache.keys.data_ptr(), busy._cache.values.data_ptr()) == places
