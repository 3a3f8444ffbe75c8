"""The Chinese edition: laid out from the English notebooks, kept in step with them, and set as Chinese is set."""

import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from babel.messages.pofile import read_po
from course_kit import RECORD, write_chapter
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output

from minimind_lite.course.kit.errors import CourseError
from minimind_lite.course.kit.language import LOCALE
from minimind_lite.course.notebooks import chinese, colab, files, links, stamping, terms, translated, translation
from minimind_lite.files import repository_root

STORED = [path for path in translation.sources() if files.edition_path(path, "zh").is_file()]


@pytest.mark.parametrize("path", STORED, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_the_stored_edition_is_in_step(path: Path) -> None:
    assert translation.problems(path) == []


@pytest.mark.parametrize("path", files.chapters_in("zh"), ids=lambda path: path.stem)
def test_a_stored_chinese_chapter_is_in_order(path: Path) -> None:
    assert stamping.problems(path) == []


@pytest.fixture
def english(tmp_path: Path) -> Path:
    """A small English chapter with ids, and its edition laid out and written."""
    path = write_chapter(tmp_path / "notebooks", "00_toy", RECORD, "print(2)")
    stamping.stamp_chapters([path])
    translation.start(path)
    edit(files.edition_path(path, "zh"), lambda cells: [write(cell) for cell in cells if cell.cell_type == "markdown"])
    assert translation.mark_done(path) == 2
    assert translation.problems(path) == []
    return path


def write(cell: Any) -> None:
    cell.source = "# 玩具章\n\n你会看到不多的东西。" if cell.source.startswith("# ") else "## 做点事"


def edit(path: Path, change: Any) -> None:
    notebook = files.read(path)
    change(notebook.cells)
    files.write(notebook, path)


def test_a_new_edition_is_open_and_has_the_same_code_but_for_the_language(tmp_path: Path) -> None:
    path = write_chapter(tmp_path / "notebooks", "00_toy", RECORD)
    stamping.stamp_chapters([path])
    assert translation.problems(path) == [] and translation.share(path) == translation.Share(path, 2, 0, 0)
    translation.start(path)
    english, chinese_one = files.read(path), files.read(files.edition_path(path, "zh"))
    differing = [
        (one.source, other.source)
        for one, other in zip(english.cells, chinese_one.cells, strict=True)
        if one.cell_type == "code" and one.source != other.source
    ]
    assert [one.replace('"00_toy"', '"00_toy", language="zh"') for one, _ in differing[:1]] == [differing[0][1]]
    assert [(one.replace('"en"', '"zh"'), other) for one, other in differing[1:]] == [(differing[1][1],) * 2]
    assert sorted(line.split(": ")[1] for line in translation.problems(path)) == ["open", "open"]
    assert "notebooks/zh/00_toy.ipynb) · [English](../00_toy.ipynb)" in chinese_one.cells[0].source


def test_code_in_another_language_names_it_in_setup_and_parameters_only() -> None:
    parameters = new_code_cell('language = "en"\nx = 1', metadata={"tags": ["parameters"]})
    other = new_code_cell('language = "en"')
    assert translation.code_in(parameters, "00_toy", "zh") == 'language = "zh"\nx = 1'
    assert translation.code_in(other, "00_toy", "zh") == 'language = "en"'


@pytest.mark.parametrize(
    ("which", "change", "words"),
    [
        ("english", lambda cells: setattr(cells[4], "source", "## Toil"), "stale: md-"),
        ("english", lambda cells: cells.insert(3, new_markdown_cell("New", id="md-00000000")), "missing: md-00000000"),
        ("english", lambda cells: cells.pop(4), "extra: md-"),
        ("english", lambda cells: setattr(cells[-1], "source", "print(3)"), "'print(2)' instead of 'print(3)'"),
        ("english", lambda cells: cells.append(new_code_cell("x = 1")), "5 code cells, and 6 in English"),
        ("english", lambda cells: cells[-1].metadata.update(tags=["main-plot"]), "other tags"),
        ("zh", lambda cells: setattr(cells[2], "source", cells[2].source + "\nx = 1"), "'x = 1' instead of ''"),
        ("zh", lambda cells: setattr(cells[2], "source", cells[2].source.replace("zh", "en")), "language"),
        ("zh", lambda cells: cells.append(new_markdown_cell("多了一格", id="md-00000001")), "extra: md-00000001"),
        ("zh", lambda cells: cells.reverse(), "differs"),
        ("zh", lambda cells: cells.insert(0, cells.pop(4)), "another order"),
        ("zh", lambda cells: setattr(cells[4], "source", "## 做点事,然后"), "half-width punctuation"),
    ],
)
def test_the_check_names_each_planted_difference(english: Path, which: str, change: Any, words: str) -> None:
    edit(english if which == "english" else files.edition_path(english, "zh"), change)
    assert any(words in line for line in translation.problems(english)), translation.problems(english)


def test_a_stale_cell_is_marked_only_by_its_name(english: Path) -> None:
    edit(english, lambda cells: setattr(cells[4], "source", "## Toil"))
    stale = files.read(english).cells[4].id
    assert translation.share(english) == translation.Share(english, 2, 1, 1)
    assert translation.mark_done(english) == 0
    assert translation.mark_done(english, [stale]) == 1
    assert translation.problems(english) == []
    with pytest.raises(CourseError, match="no Markdown cell md-no"):
        translation.mark_done(english, ["md-no"])


def test_a_badge_that_changes_makes_nothing_stale(english: Path) -> None:
    edit(english, lambda cells: setattr(cells[0], "source", cells[0].source.replace("/main/", "/v1/")))
    assert translation.problems(english) == []


def test_laying_out_again_keeps_texts_and_outputs_and_takes_over_the_code(english: Path) -> None:
    target = files.edition_path(english, "zh")
    edit(target, lambda cells: cells[-1].outputs.append(new_output("stream", text="2\n")))
    edit(english, lambda cells: [setattr(cells[-2], "source", "x = 5"), cells.pop(4)])
    lost = translation.start(english)
    assert len(lost) == 1 and lost[0].endswith("## 做点事")
    assert translation.problems(english) == []
    cells = files.read(target).cells
    assert cells[-2].source == "x = 5" and cells[-1].outputs[0].text == "2\n" and cells[0].source.startswith("# 玩具章")


def test_a_text_that_was_edited_comes_back_and_only_what_changed_is_marked(tmp_path: Path) -> None:
    path = write_chapter(tmp_path / "notebooks", "00_toy", RECORD)
    stamping.stamp_chapters([path])
    translation.start(path)
    text = translation.as_text(path)
    assert translation.take_text(path, text) == 0
    assert translation.take_text(path, text.replace("## Work", "## 做点事")) == 1
    assert translation.share(path) == translation.Share(path, 2, 1, 0)
    assert files.read(files.edition_path(path, "zh")).cells[4].source == "## 做点事"
    with pytest.raises(CourseError, match="no cell md-99"):
        translation.take_text(path, "<!-- md-99 -->\n\n文字")


def test_a_chapter_edited_through_jupytext_finds_its_cells_again(english: Path) -> None:
    import jupytext

    target = files.edition_path(english, "zh")
    text = jupytext.writes(nbformat.read(target, as_version=4), fmt="py:percent").replace("做点事", "做点别的")
    nbformat.write(jupytext.reads(text, fmt="py:percent"), target)
    assert translation.start(english) == [] and translation.problems(english) == []
    assert [one.id for one in files.read(target).cells] == [one.id for one in files.read(english).cells]
    assert files.read(target).cells[4].source == "## 做点别的"


def test_an_english_notebook_with_an_edition_leads_to_it() -> None:
    for path in STORED:
        folder = translation.FOLDERS[path.parent.name]
        assert colab.badge(path.stem, folder).endswith(f" · [中文版](zh/{path.name})")
        assert colab.badge(path.stem, folder) in files.read(path).cells[0].source


@pytest.mark.parametrize("path", STORED, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_links_stay_inside_the_edition_where_it_goes_on(path: Path) -> None:
    folder = translation.FOLDERS[path.parent.name]
    for cell in files.read(files.edition_path(path, "zh")).cells:
        text = stamping.without_badge(cell.source) if cell.cell_type == "markdown" else ""
        assert links.inside_edition(text, folder, "zh") == text
        for link in re.findall(r"\]\(([^)\s#:]+)(?=[)#])", text):
            assert (repository_root() / folder / "zh" / link).exists(), link


@pytest.mark.parametrize(
    ("link", "led"),
    [
        ("01_one.ipynb", "01_one.ipynb"),
        ("02_two.ipynb#a", "../02_two.ipynb#a"),
        ("../02_two.ipynb", "../02_two.ipynb"),
        ("../exercises/01_one.ipynb", "../../exercises/zh/01_one.ipynb"),
        ("../exercises/02_two.ipynb", "../../exercises/02_two.ipynb"),
        ("../../exercises/zh/01_one.ipynb", "../../exercises/zh/01_one.ipynb"),
        ("../pyproject.toml", "../../pyproject.toml"),
        ("https://example.org/a.ipynb", "https://example.org/a.ipynb"),
        ("#recap", "#recap"),
    ],
)
def test_a_link_leads_to_the_edition_if_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, link: str, led: str
) -> None:
    made = ("notebooks/01_one", "notebooks/02_two", "notebooks/zh/01_one", "exercises/01_one", "exercises/02_two",
            "solutions/zh/01_one", "exercises/zh/01_one")  # fmt: skip
    for name in (*(f"{one}.ipynb" for one in made), "pyproject.toml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.setattr(links, "repository_root", lambda: tmp_path)
    assert links.inside_edition(f"见 [这里]({link})。", "notebooks", "zh") == f"见 [这里]({led})。"


def test_a_set_of_exercises_that_is_laid_out_is_led_to_by_the_chapters(
    tmp_path: Path, english: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links, "repository_root", lambda: tmp_path)
    write_chapter(tmp_path / "exercises", english.stem, RECORD)
    master = write_chapter(tmp_path / "solutions", english.stem, RECORD)
    edition = files.edition_path(english, "zh")
    edit(edition, lambda cells: cells[4].update(source="## 做点事\n\n[练习](../exercises/00_toy.ipynb)"))
    stamping.stamp_chapters([edition])
    assert "(../../exercises/00_toy.ipynb)" in files.read(edition).cells[4].source
    before = english.read_bytes()
    translation.start(master)
    assert "(../../exercises/zh/00_toy.ipynb)" in files.read(edition).cells[4].source
    assert english.read_bytes() == before and translation.problems(english) == []
    once = edition.read_bytes()
    translation.start(master)
    assert edition.read_bytes() == once


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("它会变大,然后爆炸。", "half-width"),
        ("为什么?", "half-width"),
        ("注意力(attention)", "half-width"),
        ("到此为止.", "half-width"),
        ("用**RMSNorm**除以长度", "no space"),
        ("共16层", "no space"),
        ("长度 ，方向", "a space beside"),
        ("真的吗？？", "doubled"),
        ("等等...", "doubled"),
        ("每个令牌是一个向量", "词元"),
        ("**先修：**只需第 00 章", "emphasis"),
        ("它会**“爆炸”** 的", "emphasis"),
    ],
)
def test_what_is_ill_set_is_named(text: str, words: str) -> None:
    assert any(words in line for line in chinese.style_problems(text)), chinese.style_problems(text)


