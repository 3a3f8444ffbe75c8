"""The dialogues of the sample world: what is promised of memory, follow-ups, refusals, tools and drills, recomputed."""

import ast
import csv
import importlib
import json
import re
import sys
from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from minimind_lite.data.records import read_records
from minimind_lite.evaluation.recall import is_right, named_values, read_words, refuses

SAMPLES = Path(__file__).parents[1] / "data_samples"
WORDS = SAMPLES / "chat" / "words.json"
LANGUAGES = ("zh", "en")
CLOSED = ("city", "colour", "food", "animal", "season", "hobby")
OPEN = ("name", "pet", "age", "number")
Record = dict[str, Any]


@pytest.fixture(scope="module")
def builder() -> Iterator[ModuleType]:
    """The builder's module of dialogues; its folder is on the path only during the test."""
    sys.path.insert(0, str(SAMPLES / "builder"))
    yield importlib.import_module("dialogues")
    sys.path.remove(str(SAMPLES / "builder"))


@cache
def records(name: str) -> list[Record]:
    return [json.loads(line) for line in (SAMPLES / name).read_text(encoding="utf-8").splitlines()]


def said(record: Record, role: str) -> list[str]:
    return [turn["content"] for turn in record["conversations"] if turn["role"] == role]


def train(kind: str, language: str) -> list[Record]:
    return records(f"chat/{kind}_{language}.jsonl")


def heldout(kind: str, language: str) -> list[Record]:
    return records(f"chat_heldout/{kind}_{language}.jsonl")


def user_text(language: str) -> str:
    """Everything that users say in the training dialogues, one message a line."""
    kinds = ("recall", "follow", "unknown")
    return "\n".join(line for kind in kinds for record in train(kind, language) for line in said(record, "user"))


def table(name: str) -> list[dict[str, str]]:
    with (SAMPLES / "builder" / "facts" / "tables" / f"{name}.csv").open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def frame(kind: str, language: str) -> str:
    return str(read_words(WORDS, language).kinds[kind].answer)


def answered_value(record: Record, language: str) -> str:
    """The value that the last answer names, read through the frame of its kind."""
    before, _, after = frame(record["kind"], language).partition("{v}")
    answer = said(record, "assistant")[-1]
    assert answer.startswith(before) and answer.endswith(after), answer
    return answer[len(before) : len(answer) - len(after)]


@pytest.mark.parametrize("language", LANGUAGES)
def test_there_are_enough_and_no_two_users_say_the_same(language: str) -> None:
    counts = {kind: len(train(kind, language)) for kind in ("recall", "follow", "unknown")}
    assert counts["recall"] >= 340 and counts["follow"] >= 120 and counts["unknown"] >= 150
    assert len(heldout("follow", language)) >= 50 and len(heldout("unknown", language)) >= 80
    closed, opened = heldout("recall", language), heldout("recall_open", language)
    assert all(sum(record["kind"] == kind for record in closed) >= 16 for kind in (*CLOSED, "untold"))
    assert all(sum(record["kind"] == kind for record in opened) >= 10 for kind in OPEN)
    for kind in ("recall", "follow", "unknown"):
        asked = [tuple(said(record, "user")) for record in train(kind, language) + heldout(kind, language)]
        assert len(set(asked)) == len(asked), kind


def test_the_files_keep_their_sizes() -> None:
    chat = [path for folder in ("chat", "chat_heldout") for path in (SAMPLES / folder).iterdir()]
    own = [path for path in chat if path.name.split("_")[0] in {"recall", "follow", "unknown", "words.json"}]
    drills = SAMPLES / "pretrain" / "copies.jsonl"
    assert drills.stat().st_size <= 150_000
    assert sum(path.stat().st_size for path in (*own, drills)) <= 900_000
    assert sum((SAMPLES / name).stat().st_size for name in ("tools.jsonl", "tools_heldout.jsonl")) <= 330_000


