"""Small talk and system turns of the sample world: counts, distances, one answer each, nothing held out is trained."""

import importlib
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from minimind_lite.data.records import DataError, read_records
from minimind_lite.data.rings import edit_distance
from minimind_lite.evaluation.intents import IntentTable, read_intents, similarity

SAMPLES = Path(__file__).parents[1] / "data_samples"
LANGUAGES = ("zh", "en")
OTHER = {"zh": "en", "en": "zh"}


@pytest.fixture(scope="module")
def talk() -> Iterator[ModuleType]:
    """The builder's module of small talk; its folder is on the path only during the test."""
    sys.path.insert(0, str(SAMPLES / "builder"))
    yield importlib.import_module("talk")
    sys.path.remove(str(SAMPLES / "builder"))


@pytest.fixture(scope="module")
def system_turns(talk: ModuleType) -> ModuleType:
    """The builder's module of system turns."""
    return importlib.import_module("system_turns")


def lines(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (SAMPLES / name).read_text(encoding="utf-8").splitlines()]


def said(record: dict[str, Any], role: str) -> list[str]:
    return [turn["content"] for turn in record["conversations"] if turn["role"] == role]


def trained_talk(language: str) -> list[tuple[str, str]]:
    """All that training asks in small talk, with the answers: alone, then in rounds."""
    records = [one for name in ("talk", "talk_rounds") for one in lines(f"chat/{name}_{language}.jsonl")]
    return [pair for one in records for pair in zip(said(one, "user"), said(one, "assistant"), strict=True)]


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_intent_has_its_wordings_and_one_answer(language: str) -> None:
    train, heldout = lines(f"chat/talk_{language}.jsonl"), lines(f"chat_heldout/talk_{language}.jsonl")
    intents = {record["intent"] for record in train}
    assert len(intents) >= 62 and intents == {record["intent"] for record in heldout}
    assert intents == {record["intent"] for record in lines(f"chat/talk_{OTHER[language]}.jsonl")}
    answers = {(record["intent"], said(record, "assistant")[0]) for record in train + heldout}
    assert len(answers) == len({answer for _, answer in answers}) == len(intents)
    answer_of = dict(answers)
    assert {answer for _, answer in trained_talk(language)} == set(answer_of.values())
    for intent in intents:
        trained = {asked for asked, answer in trained_talk(language) if answer == answer_of[intent]}
        near = {said(record, "user")[0] for record in heldout if (record["intent"], record["ring"]) == (intent, "near")}
        far = {said(record, "user")[0] for record in heldout if (record["intent"], record["ring"]) == (intent, "far")}
        assert len(trained) >= 50 and len(near) >= 6 and len(far) >= 2, intent
        assert not trained & (near | far) and not near & far


@pytest.mark.parametrize(("language", "edits"), [("zh", 3), ("en", 6)])
def test_held_out_wordings_are_new(language: str, edits: int, talk: ModuleType) -> None:
    """Checked once more in another way: the library's own edit distance, on every tenth held-out wording."""
    trained = {talk.plain(asked, language) for asked, _ in trained_talk(language)}
    heldout = [talk.plain(said(one, "user")[0], language) for one in lines(f"chat_heldout/talk_{language}.jsonl")]
    pad = "" if language == "zh" else " "
    for new in heldout:
        for old in trained:
            assert f"{pad}{old}{pad}" not in f"{pad}{new}{pad}" and f"{pad}{new}{pad}" not in f"{pad}{old}{pad}"
    for new in heldout[::10]:
        similar = [old for old in trained if abs(len(old) - len(new)) < edits and len(set(new) - set(old)) < edits]
        assert all(edit_distance(new, old) >= edits for old in similar), new


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"train": ("How nice to see you",)}, "it needs 26 and 6"),
        ({"heldout": ("And good morning to you, dear",)}, "one contains the other"),
        ({"heldout": ("Good mourning to yah",)}, "fewer than 6 edits apart"),
        ({"far": ("Good mourning to yah",)}, "fewer than 6 edits apart"),
        ({"far": ("Thanks a lot!",)}, "is a wording of greet and of thanks"),
    ],
)
def test_a_broken_rule_is_refused(talk: ModuleType, change: dict[str, tuple[str, ...]], complaint: str) -> None:
    intents = {name: one for name, one in talk.load_talk("en")[0].items() if name in ("greet", "morning", "thanks")}
    assert not list(talk.problems(intents, "en"))
    intents["greet"] = replace(intents["greet"], **change)
    with pytest.raises(ValueError, match=rf"talk/en\.toml: .*{complaint}"):
        talk.refuse(talk.problems(intents, "en"), "en")


def test_the_limit_on_edits_is_exact(talk: ModuleType) -> None:
    for first, second in (("你累不累", "你饿不饿"), ("abc", "abcd"), ("", "abc"), ("kitten", "sitting"), ("ab", "ba")):
        distance = edit_distance(first, second)
        assert talk.nearer_than(first, second, distance + 1) and not talk.nearer_than(first, second, distance)


def test_identity_is_not_given_away() -> None:
    """The adapter that changes the identity is measured on answers and questions that small talk must not train."""
    trained = [pair for language in LANGUAGES for pair in trained_talk(language)]
    kept = lines("lora_identity_heldout.jsonl")
    assert not {asked for asked, _ in trained} & {said(one, "user")[0] for one in kept}
    assert not {answer for _, answer in trained} & {said(one, "assistant")[0] for one in kept}


