"""Every record format: good lines pass, bad ones are named by file, line and field."""

import json
import logging

import pytest

from minimind_lite.data.exams import read_exam
from minimind_lite.data.records import DataError, parse_line, read_records

USER, REPLY = {"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}
SYSTEM = {"role": "system", "content": ""}


def write(path, lines):
    path.write_bytes(b"\n".join(line if isinstance(line, bytes) else line.encode("utf-8") for line in lines) + b"\n")
    return path


def test_a_record_of_every_kind_is_read(tmp_path):
    text = write(tmp_path / "t.jsonl", ['{"text": "床前明月光"}', "", '{"text": "x", "extra": 1}'])
    assert [record.text for record in read_records(text, "text")] == ["床前明月光", "x"]

    tool = [
        {"role": "system", "content": "", "tools": '[{"name": "clock"}]'},
        USER,
        {"role": "assistant", "content": "", "tool_calls": '[{"name": "clock", "arguments": {}}]'},
        {"role": "tool", "content": "12:00"},
        {"role": "assistant", "content": "Noon.", "reasoning_content": "12:00 is noon."},
    ]
    path = write(tmp_path / "c.jsonl", [json.dumps({"conversations": tool})])
    assert next(iter(read_records(path, "conversation"))).messages == tool

    pair = {"chosen": [USER, REPLY], "rejected": [USER, {"role": "assistant", "content": "no"}]}
    (record,) = read_records(write(tmp_path / "p.jsonl", [json.dumps(pair)]), "preference")
    assert record.rejected[-1].content == "no"


@pytest.mark.parametrize(
    ("kind", "line", "says"),
    [
        ("text", '{"text": ""}', "field text"),
        ("text", '{"txt": "x"}', "field text: Field required"),
        ("text", '{"text": 3}', "field text"),
        ("text", '["x"]', "line 2: Input should be"),
        ("text", '{"text": "x"', "not JSON"),
        ("text", b'{"text": "\xff"}', "not UTF-8 (byte 10)"),
        ("conversation", '{"conversations": []}', "field conversations"),
        ("conversation", {"conversations": [{"role": "robot", "content": "x"}, REPLY]}, "conversations[0].role"),
        ("conversation", {"conversations": [USER, {"role": "assistant"}]}, "conversations[1].content"),
        ("conversation", {"conversations": [REPLY]}, "first turn after the system turn must be the user's"),
        ("conversation", {"conversations": [USER]}, "no assistant turn"),
        ("conversation", {"conversations": [USER, USER, REPLY]}, "turns 0 and 1 are both user turns"),
        ("conversation", {"conversations": [USER, SYSTEM, REPLY]}, "turn 1 is a system turn"),
        ("conversation", {"conversations": [USER, REPLY | {"tool_calls": "[{"}]}, "tool_calls: must hold"),
        ("preference", {"chosen": [USER, REPLY], "rejected": [USER, REPLY]}, "expresses no preference"),
        ("preference", {"chosen": [USER, REPLY], "rejected": [USER | {"content": "?"}, REPLY]}, "share every turn"),
    ],
)  # fmt: skip
def test_a_bad_line_is_named_by_file_line_and_field(tmp_path, kind, line, says):
    line = json.dumps(line) if isinstance(line, dict) else line
    path = write(tmp_path / "bad.jsonl", ["", line])
    with pytest.raises(DataError) as error:
        list(read_records(path, kind, strict=True))
    assert f"{path}, line 2" in str(error.value) and says in str(error.value)
    assert "without --strict" in str(error.value)


def test_bad_lines_are_skipped_counted_and_limited(tmp_path, caplog):
    path = write(tmp_path / "some.jsonl", ['{"text": "a"}', "{", '{"text": ""}', '{"text": "b"}'])
    reader = read_records(path, "text", max_bad=2)
    with caplog.at_level(logging.WARNING):
        assert [record.text for record in reader] == ["a", "b"]
    assert len(reader.skipped) == 2 and "line 2" in str(reader.skipped[0])
    assert "skipped 2 bad lines" in caplog.text
    with pytest.raises(DataError, match="over the limit of 1"):
        list(read_records(path, "text", max_bad=1))


def test_a_missing_file_an_empty_folder_and_an_unknown_kind_are_refused(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read_records(tmp_path / "none.jsonl", "text")
    with pytest.raises(DataError, match="holds no"):
        read_records(tmp_path, "text")
    with pytest.raises(DataError, match="the kinds are: text, conversation, preference"):
        read_records(write(tmp_path / "a.jsonl", ["{}"]), "poem")


def test_a_byte_order_mark_is_not_part_of_the_text():
    assert parse_line(b'\xef\xbb\xbf{"text": "a"}', "text").text == "a"


def test_both_exam_layouts_are_read(tmp_path):
    ceval = "id,question,A,B,C,D,answer,explanation\n0,首都?,北京,上海,广州,深圳,a,因为\n"
    cmmlu = ',Question,A,B,C,D,Answer\n0,"2, 3?",1,2,3,4,D\n'
    (tmp_path / "geo_val.csv").write_text(ceval, encoding="utf-8")
    (tmp_path / "sums.csv").write_text(cmmlu, encoding="utf-8")
    first, second = read_exam(tmp_path)
    assert (first.subject, first.answer, first.choices[0]) == ("geo", "A", "北京")
    assert (second.question, second.answer, second.explanation) == ("2, 3?", "D", "")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("id,question,A,B,C,answer\n", "line 1: no column d"),
        ("id,question,A,B,C,D,answer\n0,q,1,2,3,4,E\n", "line 2, column answer: 'E'"),
        ("id,question,A,B,C,D,answer\n0,q,1,,3,4,A\n", "line 2, column B: empty"),
    ],
)
def test_a_bad_exam_is_named_by_line_and_column(tmp_path, text, says):
    (tmp_path / "x.csv").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=says):
        read_exam(tmp_path / "x.csv")
