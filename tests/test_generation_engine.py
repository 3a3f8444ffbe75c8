"""Generation end to end: greedy as in transformers, batches against single prompts, ends, limits, errors."""

import warnings
from typing import Any

import pytest
import torch
from generation_kit import TOKENIZER, scripted_model, small_model, transformers_twin
from hypothesis import given, settings
from hypothesis import strategies as st

from minimind_lite.generation.engine import Generation, generate, stream
from minimind_lite.generation.sampling import GREEDY, GenerationError, SamplingConfig

PROMPTS = [[104, 101, 121], [230, 185, 150] * 5, [7], [65, 66, 67, 68, 69, 70, 71, 72]]
QWEN = {"qk_norm": True, "rms_norm_eps": 1e-6}
SAMPLINGS = {
    "greedy": GREEDY,
    "greedy, penalty": SamplingConfig(temperature=0, repetition_penalty=1.2),
    "sampled": SamplingConfig(temperature=0.9, seed=11),
    "all filters": SamplingConfig(temperature=1.2, top_k=50, top_p=0.95, min_p=0.01, repetition_penalty=1.1, seed=4),
}


@pytest.mark.parametrize("kind", [{}, QWEN, {"tie_word_embeddings": False}], ids=["llama", "qwen3", "untied"])
@pytest.mark.parametrize("penalty", [1.0, 1.3])
def test_greedy_equals_transformers_generate(kind: dict[str, Any], penalty: float) -> None:
    model = small_model(seed=3, **kind)
    twin = transformers_twin(model)
    sampling = SamplingConfig(temperature=0, repetition_penalty=penalty)
    ours = generate(model, TOKENIZER, PROMPTS, max_new_tokens=24, sampling=sampling)
    for prompt, generation in zip(PROMPTS, ours, strict=True):
        ids = torch.tensor([prompt])
        theirs = twin.generate(
            ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=24,
            repetition_penalty=penalty, eos_token_id=[256, 257], pad_token_id=257,
        )  # fmt: skip
        assert generation.ids == theirs[0, len(prompt) :].tolist()


def test_greedy_batch_equals_transformers_batch() -> None:
    model = small_model(seed=5)
    twin = transformers_twin(model)
    width = max(map(len, PROMPTS))
    ids = torch.tensor([[257] * (width - len(prompt)) + prompt for prompt in PROMPTS])
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in PROMPTS])
    theirs = twin.generate(
        ids, attention_mask=mask, do_sample=False, max_new_tokens=24, eos_token_id=[256, 257], pad_token_id=257
    )
    for generation, row in zip(generate(model, TOKENIZER, PROMPTS, max_new_tokens=24), theirs.tolist(), strict=True):
        assert generation.ids == row[width : width + len(generation.ids)]
        assert all(token == 257 for token in row[width + len(generation.ids) :])


@pytest.mark.parametrize("name", SAMPLINGS)
@pytest.mark.parametrize("kind", [{}, QWEN], ids=["llama", "qwen3"])
def test_a_prompt_gets_the_same_tokens_alone_and_in_any_batch(name: str, kind: dict[str, Any]) -> None:
    model, sampling = small_model(seed=1, **kind), SAMPLINGS[name]
    options: dict[str, Any] = {"max_new_tokens": 40, "sampling": sampling}
    together = generate(model, TOKENIZER, PROMPTS, **options)
    alone = [generate(model, TOKENIZER, [p], first_row=row, **options)[0] for row, p in enumerate(PROMPTS)]
    halves = generate(model, TOKENIZER, PROMPTS, batch_size=3, **options)
    assert [g.ids for g in together] == [g.ids for g in alone] == [g.ids for g in halves]
    for left, right in zip(together, alone, strict=True):
        assert left.text == right.text and left.finish_reason == right.finish_reason
        assert left.logprobs == pytest.approx(right.logprobs, abs=1e-4)


