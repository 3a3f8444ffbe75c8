"""Reasoning distillation: the form of the records, the weighted loss, the thinking switch, the run and its figures."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import tokenizers
import torch

from minimind_lite.config import ConfigError, preset
from minimind_lite.data.documents import conversation_documents
from minimind_lite.data.packing import IGNORED_TARGET, PackedDataset
from minimind_lite.data.reasoning import REASONING_TAGS, check_reasoning, parse_reasoning, without_thoughts
from minimind_lite.data.records import DataError, read_records
from minimind_lite.evaluation.reasoning import answer_questions
from minimind_lite.generation.engine import Generation
from minimind_lite.model.losses import next_token_loss
from minimind_lite.model.pretrained import load_pretrained, save_pretrained
from minimind_lite.model.transformer import Transformer
from minimind_lite.tokenizer import Tokenizer
from minimind_lite.training.callbacks import Callback, StopTraining
from minimind_lite.training.checkpoint import CheckpointError
from minimind_lite.training.loop import DataOrder
from minimind_lite.training.options import RunOptions, TrainConfig
from minimind_lite.training.reason import ReasonOptions, run_reason, tag_weights

GOOD = "<think>\n个位：9+1=10，得0，进1\n十位：2+6+1=9，得90\n</think>\n<answer>\n90\n</answer>"


def test_a_well_formed_answer_is_parsed() -> None:
    parsed = parse_reasoning(GOOD)
    assert parsed.well_formed and parsed.answer == "90" and parsed.thought and parsed.thought.endswith("得90")
    direct = "<answer>\n90\n</answer>"
    assert parse_reasoning(direct) == (None, "90", True)
    turns = [{"role": "user", "content": GOOD}, {"role": "assistant", "content": GOOD + "\n"}]
    assert without_thoughts(turns) == [turns[0], {"role": "assistant", "content": direct, "reasoning_content": ""}]
    assert parse_reasoning("<think>\n\n</think>\n\n<answer>\n90\n</answer>") == ("", "90", True)


@pytest.mark.parametrize(
    ("text", "answer", "words"),
    [
        ("<think>\n1\n</think>\n90", None, "there is no <answer> block"),
        ("<think>\n1\n<answer>\n90\n</answer>", "90", "1 <think>, 0 </think>"),
        ("<think>\n1\n</think>\n<answer>\n90", None, "1 <answer>, 0 </answer>"),
        ("1\n</think>\n<answer>\n90\n</answer>", "90", "0 <think>, 1 </think>"),
        ("<answer>\n1\n</answer>\n<answer>\n2\n</answer>", None, "2 <answer>, 2 </answer>"),
        ("<answer>\n1\n</answer>\n<think>\n1\n</think>", "1", "expected <think>…</think><answer>…</answer>"),
        ("so <answer>\n1\n</answer>", "1", "no words outside"),
        ("<answer>\n\n</answer>", "", "with an answer in it"),
        ("<think>\n<answer>\n1\n</answer>\n</think>", "1", "expected"),
    ],
)
def test_the_message_says_what_is_wrong(text: str, answer: str | None, words: str) -> None:
    assert parse_reasoning(text) == (None, answer, False)
    with pytest.raises(ValueError, match=re.escape(words)):
        check_reasoning([{"role": "user", "content": "1?"}, {"role": "assistant", "content": text}])


def record(question: str, answer: str) -> dict[str, Any]:
    return {"conversations": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


SUMS = [record(f"{n}+1=?", f"<think>\n{n}+1={n + 1}\n</think>\n<answer>\n{n + 1}\n</answer>") for n in range(1, 25)]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.train(["low lower 你好 answer > think"] * 2, vocab_size=300)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, tokenizer: Tokenizer) -> Path:
    folder = tmp_path_factory.mktemp("base")
    torch.manual_seed(0)
    save_pretrained(Transformer(preset("pico", vocab_size=300)), tokenizer, folder)
    return folder


@pytest.fixture
def sums(tmp_path: Path) -> Path:
    return write(tmp_path / "sums.jsonl", SUMS)


CONFIG = TrainConfig(total_steps=4, micro_batch_size=2, learning_rate=1e-2, progress=False, save_every=2)
OPTIONS = ReasonOptions(block_size=96)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("<think>\n1+1=2\n</think>\n2", "turn 1: there is no <answer> block"),
        ("<think>\n1+1=2\n<answer>\n2\n</answer>", "turn 1: .*1 <think>, 0 </think>, 1 <answer>"),
    ],
)
def test_a_bad_record_is_named_by_file_and_line(tmp_path: Path, base: Path, answer: str, words: str) -> None:
    data = write(tmp_path / "bad.jsonl", [SUMS[0], record("1+1=?", answer)])
    with pytest.raises(DataError, match=rf"bad\.jsonl, line 2: .*{words}"):
        run_reason(data, base, tmp_path / "out", CONFIG, OPTIONS, run=RunOptions(strict=True))
    assert len(run_reason(data, base, tmp_path / "out", CONFIG, OPTIONS).data) == 1  # else it is skipped, and logged


def test_a_file_of_plain_conversations_is_refused(tmp_path: Path, base: Path) -> None:
    data = write(tmp_path / "chat.jsonl", [record(f"{n}?", "yes") for n in range(101)])
    with pytest.raises(DataError, match=r"none of 101 conversations has .*is this a file of reasoning records"):
        run_reason(data, base, tmp_path / "out", CONFIG, OPTIONS)


def test_the_weighted_loss_equals_torch_and_a_sum_by_hand(base: Path, tokenizer: Tokenizer) -> None:
    model = load_pretrained(base)
    weights = tag_weights(tokenizer, 10.0, model.config.vocab_size)
    documents = list(conversation_documents((row["conversations"] for row in SUMS[:3]), tokenizer, 256))
    block = PackedDataset(documents, 256)[0]
    batch = {name: tensor[None] for name, tensor in block.items()}
    total, items = next_token_loss(model, batch, weights)
    surprises, counted = [], []
    for document in documents:
        ids = torch.from_numpy(document.ids.astype("int64"))
        logprobs = model(ids[None, :-1])[0].log_softmax(-1)
        mask = document.loss_mask
        assert mask is not None
        for place, target in enumerate(ids[1:].tolist()):
            if mask[place + 1]:
                surprises.append(-logprobs[place, target])
                counted.append(10.0 if tokenizer.decode([target]) in REASONING_TAGS else 1.0)
    assert counted.count(10.0) == 4 * len(documents)
    by_hand = (torch.stack(surprises) * torch.tensor(counted)).sum()
    torch.testing.assert_close(total, by_hand, atol=1e-3, rtol=1e-5)
    assert float(items) == sum(counted)
    alike = next_token_loss(model, batch)
    unweighted = next_token_loss(model, batch, torch.ones(300))
    torch.testing.assert_close(alike[0], unweighted[0])
    assert int(alike[1]) == int(unweighted[1]) == len(counted)


def test_weights_apply_to_the_tags_and_nothing_else(tokenizer: Tokenizer) -> None:
    weights = tag_weights(tokenizer, 10.0, 310)  # a model's vocabulary may be larger than the tokenizer's
    heavy = [tokenizer.decode([token]) for token in (weights == 10).nonzero()[:, 0].tolist()]
    assert sorted(heavy) == sorted(REASONING_TAGS) and weights.sum() == 310 + 4 * 9
    state = json.loads(tokenizer.backend.to_str())
    state["added_tokens"] = [token for token in state["added_tokens"] if token["content"] not in REASONING_TAGS]
    pieces = Tokenizer(tokenizers.Tokenizer.from_str(json.dumps(state)))
    with pytest.raises(ConfigError, match="<think> is not a token of this tokenizer"):
        tag_weights(pieces, 10.0, 310)


def test_a_run_is_trained_on_the_weighted_loss(tmp_path: Path, base: Path, sums: Path, tokenizer: Tokenizer) -> None:
    config = TrainConfig(total_steps=1, micro_batch_size=2, learning_rate=1e-3, progress=False, seed=3)
    stage = run_reason(sums, base, tmp_path / "out", config, ReasonOptions(block_size=96, tag_weight=7.0))
    (rows,) = DataOrder(len(stage.data), 2, 1, seed=3).micro_batches(0)
    batch = {key: torch.stack([stage.data[row][key] for row in rows]) for key in stage.data[0]}
    model = load_pretrained(base)
    with torch.no_grad():
        weighted, plain = (
            next_token_loss(model, batch, weights) for weights in (tag_weights(tokenizer, 7.0, 300), None)
        )  # fmt: skip
    first = stage.training.history[0]["loss"]
    assert first == pytest.approx(float(weighted[0] / weighted[1]), rel=1e-5)
    assert first != pytest.approx(float(plain[0] / plain[1]), rel=1e-3)


def test_thinking_off_is_trained_as_it_is_asked_for(sums: Path, tokenizer: Tokenizer) -> None:
    messages = next(iter(read_records(sums, "reasoning_off"))).messages
    rendered = tokenizer.render(messages)
    asked = tokenizer.render(messages[:-1], add_generation_prompt=True, thinking=False).ids
    assert rendered.ids[: len(asked)] == asked and sum(rendered.loss_mask[: len(asked)]) == 0
    learned = [token for token, mark in zip(rendered.ids, rendered.loss_mask, strict=True) if mark]
    assert tokenizer.decode(learned) == "<answer>\n2\n</answer><|im_end|>"
    thought = next(iter(read_records(sums, "reasoning"))).messages
    opened = tokenizer.render(thought[:-1], add_generation_prompt=True, thinking=True).ids
    assert tokenizer.render(thought).ids[: len(opened)] == opened


def test_transformers_renders_the_empty_block_too(tmp_path: Path, sums: Path, tokenizer: Tokenizer) -> None:
    from transformers import AutoTokenizer

    tokenizer.save(tmp_path)
    messages = next(iter(read_records(sums, "reasoning_off"))).messages
    theirs: Any = AutoTokenizer.from_pretrained(tmp_path).apply_chat_template(
        messages, tokenize=True, return_dict=True, return_assistant_tokens_mask=True
    )
    ours = tokenizer.render(messages)
    assert (theirs["input_ids"], theirs["assistant_masks"]) == (ours.ids, ours.loss_mask)


def test_shares_are_shares_of_the_blocks(tmp_path: Path, base: Path, sums: Path, tokenizer: Tokenizer) -> None:
    chat = write(tmp_path / "chat.jsonl", [record(f"question {n}?", "你好 " * 6) for n in range(9)])
    options = ReasonOptions(block_size=96, off_share=0.2, replay=str(chat), replay_share=0.4)
    blocks = run_reason(sums, base, tmp_path / "out", CONFIG, options).data
    texts = [tokenizer.decode(blocks[place]["input_ids"].tolist()) for place in range(len(blocks))]
    off, replayed = (sum(words in text for text in texts) for words in ("<think>\n\n</think>", "你好"))
    assert (round(off / len(texts), 1), round(replayed / len(texts), 1)) == (0.2, 0.4)
    assert sum(text.count("<answer>") for text in texts if "<think>\n\n" not in text) == len(SUMS)


def test_the_control_learns_direct_answers_alone(tmp_path: Path, base: Path, sums: Path, tokenizer: Tokenizer) -> None:
    blocks = run_reason(
        sums,
        base,
        tmp_path / "out",
        CONFIG,
        ReasonOptions(block_size=96, off_share=1.0),
        run=RunOptions(eval_data=sums),
    )
    targets = torch.cat([blocks.data[place]["targets"] for place in range(len(blocks.data))])
    said = tokenizer.decode(targets[targets != IGNORED_TARGET].tolist()).split("<|im_end|>")[:-1]
    assert sorted(said) == sorted(f"<answer>\n{n + 1}\n</answer>" for n in range(1, 25))
    assert blocks.training.history[-1]["eval_loss"] > 0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"tag_weight": 0.0}, "tag_weight must be a number, above 0"),
        ({"off_share": -0.1}, "off_share must be a number, 0 or more and at most 1"),
        ({"off_share": 0.6, "replay_share": 0.5, "replay": "x"}, "together 1.1: they are shares of one whole"),
        ({"replay_share": 1.0, "replay": "x"}, "replay_share must be a number, 0 or more and below 1"),
        ({"replay_share": 0.1}, "replay_share needs replay"),
    ],
)
def test_impossible_options_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        ReasonOptions(**changes)


def test_a_stopped_run_ends_like_an_unbroken_one(tmp_path: Path, base: Path, sums: Path) -> None:
    class Stop(Callback):
        def after_step(self, run: Any) -> None:
            if run.step == 2:
                raise StopTraining

    options = ReasonOptions(block_size=96, off_share=0.2)
    whole = run_reason(sums, base, tmp_path / "whole", CONFIG, options)
    run_reason(sums, base, tmp_path / "parts", CONFIG, options, run=RunOptions(callbacks=[Stop()]))
    rest = run_reason(sums, base, tmp_path / "parts", CONFIG, options)
    assert rest.training.resumed_from == 2
    pairs = zip(whole.model.parameters(), rest.model.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)
    with pytest.raises(CheckpointError, match="tag_weight"):
        run_reason(sums, base, tmp_path / "parts", CONFIG, ReasonOptions(block_size=96, off_share=0.2, tag_weight=2.0))


def test_the_measurement_counts_what_was_said(base: Path, tokenizer: Tokenizer, monkeypatch: Any) -> None:
    model = load_pretrained(base)
    messages = [row["conversations"] for row in SUMS[:4]]
    said = [SUMS[0]["conversations"][1]["content"], "<answer>\n3\n</answer>", "4", "<answer>\n9\n</answer>"]
    prompts: list[list[int]] = []
    asked: dict[str, Any] = {}

    def fake(model: Any, tokenizer: Any, given: list[list[int]], **options: Any) -> list[Generation]:
        prompts.extend(given)
        asked.update(options)
        return [Generation([1] * (5 + place), text, "stop", []) for place, text in enumerate(said)]

    monkeypatch.setattr("minimind_lite.evaluation.reasoning.generate", fake)
    answers = answer_questions(model, tokenizer, messages, max_new_tokens=7, batch_size=3)
    assert (asked["max_new_tokens"], asked["batch_size"]) == (7, 3)
    assert [answer.right for answer in answers.answers] == [True, True, False, False]
    assert answers.share == 0.5 and answers.well_formed == 0.75 and answers.answers[3].tokens == 8
    groups = answers.grouped(lambda answer: answer.expected == "2")
    assert {key: len(group.answers) for key, group in groups.items()} == {False: 3, True: 1}
    assert "50.0% exact" in str(answers)
    prompts.clear()
    switched = answer_questions(model, tokenizer, messages, thinking=False).answers[1]
    assert switched.given == "<think>\n\n</think>\n\n" + said[1] and switched.right and switched.parsed.thought == ""
    assert prompts[1] == tokenizer.render(messages[1][:-1], add_generation_prompt=True, thinking=False).ids
    with pytest.raises(ValueError, match="<answer> block"):
        answer_questions(model, tokenizer, [record("a?", "b")["conversations"]])


def test_the_picture_shows_what_a_token_weighs(tokenizer: Tokenizer) -> None:
    from minimind_lite.course.chapters.reason.figures import said, weighted_tokens

    rendered = tokenizer.render(SUMS[0]["conversations"])
    picture = weighted_tokens(tokenizer, rendered, tag_weights(tokenizer, 10.0, 300)).data
    learned = sum(rendered.loss_mask)
    assert picture.count('title="weight 10"') == 4 and picture.count('title="weight 1"') == learned - 4
    assert picture.count('title="weight 0"') == len(rendered.ids) - learned
    shown = said("<think>\n<b>\n</think>")
    assert "&lt;b&gt;" in shown and shown.count("<span") == 2 and "<b>" not in shown


def test_the_interactive_answers_in_every_position(base: Path, tokenizer: Tokenizer) -> None:
    from minimind_lite.course.chapters.reason.widgets import SWITCH, switched_answer, thinking_switch

    model = load_pretrained(base)
    openings = {"model_decides": "", "thinks": "<think>\n", "answers_at_once": "<think>\n\n</think>\n\n"}
    for name, thinking in SWITCH.items():
        assert switched_answer(model, tokenizer, "1+1=?", thinking, 4).startswith(openings[name])
    switch = thinking_switch(model, tokenizer, "1+1=?", 4)
    switch.children[1].value = "answers_at_once"
    assert switch.kwargs == {"question": "1+1=?", "thinking": "answers_at_once"}
