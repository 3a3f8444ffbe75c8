"""The sample world: checked, rebuilt to the same bytes if that needs no package, and worded naturally."""

import importlib
import json
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from typer.testing import CliRunner

from minimind_lite.cli import app
from minimind_lite.data import check
from minimind_lite.data.check import Report, check_folder, compare
from minimind_lite.data.records import DataError

SAMPLES = Path(__file__).parents[1] / "data_samples"
BUILDER = SAMPLES / "builder"


@pytest.fixture(scope="module")
def build() -> Iterator[ModuleType]:
    """The builder's main module; its folder is on the path only during the test."""
    sys.path.insert(0, str(BUILDER))
    yield importlib.import_module("build")
    sys.path.remove(str(BUILDER))


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A folder like data_samples, small enough to break."""
    (tmp_path / "pretrain").mkdir()
    (tmp_path / "pretrain_heldout").mkdir()
    long = "The old clock in the hall had not been wound since the winter before, and nobody in the house minded."
    write(
        tmp_path / "pretrain" / "a.jsonl", {"text": long}, {"text": "春眠不觉晓，处处闻啼鸟。夜来风雨声，花落知多少。"}
    )
    write(tmp_path / "pretrain_heldout" / "a.jsonl", {"text": "Nothing here was ever seen before."})
    write(tmp_path / "sft.jsonl", talk("What is ice?", "Frozen water."), talk("3+4=?", "7"))
    write(tmp_path / "sft_heldout.jsonl", talk("What is snow?", "Frozen water."), talk("3-4=?", "-1"))
    return tmp_path


def write(path: Path, *records: object) -> None:
    path.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records), encoding="utf-8")


def talk(question: str, answer: str) -> dict[str, object]:
    return {"conversations": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}


def texts(name: str) -> list[str]:
    return [json.loads(line)["text"] for line in (SAMPLES / name).read_text(encoding="utf-8").splitlines()]


def test_the_samples_are_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `minimind data check` finds them: a report of everything takes a quarter of a minute, so one serves all."""
    reports: list[Report] = []
    monkeypatch.setattr(check, "check_folder", lambda folder: reports.append(check_folder(folder)) or reports[0])
    run = CliRunner().invoke(app, ["data", "check"])
    assert run.exit_code == 0, run.output
    assert "everything is in order" in run.output and "facts_rings/near/zh.jsonl" in run.output
    overlaps = {one.heldout: one for one in reports[0].overlaps}
    assert {"pretrain_heldout", "chat_heldout", "tools_heldout.jsonl"} <= overlaps.keys()
    for name in ("chat_heldout", "tools_heldout.jsonl"):
        assert overlaps[name].items and not overlaps[name].copies


def test_what_the_project_wrote_is_rebuilt_to_the_same_bytes(build: ModuleType, tmp_path: Path) -> None:
    build.build_own(tmp_path)
    built = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(built) > 10
    for path in built:
        assert path.read_bytes() == (SAMPLES / path.relative_to(tmp_path)).read_bytes(), path.name


def test_the_manifest_describes_the_files(build: ModuleType, tmp_path: Path) -> None:
    shutil.copytree(SAMPLES, tmp_path / "copy", ignore=shutil.ignore_patterns("builder", "MANIFEST.json"))
    build.write_manifest(tmp_path / "copy")
    assert (tmp_path / "copy" / "MANIFEST.json").read_bytes() == (SAMPLES / "MANIFEST.json").read_bytes()


def test_a_folder_without_a_manifest_is_fine(small: Path) -> None:
    report = check_folder(small)
    assert report.ok, str(report)


@pytest.mark.parametrize(
    ("name", "record", "said"),
    [
        ("sft_heldout.jsonl", talk("WHAT is ice", "Frozen."), "sft_heldout.jsonl: 1 of 3 items are also in sft.jsonl"),
        (
            "pretrain_heldout/a.jsonl",
            {"text": "春眠不觉晓处处闻啼鸟夜来风雨声花落知多少！"},
            "1 of 2 items are also in pretrain",
        ),
        (
            "pretrain_heldout/a.jsonl",
            {"text": "Listen. The old clock in the hall had not been wound since the winter before, and then it rang."},
            "1 of 2 items are also in pretrain",
        ),
    ],
)
def test_planted_overlap_is_found(small: Path, name: str, record: object, said: str) -> None:
    with (small / name).open("a", encoding="utf-8") as file:
        file.write(json.dumps(record, ensure_ascii=False) + "\n")
    report = check_folder(small)
    assert not report.ok
    assert any(said in problem for problem in report.problems), report.problems


