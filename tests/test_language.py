"""What code shows in another language: the catalogues, the notebooks that choose one, and the Chinese font."""

import ast
import io
import json
import re
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from fontTools.ttLib import TTFont
from test_alt_texts import DRAWN
from test_claims import claims_of

from minimind_lite import course
from minimind_lite.course.chapters.scale.figures import KINDS
from minimind_lite.course.exercises.calling import LocalCaller
from minimind_lite.course.exercises.core import every_check
from minimind_lite.course.kit import chinese_font, language, sentences, style
from minimind_lite.course.kit.discovery import chapter_names, chapter_part
from minimind_lite.course.kit.errors import CourseError
from minimind_lite.course.kit.labels import label, named
from minimind_lite.course.notebooks import colab, files
from minimind_lite.course.runner.plan import make_plan
from minimind_lite.data.cleaning import STEPS
from minimind_lite.data.published import PUBLISHED
from minimind_lite.files import repository_root
from tools import catalogue

COURSE = repository_root() / "minimind_lite" / "course"


def names_of(chapter: str) -> tuple[str, ...]:
    """What the cells of a chapter call their lines, bars and columns."""
    return getattr(chapter_part(chapter, "labels"), "NAMES", ())


# What a module says of a picture or of an answer: (function, position of the argument that must be translatable).
SPOKEN = {"described": (1,), "drawing": (1,), "task.that": (1,), "task.equal": (2,)}


@pytest.fixture
def chinese() -> Iterator[None]:
    with language.speaking("zh"):
        yield


