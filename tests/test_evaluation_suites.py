"""The layouts of published benchmarks, what is made of them, and what is said about files that do not fit."""

import json
import sys
from pathlib import Path

import pytest
from benchmarks_kit import ROWS, as_csv, files_like, json_lines, science, story, write_like

from minimind_lite.config import ConfigError
from minimind_lite.data.benchmarks import BENCHMARKS, find_benchmark, read_questions
from minimind_lite.data.records import DataError
from minimind_lite.data.tables import read_table
from minimind_lite.evaluation.likelihood import Request
from minimind_lite.evaluation.suites import make_suites

OURS = ("text", "exact", "sums")  # kinds in a layout of our own
PUBLISHED = [name for name, one in BENCHMARKS.items() if not name.startswith("samples") and one.kind not in OURS]


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_layout_is_read_and_found_by_name_or_by_its_files(name: str, tmp_path: Path) -> None:
    folder = write_like(name, tmp_path)
    benchmark, found = find_benchmark(str(folder))
    assert (benchmark.name, found) == (name, folder)
    assert find_benchmark(f"{name}={folder}") == (benchmark, folder)
    questions = read_questions(benchmark, folder)
    assert len(questions) == ROWS == len({one.id for one in questions})
    assert all(0 <= one.answer < len(one.choices) and one.group for one in questions)
    anonymous = folder.rename(tmp_path / "some_folder")
    if name in ("ceval", "cmmlu", "aclue", "tmmluplus", "openbookqa", "arc", "blimp", "zhoblimp"):
        with pytest.raises(DataError, match=f"could be .*{name}.*; say which: "):
            find_benchmark(str(anonymous))
    else:
        assert find_benchmark(str(anonymous)) == (benchmark, anonymous)


@pytest.mark.parametrize("name", ["ceval", "arc", "hellaswag", "blimp"])
def test_parquet_is_read_as_the_hub_lays_it_out(name: str, tmp_path: Path) -> None:
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    folder, plain = tmp_path / "hub" / name, write_like(name, tmp_path)
    benchmark = BENCHMARKS[name]
    subject = {"ceval": "law", "arc": "ARC-Easy", "hellaswag": "data", "blimp": "agreement_1"}[name]
    split = benchmark.split[0] if benchmark.split else "train"
    source = next(
        one for one in sorted(plain.rglob("*")) if one.is_file() and (name == "blimp" or split in one.name.lower())
    )
    rows = [row.values for row in read_table(source)]
    for row in rows:
        row |= {key: str(row[key]) for key in ("label",) if key in row}
    (folder / subject).mkdir(parents=True)
    parquet.write_table(pyarrow.Table.from_pylist(rows), folder / subject / f"{split}-00000-of-00001.parquet")
    from_parquet, from_plain = read_questions(benchmark, folder), read_questions(benchmark, plain)
    known = {one.text: one for one in from_plain} if name != "blimp" else {one.choices: one for one in from_plain}
    for one in from_parquet:
        other = known[one.text if name != "blimp" else one.choices]
        assert (one.choices, one.answer) == (other.choices, other.answer)
        assert one.group == (other.group if name != "arc" else "ARC_Easy")


def test_parquet_without_pyarrow_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "test.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(DataError, match=r"test\.parquet: Parquet is read by pyarrow.*or use the same data as"):
        read_questions(BENCHMARKS["arc"], tmp_path)


def test_a_broken_parquet_file_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    (tmp_path / "test.parquet").write_bytes(b"PAR1 and then nothing that fits")
    with pytest.raises(DataError, match=r"test\.parquet: not Parquet"):
        read_questions(BENCHMARKS["arc"], tmp_path)


EXAM = ["Question", "A", "B", "C", "D", "Answer"]
LIGHT = science(1, False)
GOOD = ["q", "1", "2", "3", "4", "A"]


