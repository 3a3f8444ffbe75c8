"""The forms in which text data is published, each as a look-alike line, and plain text."""

import json
from pathlib import Path
from typing import Any

import pytest

from minimind_lite.data.formats import DOCUMENT_CHARACTERS, Item, converted, read_items, source_files
from minimind_lite.data.records import DataError, validated

CALL = {"name": "add", "arguments": {"a": 1, "b": 2}}


def turn(role: str, content: str, **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **more}


LOOKALIKES: dict[str, tuple[dict[str, Any], list[dict[str, Any]]]] = {
    "ShareGPT": (
        {"id": "QWJhYvA_0", "conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello!"}]},
        [turn("user", "Hi"), turn("assistant", "Hello!")],
    ),
    "ShareGPT with a system text of its own": (
        {"system": "Be brief.", "conversation": [{"from": "user", "value": "Hi"}, {"from": "chatgpt", "value": "Hey"}]},
        [turn("system", "Be brief."), turn("user", "Hi"), turn("assistant", "Hey")],
    ),
    "ShareGPT with tools": (
        {
            "tools": json.dumps([{"name": "add"}]),
            "conversations": [
                {"from": "human", "value": "1+2?"},
                {"from": "function_call", "value": json.dumps(CALL)},
                {"from": "observation", "value": "3"},
                {"from": "gpt", "value": "It is 3."},
            ],
        },
        [
            turn("system", "", tools=json.dumps([{"name": "add"}])),
            turn("user", "1+2?"),
            turn("assistant", "", tool_calls=[CALL]),
            turn("tool", "3"),
            turn("assistant", "It is 3."),
        ],
    ),
    "Alpaca": (
        {"instruction": "Translate.", "input": "Good day", "output": "你好", "text": "Below is an instruction …"},
        [turn("user", "Translate.\nGood day"), turn("assistant", "你好")],
    ),
    "Alpaca without input": (
        {"instruction": "天空是什么颜色？", "input": "", "output": "蓝色。", "system": "", "history": []},
        [turn("user", "天空是什么颜色？"), turn("assistant", "蓝色。")],
    ),
    "Alpaca with history": (
        {"instruction": "And 2+2?", "input": "", "output": "4", "history": [["1+1?", "2"]], "system": "Count."},
        [
            turn("system", "Count."),
            turn("user", "1+1?"),
            turn("assistant", "2"),
            turn("user", "And 2+2?"),
            turn("assistant", "4"),
        ],
    ),
    "messages": (
        {"messages": [turn("developer", "Help."), turn("user", "Hi"), turn("assistant", "Hello!")]},
        [turn("system", "Help."), turn("user", "Hi"), turn("assistant", "Hello!")],
    ),
    "messages in parts, with a call": (
        {
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "Look:"}, {"type": "text", "text": "1+2?"}]},
                {"role": "assistant", "content": None, "tool_calls": [{"type": "function", "function": CALL}]},
                {"role": "tool", "content": "3", "tool_call_id": "x"},
                {"role": "assistant", "content": "3", "reasoning_content": "1 and 2 is 3."},
            ]
        },
        [
            turn("user", "Look:\n1+2?"),
            turn("assistant", "", tool_calls=[{"type": "function", "function": CALL}]),
            turn("tool", "3"),
            turn("assistant", "3", reasoning_content="1 and 2 is 3."),
        ],
    ),
    "Magpie": (
        {"uuid": "1", "instruction": "Why is ice light?", "response": "Water expands.", "task_category": "Facts"},
        [turn("user", "Why is ice light?"), turn("assistant", "Water expands.")],
    ),
    "Magpie with both": (
        {
            "instruction": "Why?",
            "response": "So.",
            "conversations": [{"from": "human", "value": "Why?"}, {"from": "gpt", "value": "So."}],
        },
        [turn("user", "Why?"), turn("assistant", "So.")],
    ),
    "MiniMind": (
        {"conversations": [turn("system", ""), turn("user", "你好"), turn("assistant", "你好！")], "extra": 1},
        [turn("user", "你好"), turn("assistant", "你好！")],
    ),
}


@pytest.mark.parametrize("name", LOOKALIKES)
def test_a_published_form_becomes_a_conversation_of_ours(name: str) -> None:
    line, wanted = LOOKALIKES[name]
    kind, record = converted(line, "line 1")
    assert (kind, record) == ("conversation", {"conversations": wanted})
    validated(record, kind, "line 1")


def test_texts_and_preferences_keep_what_is_ours() -> None:
    assert converted({"text": "Once.", "url": "x", "meta": {}}, "") == ("text", {"text": "Once."})
    sides = [turn("user", "Hi"), turn("assistant", "Hello!")], [turn("user", "Hi"), turn("assistant", "What?")]
    record = {"chosen": sides[0], "rejected": sides[1]}
    assert converted(record | {"kind": "polite", "score": 1}, "") == ("preference", record | {"kind": "polite"})
    assert converted({"prompt": "Hi", "chosen": "Hello!", "rejected": "What?"}, "") == ("preference", record)


