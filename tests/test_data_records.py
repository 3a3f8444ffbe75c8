"""Every record format: good lines pass, bad ones are named by file, line and field."""

import json
import logging
import re

import pytest

from minimind_lite.data.check import check_folder
from minimind_lite.data.documents import conversation_documents
from minimind_lite.data.exams import read_exam
from minimind_lite.data.records import DataError, parse_line, read_records
from minimind_lite.tokenizer import Tokenizer

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
        ("text", '["x"]', "line 2: must be a JSON object, {…}, not a list"),
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
        ("conversation", {"conversations": [USER, REPLY | {"tool_calls": "5"}]}, "tool_calls: must be a list"),
        ("conversation", {"conversations": [SYSTEM | {"tools": "5"}, USER, REPLY]}, "tools: must be a list"),
        ("conversation", {"conversations": [SYSTEM | {"tools": [3]}, USER, REPLY]}, "tools: must be a list"),
        ("conversation", {"conversations": [USER, REPLY | {"tool_calls": [{"name": "f"}]}]}, "lacks 'arguments'"),
        ("conversation", {"conversations": [USER, REPLY | {"tool_calls": [{"name": 1, "arguments": 1}]}]}, "name must"),
        ("conversation", {"conversations": [SYSTEM | {"tools": r'[{"a": "\ud800"}]'}, USER, REPLY]}, "message 0 holds"),
        ("conversation", {"conversations": [USER, REPLY | {"content": None, "tool_calls": ""}]}, "[1].content"),
        ("text", '{"text": "\\udfff"}', "field text: Input should be a valid string"),
        ("text", '{"text": "a", "id": ' + "9" * 5000 + "}", "more than 4,300 digits"),
        ("text", '{"text": ' + "[" * 9999 + "]" * 9999 + "}", "nested deeper"),
        ("reasoning", {"conversations": [USER, REPLY | {"content": "<think>hm"}]}, "no <answer> block"),
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


def test_bad_lines_are_skipped_and_counted_by_reason(tmp_path, caplog):
    bad = ["{", '{"text": ""}', '{"txt": 1}', '{"text": 12345}', '{"text": 1}']
    path = write(tmp_path / "some.jsonl", ['{"text": "a"}', *bad, '{"text": "b"}'])
    reader = read_records(path, "text")
    with caplog.at_level(logging.WARNING):
        assert [record.text for record in reader] == ["a", "b"]
    assert len(reader.skipped) == 5 and "line 2" in str(reader.skipped[0])
    assert "skipped 5 bad lines. By reason, each with its first line:\n  2: " in caplog.text
    assert f"2: {path}, line 5, field text: Input should be a valid string" in caplog.text
    assert f"1: {path}, line 4, field text: Field required" in caplog.text
    assert [record.text for record in reader] == ["a", "b"] and len(reader.skipped) == 5  # counted anew


def test_the_limit_is_a_share_of_the_file_and_can_be_raised(tmp_path):
    def file(bad: int, good: int):
        return write(tmp_path / "f.jsonl", ["{"] * bad + ['{"text": "a"}'] * good)

    assert len(list(read_records(file(20, 5), "text"))) == 5  # a handful is always allowed
    with pytest.raises(DataError, match=r"21 of 26 lines are bad, over the limit of 5%.*--max-bad 0\.5"):
        list(read_records(file(21, 5), "text"))
    assert len(list(read_records(file(50, 950), "text"))) == 950
    with pytest.raises(DataError, match="51 of 1000"):
        list(read_records(file(51, 949), "text"))
    assert len(list(read_records(file(51, 949), "text", max_bad_share=0.06))) == 949
    with pytest.raises(DataError, match="1000 of 1000"):  # the wrong file is not read to its end
        list(read_records(file(5000, 0), "text"))
    assert not list(read_records(file(5000, 0), "text", max_bad_share=1))


def test_a_preference_file_with_a_few_identical_pairs_is_used(tmp_path):
    same = {"chosen": [USER, REPLY], "rejected": [USER, REPLY]}
    pair = {"chosen": [USER, REPLY], "rejected": [USER, {"role": "assistant", "content": "no"}]}
    lines = [json.dumps(same if number % 143 == 0 else pair) for number in range(16_000)]
    reader = read_records(write(tmp_path / "p.jsonl", lines), "preference")
    assert len(list(reader)) == 16_000 - 112
    assert f"112: {tmp_path / 'p.jsonl'}, line 1: chosen and rejected are identical" in reader.summary()