@pytest.mark.parametrize("language", LANGUAGES)
def test_texts_are_filled_in(language: str) -> None:
    for name in ("recall", "follow", "unknown"):
        for record in train(name, language) + heldout(name, language):
            for turn in record["conversations"]:
                text = turn["content"]
                assert text.endswith(("。", "？", "！", ".", "?", "!")), text
                assert not re.search(r"[{}]|  |[。.]{2}|\bi'?m?\b| A [a-z]|\bthe the\b|\ba [aeiou]", text), text
                assert not (language == "zh" and re.search(r"[?,!]|[。] ", text)), text
                assert not (language == "en" and re.search(r"[\u4e00-\u9fff]|^[a-z]", text)), text


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_answer_is_the_value_that_was_told_last(language: str) -> None:
    """Judged from the texts alone: the last message of the user that names a value of the kind decides."""
    for record in train("recall", language) + heldout("recall", language) + heldout("recall_open", language):
        if record["kind"] == "untold":
            continue
        value = answered_value(record, language)
        kind = read_words(WORDS, language).kinds[record["kind"]]
        told = [found for text in said(record, "user") if (found := named_values(text, {*kind.values, value}))]
        assert told and value in told[-1], record
        assert record.get("value", value) == value


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_was_not_told_is_not_answered(builder: ModuleType, language: str) -> None:
    words = builder.load_words(language)["recall"]
    kind_of = {ask: name for name, block in words["kinds"].items() for ask in block["ask"]}
    untold = 0
    for record in train("recall", language) + heldout("recall", language):
        user, assistant = said(record, "user"), said(record, "assistant")
        for place, answer in enumerate(assistant):
            if answer != words["untold"]:
                continue
            untold += 1
            asked = kind_of[user[place]]
            told = re.compile(to_pattern(words["kinds"][asked]["tell"], value_pattern(asked, language)))
            assert not any(told.fullmatch(text) for text in user[:place]), record
    assert untold >= 40


def to_pattern(wordings: list[str], value: str = ".+") -> str:
    """A regular expression of wordings with any value in place of {v}, or with what ``value`` matches."""
    return "|".join(re.escape(wording).replace(re.escape("{v}"), f"(?:{value})") for wording in wordings)


def value_pattern(kind: str, language: str) -> str:
    """What a value of a kind looks like."""
    if kind in CLOSED:
        return "|".join(read_words(WORDS, language).kinds[kind].values)
    return r"\d+" if kind in {"age", "number"} else {"zh": "[^，]{2,3}", "en": "[A-Z][a-z]+"}[language]


@pytest.mark.parametrize("language", LANGUAGES)
def test_half_of_the_acknowledgements_repeat_the_value(language: str) -> None:
    replies = [
        (record, said(record, "assistant")[0])
        for record in train("recall", language)
        if record["kind"] in (*CLOSED, *OPEN) and len(record["conversations"]) == 4
    ]
    repeated = [bool(named_values(reply, [answered_value(record, language)])) for record, reply in replies]
    assert len(repeated) > 80 and 0.38 < sum(repeated) / len(repeated) < 0.62


@pytest.mark.parametrize("language", LANGUAGES)
def test_held_out_pairs_of_value_and_wording_are_not_trained(builder: ModuleType, language: str) -> None:
    words = builder.load_words(language)["recall"]
    lines = set(user_text(language).splitlines())
    clauses = {
        clause.strip("。. ").casefold() for line in lines for clause in re.split(r"，(?=我)|, and (?=[imtw])", line)
    }
    for record in heldout("recall", language):
        if record["kind"] == "untold":
            continue
        wordings = words["kinds"][record["kind"]]["tell"] + words["corrections"]
        told = [text for text in said(record, "user") if re.fullmatch(to_pattern(wordings), text)]
        naming = [text for text in told if named_values(text, [record["value"]])]
        assert naming, record
        for text in naming:
            assert text not in lines and text.strip("。. ").casefold() not in clauses, text
    for block in words["kinds"].values():
        assert not [ask for ask in block["ask"] if ask not in lines]
        assert not [tell for tell in block["tell"] if not any(re.fullmatch(to_pattern([tell]), line) for line in lines)]
        for value in () if block.get("open") else block["values"]:
            assert any(named_values(line, [value]) for line in lines), value


@pytest.mark.parametrize("language", LANGUAGES)
def test_held_out_names_and_numbers_are_never_trained(language: str) -> None:
    everything = "\n".join(
        path.read_text(encoding="utf-8") for path in sorted((SAMPLES / "chat").glob(f"*_{language}.jsonl"))
    ) + (SAMPLES / "pretrain" / "copies.jsonl").read_text(encoding="utf-8")
    for record in heldout("recall_open", language):
        assert record["value"] in json.dumps(record["conversations"], ensure_ascii=False)
        if record["kind"] != "age":  # two digits are also the first line of another text
            assert not named_values(everything, [record["value"]]), record["value"]
    trained = {answered_value(record, language) for record in train("recall", language) if record["kind"] == "age"}
    assert not trained & {record["value"] for record in heldout("recall_open", language) if record["kind"] == "age"}


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_value_of_a_list_is_inside_another(language: str) -> None:
    for name in CLOSED:
        values = read_words(WORDS, language).kinds[name].values
        assert not [(one, other) for one in values for other in values if one != other and one in other], name