def untranslatable(source: str) -> list[str]:
    """Sentences that no catalogue can hold: f-strings where ``say`` with named values is meant."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            for place in SPOKEN.get(ast.unparse(node.func), ()):
                if len(node.args) > place and isinstance(node.args[place], ast.JoinedStr):
                    found.append(ast.unparse(node.args[place]))
        if isinstance(node, ast.Return) and isinstance(node.value, ast.JoinedStr) and "exercises.core" in source:
            found.append(ast.unparse(node.value))
    return found


@pytest.mark.parametrize("path", catalogue.sources(), ids=lambda path: path.relative_to(COURSE).as_posix())
def test_every_sentence_of_a_module_can_be_translated(path: Path) -> None:
    assert untranslatable(path.read_text(encoding="utf-8")) == [], 'say("… {x}", x=…)'


def test_no_message_is_missing() -> None:
    assert [one.id for one in catalogue.fresh("zh") if one.id and not one.string] == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ('described(figure, f"{x} falls")', 1),
        ('described(figure, say("{x} falls", x=x))', 0),
        ('task.that(x, f"not {x}")', 1),
        ('from ..exercises.core import check\ndef f(x):\n    return f"it is {x}"', 1),
        ('def f(x):\n    return f"it is {x}"', 0),
    ],
)
def test_a_sentence_that_cannot_be_translated_is_found(source: str, found: int) -> None:
    assert len(untranslatable(source)) == found


def test_the_catalogue_is_up_to_date_and_has_the_same_placeholders() -> None:
    for path, content in catalogue.files("zh").items():
        assert catalogue.is_current(path, content), f"{path.name}: python tools/catalogue.py"
        assert not catalogue.is_current(path, content.replace("步".encode(), "歩".encode()))
    assert catalogue.other_placeholders(catalogue.fresh("zh")) == []


def test_another_placeholder_is_found() -> None:
    made = catalogue.Catalog(locale="zh")
    made.add("{a} and {b}", "{a}和{c}")
    made.add("{a}", "{a}")
    assert len(catalogue.other_placeholders(made)) == 1


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ('say("one")', ["one"]),
        ('say("one" if x else "two", a=1)', ["one", "two"]),
        ("say(text)", []),
        ('x.say("one")', []),
    ],
)
def test_messages_are_found_where_they_are_said(source: str, found: list[str]) -> None:
    assert list(catalogue.said(source)) == found


def test_messages_of_checks_are_titles_and_sentences() -> None:
    source = '''"""A module of checks."""
WRONG = "you did this and that"
@check("02.a", points=1)
def check_a(task):
    """The title"""
    task.that(rearrange(x, "b h"), f"not {this} one here", {WRONG: 1})
    return "it is right now"
'''
    assert sorted(catalogue.check_messages(source)) == ["The title", "it is right now", "you did this and that"]


def test_claims_are_found_in_the_cells_of_a_chapter() -> None:
    source = 'chapter.claim("it learns", after > before)\nchapter.claim(text, a < b)\nother.claim("not this", a < b)'
    assert list(catalogue.claimed(source)) == ["it learns"]
    held = 'chapter.claim(f"the model learns {label(one)} sentences", a < b)'
    assert list(catalogue.claimed(held)) == []


@pytest.mark.parametrize("path", files.chapter_paths(), ids=lambda path: path.stem)
def test_every_claim_of_a_chapter_is_in_the_catalogue(path: Path) -> None:
    texts = list(catalogue.chapter_claims(path))
    assert len(texts) == len(list(claims_of(path))), "a claim is a constant: neither f-string nor variable"
    translated = language.catalogue("zh")
    assert [one for one in texts if translated.gettext(one) == one] == []


def test_sentences_are_spoken_in_the_language_that_was_chosen(chinese: None) -> None:
    assert label("step") == "步" and label("query") == "查询的位置" and label("no_such_label") == "no such label"
    assert sentences.move("损失", [5, 1, 4]) == "损失从 5 降到 4，中间低到 1"
    assert sentences.listed(["甲", "乙", "丙"]) == "甲、乙和丙"
    assert sentences.spread([2, 1]) == "从 1 到 2"
    with language.speaking("en"):
        assert label("step") == "step" and sentences.listed("ab") == "a and b"
    assert language.language() == "zh"


def test_values_are_filled_in_and_braces_without_values_stay(chinese: None) -> None:
    assert language.say("{first} and {last}", first="{x}", last=2) == "{x}和 2"
    assert language.say("return {…}") == "return {…}"
    assert language.say("") == ""
    assert language.say("{name} falls from {first} to {last}", name="float16", first=9, last=1) == "float16 从 9 降到 1"
    assert language.spaced("原样 从 1") == "原样从 1"
    assert language.spaced("最低的是β = 0.5，α降到 1") == "最低的是 β = 0.5，α 降到 1"
    assert language.spaced("神经元： relu 从 0，（选用） 75") == "神经元：relu 从 0，（选用）75"


def test_names_that_a_cell_writes_are_translated_and_others_stay(chinese: None) -> None:
    assert named("layer 7") == "第 7 层" and named("temperature 0.8, top-p 0.9") == "温度 0.8，top-p 0.9"
    assert named("texts under 1,024 characters") == "1,024 字符以内的文本"
    for own in ("minimind2-moe", "λ = 0.95", "{x} of 3", "", "step"):
        assert named(own) == own
    with language.speaking("en"):
        assert named("layer 7") == "layer 7"


@pytest.mark.parametrize("chapter", [one for one in chapter_names() if names_of(one)])
def test_every_name_is_written_by_its_chapter(chapter: str) -> None:
    (path,) = (one for one in files.chapter_paths() if one.stem.partition("_")[2] == chapter)
    cells = "\n".join(cell.source for cell in files.read(path).cells if cell.cell_type == "code")
    published = "\n".join(field for one in PUBLISHED.values() for field in (one.about, one.kind))
    folder = repository_root() / "minimind_lite" / "course" / "chapters" / chapter
    modules = (one for one in folder.glob("*.py") if one.name != "labels.py")  # which name what they measure
    written = "\n".join((cells, published, *STEPS, *KINDS.values(), *(one.read_text("utf-8") for one in modules)))
    for name in names_of(chapter):
        missing = [word for word in re.findall(r"[^\W\d]+", name) if word not in written]
        assert not missing, f"no cell of {path.name} writes {name!r}"


def test_an_unknown_language_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(CourseError, match="'fr'; there are: en, zh"):
        course.begin("02_rmsnorm", output_dir=tmp_path, language="fr")
    with pytest.raises(CourseError, match="'fr'"):
        make_plan(language="fr")


def test_a_notebook_speaks_its_language(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("MINIMIND_SMOKE", raising=False)
    try:
        colab.setup("02_rmsnorm", language="zh")
        chapter = course.begin("02_rmsnorm", output_dir=tmp_path, language="zh")
        chapter.claim("x", True)
        every_check()["02.rms_norm"](lambda x, weight, eps: None)
        said = capsys.readouterr().out
        course.begin("02_rmsnorm", output_dir=tmp_path)
        assert "about 0.3 minutes" in capsys.readouterr().out
    finally:
        language.use_language("en")
    for words in (
        "个线程",
        "各规模所需分钟数",
        "大约 0.3 分钟",
        "✓ 这次运行中成立：x",
        "不对 · 02.rms_norm · 你的函数什么也没返回",
    ):
        assert words in said


def test_a_claim_is_shown_in_chinese_and_recorded_in_english(
    tmp_path: Path, chinese: None, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "the teacher's help is larger than the choice of questions explains"
    chapter = course.begin("13_distill", output_dir=tmp_path, language="zh")
    chapter.claim(text, True)
    chapter.claim("thinking helps by more than the choice of sums explains", False)
    said = capsys.readouterr().out
    assert "✓ 这次运行中成立：教师帮的忙，超出了选题的运气能解释的范围\n" in said
    assert "✗ 这次运行中不成立：思考带来的进步，超出了选题的运气能解释的范围\n" in said
    stored = json.loads((chapter.output() / "results.json").read_text(encoding="utf-8"))["claims"]
    assert stored[text] is True and all(one.isascii() for one in stored)


def test_a_check_says_the_mistake_in_chinese(chinese: None) -> None:
    check = every_check()["02.root_mean_square"]
    verdict = check.judge(LocalCaller(lambda x, eps: (x.pow(2).sum(-1, keepdim=True) + eps).sqrt()))
    assert verdict.message.startswith("你把平方加了起来")


def test_a_run_in_chinese_takes_the_chinese_chapters_and_tells_the_others() -> None:
    plan = make_plan(first="02", last="18", language="zh")
    editions = {path.stem: path.parent.name for path in plan.chapters}
    assert editions["02_rmsnorm"] == "zh"
    for path in plan.chapters:
        assert plan.parameters[path].get("language") == (None if path.parent.name == "zh" else "zh")
    assert all(path.parent.name == "notebooks" for path in make_plan().chapters)


@cache
def drawn(function: Any, speech: str) -> Any:
    """A picture of the course with its words in one language."""
    with language.speaking(speech):
        return DRAWN[function]()


def render(figure: Any) -> None:
    """Draw it small: a glyph is looked up, and found missing, at every size."""
    figure.savefig(io.BytesIO(), dpi=20)


@pytest.mark.parametrize("function", DRAWN, ids=lambda one: f"{one.__module__.split('.')[-2]}.{one.__name__}")
def test_a_figure_is_described_in_chinese_alone(function: Any) -> None:
    said = drawn(function, "zh").alt
    assert said.endswith("。") and re.search("[\u4e00-\u9fff]", said)
    assert not re.search(r"\b(the|of|and|from|to|with|is|in|at|over)\b", said), said


@pytest.mark.parametrize("function", DRAWN, ids=lambda one: f"{one.__module__.split('.')[-2]}.{one.__name__}")
@pytest.mark.parametrize("speech", language.LANGUAGES)
def test_no_figure_lacks_a_glyph(function: Any, speech: str, caplog: pytest.LogCaptureFixture) -> None:
    with language.speaking(speech), warnings.catch_warnings():
        warnings.filterwarnings("error", message="Glyph")
        render(drawn(function, speech))
    # of glyphs that formulas lack, matplotlib writes to its log; others may write to theirs at any time
    assert [one for one in caplog.records if one.name.startswith("matplotlib")] == []


def test_a_missing_glyph_would_be_seen() -> None:
    figure, axis = style.subplots()
    axis.set_title("\U0002070e")  # a character that only the largest fonts have
    with warnings.catch_warnings(), pytest.raises(UserWarning, match="Glyph"):
        warnings.filterwarnings("error", message="Glyph")
        render(figure)


def test_the_font_has_every_character_of_the_catalogue_and_its_licence_and_is_small() -> None:
    known = TTFont(chinese_font.CHINESE_FONT).getBestCmap()
    text = (language.LOCALE / "zh" / "LC_MESSAGES" / "course.po").read_text(encoding="utf-8")
    assert {one for one in text if "\u3000" <= one <= "\uffff" and ord(one) not in known} == set()
    assert {one for one in "床前明月光疑是地上霜举头望明月低头思故乡" if ord(one) not in known} == set()
    assert chinese_font.CHINESE_FONT.stat().st_size < 500_000
    assert "SIL OPEN FONT LICENSE" in chinese_font.CHINESE_FONT.with_name("OFL.txt").read_text(encoding="utf-8")


SHOWN_BY = ("kit", "chapters", "capstones", "exercises")  # the folders whose words a learner meets in a notebook
FOR_OTHERS = {
    "exercises/masters.py",  # who writes the exercises
    "exercises/overview.py",  # a command's table
}
PRINTS = {"print", "tqdm.write", "warnings.warn", "logger.warning"}
FOR_WRITERS = {"ValueError", "TypeError", "AssertionError"}  # of chapters and of exercises


def notebook_modules() -> list[Path]:
    """The modules that speak to a learner in a notebook."""
    found = [COURSE / "__init__.py"]
    found += (path for folder in SHOWN_BY for path in sorted((COURSE / folder).glob("**/*.py")))
    names = {path: path.relative_to(COURSE).as_posix() for path in found}
    return [path for path, name in names.items() if name not in FOR_OTHERS and "grading" not in path.parts]


def plain_words(source: str) -> list[str]:
    """Sentences that a module raises as an error of the course or prints, and that are English in every language."""
    tree, found = ast.parse(source), []
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            found += plain_parts(node.exc, 0) if ast.unparse(node.exc.func) not in FOR_WRITERS else []
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in PRINTS:
            found += plain_parts(node, 2)
    return found


def plain_parts(call: ast.Call, most: int) -> list[str]:
    """The texts of more than ``most`` words inside a call's arguments that go through no catalogue."""
    found: list[str] = []

    def look(node: ast.AST) -> None:
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {"say", "say_count", "label", "named"}:
            return
        text = node.value if isinstance(node, ast.Constant) else None
        if isinstance(node, ast.JoinedStr):
            text = " ".join(str(one.value) for one in node.values if isinstance(one, ast.Constant))
        if isinstance(text, str) and len(re.findall(r"[A-Za-z]{2,}", text)) > most:
            found.append(ast.unparse(node))
            return
        for child in ast.iter_child_nodes(node):
            look(child)

    for one in call.args:
        look(one)
    return found


