"""The measure of memory and of refusals, on planted answers."""

import json
from pathlib import Path

import pytest

from minimind_lite.evaluation.recall import (
    RecallWords,
    ValueKind,
    is_right,
    named_values,
    read_words,
    recalls,
    refuses,
)

COLOUR = ValueKind(("red", "blue", "dark blue"), "Your favourite colour is {v}.", is_open=False)
ANIMAL = ValueKind(("猫", "熊", "熊猫"), "你最喜欢的动物是{v}。", is_open=False)
NAME = ValueKind(("林小禾", "小禾"), "你叫{v}。", is_open=True)
ROOM = ValueKind(("312", "31"), "你住{v}号房间。", is_open=True)
PET = ValueKind(("Milo", "Rex"), "Your pet is called {v}.", is_open=True)
WORDS = RecallWords(
    {"colour": COLOUR, "pet": PET},
    untold=("You have not told me yet.",),
    unknown=("I have not heard of that place.", "I do not know that person."),
)


@pytest.mark.parametrize(
    ("answer", "value", "kind", "right"),
    [
        ("Your favourite colour is blue.", "blue", COLOUR, True),
        ("BLUE!", "blue", COLOUR, True),
        ("Your favourite colour is red.", "blue", COLOUR, False),
        ("Your favourite colour is red or blue.", "blue", COLOUR, False),
        ("Your favourite colour is dark blue.", "blue", COLOUR, False),
        ("Your favourite colour is dark blue.", "dark blue", COLOUR, True),
        ("I am bored.", "red", COLOUR, False),
        ("Your favourite colour is bluered.", "blue", COLOUR, False),
        ("", "blue", COLOUR, False),
        ("你最喜欢的动物是熊。", "熊", ANIMAL, True),
        ("你最喜欢的动物是熊猫。", "熊", ANIMAL, False),
        ("你最喜欢的动物是熊猫。", "猫", ANIMAL, False),
        ("熊", "熊", ANIMAL, True),
        ("你叫林小禾。", "林小禾", NAME, True),
        ("林小禾", "林小禾", NAME, True),
        ("你叫林小禾苗。", "林小禾", NAME, False),
        ("你叫林小禾。", "小禾", NAME, False),
        ("你叫林小。", "林小禾", NAME, False),
        ("你住312号房间。", "312", ROOM, True),
        ("你住3120号房间。", "312", ROOM, False),
        ("你住312号房间。", "31", ROOM, False),
        ("312", "312", ROOM, True),
        ("Your pet is called Milo.", "Milo", PET, True),
        ("Your pet is called Milou.", "Milo", PET, False),
        ("Your pet is called Milo, no, Rex.", "Milo", PET, False),
        ("Your pet is called Bello.", "Milo", PET, False),
    ],
)
def test_the_right_value_is_named_and_no_other(answer: str, value: str, kind: ValueKind, right: bool) -> None:
    assert recalls(answer, value, kind) is right


def test_a_new_value_is_no_value_of_the_list() -> None:
    assert recalls("Your pet is called Zola.", "Zola", PET)
    assert not recalls("Your pet is called Zola and Rex.", "Zola", PET)


@pytest.mark.parametrize(
    ("answer", "refused"),
    [
        ("I have not heard of that place.", True),
        ("i have not heard of that place", True),
        ("I do not know that person. I have not heard of that place.", True),
        ("I have not heard of that place. The capital of Zamovia is Rome.", False),
        ("I have not heard of Zamovia.", False),
        ("I have not heard of that place, Zamovla.", False),
        ("The capital of Zamovia is Zamov.", False),
        ("You have not told me yet.", False),
        ("", False),
        ("...", False),
    ],
)
def test_a_refusal_is_nothing_but_a_refusal(answer: str, refused: bool) -> None:
    assert refuses(answer, WORDS.unknown) is refused


def test_chinese_refusals() -> None:
    refusals = ("这个地方我没听说过。", "这个人我不认识。")
    assert refuses("这个地方我没听说过。", refusals) and refuses("这个地方我没听说过", refusals)
    assert not refuses("塔罗拉这个地方我没听说过。", refusals)
    assert not refuses("这个地方我没听说过。首都是北京。", refusals)


@pytest.mark.parametrize(
    ("answer", "kind", "value", "right"),
    [
        ("Red.", "colour", "red", True),
        ("Red.", "colour", "blue", False),
        ("Your pet is called Rex.", "pet", "Milo", False),
        ("You have not told me yet.", "untold", "", True),
        ("I do not know that person.", "untold", "", False),
        ("I do not know that person.", "unknown", "", True),
        ("It is Rome.", "unknown", "", False),
    ],
)
def test_each_kind_has_its_own_right_answer(answer: str, kind: str, value: str, right: bool) -> None:
    assert is_right(answer, kind, value, WORDS) is right


def test_nothing_is_named_where_there_are_no_values() -> None:
    assert named_values("red", []) == set()
    assert named_values("Red and blue", ["red", "blue", "green"]) == {"red", "blue"}


def test_bad_input_is_explained(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown kind 'shoe'; the kinds are: colour, pet, untold, unknown"):
        is_right("Red.", "shoe", "red", WORDS)
    path = tmp_path / "words.json"
    path.write_text(json.dumps({"en": {"kinds": {"colour": {"values": ["red"]}}}}), encoding="utf-8")
    with pytest.raises(ValueError, match=r"words\.json: no dialogue words for 'fr'"):
        read_words(path, "fr")
    with pytest.raises(ValueError, match=r"words\.json.*'answer'.*minimind data build"):
        read_words(path, "en")