@pytest.mark.parametrize("language", LANGUAGES)
def test_follow_ups_are_true_and_held_out_by_entity(builder: ModuleType, language: str) -> None:
    closed_book, facts = importlib.import_module("closed_book"), importlib.import_module("facts").load_facts()
    mine = [fact for fact in facts if fact.language == language]
    about = {fact.render(closed_book.relation_of(fact).answer): fact for fact in mine}
    subjects: list[set[tuple[str, str]]] = []
    for split in (train("follow", language), heldout("follow", language)):
        seen: set[tuple[str, str]] = set()
        for record in split:
            first, last = said(record, "assistant")
            if record["kind"] in {"shorter", "again"}:
                assert first.startswith(last) and (first == last) == (record["kind"] == "again"), record
            else:
                assert about[first] != about[last], record
            if record["kind"] == "same":
                assert about[first].subject == about[last].subject
                assert about[first].subject not in said(record, "user")[1]
            if record["kind"] == "other":
                assert about[first].relation == about[last].relation
                assert about[last].subject in said(record, "user")[1]
            facts_named = [about[answer] for answer in (first, last) if answer in about]
            seen |= {(closed_book.relation_of(fact).table, fact.subject) for fact in facts_named}
        subjects.append(seen)
    assert len(subjects[1]) > 25 and not subjects[0] & subjects[1]
    assert {record["kind"] for record in heldout("follow", language)} == {"same", "other", "shorter", "again"}


@pytest.mark.parametrize("language", LANGUAGES)
def test_refusals_do_not_repeat_names_and_names_do_not_exist(builder: ModuleType, language: str) -> None:
    unknown, facts = importlib.import_module("unknown"), importlib.import_module("facts").load_facts()
    words, things = read_words(WORDS, language), builder.load_words(language)["unknown"]["things"]
    real = {cell for name in ("countries", "poets", "provinces", "us_states", "elements", "works_zh", "works_en")
            for row in table(name) for cell in row.values()}  # fmt: skip
    assert unknown.real_names(facts) >= real - {""}
    invented = [{name for thing in things for name in unknown.names(thing[split])} for split in ("train", "heldout")]
    assert not invented[0] & invented[1] and not (invented[0] | invented[1]) & real
    assert all(len(thing["train"]) + len(thing["heldout"]) >= 3 for thing in things)
    trained = user_text(language)
    assert not [name for name in invented[1] if name in trained]
    for split, names in zip((train("unknown", language), heldout("unknown", language)), invented, strict=True):
        for record in split:
            [question], [answer] = said(record, "user"), said(record, "assistant")
            if record["kind"] == "unknown":
                assert refuses(answer, words.unknown), record
                assert any(name.casefold() in question.casefold() for name in names), record
                assert not any(name in answer for name in names)
            else:
                assert not refuses(answer, words.unknown)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_wording_that_only_the_refusals_use_comes_with_known_things_too(language: str) -> None:
    capitals = {row[f"capital_{language}"]: row[language] for row in table("countries")}
    written = {row["author"]: row["title"] for row in table("works_en")}
    known = [record for record in train("unknown", language) if record["kind"] == "known"]
    assert len(known) >= 20
    for record in known:
        [question], [answer] = said(record, "user"), said(record, "assistant")
        pairs = [pair for pair in (*capitals.items(), *written.items()) if pair[0] in question]
        assert pairs and any(value in answer for _, value in pairs), record


FACTORS = {
    ("公里", "米"): 1000, ("米", "厘米"): 100, ("千克", "克"): 1000, ("吨", "千克"): 1000, ("小时", "分钟"): 60,
    ("分钟", "秒"): 60, ("天", "小时"): 24, ("英寸", "厘米"): Fraction(254, 100), ("斤", "克"): 500,
    ("kilometres", "metres"): 1000, ("metres", "centimetres"): 100, ("kilograms", "grams"): 1000,
    ("tonnes", "kilograms"): 1000, ("hours", "minutes"): 60, ("minutes", "seconds"): 60, ("days", "hours"): 24,
    ("inches", "centimetres"): Fraction(254, 100), ("feet", "inches"): 12,
}  # fmt: skip
WEEKDAYS = (
    ("星期六", "星期日", "星期一", "星期二", "星期三", "星期四", "星期五"),
    ("Saturday", "Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday"),
)
FIELDS = {  # where a fact stands: table, subject, value
    "首都": ("countries", "zh", "capital_zh"), "货币": ("countries", "zh", "currency_zh"),
    "朝代": ("poets", "name", "dynasty"), "作者": ("works_zh", "title", "author"), "符号": ("elements", "zh", "symbol"),
    "capital": ("countries", "en", "capital_en"), "currency": ("countries", "en", "currency_en"),
    "state capital": ("us_states", "name", "capital"), "author": ("works_en", "title", "author"),
    "symbol": ("elements", "en", "symbol"),
}  # fmt: skip