def test_plain_turns_among_reasoning_are_ordinary_answers(tmp_path, caplog):
    tagged = [USER, REPLY | {"content": "<think>\nhm\n</think>\n<answer>\nhello\n</answer>"}]
    lines = [json.dumps({"conversations": [USER, REPLY] if number % 10 == 0 else tagged}) for number in range(100)]
    path = write(tmp_path / "r.jsonl", lines)
    with caplog.at_level(logging.INFO):
        read = [record.messages for record in read_records(path, "reasoning")]
    assert read[0] == [USER, REPLY] and len(read) == 100
    assert "10 conversations have no think or answer tags" in caplog.text
    direct = [record.messages[1] for record in read_records(path, "reasoning_off")]
    assert direct[0] == REPLY | {"reasoning_content": ""}
    assert direct[1] == {"role": "assistant", "content": "<answer>\nhello\n</answer>", "reasoning_content": ""}


def test_the_check_of_a_folder_finds_what_each_stage_would_skip(tmp_path):
    good = [USER, REPLY | {"content": "<think>\nhm\n</think>\n<answer>\nhello\n</answer>"}]
    half = [USER, REPLY | {"content": "<think>\nhm\n<answer>\nhello\n</answer>"}]
    tools = [SYSTEM | {"tools": "5"}, USER, REPLY]
    write(tmp_path / "reason.jsonl", [json.dumps({"conversations": turns}) for turns in (good, half)])
    write(tmp_path / "sft.jsonl", [json.dumps({"conversations": turns}) for turns in ([USER, REPLY], tools)])
    (tmp_path / "rebuilder").mkdir()
    write(tmp_path / "rebuilder" / "more.jsonl", ["{"])
    problems = check_folder(tmp_path).problems
    assert len(problems) == 3
    assert "reason.jsonl, line 2" in problems[0] and "1 <think>, 0 </think>" in problems[0]
    assert "more.jsonl, line 1" in problems[1]
    assert "sft.jsonl, line 2" in problems[2] and "tools" in problems[2]


def test_markers_in_plain_text_are_borders_of_texts(tmp_path, caplog):
    lines = ["<|im_start|>First.<|im_end|> <|im_start|>user\nSecond.<|im_end|>", "No marker. ", "<|endoftext|>"]
    path = write(tmp_path / "t.jsonl", [json.dumps({"text": line}) for line in lines])
    with caplog.at_level(logging.INFO):
        assert [record.text for record in read_records(path, "text")] == ["First.", "user\nSecond.", "No marker. "]
    assert "1 text held" in caplog.text and "into 2 pieces" in caplog.text


def test_a_line_of_markers_alone_is_skipped_with_a_reason(tmp_path):
    lines = [json.dumps({"text": text}) for text in ("<|im_start|> <|im_end|>", "a<|endoftext|>b", "<|endoftext|>")]
    path = write(tmp_path / "t.jsonl", lines)
    reader = read_records(path, "text")
    assert [record.text for record in reader] == ["a", "b"]
    reason = "holds only <|endoftext|>, <|im_start|> or <|im_end|>, and no text"
    assert [str(error) for error in reader.skipped] == [f"{path}, line {n}, field text: {reason}" for n in (1, 3)]
    assert reader.reasons == {reason: 2}
    with pytest.raises(DataError, match="line 1, field text: holds only"):
        list(read_records(path, "text", strict=True))


