"""Answers with a form: the grammar takes JSON objects and nothing else, and what follows it can always be finished."""

import json
import random
import re
from typing import Any

import pytest
import torch
from generation_kit import TOKENIZER as BYTES
from generation_kit import small_model
from hypothesis import given, settings
from hypothesis import strategies as st
from serving_kit import TOKENIZER, tag, tiny_model

from minimind_lite.generation.adjust import AnswerPenalties, Bias, chained
from minimind_lite.generation.constrained import JSON_OBJECT, Constraint, Grammar, Token, Vocabulary
from minimind_lite.generation.continuous import Engine, Handle, Request
from minimind_lite.generation.engine import generate
from minimind_lite.generation.sampling import GREEDY, GenerationError, SamplingConfig

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
VOCABULARY = Vocabulary(TOKENIZER)


def run(engine: Engine, *requests: Request) -> list[Handle]:
    handles = [engine.submit(request) for request in requests]
    list(engine.run())
    return handles


def engine(**options: Any) -> Engine:
    return Engine(tiny_model(), TOKENIZER, **{"slots": 4, "max_length": 256} | options)


@settings(deadline=None)
@given(st.dictionaries(st.text(max_size=4), VALUES, max_size=4), st.booleans(), st.sampled_from([None, 0]))
def test_every_json_object_is_accepted(value: Any, ascii_only: bool, indent: int | None) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    in_pairs = re.search(r"\\ud[89a-f]", text) is not None  # refused on purpose: the second half might not follow
    assert JSON_OBJECT.accepts(text.encode()) != in_pairs


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "1", '{"a"}', '{"a":}', '{"a":1,}', '{,}', '{"a":01}', '{"a":1.}', '{"a":+1}', '{"a":.5}',
        '{"a":1e}', '{"a":-}', '{"a":nul}', '{"a":True}', '{"a":NaN}', '{"a":[1,]}', '{"a":[1}', '{"a":1]',
        "{'a':1}", '{"a":"\t"}', '{"a":"\\x"}', '{"a":"\\u12g4"}', '{"a":"\\ud800"}', '{"a":1}}', '{"a":1} ',
        ' {"a":1}', '{1:2}', '{"a":  1}', '{"a" "b"}', '{"a":1 "b":2}', '{"a":' * 20,
    ],
)  # fmt: skip
def test_what_is_no_json_object_is_refused(text: str) -> None:
    assert not JSON_OBJECT.accepts(text.encode())


@settings(deadline=None)
@given(st.binary(max_size=4))
def test_strings_are_utf_8(data: bytes) -> None:
    whole = b'{"a":"' + data + b'"}'
    try:
        json.loads(whole.decode())
        good = b"\\u" not in data
    except ValueError:
        good = False
    if good:
        assert JSON_OBJECT.accepts(whole)
    elif b"\\u" not in data and b'"' not in data:
        assert not JSON_OBJECT.accepts(whole)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32))
def test_every_state_has_a_way_on_and_no_token_leads_out(seed: int) -> None:
    """A walk along random allowed tokens: the mask is never empty, and it is what trying every token gives."""
    draw, state, said = random.Random(seed), JSON_OBJECT.start, b""
    for step in range(40):
        allowed = VOCABULARY.mask(JSON_OBJECT, state, [TOKENIZER.eos_id]).nonzero().flatten().tolist()
        assert allowed
        if state == JSON_OBJECT.enter(1):
            assert allowed == [TOKENIZER.eos_id] and isinstance(json.loads(said), dict)
            return
        if step % 8 == 0:
            plain = set(range(TOKENIZER.vocab_size)) - TOKENIZER.control_ids
            assert set(allowed) == {one for one in plain if JSON_OBJECT.read(state, TOKENIZER.token_bytes(one))}
        token = draw.choice(allowed)
        said += TOKENIZER.token_bytes(token)
        after = JSON_OBJECT.read(state, TOKENIZER.token_bytes(token))
        assert after is not None
        state = after


def test_a_random_model_writes_json_at_every_temperature() -> None:
    closing = Bias({TOKENIZER.encode("}")[0]: 12.0, TOKENIZER.encode('"')[0]: 15.0})  # else it would go on for ever
    wanted = [
        Request([5, 6], 200, SamplingConfig(temperature=heat, seed=seed, top_p=top),
                adjust=chained([closing, Constraint(VOCABULARY, JSON_OBJECT)]))
        for heat, top in ((0.0, 1.0), (0.7, 0.9), (2.0, 1.0)) for seed in range(4)
    ]  # fmt: skip
    finished = 0
    for handle in run(engine(), *wanted):
        made = handle.result()
        if made.finish_reason == "stop":
            finished += 1
            assert isinstance(json.loads(made.text), dict)
        else:
            assert JSON_OBJECT.read(JSON_OBJECT.start, made.text.encode())
    assert finished >= 8