@pytest.mark.parametrize(
    "text",
    ["它会变大，然后“爆炸”（overflow）。", "用 **RMSNorm** 除以长度，共 16 层……", "English, only: it is left alone.",
     "见[第 3 章](03_rope.ipynb)。", "设 $a,b$ 为 `f(x,y)` 的值。", "比例为 3:1，误差 0.5%。",
     "**先修**：只需 *一章*。", "**1. 平方。** 症状：全是**零**，没有**错**"],
)  # fmt: skip
def test_what_is_well_set_passes(text: str) -> None:
    assert chinese.style_problems(text) == []


def test_the_glossary_has_each_term_once_and_names_chapters_that_exist() -> None:
    entries = terms.glossary()
    numbers = {path.stem.partition("_")[0] for path in files.chapter_paths()}
    assert len({one["term"] for one in entries}) == len(entries) > 40
    assert {one["chapter"] for one in entries} <= numbers
    for one in entries:
        assert set(one) <= {"term", "zh", "chapter", "en", "instead_of", "en_instead_of"}
        assert re.search(chinese.HAN, one["zh"]) and one["zh"] not in one.get("instead_of", [])


TERMS = (
    {"term": "head (a part)", "zh": "头", "chapter": "00", "en": ["lookup"], "en_instead_of": ["hed"]},
    {"term": "attention head", "zh": "注意力头", "chapter": "00"},
    {"term": "other", "zh": "别的", "chapter": "01"},
)
EXPLAINED = "一个注意力头（attention head），它是**头**（head）。之后头就是头"


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["# 玩具", EXPLAINED], []),
        (["预告头和注意力头", f"## 头\n\n`头` {EXPLAINED}"], []),
        (["# 玩具\n\n头（head）", "注意力头（attention head）"], []),
        (["# 玩具", "先说头", EXPLAINED], ["md-1: the first mention of 头 goes without its English; write 头（head）"]),
        (["# 玩具", "头（hat），注意力头（attention head）"], ["md-1: the first mention of 头 goes without"]),
        (["# 玩具", "头（head）"], ["注意力头 (attention head): docs/glossary.toml says"]),
    ],
)
def test_the_chapter_that_explains_a_term_gives_its_english(
    monkeypatch: pytest.MonkeyPatch, texts: list[str], words: list[str]
) -> None:
    monkeypatch.setattr(terms, "glossary", lambda: TERMS)
    found = terms.unexplained("00", [(f"md-{at}", text) for at, text in enumerate(texts)])
    assert len(found) == len(words) and all(map(str.startswith, found, words)), found