@pytest.mark.parametrize("path", notebook_modules(), ids=lambda path: path.relative_to(COURSE).as_posix())
def test_what_a_learner_reads_goes_through_the_catalogue(path: Path) -> None:
    assert plain_words(path.read_text(encoding="utf-8")) == [], 'say("… {x}", x=…)'


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ('raise CourseError(f"no chapter is called {name}")', 1),
        ('raise CourseError("no chapter")', 1),
        ('raise CourseError("a" if x else say("b"))', 0),
        ('raise DataError(say("{folder} is empty", folder=folder))', 0),
        ('raise CourseError(say("it says:") + f"\\n{text}")', 0),
        ('raise CourseError(say("it has: {there}", there=there) + (x or "and no more"))', 1),
        ('raise ValueError("a task has a check already")', 0),
        ('logger.warning("%s is damaged, and kept aside", name)', 1),
        ('print("not measured yet, run it")', 1),
        ('print(f"Python {version} · torch {torch} · {where}")', 0),
        ('print(say_count("{count} thread", "{count} threads", 2))', 0),
    ],
)
def test_words_that_no_catalogue_has_are_found(source: str, found: int) -> None:
    assert len(plain_words(source)) == found


@pytest.mark.parametrize(
    ("number", "english"), [(1, "1 thread"), (2, "2 threads"), (0, "0 threads"), (0.5, "0.5 threads")]
)
def test_what_is_counted_takes_the_form_of_its_number(number: float, english: str) -> None:
    def said() -> str:
        return language.say_count("{count} thread", "{count} threads", number)

    assert said() == english
    with language.speaking("zh"):
        assert said() == f"{number:g} 个线程"


