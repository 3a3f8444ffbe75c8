"""Preferences of several kinds: what the sample pairs must hold, and the controls that find what gives them away."""

import json
import random
import re
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from minimind_lite.data.check import check_folder
from minimind_lite.data.controls import MOST, last_sentence, lengths, preference_controls
from minimind_lite.data.records import read_records

DATA = Path(__file__).parents[1] / "data_samples"
KINDS = ("true", "short", "polite", "answers", "refuses")
FOLLOW_UPS = ("那", "And what about")  # questions that only the round before them explains
SPLITS = ("dpo_kinds", "dpo_kinds_heldout")


WORD = r"[^\W\u4e00-\u9fff]+|[\u4e00-\u9fff]"


@cache
def pairs(name: str) -> list[Any]:
    return list(read_records(DATA / f"{name}.jsonl", "preference", strict=True))


def is_chinese(text: str) -> bool:
    return any("\u4e00" <= letter <= "\u9fff" for letter in text)


def ending(pair: Any, which: str) -> str:
    return str(getattr(pair, which)[-1].content)


@pytest.mark.parametrize("name", SPLITS)
def test_every_kind_is_there_in_both_languages(name: str) -> None:
    counts = Counter((pair.kind, is_chinese(ending(pair, "chosen"))) for pair in pairs(name))
    assert set(counts) == {(kind, chinese) for kind in KINDS for chinese in (True, False)}
    assert min(counts.values()) >= (28 if name == "dpo_kinds" else 20)


def test_there_are_enough_pairs() -> None:
    assert len(pairs("dpo_kinds")) >= 400 and len(pairs("dpo_kinds_heldout")) >= 200
    assert min(Counter(pair.kind for pair in pairs("dpo_kinds_heldout")).values()) >= 40


def test_every_prompt_is_asked_once_and_none_is_trained_in_sft() -> None:
    asked = Counter(tuple(turn.content for turn in pair.chosen[:-1]) for name in SPLITS for pair in pairs(name))
    assert asked.most_common(1)[0][1] == 1
    trained = set()
    for name in ("chat", "facts_rings/near"):
        for record in read_records(DATA / name, "conversation"):
            turns = [turn["content"] for turn in record.messages if turn["role"] != "system"]
            trained |= {tuple(turns[:end]) for end in range(1, len(turns), 2)} | {(turn,) for turn in turns[::2]}
    questions = {prompt[-1:] for prompt in asked if not prompt[-1].startswith(FOLLOW_UPS)}
    assert sorted(trained & ({*asked} | questions)) == []


def test_some_prompts_have_several_rounds_and_some_need_the_first() -> None:
    for name in SPLITS:
        several = [pair for pair in pairs(name) if len(pair.chosen) > 2]
        assert 0.1 < len(several) / len(pairs(name)) < 0.4
        assert any(pair.chosen[-2].content.startswith(FOLLOW_UPS) for pair in several)


def test_held_out_pairs_say_other_sentences() -> None:
    trained = {ending(pair, which) for pair in pairs("dpo_kinds") for which in ("chosen", "rejected")}
    last = {tuple(last_sentence(text)) for text in trained}
    for pair in pairs("dpo_kinds_heldout"):
        for which in ("chosen", "rejected"):
            assert ending(pair, which) not in trained
            assert tuple(last_sentence(ending(pair, which))) not in last


def test_true_and_false_exchange_their_values() -> None:
    """What stands where the two answers differ is right as often as it is wrong."""
    for name in SPLITS:
        balance = Counter[str]()
        for pair in (pair for pair in pairs(name) if pair.kind == "true"):
            balance.update(re.findall(WORD, ending(pair, "chosen")))
            balance.subtract(re.findall(WORD, ending(pair, "rejected")))
        assert not +balance and not -balance


