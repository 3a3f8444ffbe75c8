"""Asking a whole sample world: each kind judged its own way, on planted answers and with a real model."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from minimind_lite.config import preset
from minimind_lite.data.records import DataError
from minimind_lite.evaluation import sample_world
from minimind_lite.evaluation.intents import IntentTable
from minimind_lite.evaluation.sample_world import (
    FALSE_REFUSALS,
    NOT_TOLD,
    JudgedAnswer,
    KindScore,
    ask_world,
    both_languages,
    figures_of,
    in_any_sentence,
    named,
    obeys,
    spread,
    story_requests,
    tell_stories,
    training_stories,
)
from minimind_lite.evaluation.stories import StoryScores
from minimind_lite.files import repository_root
from minimind_lite.generation.engine import Generation, chat
from minimind_lite.model.transformer import Transformer
from minimind_lite.tokenizer import Tokenizer

Record = dict[str, Any]
Say = Callable[[str, str], str]  # the last question and the expected answer → what the planted model says
RINGS = ("near", "far", "known", "backwards_trained", "backwards")
TALK = {
    "zh": {"greet": "你好呀。", "thanks": "不用谢。"},
    "en": {"greet": "Hello there.", "thanks": "You are welcome."},
}
OTHER = {"zh": "en", "en": "zh"}
WORDS = {
    "zh": {"values": ["红色", "蓝色"], "answer": "你喜欢{v}。", "untold": "你还没告诉我。", "unknown": "我没听说过。"},
    "en": {
        "values": ["red", "blue"],
        "answer": "You like {v}.",
        "untold": "You did not say.",
        "unknown": "Never heard.",
    },
}
STORY = "There was a fox. The fox wanted a kite. The fox got a kite."
KINDS = {"facts near", "facts far", "facts backwards trained", "facts backwards", "talk", "follow-ups", "system turns",
         "recall known lists", "recall open", NOT_TOLD, "unknown refused", FALSE_REFUSALS}  # fmt: skip


def record(*turns: str, system: str = "", **more: str) -> Record:
    roles = ("user", "assistant") * len(turns)
    said = [{"role": role, "content": text} for role, text in zip(roles, turns, strict=False)]
    return {"conversations": ([{"role": "system", "content": system}] if system else []) + said} | more


def write(path: Path, *records: Record) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(one, ensure_ascii=False) + "\n" for one in records), encoding="utf-8")


def held_out(language: str) -> dict[str, list[Record]]:
    """Small files of every held-out kind, by name."""
    words, talk, foreign = WORDS[language], TALK[language], TALK[OTHER[language]]
    colours = [
        record(f"tell {value}", "ok", "what colour?", words["answer"].format(v=value), kind="colour", value=value)
        for value in words["values"]
    ]
    system = [
        record("hi!", foreign["greet"], system="other language", kind="language", intent="greet"),
        record("town?", "Rome", system="one word", kind="word", intent="town"),
        record("hey", f"{talk['greet']} Bye!", system="end", kind="ending", intent="greet", sentence="Bye!"),
        record("ho", "Meow, me.", system="cat", kind="persona", intent="who", persona="cat", mark="Meow"),
    ]
    files = {
        "talk": [record(f"{intent}?", answer, intent=intent) for intent, answer in talk.items()],
        "follow": [record("a?", "A.", f"and b{n}?", f"B{n}.", kind="other") for n in range(2)],
        "recall": [*colours, record("tell", "ok", "pet?", words["untold"], kind="untold", value="")],
        "recall_open": [record("I am Bo", "ok", "who am I?", "You are Bo.", kind="name", value="Bo")],
        "unknown": [record(f"capital of {name}?", words["unknown"], kind="unknown") for name in ("Zam", "Tol")],
        "system": system,
        "stories": [record(f"a fox and a kite, {n}", STORY, hero="the fox", wish="kite", asked="both")
                    for n in range(4)],
    }  # fmt: skip
    for one in (one for records in files.values() for one in records):
        one["conversations"][-2]["content"] += f" ({language})"  # the planted model tells questions apart by their text
    return files


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """A sample world of a few records of each kind, in both languages."""
    words = {
        language: {"kinds": {"colour": {"values": one["values"], "answer": one["answer"], "open": False},
                             "name": {"values": ["Bo", "Al"], "answer": "You are {v}.", "open": True}},
                   "untold": one["untold"], "unknown": [one["unknown"]]}
        for language, one in WORDS.items()
    }  # fmt: skip
    (tmp_path / "chat").mkdir()
    (tmp_path / "chat" / "words.json").write_text(json.dumps(words, ensure_ascii=False), encoding="utf-8")
    stories = {"heroes": ["the fox", "the cat"], "wishes": {"kite": {"keys": ["kite"]}, "river": {"keys": ["river"]}}}
    (tmp_path / "stories.json").write_text(json.dumps({"zh": stories, "en": stories}), encoding="utf-8")
    for language in ("zh", "en"):
        talk = [record(f"say {intent}", answer, intent=intent) for intent, answer in TALK[language].items()]
        write(tmp_path / "chat" / f"talk_{language}.jsonl", *talk)
        write(tmp_path / "chat" / f"stories_{language}.jsonl", record("a cat", "A cat sat. The cat sang."))
        for name, records in held_out(language).items():
            write(tmp_path / "chat_heldout" / f"{name}_{language}.jsonl", *records)
        for ring in RINGS:
            facts = [record(f"{ring} {n}?", f"{ring} {n}.", relation="r", given=f"{n}", value=ring) for n in range(3)]
            write(tmp_path / "facts_rings" / ring / f"{language}.jsonl", *facts)
    return tmp_path


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.train(["湖北的简称是鄂。 What is it?"] * 3, vocab_size=290)


@pytest.fixture(scope="module")
def model() -> Transformer:
    torch.manual_seed(0)
    return Transformer(preset("pico", vocab_size=290))


@pytest.fixture
def plant(world: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let the model say what a function of question and expected answer returns."""
    expected = {}
    for path in [*(world / "chat_heldout").glob("*.jsonl"), *(world / "facts_rings").glob("*/*.jsonl")]:
        for line in path.read_text(encoding="utf-8").splitlines():
            turns = json.loads(line)["conversations"]
            prompt = tokenizer.render(turns[:-1], add_generation_prompt=True).ids
            expected[tuple(prompt)] = (turns[-2]["content"], turns[-1]["content"])

    def planted(say: Say, reason: Any = "stop") -> None:
        def generate(_: object, __: object, prompts: list[list[int]], **___: object) -> list[Generation]:
            return [Generation([], say(*expected[tuple(prompt)]), reason, []) for prompt in prompts]

        monkeypatch.setattr(sample_world, "generate", generate)

    return planted