@pytest.mark.parametrize(
    ("steps", "english", "translated"), [("1", "1 step a stage", "1 步"), ("2", "2 steps a", "2 步")]
)
def test_a_chapter_counts_its_steps_in_both_languages(
    steps: str, english: str, translated: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.delenv("MINIMIND_SMOKE", raising=False)
    monkeypatch.setenv("MINIMIND_MAX_STEPS", steps)
    try:
        for speech, words in (("en", english), ("zh", f"至多 {translated}")):
            course.begin("02_rmsnorm", output_dir=tmp_path, language=speech)
            assert words in capsys.readouterr().out
    finally:
        language.use_language("en")


def test_both_forms_of_a_message_are_found_and_its_translation_has_the_forms_of_its_language() -> None:
    source = 'task.that(x, say_count("{count} new token here", "{count} new tokens here", size))'
    both = ("{count} new token here", "{count} new tokens here")
    assert list(catalogue.counted(source)) == [both] and list(catalogue.check_messages(source)) == []
    made = catalogue.Catalog(locale="zh")
    made.add(both, ("{count} 个",))
    assert catalogue.other_plurals(made) == [] and catalogue.other_placeholders(made) == []
    made.add(("{a} mouse", "{a} mice"), ("{a} 只", "{a} 只"))
    made.add(("{a} goose", "{b} geese"), ("{a} 只",))
    assert len(catalogue.other_plurals(made)) == 1 and len(catalogue.other_placeholders(made)) == 1
    assert not catalogue.is_translated(made.add(("{a} ox", "{a} oxen"), ("",)))


HAND_MADE = re.compile(r"""['"]e?s['"] if |if [^}]* else ['"]e?s['"]""")


@pytest.mark.parametrize("path", catalogue.sources(), ids=lambda path: path.relative_to(COURSE).as_posix())
def test_no_plural_is_made_by_hand(path: Path) -> None:
    left = HAND_MADE.findall(path.read_text(encoding="utf-8"))
    assert len(left) <= (path.name == "page.py"), 'say_count("{count} step", "{count} steps", steps)'