def test_rows_that_end_early_do_not_disturb_the_others() -> None:
    model = small_model(seed=1)
    prompts = [[i, i + 1, i + 2][: 1 + i % 3] for i in range(1, 25)]
    sampling = SamplingConfig(temperature=1.5, seed=2)
    likely = list(range(0, 256, 9))  # many end tokens, so that rows end at very different times
    together = generate(model, TOKENIZER, prompts, max_new_tokens=40, sampling=sampling, eos_ids=likely)
    assert len({len(g.ids) for g in together}) > 5
    for row, prompt in enumerate(prompts):
        alone = generate(
            model, TOKENIZER, [prompt], max_new_tokens=40, sampling=sampling, eos_ids=likely, first_row=row
        )
        assert alone[0].ids == together[row].ids


def test_seeds_repeat_and_differ() -> None:
    model = small_model()

    def ids(seed: int | None) -> list[int]:
        return generate(model, TOKENIZER, [PROMPTS[0]], max_new_tokens=20, sampling=SamplingConfig(seed=seed))[0].ids

    assert ids(1) == ids(1) != ids(2)
    two = generate(model, TOKENIZER, [PROMPTS[0]] * 2, max_new_tokens=20, sampling=SamplingConfig(seed=1))
    assert two[0].ids != two[1].ids  # the same prompt twice is two samples


def test_stream_adds_up_to_the_text_of_generate() -> None:
    model = small_model(seed=2)
    for sampling in SAMPLINGS.values():
        pieces = stream(model, TOKENIZER, PROMPTS[1], max_new_tokens=60, sampling=sampling)
        text, result = "", None
        while result is None:
            try:
                text += next(pieces)
            except StopIteration as end:
                result = end.value
        assert isinstance(result, Generation)
        assert result == generate(model, TOKENIZER, [PROMPTS[1]], max_new_tokens=60, sampling=sampling)[0]
        assert text == result.text


@settings(deadline=None, max_examples=40)
@given(st.text(min_size=1, max_size=20))
def test_streamed_text_has_whole_characters(text: str) -> None:
    script = text.encode()
    pieces = list(stream(scripted_model(script), TOKENIZER, [1], max_new_tokens=200))
    assert "".join(pieces) == text and all(pieces)
    for room in range(1, len(script)):  # cut anywhere: the text is a prefix of whole characters
        cut = generate(scripted_model(script), TOKENIZER, [[1]], max_new_tokens=room)[0]
        assert cut.text == script[:room].decode(errors="ignore") and cut.finish_reason == "length"


@pytest.mark.parametrize(
    ("script", "room", "stop", "text", "reason", "count"),
    [
        ("hello", 50, [], "hello", "stop", 6),  # five tokens and the end token
        ("hello", 6, [], "hello", "stop", 6),  # the end is the last token there is room for
        ("hello", 5, [], "hello", "length", 5),
        ("hello", 1, [], "h", "length", 1),
        ("a stop. b", 50, ["stop."], "a ", "stop", 7),
        ("a sto", 50, ["stop."], "a sto", "stop", 6),  # held back, then given out at the end
        ("a sto", 5, ["stop."], "a sto", "length", 5),
        ("你好。再见", 50, ["。"], "你好", "stop", 9),  # a stop string inside several tokens
        ("xababac", 50, ["abac"], "xab", "stop", 7),
    ],
)
def test_ends_and_stop_strings(script: str, room: int, stop: list[str], text: str, reason: str, count: int) -> None:
    generation = generate(scripted_model(script), TOKENIZER, [[1]], max_new_tokens=room, stop=stop)[0]
    assert (generation.text, generation.finish_reason, len(generation.ids)) == (text, reason, count)
    assert len(generation.logprobs) == count
    assert "".join(stream(scripted_model(script), TOKENIZER, [1], max_new_tokens=room, stop=stop)) == text


def test_both_end_tokens_end_and_others_can_be_named() -> None:
    for end in (256, 257):
        generation = generate(scripted_model([104, 105, end, 106]), TOKENIZER, [[1]])[0]
        assert generation.text == "hi" and generation.ids == [104, 105, end]
    named = generate(scripted_model([104, 105, 256, 106]), TOKENIZER, [[1]], eos_ids=[105])[0]
    assert named.text == "h" and named.finish_reason == "stop"