def test_the_english_edition_uses_the_terms_and_no_rivals(english: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terms, "glossary", lambda: TERMS)
    assert terms.unused_in_english("00", ["Several lookups and attention-\n*heads*"]) == []
    assert [one.partition(":")[0] for one in terms.unused_in_english("00", ["`heads`"])] == ["head", "attention head"]
    assert [one.partition(":")[0] for one in terms.unused_in_english("00", ["ahead"])] == ["head", "attention head"]
    edit(english, lambda cells: cells[4].update(source="A Hed, `hed`, *On heds*"))
    rivals = [line for line in translation.problems(english) if "not hed" in line]
    assert len(rivals) == 1 and "00_toy.ipynb: md-" in rivals[0] and "writes head, not hed" in rivals[0]
    assert any("attention head: docs/glossary.toml says" in line for line in translation.problems(english))


def test_the_command_wants_to_know_which_notebook_a_cell_is_in() -> None:
    with pytest.raises(CourseError, match="one --done NN"):
        translated.change((), (), ["md-1"], "notebooks")
    with pytest.raises(CourseError, match="no notebook is called 77"):
        translation.sources(["77"])
    assert re.fullmatch(r"\d+ of \d+ notebooks, \d+% of all cells are rendered in zh", translated.summary())


def test_the_chinese_readme_and_the_catalogue_are_set_like_the_chapters() -> None:
    readme = (repository_root() / "README.zh.md").read_text(encoding="utf-8")
    written = re.sub(r"<!-- (\w+) -->.*?<!-- /\1 -->", "", readme, flags=re.S)  # what is filled in, answers, is data
    assert [one for line in written.splitlines() for one in chinese.style_problems(line)] == []
    with (LOCALE / "zh" / "LC_MESSAGES" / "course.po").open("rb") as file:
        said = [one.string for one in read_po(file) if one.id and isinstance(one.string, str)]
    found = [one for text in said for one in chinese.style_problems(text)]
    shapes = "half-width punctuation"  # formulas and shapes keep their own: (batch, seq), 专家(x)
    assert len(said) > 2000 and [one for one in found if not one.startswith(shapes)] == []