@pytest.mark.parametrize(
    ("name", "file", "content", "words"),
    [
        ("cmmlu", "test/law.csv", as_csv(EXAM, [GOOD, [*GOOD[:5], "E"]]), r"law.csv, row 3, column Answer: 'E' is not"),
        ("cmmlu", "test/law.csv", as_csv(EXAM, [GOOD, [*GOOD[:3], " ", "4", "A"]]), r"row 3, column C: empty"),
        ("cmmlu", "test/law.csv", as_csv(EXAM, [[*GOOD[:5], ""]]), r"row 2, column answer: empty: this split is publ"),
        ("cmmlu", "test/law.csv", as_csv(EXAM[1:], [GOOD[1:]]), r"row 2, column question: there is no .*A, B"),
        ("cmmlu", "test/law.csv", as_csv(EXAM, [GOOD, GOOD[:4]]), r"law.csv, row 3: has 4 cells, the header 6"),
        ("cmmlu", "test/law.csv", "", r"law.csv: empty"),
        ("cmmlu", "test/law.csv", as_csv(EXAM, []), r"law.csv: holds no question"),
        ("cmmlu", "test/law.csv", 'Question,A\n"never closed', r"law.csv: not CSV"),
        ("arc", "test.jsonl", json_lines([science(1, True), {"question": "q"}]), r"row 2, column choices: there"),
        ("arc", "test.jsonl", json_lines([LIGHT | {"answerKey": "Z"}]), r"row 1, column answerKey: 'Z' is not one"),
        ("arc", "test.jsonl", json_lines([LIGHT | {"choices": {"label": ["A"], "text": ["a", "b"]}}]), r"at least two"),
        ("arc", "test.jsonl", json_lines([LIGHT | {"question": {"stem": 3, "choices": []}}]), r"column question: must"),
        ("arc", "test.jsonl", '{"question": \n', r"test.jsonl, row 1.*not JSON"),
        ("arc", "test.jsonl", "[1]\n", r"row 1: must be a JSON object, not \[1\]"),
        ("hellaswag", "val.jsonl", json_lines([story(1) | {"label": 4}]), r"a number from 0 to 3, not 4"),
        ("hellaswag", "val.jsonl", json_lines([story(1) | {"label": ""}]), r"a number from 0 to 3, not ''"),
        ("hellaswag", "val.jsonl", json_lines([story(1) | {"endings": ["one"]}]), r"column endings: must be a list"),
        ("hellaswag", "val.jsonl", json_lines([story(1) | {"ctx_a": 3}]), r"column ctx_a: must be text, not 3"),
        ("sciq", "test.json", "[1, 2]", r"test.json, row 1: must be a JSON object"),
        ("lambada", "test.txt", "one\n", r"test.txt, row 1, column text: must have a last word"),
        ("blimp", "x.jsonl", json_lines([{"sentence_good": "a"}]), r"row 1, column sentence_bad: there is no"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_with_file_row_and_column(
    name: str, file: str, content: str, words: str, tmp_path: Path
) -> None:
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=words):
        read_questions(BENCHMARKS[name], tmp_path)


def test_other_files_and_folders_that_do_not_fit(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no such folder\. C-Eval .* hub: ceval/ceval-exam .*ceval=FOLDER"):
        read_questions(BENCHMARKS["ceval"], tmp_path / "nothing")
    with pytest.raises(DataError, match=r"no file with val in its name was found; C-Eval .* comes as {dev,val}"):
        read_questions(BENCHMARKS["ceval"], tmp_path)
    with pytest.raises(DataError, match="neither a folder nor one of samples, samples-zh, samples-en, ceval"):
        find_benchmark("no_such_thing")
    with pytest.raises(DataError, match="no benchmark was recognised here; say which it is with NAME="):
        find_benchmark(str(tmp_path))
    (tmp_path / "test.csv").write_bytes("Question,A\n颜".encode("gbk"))
    with pytest.raises(DataError, match="not UTF-8"):
        read_questions(BENCHMARKS["cmmlu"], tmp_path)
    folder = write_like("piqa", tmp_path)
    (folder / "valid-labels.lst").write_text("0\n1\n", encoding="utf-8")
    with pytest.raises(DataError, match=f"has 2 labels, and valid.jsonl {ROWS} rows"):
        read_questions(BENCHMARKS["piqa"], folder)
    folder = write_like("ceval", tmp_path)
    (folder / "subject_mapping.json").write_text('{"law": "Law"}', encoding="utf-8")
    with pytest.raises(DataError, match=r"subject_mapping.json: must be an object such as"):
        make_suites(BENCHMARKS["ceval"], folder)


def test_prompts_are_those_that_scores_are_published_with(tmp_path: Path) -> None:
    law = "以下是中国关于法学的单项选择题，请选出其中的正确答案。\n\n"
    shot = "第0题：apple的颜色是____。\nA. red\nB. blue\nC. green\nD. grey\n答案： A\n\n"
    asked = "第1题：snow的颜色是____。\nA. blue\nB. green\nC. grey\nD. white\n答案："
    folder = write_like("ceval", tmp_path)
    letter, answer = make_suites(BENCHMARKS["ceval"], folder, scoring="both", shots=1)
    assert (letter.key, answer.key) == ("ceval/letter", "ceval/answer")
    assert letter.items[1].requests[3] == Request(law + shot + asked, " D")
    stem = "第0题：apple的颜色是____。\n答案：red\n\n第1题：snow的颜色是____。\n答案："
    assert answer.items[1].requests[3] == Request(stem, "white")
    assert (answer.items[1].choices, answer.items[1].answer) == (("blue", "green", "grey", "white"), 3)


@pytest.mark.parametrize(
    ("name", "request_"),
    [
        ("openbookqa", Request("Which light is number 0?", " red light")),
        ("arc", Request("Question: Which light is number 0?\nAnswer:", " red light")),
        ("piqa", Request("Question: Open jar 0\nAnswer:", " Turn the lid.")),
        ("hellaswag", Request("Painting a fence: How to. Person 0 starts.", " is red now.")),
        ("sciq", Request("\nQuestion: What is 0?\nAnswer:", " gold")),
        ("blimp", Request("", "These 0 cats sleep.")),
        ("zhoblimp", Request("", "他把0本书看完了。")),
        ("lambada", Request("The apple was red, and everybody said it was", " red")),
    ],
)
def test_what_each_benchmark_asks(name: str, request_: Request, tmp_path: Path) -> None:
    (suite,) = make_suites(BENCHMARKS[name], write_like(name, tmp_path))
    assert suite.items[0].requests[0] == request_


def test_chance_is_that_of_the_items(tmp_path: Path) -> None:
    chances = {name: make_suites(BENCHMARKS[name], write_like(name, tmp_path))[0].chance for name in PUBLISHED}
    assert chances["ceval"] == 0.25 and chances["piqa"] == chances["blimp"] == 0.5 and chances["lambada"] == 0
    five, four = ROWS // 4, ROWS - ROWS // 4  # every fourth question of ARC's look-alike has five choices
    assert chances["openbookqa"] == pytest.approx((five / 5 + four / 4) / ROWS)


def test_a_limit_is_spread_over_the_subjects() -> None:
    benchmark, folder = find_benchmark("samples")
    (whole,), (few,) = make_suites(benchmark, folder), make_suites(benchmark, folder, limit=12)
    assert len(few.items) == 12 and {one.group for one in few.items} == {one.group for one in whole.items}
    assert few.digest != whole.digest == make_suites(benchmark, folder)[0].digest
    assert len(make_suites(benchmark, folder, limit=10**6)[0].items) == len(whole.items) == 150


def test_settings_that_cannot_work(tmp_path: Path) -> None:
    blimp, cmmlu = write_like("blimp", tmp_path), write_like("cmmlu", tmp_path)
    with pytest.raises(ConfigError, match="blimp has no examples to show"):
        make_suites(BENCHMARKS["blimp"], blimp, shots=1)
    with pytest.raises(ConfigError, match="limit must be at least 1, not 0"):
        make_suites(BENCHMARKS["cmmlu"], cmmlu, limit=0)
    with pytest.raises(ConfigError, match="scoring must be letter, answer, both or default, not 'word'"):
        make_suites(BENCHMARKS["cmmlu"], cmmlu, scoring="word")
    with pytest.raises(DataError, match="6 examples were asked for, and law has 5 in the split dev; use fewer"):
        make_suites(BENCHMARKS["cmmlu"], cmmlu, shots=6)


def test_every_entry_of_the_registry_says_where_it_comes_from() -> None:
    for name, one in BENCHMARKS.items():
        assert name == one.name and one.licence and one.source and one.layout
        assert one.name.startswith("samples") or one.home.name == name
        assert json.dumps(one.chance) and one.kind in ("choice", "pairs", "cloze", *OURS)
    assert len(files_like("ceval")) == 4