def test_length_differs_both_ways_within_every_other_kind() -> None:
    for name in SPLITS:
        for kind in KINDS:
            sides = Counter[int]()
            for pair in (pair for pair in pairs(name) if pair.kind == kind):
                sides[(a := len(ending(pair, "chosen"))) - (b := len(ending(pair, "rejected"))) and (-1, 1)[a > b]] += 1
            if kind == "short":
                assert sides[1] == 0
            else:
                assert abs(sides[1] - sides[-1]) <= 0.05 * sides.total(), (name, kind, sides)


def test_neither_the_last_sentence_nor_the_length_gives_the_preference_away() -> None:
    controls = preference_controls(*(DATA / f"{name}.jsonl" for name in SPLITS))
    assert [one.name for one in controls] == ["last sentence", "length"]
    for one in controls:
        assert one.pairs == len(pairs("dpo_kinds_heldout")) and one.passed and one.right <= MOST, str(one)
        assert set(one.by_kind) == set(KINDS)
        assert all(share <= MOST for kind, share in one.by_kind.items() if kind != "short"), str(one)
    assert controls[1].by_kind["short"] > 0.9  # where the kind is about length, the control for length must see it


def written(folder: Path, pairs_of: Any, kind: str | None = "polite") -> Path:
    """dpo.jsonl and dpo_heldout.jsonl with the answers that ``pairs_of(chance)`` draws."""
    for name, seed, count in (("dpo", 0, 300), ("dpo_heldout", 1, 200)):
        chance = random.Random(seed)
        lines = []
        for number in range(count):
            before = [{"role": "user", "content": f"{name} {number}?"}]
            turns = [[*before, {"role": "assistant", "content": text}] for text in pairs_of(chance)]
            named = {} if kind is None else {"kind": kind}
            lines.append(json.dumps({"chosen": turns[0], "rejected": turns[1], **named}))
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def words(chance: random.Random, count: int) -> str:
    return " ".join(chance.choices(["sun", "moon", "rain", "wind", "snow", "star"], k=count))


def told_by_ending(chance: random.Random) -> tuple[str, str]:
    return f"{words(chance, 9)}. Ask me again!", f"{words(chance, 9)}. Go away now!"


def told_by_length(chance: random.Random) -> tuple[str, str]:
    return words(chance, 9) + " sun.", words(chance, 5) + " sun."


@pytest.mark.parametrize(("draw", "said"), [(told_by_ending, "last sentence"), (told_by_length, "length")])
def test_a_planted_tell_is_found(tmp_path: Path, draw: Any, said: str) -> None:
    report = check_folder(written(tmp_path, draw))
    assert [problem for problem in report.problems if f"sees only the {said} is right on" in problem]
    assert f"{said} 1" in str(report) or f"{said} 9" in str(report)


def test_pairs_that_nothing_tells_apart_pass(tmp_path: Path) -> None:
    def same(chance: random.Random) -> tuple[str, str]:
        first, second = words(chance, chance.randint(5, 9)), words(chance, chance.randint(5, 9))
        return f"{first}. The end.", f"{second}. The end."

    report = check_folder(written(tmp_path, same))
    assert report.ok, str(report)
    [controls] = report.controls.values()
    assert controls[0].right == 0.5  # every pair is a tie


def test_pairs_without_kinds_are_shown_and_not_judged(tmp_path: Path) -> None:
    report = check_folder(written(tmp_path, told_by_ending, kind=None))
    assert report.ok
    assert "last sentence 100%" in str(report) and "shown, not judged" in str(report)


def test_features_are_what_they_say() -> None:
    assert last_sentence("Well. Is it so?") == ["Is", "it", "so", "?"]
    assert last_sentence("好的。我来！") == ["我", "来", "！"]
    assert last_sentence("one line\nthe next") == ["the", "next"]
    assert lengths("four", "four")[1:] == ["equal", "equal by 0"]
    assert "longer by 4" in lengths("a" * 39, "b" * 19) and "shorter by -4" in lengths("b" * 19, "a" * 39)
