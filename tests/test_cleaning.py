"""`minimind data clean`: every step with a planted case and one that must pass, streams, reports, and valid output."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from minimind_lite.cli import app
from minimind_lite.data.cleaning import STEPS, CleaningOptions, CleaningReport, clean, language_share, masked
from minimind_lite.data.duplicates import DiskTable, ExactDuplicates
from minimind_lite.data.records import DataError, read_records

ROOT = Path(__file__).parents[1]
RUN = CliRunner()
STORY = "The old clock in the hall had not been wound since the winter before, and nobody in the house minded."
POEM = "春眠不觉晓，处处闻啼鸟。夜来风雨声，花落知多少。"


def written(path: Path, *texts: str) -> Path:
    lines = [json.dumps({"text": text}, ensure_ascii=False) for text in texts]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def left(output: Path) -> list[str]:
    return [record.text for record in read_records(output, "text", strict=True)]


def run(folder: Path, *texts: str, **options: Any) -> CleaningReport:
    source = written(folder / "in.jsonl", *texts)
    return clean([source], folder / "out.jsonl", CleaningOptions(**options))


# Of each step: what it rejects, and what looks like it and must pass.
PLANTED = {
    "encoding": (
        ["It isn’t â€œlowâ€™ today, they say.", "ä¸­æ–‡æ˜¯ä»€ä¹ˆ", "A lost \ufffd character in a text."],
        ["“Déjà vu”, he said: naïve, São Paulo, Ærø, Übergröße.", POEM, "SÃO PAULO É GRANDE, disse ele."],
    ),
    "symbols": (
        ["★☆★☆ best ★☆★☆ deal ★☆★☆", "|||~~~^^^ ok ^^^~~~|||", "Section ======================"],
        ["12+30=42, 7×8=56, (3-1)/2=1", "Nice work! 😀 See you tomorrow.", "《静夜思》：“床前明月光……”"],
    ),
    "length": (["Hi.", "一二三。"], [POEM, "Ten chars."]),
    "repeats": (
        ["Buy now! Buy now! Buy now! Buy now! Buy now! Only here.", "哈哈。\n哈哈。\n哈哈。\n哈哈。\n真好笑。"],
        ["Row, row, row your boat. Gently down the stream. Merrily, merrily.", "He ran. She ran. They all ran home."],
    ),
}


@pytest.mark.parametrize("step", PLANTED)
def test_a_step_rejects_what_is_planted_and_nothing_else(tmp_path: Path, step: str) -> None:
    bad, good = PLANTED[step]
    report = run(tmp_path, *bad, *good, steps=(step,))
    assert left(tmp_path / "out.jsonl") == good
    assert (report.steps[step].seen, report.steps[step].rejected) == (len(bad) + len(good), len(bad))
    assert [sample["text"] for sample in report.steps[step].samples] == bad
    assert report.steps[step].samples[1]["where"] == f"{tmp_path / 'in.jsonl'}, line 2"


def test_control_characters_and_line_ends_are_repaired_and_counted(tmp_path: Path) -> None:
    report = run(tmp_path, "one\r\ntwo\x00\x07 three\u200b.\ufeff", "\tA tab\nand a line.", steps=("encoding",))
    assert left(tmp_path / "out.jsonl") == ["one\ntwo three.", "\tA tab\nand a line."]
    assert (report.steps["encoding"].changed, report.steps["encoding"].rejected) == (1, 0)


def test_a_text_of_which_a_repair_leaves_nothing_is_dropped(tmp_path: Path) -> None:
    report = run(tmp_path, "\u200b\u200b", POEM, steps=("encoding",))
    assert left(tmp_path / "out.jsonl") == [POEM]
    assert "after its repair" in report.steps["format"].samples[0]["why"]


def test_long_texts_are_rejected_at_the_given_length(tmp_path: Path) -> None:
    run(tmp_path, "a" * 31, "b" * 30, steps=("length",), max_characters=30)
    assert left(tmp_path / "out.jsonl") == ["b" * 30]


@pytest.mark.parametrize(
    ("language", "good", "bad"),
    [
        ("zh", [POEM, "他用 Python 写了一个程序。", "12+30=42。"], [STORY, "Он пошёл домой вечером."]),
        ("en", [STORY, "The word 你好 means hello.", "12 + 30 = 42, 42"], [POEM, "Он пошёл домой вечером."]),
    ],
)
def test_the_language_is_kept_and_the_others_are_not(
    tmp_path: Path, language: str, good: list[str], bad: list[str]
) -> None:
    report = run(tmp_path, *bad, *good, language=language, steps=("language",))
    assert left(tmp_path / "out.jsonl") == good
    assert report.steps["language"].rejected == len(bad)


def test_shares_of_languages() -> None:
    assert language_share("我爱 you", "zh") == pytest.approx(2 / 3)
    assert language_share("it's 3", "en") == 1.0
    assert language_share("123", "zh") == 1.0


def test_the_language_is_not_looked_at_unless_it_is_given(tmp_path: Path) -> None:
    assert "language" not in run(tmp_path, STORY, POEM, steps=("language", "length")).steps


PERSONAL = [
    ("Write to ann.lee+x@mail.example.org today.", "Write to [email] today."),
    ("邮箱是ann@example.com，请来信。", "邮箱是[email]，请来信。"),
    ("电话：13800138000。", "电话：[phone]。"),
    ("Call +86 138 0013 8000 or 010-12345678.", "Call [phone] or [phone]."),
    ("Call (555) 123-4567 or 555-123-4567 now.", "Call [phone] or [phone] now."),
    ("身份证11010519491231002X，请核对。", "身份证[id]，请核对。"),
    ("His number is 123-45-6789.", "His number is [id]."),
]
IMPERSONAL = [
    "On 2024-01-15 at 12:30:45 it cost 1,234,567.89 dollars.",
    "π is 3.14159265358979 and more; 12345678901234 is a number.",
    "Look at @ann, at 5 @ 3 dollars, and at a@b.",
    "号码110105194912310021不对，圆周率是3.1415926535。",
    "It was 900-12-3456 in all; pages 1998-1999; 12-30+45.",
]


@pytest.mark.parametrize(("text", "wanted"), PERSONAL)
def test_personal_data_is_masked(text: str, wanted: str) -> None:
    assert masked(text) == wanted
    assert masked(wanted) == wanted


@pytest.mark.parametrize("text", IMPERSONAL)
def test_other_numbers_are_left_alone(text: str) -> None:
    assert masked(text) == text


def test_personal_data_is_rejected_where_that_is_wanted(tmp_path: Path) -> None:
    bad = [text for text, _ in PERSONAL]
    report = run(tmp_path, *bad, *IMPERSONAL, steps=("personal",), personal="reject")
    assert left(tmp_path / "out.jsonl") == IMPERSONAL
    assert report.steps["personal"].rejected == len(bad)
    report = run(tmp_path, *bad, *IMPERSONAL, steps=("personal",))
    assert (report.kept, report.steps["personal"].changed) == (len(bad) + len(IMPERSONAL), len(bad))


def test_personal_data_is_masked_in_every_turn_and_thought(tmp_path: Path) -> None:
    turns = [
        {"role": "user", "content": "I am ann@example.org."},
        {"role": "assistant", "reasoning_content": "She is ann@example.org.", "content": "Hello ann@example.org!"},
    ]
    source = tmp_path / "in.jsonl"
    source.write_text(json.dumps({"conversations": turns}) + "\n", encoding="utf-8")
    clean([source], tmp_path / "out.jsonl", CleaningOptions(steps=("personal",)))
    text = (tmp_path / "out.jsonl").read_text(encoding="utf-8")
    assert text.count("[email]") == 3 and "ann" not in text


def test_overlap_with_exams_is_found(tmp_path: Path) -> None:
    exams = tmp_path / "exams"
    exams.mkdir()
    (exams / "a_test.csv").write_text(
        "id,question,A,B,C,D,answer\n0,哪一座城市是法国的首都？,巴黎,里昂,尼斯,南特,A\n1,天空？,蓝,红,黑,白,A\n",
        "utf-8",
    )
    long = "Which of the following animals is known to sleep while standing on only one of its two legs?"
    (exams / "b.jsonl").write_text(json.dumps({"question": long}) + "\n", encoding="utf-8")
    (exams / "subjects.json").write_text('{\n "a": "A"\n}\n', encoding="utf-8")
    bad = ["他问：“哪一座城市是法国的首都？”我不知道。", f"Quiz. {long.removesuffix(' of its two legs?')}"]
    good = [
        "法国的首都是巴黎，它是一座城市。",
        "今天的天空很蓝。",
        "Which animals sleep on one leg? Some birds.",
    ]
    report = run(tmp_path, *bad, *good, steps=("exams",), exams=(exams,))
    assert left(tmp_path / "out.jsonl") == good
    assert "哪 一 座 城 市" in report.steps["exams"].samples[0]["why"]


def test_exams_of_our_own_and_held_out_conversations_are_read(tmp_path: Path) -> None:
    samples = ROOT / "data_samples"
    [asked] = [
        record.messages[-2]["content"] for record in read_records(samples / "facts_rings" / "near", "conversation")
    ][:1]
    exams = (samples / "exam", samples / "facts_rings" / "near")
    report = run(tmp_path, f"Somebody said: {asked} And that was that.", STORY, steps=("exams",), exams=exams)
    assert report.steps["exams"].rejected == 1 and left(tmp_path / "out.jsonl") == [STORY]


def test_exact_duplicates_differ_in_case_width_and_punctuation_only(tmp_path: Path) -> None:
    texts = [STORY, POEM, "3+4=7", STORY.upper(), POEM.replace("，", "　"), "3-4=7", "３＋４＝７", "?!", "!?"]
    report = run(tmp_path, *texts, steps=("exact",))
    assert left(tmp_path / "out.jsonl") == [STORY, POEM, "3+4=7", "3-4=7", "?!", "!?"]
    assert report.steps["exact"].rejected == 3


def test_conversations_with_the_same_words_in_other_turns_are_no_duplicates(tmp_path: Path) -> None:
    def talk(*texts: str) -> str:
        roles = ("user", "assistant")
        turns = [{"role": roles[index % 2], "content": text} for index, text in enumerate(texts)]
        return json.dumps({"conversations": turns}) + "\n"

    source = tmp_path / "in.jsonl"
    source.write_text(talk("one two", "three") + talk("one", "two three") + talk("One two!", "Three."), "utf-8")
    report = clean([source], tmp_path / "out.jsonl", CleaningOptions(steps=("exact",)))
    assert (report.kept, report.steps["exact"].rejected) == (2, 1)


def prose(seed: int, words: int = 60) -> str:
    chance = random.Random(seed)
    return " ".join("".join(chance.choices("abcdefghij", k=chance.randint(3, 8))) for _ in range(words)) + "."


def test_near_duplicates_are_rejected_and_texts_on_the_same_subject_are_not(tmp_path: Path) -> None:
    pytest.importorskip("datasketch")
    first = prose(1)
    words = first.split()
    other = " ".join([*words[:30], *prose(2).split()[:30]])  # half of it
    near = " ".join([*words[:20], "changed", *words[21:]])
    report = run(tmp_path, first, prose(3), near, other, "Short one, yes.", "Short one, no.", steps=("near",))
    assert left(tmp_path / "out.jsonl") == [first, prose(3), other, "Short one, yes.", "Short one, no."]
    assert "% like a text that was there before" in report.steps["near"].samples[0]["why"]


def test_near_duplicates_are_found_among_thousands(tmp_path: Path) -> None:
    pytest.importorskip("datasketch")
    texts = [prose(seed, 30) for seed in range(1500)]
    copies = [text.replace(text.split()[7], "other") for text in texts[::10]]
    report = run(tmp_path, *texts, *copies, steps=("near",))
    assert report.steps["near"].rejected >= 0.95 * len(copies)
    assert left(tmp_path / "out.jsonl")[: len(texts)] == texts


def test_without_datasketch_the_way_out_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasketch", None)
    with pytest.raises(DataError, match=r"datasketch.*minimind-lite\[clean\].*--skip near"):
        run(tmp_path, STORY)
    assert not (tmp_path / "out.jsonl").exists()


def test_the_table_on_disk_finds_what_a_dictionary_finds(tmp_path: Path) -> None:
    chance, table, known = random.Random(0), DiskTable(tmp_path, bits=4), dict[int, list[int]]()
    for number in range(5000):  # through eight doublings
        key = chance.choice([*known][:40]) if number % 20 == 5 else chance.choice((0, 1)) or chance.getrandbits(64)
        key = key or 1
        found, place = table.find(key)
        assert sorted(found) == known.get(key, [])
        if len(found) < 20:
            table.add(key, number, place)
            known.setdefault(key, []).append(number)
    assert all(sorted(table.find(key)[0]) == numbers for key, numbers in known.items())
    assert not list(tmp_path.iterdir())  # its file has no name


def test_digests_are_remembered(tmp_path: Path) -> None:
    remembered = ExactDuplicates(tmp_path)
    assert [remembered.seen(text) for text in ("a", "b", "a", "\ud800", "\ud800")] == [False, False, True, False, True]


def test_an_unreadable_line_is_counted_with_file_and_line_and_strict_stops_there(tmp_path: Path) -> None:
    source = written(tmp_path / "in.jsonl", STORY)
    with source.open("ab") as file:
        file.write(
            b'{"text": "cut off\n{"text": "\xff\xfe"}\n{"text": "half \\ud800 of a pair"}\n{"story": "x"}\n[1]\n'
        )
    report = clean([source], tmp_path / "out.jsonl", CleaningOptions(steps=("length",)))
    step = report.steps["format"]
    assert (report.read, report.kept, step.rejected) == (6, 1, 5)
    assert [sample["where"].rpartition(", ")[2] for sample in step.samples] == [f"line {n}" for n in range(2, 7)]
    assert all(sample["why"].startswith(f"{source}, line ") for sample in step.samples)
    with pytest.raises(DataError, match=r"in\.jsonl, line 2.*run without --strict"):
        clean([source], tmp_path / "strict.jsonl", CleaningOptions(steps=("length",), strict=True))
    assert not (tmp_path / "strict.jsonl").exists()


def test_kinds_are_not_mixed(tmp_path: Path) -> None:
    source = written(tmp_path / "in.jsonl", STORY)
    with source.open("a", encoding="utf-8") as file:
        file.write('{"instruction": "Hi?", "output": "Hello there."}\n')
    with pytest.raises(DataError, match=r"line 2: holds a record of the kind conversation, but .*line 1 one of .*text"):
        clean([source], tmp_path / "out.jsonl", CleaningOptions(steps=("length",)))
    assert not (tmp_path / "out.jsonl").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"steps": ("cleanse",)}, "no step called 'cleanse'; the steps are: encoding"),
        ({"language": "fr"}, "--language fr: must be one of any, zh, en"),
        ({"personal": "keep"}, "--personal keep"),
        ({"steps": ("length",), "exams": (Path("x"),)}, "the step exams is left out"),
        ({"min_characters": 9, "max_characters": 8}, "more than --max-characters"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: Any, said: str) -> None:
    with pytest.raises(DataError, match=re.escape(said)):
        CleaningOptions(**options)


def test_output_that_would_destroy_its_source_or_has_no_form_is_refused(tmp_path: Path) -> None:
    source = written(tmp_path / "in.jsonl", STORY)
    with pytest.raises(DataError, match="is one of the files that are read"):
        clean([tmp_path], source)
    with pytest.raises(DataError, match=r"must end in \.jsonl"):
        clean([source], tmp_path / "out.txt")
    with pytest.raises(DataError, match="nothing is left of 1 records"):
        clean([source], tmp_path / "out.jsonl", CleaningOptions(steps=("length",), max_characters=20))
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]


def test_the_command_prints_the_table_and_writes_the_report(tmp_path: Path) -> None:
    source = written(tmp_path / "in.jsonl", STORY, POEM, "Hi.", STORY)
    output = tmp_path / "new" / "out.jsonl"
    result = RUN.invoke(app, ["data", "clean", str(source), str(output), "--skip", "near, personal"])
    assert result.exit_code == 0, result.output
    rows = {row[0]: row[1:4] for line in result.output.splitlines() if (row := line.split())}
    assert rows["length"] == ["4", "1", "0"] and rows["exact"] == ["3", "1", "0"]
    assert "near" not in rows and "personal" not in rows
    assert "2 of 4 records are left" in result.output
    report = json.loads((tmp_path / "new" / "out.report.json").read_text(encoding="utf-8"))
    assert (report["kind"], report["read"], report["kept"]) == ("text", 4, 2)
    assert report["steps"]["length"]["samples"][0]["text"] == "Hi."
    assert left(output) == [STORY, POEM]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["one.jsonl"], "name one or more files or folders"),
        (["a.jsonl", "b.jsonl", "--steps", "exact", "--skip", "near"], "not both"),
        (["a.jsonl", "b.jsonl", "--skip", "nearly"], "no step called 'nearly'"),
        (["missing.jsonl", "b.jsonl"], "missing.jsonl: there is no such file"),
        (["pyproject.toml", "b.jsonl"], "unknown form"),
    ],
)
def test_the_command_says_what_is_wrong(arguments: list[str], said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    result = RUN.invoke(app, ["data", "clean", *arguments])
    assert result.exit_code in (1, 2) and said in result.output.replace("\n", " ").replace("│ ", ""), result.output


def test_the_command_lists_the_steps() -> None:
    result = RUN.invoke(app, ["data", "clean", "--list"])
    assert [line.split()[0] for line in result.output.splitlines()] == list(STEPS)


@pytest.mark.skipif(os.name == "nt", reason="sends a signal")
def test_a_killed_run_leaves_no_half_file_and_the_old_one_as_it_was(tmp_path: Path) -> None:
    source, output = (
        written(tmp_path / "in.jsonl", *(prose(seed, 12) for seed in range(60_000))),
        tmp_path / "out.jsonl",
    )
    output.write_text("old\n", encoding="utf-8")
    command = [sys.executable, "-m", "minimind_lite.cli", "data", "clean", str(source), str(output), "--skip", "near"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        if any(part.stat().st_size for part in tmp_path.glob(".out.jsonl.*.part")):
            break
        time.sleep(0.01)
    assert process.poll() is None, "the run ended before it could be killed"
    process.send_signal(signal.SIGKILL)
    process.wait(60)
    assert output.read_text(encoding="utf-8") == "old\n"
    assert not (tmp_path / "out.report.json").exists()
    assert sorted(path.suffix for path in tmp_path.iterdir()) in ([".jsonl", ".jsonl", ".part"], [".jsonl", ".jsonl"])


TURN = st.fixed_dictionaries(
    {"from": st.sampled_from(["human", "gpt", "system", "robot"]), "value": st.text(max_size=40)}
)
LINES = st.one_of(
    st.fixed_dictionaries({"conversations": st.lists(TURN, max_size=4)}),
    st.fixed_dictionaries({"instruction": st.text(max_size=40), "output": st.text(max_size=40)}),
    st.fixed_dictionaries({"messages": st.just([{"role": "user", "content": "Hi"}]), "text": st.text(max_size=9)}),
    st.none(),
)


def lines_of(values: list[Any]) -> Iterator[str]:
    for value in values:
        yield json.dumps(value) if value is not None else '{"conversations": ['


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.lists(LINES, min_size=1, max_size=8))
def test_what_is_left_is_valid_input_of_our_reader(tmp_path: Path, values: list[Any]) -> None:
    source, output = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text("".join(f"{line}\n" for line in lines_of(values)), encoding="utf-8")
    skip = CleaningOptions.chosen("", "near,length")
    try:
        report = clean([source], output, CleaningOptions(steps=skip, min_characters=0))
    except DataError as error:
        assert "nothing is left" in str(error)
        return
    assert len(list(read_records(output, "conversation", strict=True))) == report.kept > 0
    rejected = sum(step.rejected for step in report.steps.values())
    assert report.read == len(values) == report.kept + rejected


def test_the_benchmark_measures_every_file(tmp_path: Path) -> None:
    pytest.importorskip("datasketch")
    output = tmp_path / "cleaning.json"
    script = [sys.executable, str(ROOT / "benchmarks" / "cleaning_memory.py")]
    arguments = ["--lines", "100", "400", "--long-lines", "200", "--output", str(output), "--folder", str(tmp_path)]
    subprocess.run(
        [*script, *arguments],
        check=True,
        cwd=ROOT,
        timeout=500,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    runs = json.loads(output.read_text(encoding="utf-8"))["runs"]
    assert [(one["lines"], one["steps"]) for one in runs] == [
        (100, "every step"), (400, "every step"), (200, "without near"),
    ]  # fmt: skip
    for one in runs:
        assert one["kept"] + sum(one["rejected"].values()) == one["lines"]
        assert one["rejected"]["exact"] == one["lines"] // 10
        assert one["peak_megabytes"] >= one["imports_megabytes"] > 0 and one["gigabytes_per_hour"] > 0
    assert all(one["rejected"]["near"] >= one["lines"] // 25 for one in runs[:2])
    assert "near" not in runs[2]["rejected"]
    assert runs[2]["file_megabytes"] > 2 * runs[1]["file_megabytes"]
    assert [path.name for path in tmp_path.iterdir()] == ["cleaning.json"]