def test_the_table_shows_files_comparisons_and_problems(small: Path) -> None:
    with (small / "sft_heldout.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(talk("WHAT is ice", "Frozen.")) + "\n")
    report = check_folder(small)
    rows = [line.split() for line in str(report).splitlines()]
    for file_report in report.files:
        wanted = [file_report.name, file_report.kind, f"{file_report.records:,}", f"{file_report.size:,}"]
        assert any(row[:4] == wanted for row in rows), file_report.name
    for overlap in report.overlaps:
        wanted = [overlap.heldout, overlap.train, f"{overlap.items:,}", str(overlap.exact), str(overlap.near)]
        assert wanted in rows
    assert report.problems and all(problem in str(report) for problem in report.problems)


def test_a_bad_line_is_named_with_file_line_and_field(small: Path) -> None:
    with (small / "sft.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"conversations": [{"role": "robot", "content": "hm"}]}\n')
    [problem] = check_folder(small).problems
    assert re.search(r"sft\.jsonl, line 3, field conversations\[0\]\.role", problem)


def test_an_unknown_format_is_named(small: Path) -> None:
    write(small / "other.jsonl", {"story": "once"})
    [problem] = check_folder(small).problems
    assert "other.jsonl, line 1" in problem
    assert "conversations" in problem


def test_no_data_at_all_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="minimind data build"):
        check_folder(tmp_path)


def test_changed_missing_added_and_large_files_are_noticed(build: ModuleType, small: Path) -> None:
    build.write_manifest(small)
    assert check_folder(small).ok
    shutil.copy(small / "sft.jsonl", small / "new.jsonl")
    (small / "pretrain_heldout" / "a.jsonl").unlink()
    path = small / "sft.jsonl"
    path.write_bytes(path.read_bytes().replace(b"ice", b"ICE"))
    manifest = json.loads((small / "MANIFEST.json").read_text(encoding="utf-8"))
    (small / "MANIFEST.json").write_text(json.dumps(manifest | {"limits": {"file_bytes": 9, "total_bytes": 9}}))
    problems = "\n".join(check_folder(small).problems)
    for said in ("new.jsonl: it is not in", "a.jsonl: the file is missing", "SHA-256", "a file is 9", "in all"):
        assert said in problems


def test_signs_of_arithmetic_count_and_every_part_must_be_seen() -> None:
    train = [["12+30=?"], ["Hello!", "And then?"]]
    assert compare("a", train, "b", [["12-30=?"]]).exact == 0
    assert compare("a", train, "b", [["12 + 30 = ?"]]).exact == 1
    assert compare("a", train, "b", [["Hello!", "Why?"], ["hello", "and then"]]).exact == 1


def test_facts_have_one_answer_and_their_wordings_are_whole_sentences(build: ModuleType) -> None:
    facts, relations = build.load_facts(), importlib.import_module("facts").load_relations()
    assert len({(fact.language, fact.relation, fact.subject) for fact in facts}) == len(facts)
    assert all(sum(fact.language == language for fact in facts) >= 250 for language in ("zh", "en"))
    for fact in facts:
        assert fact.value not in fact.pool
        relation = relations[fact.language, fact.relation]
        for template in (*relation.statements, *relation.questions, *relation.heldout, relation.answer):
            said = fact.render(template)
            assert not re.search(r"[{}]|\s\s|\.\.|None|\ba [aeiou]\w+let\b", said), said
            assert said.endswith(("。", "？", "?", ".")), said
            assert fact.language == "zh" or said[0].isupper() or not said[0].isalpha(), said


def test_heldout_phrasings_are_never_trained_on(build: ModuleType) -> None:
    relations = importlib.import_module("facts").load_relations()
    for relation in relations.values():
        assert len(relation.questions) >= 6
        assert len(relation.heldout) == 2
        assert not set(relation.heldout) & set(relation.questions)
    stated = {
        fact.render(text)
        for fact in build.load_facts()
        for text in importlib.import_module("closed_book").relation_of(fact).heldout
    }
    trained = "".join(path.read_text(encoding="utf-8") for path in (SAMPLES / "chat").glob("*.jsonl"))
    assert "What is the capital of Norway?" in trained  # the search can find something
    assert not [question for question in stated if json.dumps(question, ensure_ascii=False) in trained]


def test_chinese_texts_are_simplified_and_whole() -> None:
    poems = texts("pretrain/poetry.jsonl")
    assert all(len(text) <= 500 for text in poems)
    for text in poems + texts("pretrain/classics.jsonl"):
        re.sub("[·嚱巉砯豗]", "", text).encode("gb2312")  # fails on traditional characters; 蜀道难 has four rare ones
        assert not re.search(r"[「」□]", text)
    assert any("床前明月光" in text for text in poems)
    assert any("宫阙通群帝，乾坤到十洲" in text for text in poems)  # 乾 stays where it does not mean "dry"


def test_sentences_are_cut_where_they_end(build: ModuleType) -> None:
    sentences = importlib.import_module("texts").sentences
    assert sentences('He saw Mr. Starbuck. "Aye!" he said.') == ["He saw Mr. Starbuck.", '"Aye!" he said.']
    assert sentences("子曰：“学而时习之，不亦说乎？”又曰：“有朋自远方来。”") == [
        "子曰：“学而时习之，不亦说乎？”",
        "又曰：“有朋自远方来。”",
    ]


def test_a_package_that_is_not_the_pinned_one_is_refused(build: ModuleType, tmp_path: Path) -> None:
    sources = importlib.import_module("sources")
    (tmp_path / sources.POETRY.archive).write_bytes(b"something else")
    with pytest.raises(sources.SourceError, match=r"chinese-poetry@2\.0\.1"):
        sources.fetch(tmp_path)


def test_another_opencc_is_refused(build: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    sources = importlib.import_module("sources")
    monkeypatch.setattr(sources, "OPENCC_VERSION", "0.0.1")
    with pytest.raises(sources.SourceError, match=r"pip install opencc==0\.0\.1"):
        sources.require_opencc()


def test_conversations_are_in_the_folder_chat_alone() -> None:
    """The course fine-tunes on the folder: conversations beside it would never be learned."""
    others = {path.stem.removesuffix("_heldout") for path in SAMPLES.glob("*.jsonl")}
    assert others == {"dpo", "dpo_kinds", "lora_identity", "lora_medical", "reason", "reason_direct", "tools"}
    said = "".join(path.read_text(encoding="utf-8") for path in (SAMPLES / "chat").glob("*.jsonl"))
    assert not re.search("尽管问我|feel free to ask|您还记得|牛排在", said)