def test_the_expected_answers_are_right_and_refuse_nothing_known(
    world: Path, model: Transformer, tokenizer: Tokenizer, plant: Callable[..., None]
) -> None:
    plant(lambda question, expected: expected)
    scores = ask_world(model, tokenizer, world)
    assert set(scores) == {f"{kind} {language}" for kind in KINDS for language in ("zh", "en")}
    for kind, score in scores.items():
        assert score.share == (0 if kind.startswith(FALSE_REFUSALS) else 1), kind
        assert score.interval[0] < score.interval[1]
    assert {len(scores[f"{kind} zh"].answers) for kind in ("facts near", "facts far", "facts backwards")} == {3}
    assert len(scores["recall known lists en"].answers) == 2 and len(scores[f"{NOT_TOLD} en"].answers) == 1
    assert scores["follow-ups en"].answers[1].question == "and b1? (en)"


@pytest.mark.parametrize(
    ("said", "right"),
    [
        ("", set()),
        ("Never heard.", {"unknown refused en", f"{FALSE_REFUSALS} en"}),
        ("我没听说过", {"unknown refused zh", f"{FALSE_REFUSALS} zh"}),
        ("You did not say.", {f"{NOT_TOLD} en"}),
        ("You are Bo.", {"recall open zh", "recall open en"}),
        ("You are Bo or Al.", set()),
        ("You are welcome!", {"talk en"}),
        ("你好呀", {"talk zh", "system turns en"}),
        ("Meow!", {"system turns zh", "system turns en"}),
        ("RED", {"recall known lists en"}),
        ("red and blue", set()),
        ("near 1.", {"facts near zh", "facts near en"}),
        ("near 1", set()),
        ("B1.", {"follow-ups zh", "follow-ups en"}),
    ],
)
def test_one_answer_to_everything_is_right_where_it_should_be(
    world: Path, model: Transformer, tokenizer: Tokenizer, plant: Callable[..., None], said: str, right: set[str]
) -> None:
    plant(lambda question, expected: said)
    scores = ask_world(model, tokenizer, world)
    assert {kind for kind, score in scores.items() if score.share} == right