def test_the_check_of_a_folder_counts_lines_and_says_what_was_cut(tmp_path):
    texts = ["<|im_start|>First.<|im_end|> <|im_start|>Second.<|im_end|>", "Third.", "4<|endoftext|>5<|endoftext|>6"]
    write(tmp_path / "t.jsonl", [json.dumps({"text": text}) for text in texts])
    write(tmp_path / "t_heldout.jsonl", [json.dumps({"text": "New."})])
    report = check_folder(tmp_path)
    assert report.files[0].records == 3 and len(report.files[0].items) == 6
    assert re.search(r"t\.jsonl +text +3 ", str(report))
    cut = "t.jsonl: 2 texts held <|im_start|>, <|im_end|> or <|endoftext|> and were cut there into 5 pieces"
    assert cut in str(report).splitlines()
    write(tmp_path / "t.jsonl", [json.dumps({"text": "<|im_start|>One.<|im_end|>"})])
    shown = str(check_folder(tmp_path))
    assert "1 text held" in shown and "was cut there into 1 piece\n" in shown
    write(tmp_path / "t.jsonl", [json.dumps({"text": "One."})])
    assert "held <" not in str(check_folder(tmp_path))


def test_a_long_reason_ends_with_a_whole_word(tmp_path):
    reader = read_records(write(tmp_path / "t.jsonl", [json.dumps({"text": "a"})]), "text")
    for message in ("word " * 60, "word " * 30 + "x" * 300, "x" * 300):
        reader._note(DataError(f"t.jsonl, line 1: {message}"))
    first, second, third = reader.reasons
    assert first == " ".join(["word"] * 40) + " …" and second == " ".join(["word"] * 30) + " …"
    assert third == "x" * 200 + " …"


PUBLISHED = {  # the liberties that MiniMind's files take, in words of our own
    "no tools": [SYSTEM | {"tools": ""}, USER, REPLY | {"tool_calls": "", "reasoning_content": ""}],
    "calls without words": [USER, REPLY | {"content": None, "tool_calls": '[{"name": "now", "arguments": {}}]'},
                            {"role": "tool", "content": "12:00"}, REPLY],
    "no content at all": [USER, {"role": "assistant", "tool_calls": [{"name": "now", "arguments": "{}"}]},
                          {"role": "tool", "content": "12:00"}, REPLY],
    "lists": [{"role": "system", "content": "You help.", "tools": [{"name": "now"}]}, USER,
              REPLY | {"content": "", "tool_calls": [{"function": {"name": "now", "arguments": {"a": 1}}}]},
              {"role": "tool", "content": "12:00"}, REPLY | {"reasoning_content": "It is noon."}],
}  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED)
def test_what_the_published_files_hold_is_read_and_rendered(tmp_path, name):
    path = write(tmp_path / "v3.jsonl", [json.dumps({"conversations": PUBLISHED[name]})] * 20)
    tokenizer = Tokenizer.train(["hello, it is 12:00 now"] * 5, vocab_size=300)
    reader = read_records(path, "conversation", strict=True)
    documents = list(conversation_documents((record.messages for record in reader), tokenizer, 400))
    assert len(documents) == 20 and not reader.reasons
    text = tokenizer.decode(documents[0].ids.tolist())
    assert text.count("<tool_call>") == ("calls" in name or name in ("no content at all", "lists"))
    assert ("# Tools" in text) == (name == "lists")


@pytest.mark.parametrize(
    ("gt", "read"),
    [(["42"], ["42"]), (["Paris", 7, 1.5], ["Paris", "7", "1.5"]), ("42", ["42"]), (42, ["42"]), ([" "], []), ([], [])],
)
def test_the_targets_of_agent_rl_are_read_as_texts(gt, read):
    turns = [SYSTEM | {"tools": '[{"name": "add"}]'}, USER, REPLY | {"content": ""}]
    line = json.dumps({"conversations": turns, "gt": gt})
    assert parse_line(line, "conversation").gt == read


@pytest.mark.parametrize("gt", [None, {"a": 1}, [["42"]], [True]])
def test_targets_that_are_no_values_are_refused(gt):
    with pytest.raises(DataError, match=r"line 3, field gt: must be a text or a number, or a list of them"):
        parse_line(json.dumps({"conversations": [USER, REPLY], "gt": gt}), "conversation", where="line 3")


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
        ("id,question,A,B,C,D,answer\n0,q\n", "line 2, column A: empty"),
        ("id,question,A,B,C,D,answer\n0," + "q" * 200_000, "not CSV: field larger"),
        ("\x00", "no column question"),
    ],
)
def test_a_bad_exam_is_named_by_line_and_column(tmp_path, text, says):
    (tmp_path / "x.csv").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=says):
        read_exam(tmp_path / "x.csv")