def test_a_forced_call_is_one_of_the_names_between_its_tags() -> None:
    opened, closed = tag("<tool_call>"), tag("</tool_call>")
    grammar = Grammar([Token(opened), (b"look at ", b"look"[:3] + b"p "), "json", (b"\n",), Token(closed)])
    closing = Bias({TOKENIZER.encode("}")[0]: 20.0, TOKENIZER.encode('"')[0]: 25.0})
    for seed in range(4):
        adjust = chained([closing, Constraint(VOCABULARY, grammar)])
        ids = run(engine(), Request([5], 200, SamplingConfig(seed=seed), adjust=adjust))[0].row.ids
        assert ids[0] == opened and ids[-2] == closed and ids[-1] in (TOKENIZER.eos_id, TOKENIZER.end_of_text_id)
        text = TOKENIZER.decode(ids[1:-2])
        name, _, arguments = text.partition(" {")
        assert name in ("look at", "loop") and isinstance(json.loads("{" + arguments), dict)


def test_a_tokenizer_without_all_bytes_is_refused() -> None:
    class Lacking(type(BYTES)):  # type: ignore[misc]
        vocab_size, control_ids = 258, frozenset({65, 256, 257})

    with pytest.raises(GenerationError, match="no token for the byte 65"):
        Vocabulary(Lacking())


def test_a_constraint_that_was_not_followed_says_so() -> None:
    constraint = Constraint(VOCABULARY, JSON_OBJECT)
    logits = torch.zeros(TOKENIZER.vocab_size)
    constraint(logits, [1, 2])
    with pytest.raises(GenerationError, match="does not fit the grammar"):
        constraint(logits, [1, 2, TOKENIZER.encode("x")[0]])


def test_bias_and_penalties_are_what_the_reference_says() -> None:
    logits = torch.arange(6.0)
    assert Bias({1: 2.5, 5: -100})(logits, []).tolist() == [0, 3.5, 2, 3, 4, -95]
    penalties = AnswerPenalties(frequency=0.5, presence=1.0)
    assert penalties(logits, [0, 3, 3]).tolist() == logits.tolist()  # the prompt does not count
    assert penalties(logits, [0, 3, 3, 2, 2, 4]).tolist() == [0, 1, 2 - 2.0, 3, 4 - 1.5, 5]
    assert chained([]) is None


def test_penalties_stop_a_repetition() -> None:
    plain = Request([5, 6], 30, GREEDY, eos_ids=[])
    changed = Request([5, 6], 30, GREEDY, eos_ids=[], adjust=AnswerPenalties(0, 1000))
    repeated, varied = (handle.row.ids for handle in run(engine(), plain, changed))
    assert len(set(varied)) == 30 > len(set(repeated))


def test_the_rows_of_a_seed_are_those_of_generate() -> None:
    sampling = SamplingConfig(seed=5)
    busy = Engine(small_model(), BYTES, slots=3, max_length=64)
    handles = run(busy, *(Request([7, 8], 12, sampling, row=row) for row in range(3)))
    wanted = generate(small_model(), BYTES, [[7, 8]] * 3, max_new_tokens=12, sampling=sampling)
    assert [handle.row.ids for handle in handles] == [one.ids for one in wanted]
    assert len({tuple(one.ids) for one in wanted}) == 3


def test_candidates_are_the_models_own_opinion() -> None:
    """Before bias, temperature and filters, against a forward pass over the whole text."""
    model = tiny_model()
    busy = Engine(model, TOKENIZER, slots=2, max_length=64)
    sampling = SamplingConfig(temperature=0.5, top_k=3, seed=1)
    handle = busy.submit(Request([5, 6, 7], 6, sampling, eos_ids=[], adjust=Bias({9: 100.0}), candidates=4))
    other = busy.submit(Request([5, 6, 7], 6))
    events = list(busy.run())
    assert all(event.candidates is None for event in events if event.handle is other)
    assert handle.row.ids == [9] * 6
    with torch.inference_mode():
        logprobs = model(torch.tensor([[5, 6, 7, *handle.row.ids]]))[0, 2:-1].log_softmax(dim=-1)
    for place, event in enumerate(event for event in events if event.handle is handle):
        assert event.candidates is not None
        assert event.candidates.logprob == pytest.approx(float(logprobs[place, 9]), abs=1e-4)
        values = [value for _, value in event.candidates.likeliest]
        assert values == pytest.approx(logprobs[place].topk(4).values.tolist(), abs=1e-4)