def test_a_fact_is_named_in_any_sentence(
    world: Path, model: Transformer, tokenizer: Tokenizer, plant: Callable[..., None]
) -> None:
    plant(lambda question, expected: "It is near." if question == "near 1?" else "It is nearby.")
    scores = both_languages(ask_world(model, tokenizer, world))
    near = in_any_sentence(scores["facts near"])
    assert (scores["facts near"].share, near.share) == (0, pytest.approx(1 / 3))
    assert [one.right for one in near.answers] == [False, True, False] * 2
    with pytest.raises(ValueError, match="do not say what a right answer has to name"):
        in_any_sentence(scores["talk"])


@pytest.mark.parametrize(
    ("value", "about", "said", "named"),
    [
        ("Mongolia", "Ulaanbaatar", "The capital of Mongolia is Ulaanbaatar.", True),
        ("Mongolia", "Ulaanbaatar", "The capital of mongolia.", True),
        ("Mongolia", "Ulaanbaatar", "The capital of Nepal is Ulaanbaatar.", False),
        ("Mexico", "Mexico City", "Mexico City is in Spain.", False),
        ("Mexico", "Mexico City", "The capital of Mexico is Mexico City.", True),
        ("ox", "oxen", "Two oxen and a box.", False),
        ("墨西哥", "墨西哥城", "墨西哥城在西班牙。", False),
        ("墨西哥", "墨西哥城", "墨西哥城在墨西哥。", True),
        ("马", "horse", "罗马是首都。", False),
        ("马", "horse", "马的英语是horse。", True),
    ],
)
def test_a_name_inside_a_longer_one_is_not_named(value: str, about: str, said: str, named: bool) -> None:
    other = JudgedAnswer("罗马是哪国的首都？", "罗马是意大利的首都。", "", False, "意大利", "罗马")
    one = JudgedAnswer("?", "…", said, not named, value, about)
    assert [answer.right for answer in in_any_sentence(KindScore([one, other])).answers] == [named, False]


@pytest.mark.parametrize("ring", ["backwards_trained", "backwards"])
def test_every_expected_answer_names_what_is_asked_for_and_no_question_does_by_itself(ring: str) -> None:
    """So the generous count is never below the strict one, and to repeat the question's name earns nothing."""
    folder = repository_root() / "data_samples" / "facts_rings" / ring
    lines = [line for path in folder.glob("*.jsonl") for line in path.read_text(encoding="utf-8").splitlines()]
    expected, repeated = [], []
    for item in map(json.loads, lines):
        asked, answer = (turn["content"] for turn in item["conversations"])
        expected.append(JudgedAnswer(asked, answer, answer, True, item["value"], item["given"]))
        repeated.append(replace(expected[-1], given=item["given"]))
    assert len(lines) > 200 and {path.stem for path in folder.glob("*.jsonl")} == {"zh", "en"}
    assert (in_any_sentence(KindScore(expected)).share, in_any_sentence(KindScore(repeated)).share) == (1, 0)


SYSTEM = {one["kind"]: one for one in held_out("en")["system"]}


@pytest.mark.parametrize(
    ("kind", "said", "obeyed"),
    [
        ("language", "你好呀！", True),
        ("language", "Hello there.", False),
        ("language", "不用谢。", False),
        ("word", " Rome\n", True),
        ("word", "Rome.", False),
        ("word", "Paris", False),
        ("ending", "Hello there. Bye!", True),
        ("ending", "Hello there.", False),
        ("ending", "You are welcome. Bye!", False),
        ("ending", "Bye!", False),
        ("ending", "Bye! Hello there.", False),
        ("persona", "meow, hello.", True),
        ("persona", "Hello, homeowners.", False),
    ],
)
def test_a_system_turn_is_obeyed_visibly(kind: str, said: str, obeyed: bool) -> None:
    foreign = IntentTable({intent: (answer,) for intent, answer in TALK["zh"].items()})
    assert obeys(said, SYSTEM[kind], foreign) is obeyed


def test_a_system_turn_of_no_kind_is_an_error() -> None:
    with pytest.raises(DataError, match="unknown kind of system turn 'shout'"):
        obeys("HI", SYSTEM["word"] | {"kind": "shout"}, IntentTable({"greet": ["Hi."]}))