def test_what_a_right_answer_has_to_say_is_kept() -> None:
    turns = [turn("user", "1+2?"), turn("assistant", "")]
    assert converted({"conversations": turns, "gt": ["3"]}, "")[1] == {"conversations": turns, "gt": ["3"]}


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ([1], "must be a JSON object"),
        ({"story": "x", "by": "y"}, r"has none of the fields of a known form .*; it has story, by"),
        ({"conversations": [{"from": "robot", "value": "Hi"}]}, r"field conversations\[0\]: 'robot' is no role"),
        ({"messages": ["Hi"]}, r"field messages\[0\]: must be a turn"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, r"neither a text nor a list of text"),
        ({"messages": [{"role": "user", "content": 3}]}, r"field messages\[0\]: its content is neither"),
        ({"conversations": [{"from": "function_call", "value": "add(1)"}]}, r"conversations\[0\], column 1: not JSON"),
        ({"instruction": "Hi", "output": 3}, "instruction, input and output must be texts"),
        ({"instruction": "Hi", "output": "x", "history": ["a"]}, "field history: must be a list of pairs"),
        ({"chosen": "a", "rejected": "b"}, "field chosen: is a text, so there must be a text called prompt"),
        ({"chosen": 1, "rejected": []}, "field chosen: must be a list of turns"),
    ],
)
def test_what_cannot_be_converted_names_its_place(value: Any, said: str) -> None:
    with pytest.raises(DataError, match=f"^FILE, line 7.*{said}"):
        converted(value, "FILE, line 7")


def items(path: Path) -> list[Item | DataError]:
    return list(read_items(path))


def test_plain_text_is_cut_at_blank_lines(tmp_path: Path) -> None:
    path = tmp_path / "book.txt"
    paragraph = "\n".join(["word " * 19 + "end."] * 5)  # some 500 characters
    path.write_bytes(b"\xef\xbb\xbf\n\n" + "\n\n".join([paragraph] * 9).encode() + b"\r\n")
    found = items(path)
    texts = [one.record["text"] for one in found if isinstance(one, Item)]
    assert "\n\n".join(texts) == "\n\n".join([paragraph] * 9)
    assert len(texts) == 2 and all(DOCUMENT_CHARACTERS * 0.4 < len(text) < DOCUMENT_CHARACTERS * 1.3 for text in texts)
    assert next(one.where for one in found if isinstance(one, Item)) == f"{path}, line 3"


def test_plain_text_without_blank_lines_is_cut_as_well_and_a_bad_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "lines.md"
    path.write_bytes(b"# Title\n" + b"a line of words\n" * 2000 + b"\xff\n" + b"the end\n")
    found = items(path)
    texts = [one.record["text"] for one in found if isinstance(one, Item)]
    assert max(map(len, texts)) < 5 * DOCUMENT_CHARACTERS and "\n".join(texts).count("a line of words") == 2000
    assert texts[0].startswith("# Title\na line") and texts[-1].endswith("the end")
    [error] = [one for one in found if isinstance(one, DataError)]
    assert str(error).startswith(f"{path}, line 2002: not UTF-8")


def test_arrays_and_tables_are_read_by_row(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(' [{"instruction": "Hi?", "input": "", "output": "Yes."}, {"x": 1}]', "utf-8")
    good, bad = items(tmp_path / "a.json")
    assert isinstance(good, Item) and good.where == f"{tmp_path / 'a.json'}, row 1"
    assert isinstance(bad, DataError) and str(bad).startswith(f"{tmp_path / 'a.json'}, row 2: has none of")
    (tmp_path / "b.csv").write_text("text,n\nOnce upon a time.,1\n", encoding="utf-8")
    [row] = items(tmp_path / "b.csv")
    assert isinstance(row, Item) and row.record == {"text": "Once upon a time."}
    (tmp_path / "c.json").write_text('{"text": "One."}\n\n{"text": "Two."}\n', encoding="utf-8")
    assert [one.where for one in items(tmp_path / "c.json") if isinstance(one, Item)] == [
        f"{tmp_path / 'c.json'}, line {number}" for number in (1, 3)
    ]


def test_a_line_too_long_to_be_read_is_named_and_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("minimind_lite.data.formats.LARGEST_JSON", 64)
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"text": "x" * 500}) + '\n{"text": "short"}\n', encoding="utf-8")
    long, short = items(path)
    assert isinstance(long, DataError) and "a.jsonl, line 1: longer than" in str(long)
    assert isinstance(short, Item) and short.where == f"{path}, line 2"


def test_folders_give_the_files_of_known_forms_and_the_rest_is_refused(tmp_path: Path) -> None:
    for name in ("b.jsonl", "a.TXT", "deep/c.md", "notes.pdf"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{}", encoding="utf-8")
    assert [path.name for path in source_files([tmp_path])] == ["a.TXT", "b.jsonl", "c.md"]
    with pytest.raises(DataError, match=r"notes\.pdf: unknown form"):
        source_files([tmp_path / "notes.pdf"])
    with pytest.raises(DataError, match="no such file or folder"):
        source_files([tmp_path / "missing"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no file that ends in"):
        source_files([tmp_path / "empty"])
    (tmp_path / "z.jsonl").write_bytes(b"\x1f\x8b\x08")
    with pytest.raises(DataError, match="gunzip"):
        source_files([tmp_path / "z.jsonl"])


def test_rewriting_reaches_every_text_and_says_whether_it_did_anything() -> None:
    sides = [turn("user", "a"), turn("assistant", "b")], [turn("user", "a"), turn("assistant", "c")]
    item = Item("", "preference", {"chosen": sides[0], "rejected": sides[1], "kind": "polite"})
    assert item.texts == ["a", "b", "c"]
    assert not item.rewrite(str)
    assert item.rewrite(str.upper) and item.texts == ["A", "B", "C"] and item.record["kind"] == "polite"
    assert item.record["rejected"][0]["content"] == "A" and sides[0][0]["content"] == "a"
    thought = Item("", "conversation", {"conversations": [turn("user", "q"), turn("assistant", "", tool_calls=[CALL])]})
    assert thought.texts == ["q"] and thought.rewrite(str.upper)
    assert thought.record["conversations"][1] == turn("assistant", "", tool_calls=[CALL])
