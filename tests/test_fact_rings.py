"""The rings of held-out fact questions: their sizes and kinds, and that every rule about their distance can fail."""

import importlib
import json
import random
import re
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from minimind_lite.data.check import check_folder
from minimind_lite.data.rings import RULES, _distance, _places, check_rings, edit_distance

SAMPLES = Path(__file__).parents[1] / "data_samples"
LANGUAGES = ("zh", "en")


@pytest.fixture(scope="module")
def builder() -> Iterator[ModuleType]:
    """The builder's module of rings; its folder is on the path only during the test."""
    sys.path.insert(0, str(SAMPLES / "builder"))
    yield importlib.import_module("rings")
    sys.path.remove(str(SAMPLES / "builder"))


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A folder with a few training questions and a ring of each kind that keeps every rule."""
    write(tmp_path / "chat" / "facts_zh.jsonl", talk("法国的首都是哪里？"), talk("我想知道日本的首都在什么地方。"))
    write(tmp_path / "chat" / "facts_en.jsonl", talk("What is the capital of France?"))
    write(tmp_path / "chat" / "backwards_zh.jsonl", talk("巴黎是哪国的首都？"))
    write(tmp_path / "facts_rings" / "near" / "zh.jsonl", talk("法国把首都定在了什么城市？", "法国"))
    write(
        tmp_path / "facts_rings" / "near" / "en.jsonl", talk("Which town does France have for its capital?", "France")
    )
    write(tmp_path / "facts_rings" / "far" / "zh.jsonl", talk("我打算去旅行，先看那个国家最大的宫殿，去哪儿？", "法国"))
    write(tmp_path / "facts_rings" / "backwards" / "zh.jsonl", talk("听说东京是一国之都，那是哪一国？", "东京"))
    return tmp_path


def write(path: Path, *records: object) -> None:
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records), encoding="utf-8")


def talk(question: str, given: str = "") -> dict[str, object]:
    turns = [{"role": "user", "content": question}, {"role": "assistant", "content": "。"}]
    return {"conversations": turns} | ({"given": given} if given else {})


def lines(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (SAMPLES / name).read_text(encoding="utf-8").splitlines()]


def said(records: list[dict[str, Any]], role: str) -> list[str]:
    return [turn["content"] for record in records for turn in record["conversations"] if turn["role"] == role]


def ring(name: str) -> list[dict[str, Any]]:
    return [record for language in LANGUAGES for record in lines(f"facts_rings/{name}/{language}.jsonl")]


@pytest.mark.parametrize("name", RULES)
def test_every_ring_has_200_different_questions_about_facts_that_are_taught(name: str) -> None:
    records = ring(name)
    assert len(records) >= (400 if name in ("near", "far") else 200)
    asked = [record["conversations"][-2]["content"] for record in records if record.get("frame") != "follow"]
    assert len(set(asked)) == len(asked)
    cards = "\n".join(record["text"] for language in LANGUAGES for record in lines(f"pretrain/facts_{language}.jsonl"))
    taught = {*said([*lines("chat/facts_zh.jsonl"), *lines("chat/facts_en.jsonl")], "assistant")}
    for record in records:
        answer = record["conversations"][-1]["content"]
        assert record["value"].casefold() in answer.casefold()
        assert record["given"] in cards and (answer in taught or "backwards" in name)


def test_far_questions_are_of_four_kinds_in_each_language() -> None:
    for language in LANGUAGES:
        frames = Counter(record["frame"] for record in lines(f"facts_rings/far/{language}.jsonl"))
        assert set(frames) == {"indirect", "choice", "foreign", "follow"} and min(frames.values()) >= 4
    follow = [record["conversations"] for record in ring("far") if record["frame"] == "follow"]
    assert all(len(turns) == 4 and turns[1]["content"] != turns[3]["content"] for turns in follow)


def test_the_right_one_of_a_choice_comes_first_as_often_as_last() -> None:
    choices = [record for record in ring("far") if record["frame"] == "choice"]
    asked = [(record["conversations"][-2]["content"], record) for record in choices]
    early = sum(text.find(record["value"]) < len(text) * 0.3 for text, record in asked)
    assert len(choices) >= 40 and 0.2 <= early / len(choices) <= 0.8


def test_names_of_the_ring_backwards_are_never_asked_backwards_in_training() -> None:
    asked = "\n".join(said([*lines("chat/backwards_zh.jsonl"), *lines("chat/backwards_en.jsonl")], "user"))
    assert all(record["given"] in asked for record in ring("backwards_trained"))
    words = [rf"(?<![A-Za-z0-9]){re.escape(record['given'])}(?![A-Za-z0-9])" for record in ring("backwards")]
    assert len(words) > 190 and not [word for word in words if re.search(word, asked)]


def test_every_relation_is_trained_in_many_wordings(builder: ModuleType) -> None:
    for fact in importlib.import_module("facts").load_facts():
        templates = builder.trained(fact.language, fact.relation)
        assert len(set(templates)) == len(templates) >= 30
        known = builder.wording_of(fact)
        held = {*known["near"], *known["far"], *known.get("follow", ()), *known.get("back_new", ())}
        indirect = builder.indirect(fact.language, fact.relation)
        assert len(set(indirect)) == len(indirect) >= 6 and not set(indirect) & set(templates)
        assert not held & {*templates, *indirect, *known.get("back", ())}
        for question in map(fact.render, templates):
            assert re.fullmatch(r"[^{}]*[。？]" if fact.language == "zh" else r"[^{}]*[.?]", question), question
            assert not re.search(r"[a-z]: [A-Z](?!u)|  |[?.,]{2}|[。？，]{2}", question), question


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_fact_is_asked_in_seven_wordings_and_each_wording_equally_often(
    builder: ModuleType, language: str
) -> None:
    answers = Counter(said(lines(f"chat/facts_{language}.jsonl"), "assistant"))
    assert set(answers.values()) == {builder.PLAIN + builder.FRAMED + builder.INDIRECT} == {7}
    asked = said(lines(f"chat/facts_{language}.jsonl"), "user")
    assert len(asked) == len(set(asked))
    facts = [fact for fact in importlib.import_module("facts").load_facts() if fact.language == language]
    used: dict[str, Counter[str]] = {}
    for fact, templates in builder.asked_so(facts):
        assert len(set(templates)) == 7
        used.setdefault(fact.relation, Counter()).update(templates)
    for name, counts in used.items():
        for some in (kind(language, name) for kind in (builder.plain, builder.framed, builder.indirect)):
            times = [counts[template] for template in some]
            assert max(times) - min(times) <= 1, name


def test_near_questions_say_the_usual_word() -> None:
    words = {
        "country_capital": "capital|首都", "state_capital": "capital", "province_capital": "省会|首府|{seat}",
        "country_currency": "currency|货币", "country_continent": "continent|洲", "province_short": "简称",
        "element_symbol": "symbol|符号", "element_number": "atomic number|原子序数", "work_author": "author|作者",
        "discoverer": "discover|发现", "planet_order": "planet|行星", "zodiac_order": "生肖", "poet_dynasty": "朝代",
        "poet_courtesy": "字", "past_tense": "past tense", "plural": "plural", "young_animal": "baby",
        "next_month": "month", "festival_day": "几月几日|哪一天", "word_english": "英语",
    }  # fmt: skip
    for record in ring("near"):
        question = record["conversations"][0]["content"]
        assert re.search(words[record["relation"]], question), question


def test_what_both_languages_know_is_asked_backwards_in_both_or_in_none(builder: ModuleType) -> None:
    facts = importlib.import_module("facts").load_facts()
    symbols = [fact for fact in facts if fact.relation == "element_symbol"]
    for language in LANGUAGES:
        asked = " ".join(said(lines(f"chat/backwards_{language}.jsonl"), "user"))
        found = {fact.value for fact in symbols if re.search(rf"(?:symbol |符号){fact.value}(?![a-z])", asked)}
        assert len(found) > 5
        assert all(builder.row_of(fact) % 2 == 0 for fact in symbols if fact.value in found)


@pytest.mark.parametrize(
    ("name", "question", "given", "why"),
    [
        ("near/zh", "请说说，法国的首都是哪里？好吗？", "法国", "contains the training question '法国的首都是哪里？'"),
        ("near/en", "Now, what is the capital of France? Say it.", "France", "contains the training question"),
        ("near/zh", "日本的首都在什么地方？", "日本", "is contained in the training question"),
        ("near/zh", "法国的首都在哪儿？", "法国", "is fewer than 3 edits from"),
        ("near/en", "What was the capitol of France?", "France", "is fewer than 8 edits from"),
        ("known/zh", "法国的首都在哪儿？", "法国", "is fewer than 3 edits from"),
        ("far/zh", "唉，听我说，想知道日本的首都在什么地方的人很多，去哪里？", "法国", "shares the run"),
        ("far/zh", "法国首都在哪里呀？", "法国", "is fewer than 6 edits from"),
        ("backwards_trained/zh", "巴黎是哪一国的京城？", "巴黎", "is fewer than 5 edits from"),
        (
            "backwards/zh",
            "听说巴黎是一国之都，那会是哪一国呢？",
            "巴黎",
            "'巴黎' is in the backward questions of training",
        ),
        ("nearby/zh", "随便问问", "", "no such ring"),
    ],
)
def test_a_planted_violation_is_found(small: Path, name: str, question: str, given: str, why: str) -> None:
    assert check_rings(small) == [] and check_folder(small).ok
    write(small / "facts_rings" / f"{name}.jsonl", talk(question, given))
    [problem] = check_folder(small).problems
    assert f"{name}.jsonl" in problem and why in problem, problem


def test_a_run_inside_the_given_name_is_no_violation(small: Path) -> None:
    write(small / "chat" / "facts_zh.jsonl", talk("《九月九日忆山东兄弟》的作者是谁？"))
    asked = "语文课上老师要讲《九月九日忆山东兄弟》，先得介绍诗人，那该介绍哪位？"
    write(small / "facts_rings" / "far" / "zh.jsonl", talk(asked, "九月九日忆山东兄弟"))
    assert check_rings(small) == []
    write(small / "facts_rings" / "far" / "zh.jsonl", talk(asked, "语文课"))
    assert "shares the run" in check_rings(small)[0]


def test_bad_lines_are_left_to_the_check_of_records(small: Path) -> None:
    with (small / "chat" / "facts_zh.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"conversations": 3}\n')
    assert check_rings(small) == []
    [problem] = check_folder(small).problems
    assert "facts_zh.jsonl, line 3" in problem
    shutil.rmtree(small / "facts_rings")
    assert check_rings(small) == []


def slow_distance(first: str, second: str) -> int:
    row = list(range(len(second) + 1))
    for place, one in enumerate(first, start=1):
        corner, row[0] = row[0], place
        for column, other in enumerate(second, start=1):
            corner, row[column] = row[column], min(row[column] + 1, row[column - 1] + 1, corner + (one != other))
    return row[-1]


def test_edit_distance_is_that_of_the_table() -> None:
    chance = random.Random(0)
    for _ in range(2000):
        first, second = ("".join(chance.choices("abc国", k=chance.randrange(80))) for _ in range(2))
        assert edit_distance(first, second) == slow_distance(first, second)


def test_a_distance_that_is_only_compared_ends_on_the_same_side() -> None:
    chance = random.Random(1)
    for _ in range(2000):
        first, second = ("".join(chance.choices("abc国", k=chance.randrange(40))) for _ in range(2))
        right, enough = slow_distance(first, second), chance.randrange(40)
        found = _distance(_places(first), len(first), second, enough)
        assert found == right if right <= enough else found > enough