def test_a_limit_takes_items_from_the_whole_file(
    world: Path, model: Transformer, tokenizer: Tokenizer, plant: Callable[..., None]
) -> None:
    items: list[Record] = [{"n": n} for n in range(10)]
    assert [one["n"] for one in spread(items, 3)] == [0, 3, 6]
    assert spread(items, 10) == spread(items, 99) == spread(items, None) == items
    plant(lambda question, expected: expected)
    scores = ask_world(model, tokenizer, world, limit=2)
    assert max(len(score.answers) for score in scores.values()) == 2
    assert [answer.question for answer in scores["facts near zh"].answers] == ["near 0?", "near 1?"]


def test_a_real_model_is_asked_in_its_own_words(world: Path, model: Transformer, tokenizer: Tokenizer) -> None:
    """Batches of all kinds together: the same words as in a chat, with the turns before the question."""
    scores = ask_world(model, tokenizer, world, max_new_tokens=4, batch_size=5)
    turns = held_out("en")["follow"][1]["conversations"][:-1]
    assert scores["follow-ups en"].answers[1].given == chat(model, tokenizer, turns, max_new_tokens=4)
    assert scores["facts near zh"].share == 0


def test_stories_are_scored_against_what_was_asked(
    world: Path, model: Transformer, tokenizer: Tokenizer, plant: Callable[..., None]
) -> None:
    plant(lambda question, expected: expected)
    scores = tell_stories(model, tokenizer, world)
    assert (scores["en"].ended, scores["en"].hero_kept, scores["en"].wish_fits) == (1, 1, 1)
    assert 0 <= scores["en"].copied < 0.2
    plant(lambda question, expected: expected, reason="length")
    assert tell_stories(model, tokenizer, world, limit=2)["zh"].ended == 0
    plant(lambda question, expected: "A cat sat. The cat sang.")
    copied = tell_stories(model, tokenizer, world)["en"]
    assert (copied.ended, copied.hero_kept, copied.wish_fits, copied.copied) == (1, 0, 0, 1)
    asked = [one["conversations"][0]["content"] for one in story_requests(world, "en", 2)]
    assert asked == ["a fox and a kite, 0 (en)", "a fox and a kite, 2 (en)"]
    assert list(training_stories(world, "zh")) == ["A cat sat. The cat sang."]


def test_a_story_need_not_guess_what_its_request_left_open() -> None:
    request = {"hero": "the fox", "wish": "kite"}
    assert named(request | {"asked": "both"}) == ("the fox", "kite")
    assert named(request | {"asked": "hero"}) == ("the fox", None)
    assert named(request | {"asked": "wish"}) == (None, "kite")


def test_figures_have_names_for_one_language_and_for_both() -> None:
    right, wrong = (JudgedAnswer("q", "a", "a", held) for held in (True, False))
    scores = {"follow-ups zh": KindScore([right]), "follow-ups en": KindScore([right, wrong, wrong])}
    assert {kind: len(one.answers) for kind, one in both_languages(scores).items()} == {"follow-ups": 4}
    stories = {"zh": StoryScores(1.0, 0.5, 0.5, 0.25), "en": StoryScores(0.5, 0.5, 0.0, 0.25)}
    figures = figures_of(scores, stories)
    assert (figures["follow_ups"], figures["follow_ups_zh"], figures["follow_ups_en"]) == (0.5, 1, pytest.approx(1 / 3))
    assert (figures["stories_ended"], figures["stories_ended_en"], figures["stories_wish_fits_zh"]) == (0.75, 0.5, 0.5)
    assert len(figures) == 3 + 4 * 3
    assert str(scores["follow-ups en"]) == "33.3% (6.1% to 79.2%, 3 questions)"


def test_files_that_are_missing_or_wrong_are_named(world: Path, model: Transformer, tokenizer: Tokenizer) -> None:
    path = world / "chat_heldout" / "recall_en.jsonl"
    write(path, record("a", "b", kind="colour"))
    with pytest.raises(DataError, match=r"recall_en\.jsonl, line 1: has no field 'value'.*minimind data build"):
        ask_world(model, tokenizer, world)
    path.write_text("{\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"recall_en\.jsonl, line 1.*not JSON"):
        ask_world(model, tokenizer, world)
    path.write_text('{"conversations": []}\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"recall_en\.jsonl, line 1"):
        ask_world(model, tokenizer, world)
    path.unlink()
    with pytest.raises(DataError, match=r"recall_en\.jsonl: there is no such file"):
        ask_world(model, tokenizer, world)