@pytest.mark.parametrize("language", LANGUAGES)
def test_rounds_of_small_talk_are_of_different_intents_mostly_and_end_with_the_recorded_one(language: str) -> None:
    rounds = lines(f"chat/talk_rounds_{language}.jsonl")
    table = read_intents(SAMPLES / f"chat/talk_{language}.jsonl")
    for record in rounds:
        assert 2 <= len(said(record, "user")) <= 3 or record is rounds[-1]
        assert table.intent_of(said(record, "assistant")[-1]) == record["intent"]
    assert sum(len(set(said(one, "assistant"))) > 1 for one in rounds) > 0.9 * len(rounds)


@pytest.mark.parametrize("language", LANGUAGES)
def test_system_turns_hold_texts_and_pairs_out(language: str) -> None:
    train, heldout = lines(f"chat/system_{language}.jsonl"), lines(f"chat_heldout/system_{language}.jsonl")
    texts = {said(record, "system")[0] for record in train}
    questions = {question for record in train for question in said(record, "user")}
    pairs = {
        (record["kind"], record.get("persona"), answer) for record in train for answer in said(record, "assistant")
    }
    personas = {record["persona"] for record in train if record["kind"] == "persona"}
    assert len(personas) == 3
    for persona in personas:
        assert len({answer for _, name, answer in pairs if name == persona}) >= 20
    for record in heldout:
        [system], [question], [answer] = (said(record, role) for role in ("system", "user", "assistant"))
        assert (system in texts) == (record["ring"] == "pair") and question not in questions
        if record["kind"] != "word":  # another place may have the same continent
            assert ((record["kind"], record.get("persona"), answer) in pairs) == (record["ring"] == "text")


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_system_turn_can_be_seen_in_the_answer(language: str) -> None:
    foreign = {answer for answers in read_intents(SAMPLES / f"chat/talk_{OTHER[language]}.jsonl").answers.values()
               for answer in answers}  # fmt: skip
    records = lines(f"chat/system_{language}.jsonl") + lines(f"chat_heldout/system_{language}.jsonl")
    assert {record["kind"] for record in records} == {"language", "word", "ending", "persona"}
    for record in records:
        for answer in said(record, "assistant"):
            obeyed = {
                "language": answer in foreign,
                "word": answer.isalpha() and " " not in answer,
                "ending": answer.endswith(record.get("sentence", "?")),
                "persona": record.get("mark", "?") in answer,
            }
            assert obeyed[record["kind"]], answer


def test_a_persona_without_its_mark_and_a_near_system_text_are_refused(system_turns: ModuleType) -> None:
    turn = system_turns.SystemTurn("persona", ("You are a cat.",), ("Now you are a cat.",), labels=(("mark", "Meow"),))
    turn = replace(turn, new=(system_turns.Exchange("greet", (), (), "Hello."),))
    near, mark = system_turns.problems([turn], "en")
    assert "one contains the other" in near and "'Hello.' lacks 'Meow'" in mark


@pytest.mark.parametrize("folder", ["chat", "chat_heldout"])
def test_the_record_reader_takes_the_further_fields(folder: str) -> None:
    for path in sorted((SAMPLES / folder).glob("*.jsonl")):
        reader = read_records(path, "conversation", strict=True)
        assert len(list(reader)) == len(path.read_text(encoding="utf-8").splitlines())


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_measure_knows_every_answer_and_no_wrong_one(language: str) -> None:
    table = read_intents(SAMPLES / f"chat/talk_{language}.jsonl")
    asked = list(table.answers)
    right = [table.answers[intent][0] for intent in asked]
    assert [table.intent_of(answer) for answer in right] == asked
    joined = [f"{first} {second}" for first, second in zip(right, right[1:] + right[:1], strict=True)]
    assert share_right(asked, joined, table) < 0.3  # an answer that goes on into another one
    assert share_right(asked, [answer[: len(answer) // 2] for answer in right], table) < 0.1
    assert share_right(asked, [""] * len(asked), table) == 0


def share_right(asked: list[str], said: list[str], table: IntentTable) -> float:
    return sum(table.intent_of(one) == intent for intent, one in zip(asked, said, strict=True)) / len(asked)


def test_a_slip_is_forgiven_and_another_meaning_is_not() -> None:
    table = IntentTable({
        "cold": ["Put on something warm."],
        "hungry": ["Go and eat something warm."],
        "sad": ["I am here to listen to you.", "Meow, I will sit on your lap."],
    })  # fmt: skip
    assert table.intent_of("go and eat something very warm") == "hungry"
    assert table.intent_of("Meow, I will sit on your lap!") == "sad"
    assert table.intent_of("Go and put on something warm") is None  # two edits away from either
    assert table.intent_of("Put your hat on.") is None
    assert table.intent_of("I am not here.") is None
    tie = IntentTable({"a": ["one two three four"], "b": ["one two three five"]})
    assert tie.intent_of("one two three six", threshold=0.5) is None
    assert tie.intent_of("one two three four", threshold=0.5) == "a"


def test_similarity_counts_characters_in_chinese_and_words_in_english() -> None:
    assert similarity("你好！", "你好") == 1
    assert similarity("我很好", "我不好") == pytest.approx(2 / 3)
    assert similarity("I am well", "I am ill") == pytest.approx(2 / 3)
    assert similarity("", "你好") == 0


def test_bad_tables_and_requests_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'a' and 'b' share the answer 'hello'"):
        IntentTable({"a": ["Hello!"], "b": ["hello"]})
    with pytest.raises(ValueError, match="'a' has no answer"):
        IntentTable({"a": []})
    path = tmp_path / "talk.jsonl"
    path.write_text('{"conversations": [{"role": "user", "content": "Hi"}]}\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"talk\.jsonl, line 1: no small talk"):
        read_intents(path)
    path.write_text("{\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"talk\.jsonl, line 1"):
        read_intents(path)