def evaluated(expression: str) -> Fraction:
    """The value of a sum, by Python's own grammar: two numbers and a sign."""
    node = ast.parse(expression, mode="eval").body
    assert isinstance(node, ast.BinOp) and isinstance(node.left, ast.Constant) and isinstance(node.right, ast.Constant)
    a, b = Fraction(node.left.value), Fraction(node.right.value)
    signs = {ast.Add: lambda: a + b, ast.Sub: lambda: a - b, ast.Mult: lambda: a * b, ast.Div: lambda: a / b}
    return signs[type(node.op)]()


def zeller(date: str, chinese: bool) -> str:
    """The weekday by Zeller's congruence (1882), which shares nothing with the standard library's calendar."""
    year, month, day = map(int, date.split("-"))
    shifted = year - (month < 3)
    m = month + 12 * (month < 3)
    place = (day + 13 * (m + 1) // 5 + shifted % 100 + shifted % 100 // 4 + shifted // 400 - 2 * (shifted // 100)) % 7
    return WEEKDAYS[0 if chinese else 1][place]


def days_in(year: int, month: int) -> int:
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    return {2: 28 + leap, 4: 30, 6: 30, 9: 30, 11: 30}.get(month, 31)


def recomputed(tool: str, arguments: dict[str, Any], chinese: bool) -> dict[str, Any]:
    """What a tool must return."""
    if tool == "calculator":
        if arguments["expression"].endswith("/0"):
            return {"error": "division by zero"}
        return {"result": float(evaluated(arguments["expression"]))}
    if tool == "convert":
        return {"result": float(arguments["value"] * FACTORS[arguments["from"], arguments["to"]])}
    if tool == "weekday":
        year, month, day = map(int, arguments["date"].split("-"))
        if day > days_in(year, month):
            return {"error": "no such date"}
        return {"weekday": zeller(arguments["date"], chinese)}
    name, subject, value = FIELDS[arguments["field"]]
    found = [row[value] for row in table(name) if row[subject] == arguments["subject"]]
    return {"value": found[0]} if found else {"error": "not found"}


def checked_calls(record: Record) -> int:
    """Recompute every call of a record; the number of calls."""
    system, user, *turns = record["conversations"]
    offered = {tool["name"]: tool["parameters"]["properties"] for tool in json.loads(system["tools"])}
    results = [json.loads(turn["content"]) for turn in turns if turn["role"] == "tool"]
    calls = [call for turn in turns for call in json.loads(turn.get("tool_calls", "[]"))]
    assert len(results) == len(calls)
    for call, result in zip(calls, results, strict=True):
        assert set(call["arguments"]) == set(offered[call["name"]]), record
        assert result == recomputed(call["name"], call["arguments"], is_chinese(user["content"])), record
    return len(calls)


def is_chinese(text: str) -> bool:
    return re.search(r"[\u4e00-\u9fff]", text) is not None


@pytest.mark.parametrize("name", ["tools.jsonl", "tools_heldout.jsonl"])
def test_every_result_of_a_tool_is_right_and_reaches_the_answer(name: str) -> None:
    found = records(name)
    assert len(found) >= (320 if name == "tools.jsonl" else 100)
    assert len(list(read_records(SAMPLES / name, "conversation", strict=True))) == len(found)
    calls = {record["kind"]: set[int]() for record in found}
    for record in found:
        calls[record["kind"]].add(checked_calls(record))
        answer = record["conversations"][-1]["content"]
        assert record["gt"] and all(truth in answer for truth in record["gt"]), record
        if record["kind"] != "error":
            shown = [json.loads(one) for one in said(record, "tool")][-1:]
            assert all(str(value) in answer for result in shown for value in result.values()), record
        assert "reasoning_content" in record["conversations"][2]
    assert calls.pop("none") == {0} and calls.pop("chain") == {2} and calls.pop("pair") == {2}
    assert all(numbers == {1} for numbers in calls.values())
    assert any("error" in one for record in found for one in said(record, "tool"))
    assert 0.45 < sum(is_chinese(said(record, "user")[0]) for record in found) / len(found) < 0.55


def test_the_numbers_of_a_tool_task_come_from_its_question() -> None:
    for record in records("tools.jsonl") + records("tools_heldout.jsonl"):
        asked = set(re.findall(r"\d+", said(record, "user")[0]))
        turn = record["conversations"][2]
        for call in json.loads(turn.get("tool_calls", "[]")):
            if call["name"] in {"calculator", "convert"}:
                used = re.findall(r"\d+", str(call["arguments"].get("expression", call["arguments"].get("value"))))
                assert asked.issuperset(used), record


def test_held_out_tool_tasks_are_new() -> None:
    trained = {said(record, "user")[0] for record in records("tools.jsonl")}
    turns = [turn for record in records("tools.jsonl") for turn in record["conversations"]]
    called = {turn["tool_calls"] for turn in turns if "tool_calls" in turn}
    for record in records("tools_heldout.jsonl"):
        assert said(record, "user")[0] not in trained
        assert record["conversations"][2].get("tool_calls") not in called


def test_drills_repeat_what_they_introduce(builder: ModuleType) -> None:
    texts = [record["text"] for record in records("pretrain/copies.jsonl")]
    assert len(set(texts)) == len(texts) >= 350
    assert 0.45 < sum(map(is_chinese, texts)) / len(texts) < 0.55
    for text in texts:
        words = builder.load_words("zh" if is_chinese(text) else "en")["copies"]
        word, number = "|".join(sorted(words["words"], key=len, reverse=True)), r"\d+"
        name = chinese_name(words) if is_chinese(text) else made_up(words)
        for pattern in (f"(?:{word})(?:(?:、|, )(?:{word}))+", number, name):
            for said_first in {*re.findall(pattern, text)} - {"Come", "Here", "Hello", "Mother"}:  # of the frames
                assert len(re.findall(rf"(?<!\d){said_first}(?!\d)", text)) >= 2, (text, said_first)


def chinese_name(words: dict[str, Any]) -> str:
    """A regular expression of the Chinese names where a frame introduces one."""
    return f"(?<=[叫是喊：“，和])[{words['given']}]{{2,3}}(?=[。！，和在])"


def made_up(words: dict[str, Any]) -> str:
    """A regular expression of the English names that are put together from syllables."""
    return r"\b" + "".join("(?:" + "|".join(part) + ")" for part in words["syllables"]) + r"\b"


def test_what_is_trained_cannot_be_held_out(builder: ModuleType) -> None:
    turns = [{"role": "user", "content": "I like red."}, {"role": "assistant", "content": "Okay."}]
    record = {"conversations": turns, "kind": "colour"}
    builder.refuse_copies({"chat/recall": [], "chat_heldout/recall": [record]})
    with pytest.raises(ValueError, match=r"'I like red\.' is also in training"):
        builder.refuse_copies({"chat/recall": [record], "chat_heldout/recall": [record]})


def test_a_real_name_is_not_an_invention(builder: ModuleType) -> None:
    unknown, facts = importlib.import_module("unknown"), importlib.import_module("facts").load_facts()
    for name, why in (("France", "'France' is real"), ("Elbonia", "'Elbonia' is in both splits")):
        with pytest.raises(ValueError, match=why):
            unknown.check_names([{"train": [[name]], "heldout": [["Elbonia"]]}], facts, "en")


def test_too_few_words_are_reported(builder: ModuleType) -> None:
    recall, unknown = importlib.import_module("recall"), importlib.import_module("unknown")
    turns = [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Hi."}]
    with pytest.raises(ValueError, match="suffice for 1 different dialogues, not 2"):
        recall.different(iter([{"conversations": turns}] * 300), 2)
    thing = {"answer": "place", "train": [["Elbonia"]], "relations": ["country_capital"]}
    with pytest.raises(ValueError, match="only 2 questions, not 90; give it more names"):
        unknown.questions(thing | {"questions": ["Where?", "{subject}?"]}, "en", False, 90, "No.")


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_measure_accepts_every_held_out_answer_and_no_neighbours(language: str) -> None:
    words = read_words(WORDS, language)
    items = heldout("recall", language) + heldout("recall_open", language)
    for record in items:
        assert is_right(said(record, "assistant")[-1], record["kind"], record["value"], words), record
    for record, other in pairwise(items):
        if (record["kind"], record["value"]) != (other["kind"], other["value"]):
            assert not is_right(said(other, "assistant")[-1], record["kind"], record["value"], words), record
    for record in heldout("unknown", language):
        assert is_right(said(record, "assistant")[-1], "unknown", "", words)