def test_logprobs_are_the_models_at_the_temperature() -> None:
    model = small_model()
    for temperature in (0.7, 1.0):
        sampling = SamplingConfig(temperature=temperature, seed=3)
        generation = generate(model, TOKENIZER, [PROMPTS[0]], max_new_tokens=12, sampling=sampling)[0]
        with torch.no_grad():
            logits = model(torch.tensor([PROMPTS[0] + generation.ids]))[0, len(PROMPTS[0]) - 1 : -1]
        expected = (logits / temperature).log_softmax(-1).gather(1, torch.tensor(generation.ids)[:, None])
        assert generation.logprobs == pytest.approx(expected[:, 0].tolist(), abs=1e-4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_with_left_padding_stays_finite(dtype: torch.dtype) -> None:
    model = small_model().to(dtype)
    for generation in generate(model, TOKENIZER, PROMPTS, max_new_tokens=8, sampling=SamplingConfig(seed=0)):
        assert len(generation.ids) >= 1 and all(value <= 0 for value in generation.logprobs)


def test_ids_the_tokenizer_does_not_know_are_never_drawn() -> None:
    model = small_model(vocab_size=400)
    hot = SamplingConfig(temperature=50.0, seed=0)
    for generation in generate(model, TOKENIZER, PROMPTS * 4, max_new_tokens=40, sampling=hot, eos_ids=[]):
        assert max(generation.ids) < TOKENIZER.vocab_size


def test_training_continues_after_generation() -> None:
    model = small_model().train()
    generate(model, TOKENIZER, PROMPTS, max_new_tokens=3)
    assert model.training
    total, count = model.loss(torch.tensor([[1, 2, 3]]), torch.tensor([[2, 3, 4]]))
    (total / count).backward()  # tables first made under inference_mode would fail here
    half_read = stream(model, TOKENIZER, [1, 2], max_new_tokens=5)
    next(half_read)
    half_read.close()
    assert model.training and torch.is_grad_enabled() and not torch.is_inference_mode_enabled()


def test_the_context_bounds_prompt_and_answer() -> None:
    model = small_model(max_position_embeddings=16)
    with pytest.raises(GenerationError, match=r"prompt 1 has 16 tokens and the model's context is 16.*at most 15"):
        generate(model, TOKENIZER, [[1], [1] * 16], max_new_tokens=4)
    with pytest.warns(UserWarning, match="context of 16 leaves room for 4 new ones, not 10"):
        long, short = generate(model, TOKENIZER, [[1] * 12, [2, 3]], max_new_tokens=10, eos_ids=[])
    assert len(long.ids) == 4 and long.finish_reason == "length" and len(short.ids) == 10
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        generate(model, TOKENIZER, [[1] * 12], max_new_tokens=4)


@pytest.mark.parametrize(
    ("prompts", "options", "reason"),
    [
        ([[]], {}, "prompt 0 is empty"),
        ([[1], [258]], {}, "prompt 1 holds id 258, but the model knows 0..257"),
        ([[-1]], {}, "prompt 0 holds id -1"),
        ([1], {}, "must be lists of token ids; prompt 0 is 1"),
        (["hello"], {}, "use tokenizer.encode"),
        ([[1]], {"max_new_tokens": 0}, "max_new_tokens must be at least 1"),
        ([[1]], {"stop": "end"}, "stop must be a list"),
    ],
)
def test_bad_arguments_are_refused_at_once(prompts: Any, options: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        generate(small_model(), TOKENIZER, prompts, **options)
    with pytest.raises(ValueError, match=reason.replace("prompt 1", "prompt 0")):
        stream(small_model(), TOKENIZER, prompts[-1], **options)  # before the first piece is requested


def test_no_prompts_no_generations() -> None:
    assert generate(small_model(), TOKENIZER, []) == []
