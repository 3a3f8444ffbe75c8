"""The report: the page's numbers, its pictures, and three questions that nobody picked."""

import base64
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import pytest
from course_kit import write_chapter
from nbformat.v4 import new_code_cell, new_notebook, new_output

from minimind_lite.course.kit.language import say, speaking
from minimind_lite.course.runner import questions, report
from minimind_lite.course.runner.page import TEMPLATE, ChapterView, figure_table, page, shown
from minimind_lite.course.runner.plan import make_plan
from minimind_lite.course.runner.questions import Answer, asked, pick_questions
from minimind_lite.course.runner.run import CourseRun
from minimind_lite.files import repository_root

PIXEL = base64.b64encode(b"\x89PNG main").decode()
OTHER = base64.b64encode(b"\x89PNG other").decode()
DATA = {"commit": "abc", "profile": "quick", "device": "cpu, 2 cores", "jobs": 1, "total_seconds": 61.0,
        "chapters": [], "figures": {}}  # fmt: skip
STATUSES = ("done", "skipped", "failed", "stale", "missing", "not run")
SIX_MORE = ("accuracy_low", "fill_share", "sft_drop", "pairs", "well_formed", "products_still_wrong_relu")


def view(status: str = "done", **figures: object) -> ChapterView:
    return ChapterView(Path("08_pretrain.ipynb"), "Pretraining <small>", status, 61.0, figures, {}, "")


def test_before_and_after_stand_in_one_row() -> None:
    table = figure_table(
        {"exact_match_before": 0.02, "exact_match": 0.93, "tokens": 1200345, "name": "a<b", "curve": [1]}
    )
    assert table.count("<tr>") == 3
    assert "0.02 → </span>0.93" in table
    assert "1,200,345" in table
    assert "a&lt;b" in table


def test_an_after_belongs_to_its_before_and_many_figures_are_folded() -> None:
    table = figure_table({f"f{n}": n for n in range(20)} | {"loss_before": 6.5, "loss_after": 0.5})
    assert table.index("6.5 → </span>0.5") < table.index(">f0<")
    assert "<summary>15 more figures</summary>" in table
    assert table.count("<tr>") == 21


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.23456, "1.235"),
        (12345.6, "12,346"),
        (0.000123456, "0.0001235"),
        (True, "True"),
        (25829888, "25,829,888"),
        ("a" * 64, "a" * 16 + "…"),
    ],
)
def test_shown(value: object, text: str) -> None:
    assert shown(value) == text


class Strict(HTMLParser):
    """Knows which elements are open, and what the page would load."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "img", "br", "link"):
            self.open.append(tag)
        self.loads += [value or "" for name, value in attributes if name in ("src", "srcset", "data") or tag == "link"]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("status", STATUSES)
def test_the_page_is_well_formed_and_loads_nothing(status: str) -> None:
    claims = {"a < b": True, "x & y": False}
    one = ChapterView(Path("a.ipynb"), "A & B", status, 3.0, {"x": 1}, claims, f"data:image/png;base64,{PIXEL}")
    text = page(DATA, [one], [Answer("问<b>？", "", "答。")], "KeyError: '<x>'" if status == "failed" else "")
    parser = Strict()
    parser.feed(text)
    assert parser.open == []
    assert parser.loads == [f"data:image/png;base64,{PIXEL}"]
    assert "url(" not in text
    assert "@import" not in text
    assert "问&lt;b&gt;？" in text
    assert "✓ held</span> a &lt; b</li>" in text and "✗ not here</span> x &amp; y</li>" in text
    assert f" {status}</span>" in text
    assert "prefers-color-scheme: dark" in text
    assert all("alt=" in image for image in re.findall("<img[^>]*>", text))


def visible(text: str) -> str:
    """What a reader sees or hears of a page: its text, what its pictures show, what a status means."""
    bare = re.sub(r"<style>.*?</style>", "", text, flags=re.DOTALL)
    return " ".join([re.sub(r"<[^>]*>", " ", bare), *re.findall(r' (?:alt|title|aria-label)="([^"]*)"', bare)])


def chinese_page(error: str = "") -> str:
    """A page with everything on it, as a run in Chinese makes it."""
    claims = ("the teacher's help is larger than the choice of questions explains",
              "thinking helps by more than the choice of sums explains")  # fmt: skip
    figures = {"loss_before": 6.5, "loss_after": 0.5, "same_greedy_as_transformers": True, "exact_match": 0.93,
               "steps": 1200, "chars_per_token_moby_dick": 3.1} | dict.fromkeys(SIX_MORE, 0.5)  # fmt: skip
    views = [
        ChapterView(Path(f"0{n}_x.ipynb"), "预训练", status, 61.0, figures,
                    dict.fromkeys(claims, bool(n % 2)), "data:,", counts={claims[0]: (1, 1), claims[1]: (2, 3)})
        for n, status in enumerate(STATUSES)
    ]  # fmt: skip
    return page(DATA | {"language": "zh", "jobs": 2}, views, [Answer("问？", "", "答。")], error)


def test_the_page_of_a_run_in_chinese_has_no_english_left() -> None:
    with speaking("zh"):
        error = say("{chapter}: interrupted; run the same command again to continue", chapter="08")
    text = chinese_page(error)
    assert '<html lang="zh">' in text
    known = {"MiniMind", "Lite", "quick", "cpu", "abc", "transformers", "ReLU", "SFT", "nat"}
    assert set(re.findall(r"[A-Za-z]{2,}", visible(text))) <= known
    assert "提交 abc。下面每个数字" in text
    assert "6 章中完成了 2 章，用时 1 分 01 秒。规模为 quick，设备为 cpu，2 个核心，同时运行 2 章。" in text
    assert "教师帮的忙，超出了选题的运气能解释的范围" in text and "3 次有记录的运行中有 2 次成立" in text
    assert chinese_page() == chinese_page() and "中途停止" not in chinese_page()


def test_the_page_of_a_run_in_english_is_english_again() -> None:
    chinese_page()
    text = page(DATA, [view(loss_before=6.5, loss=0.5)], [], "")
    assert '<html lang="en">' in text and not re.search("[\u4e00-\u9fff]", visible(text))
    assert "1 of 1 chapters finished in 1 min 01 s. Profile quick, on cpu, 2 cores." in text


def test_no_file_of_the_page_has_words_that_a_catalogue_cannot_hold() -> None:
    assert not re.search(r"[A-Za-z]{2,}", visible(re.sub(r"\$\w+", "", TEMPLATE.read_text(encoding="utf-8"))))


def test_the_page_says_how_many_chapters_ran_at_a_time() -> None:
    assert "on cpu, 2 cores." in page(DATA, [], [], "")
    assert "on cpu, 2 cores, 2 chapters at a time." in page(DATA | {"jobs": 2}, [], [], "")


def test_one_core_is_one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINIMIND_DEVICE", "cpu")
    for cores, words in ((1, "cpu, 1 core"), (2, "cpu, 2 cores")):
        monkeypatch.setattr(report, "usable_cores", lambda cores=cores: cores)
        assert report.device_name() == words


def test_dollar_signs_and_braces_in_content_survive() -> None:
    assert "$x {y}" in page(DATA, [], [Answer("$x {y}", "$5", "$6")], "")


def executed(path: Path, *tagged: bool) -> Path:
    cells = []
    for tag in tagged:
        main = tag or not any(tagged)
        alt = {"image/png": {"alt": "Loss falls."}} if tag else {}
        picture = new_output("display_data", data={"image/png": PIXEL if main else OTHER}, metadata=alt)
        cells.append(new_code_cell("x", outputs=[picture], metadata={"tags": ["main-plot"]} if tag else {}))
    nbformat.write(new_notebook(cells=cells), path)
    return path


def test_the_main_plot_is_the_tagged_one(tmp_path: Path) -> None:
    address = f"data:image/png;base64,{PIXEL}"
    assert report.main_plot(executed(tmp_path / "a.ipynb", True, False)) == (address, "Loss falls.")
    assert report.main_plot(executed(tmp_path / "b.ipynb", False, False)) == (address, "")
    assert report.main_plot(tmp_path / "none.ipynb") == ("", "")


def test_a_card_says_what_its_plot_shows() -> None:
    one = ChapterView(Path("a.ipynb"), "A & B", "done", 3.0, {}, {}, "data:,", "Loss falls from 5 to <2>.")
    assert 'alt="Loss falls from 5 to &lt;2&gt;."' in page(DATA, [one], [], "")
    assert 'alt="The main plot of the chapter A &amp; B"' in page(DATA, [replace(one, alt="")], [], "")


def test_figures_are_numbers_by_stage_and_name(tmp_path: Path) -> None:
    write_chapter(tmp_path / "notebooks", "00_one")
    plan = make_plan(output_dir=tmp_path / "out", folder=tmp_path / "notebooks")
    stored = {"stage": "one", "figures": {"loss": 1.5, "name": "nano", "curve": [1, 2], "good": True}}
    plan.results(plan.chapters[0]).parent.mkdir(parents=True)
    plan.results(plan.chapters[0]).write_text(json.dumps(stored), encoding="utf-8")
    made = report.make_report(CourseRun(plan, [("00_one", "done", 12.34)]), [])
    assert made.data["figures"] == {"one.loss": 1.5, "total_seconds": 12.3} and made.data["claims"] == {}
    assert made.data["chapters"] == [{"name": "00_one", "status": "done", "seconds": 12.3}]
    assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?|unknown", made.data["commit"])


def test_questions_are_held_out_chinese_and_english() -> None:
    samples = repository_root() / "data_samples"
    chosen = pick_questions(samples)
    last = [turns[-2]["content"] for turns in chosen]
    assert len(set(map(asked, chosen))) == 20
    assert sum(question.isascii() for question in last) in (10, 11)  # a system turn may ask for the other language
    trained = "".join(file.read_text(encoding="utf-8") for file in (samples / "chat").glob("*.jsonl"))
    alone = [turns[0]["content"] for turns in chosen if len(turns) == 2]
    assert not [question for question in alone if json.dumps(question, ensure_ascii=False) in trained]


def test_questions_wait_for_the_model(tmp_path: Path) -> None:
    assert questions.ask_trained_model(tmp_path) == []


def test_questions_are_answered_by_the_model_in_the_folder(tmp_path: Path) -> None:
    from minimind_lite.config import preset
    from minimind_lite.model.pretrained import save_pretrained
    from minimind_lite.model.transformer import Transformer
    from minimind_lite.tokenizer import Tokenizer

    tokenizer = Tokenizer.train(["湖南的省会是长沙。The capital of France is Paris."] * 3, 400)
    save_pretrained(Transformer(preset("pico", vocab_size=tokenizer.vocab_size)), tokenizer, tmp_path / "sft")
    answers = questions.ask_trained_model(tmp_path)
    assert [one.question for one in answers] == [
        asked(turns[:-1]) for turns in pick_questions(repository_root() / "data_samples")
    ]
    assert all(isinstance(one.answer, str) and one.expected for one in answers)


def test_claims_of_a_run_are_in_the_report_and_on_the_page(tmp_path: Path) -> None:
    write_chapter(tmp_path / "notebooks", "00_one")
    plan = make_plan(output_dir=tmp_path / "out", folder=tmp_path / "notebooks")
    stored = {"stage": "one", "figures": {"loss": 1.5}, "claims": {"it learns": True, "it talks": False}}
    plan.results(plan.chapters[0]).parent.mkdir(parents=True)
    plan.results(plan.chapters[0]).write_text(json.dumps(stored), encoding="utf-8")
    made = report.make_report(CourseRun(plan, [("00_one", "done", 12.34)]), [])
    report.write_report(made, plan.home)
    assert json.loads((plan.home / "report.json").read_text(encoding="utf-8"))["claims"] == {"00_one": stored["claims"]}
    shown = (plan.home / "index.html").read_text(encoding="utf-8")
    assert "✓ held</span> it learns" in shown and "✗ not here</span> it talks" in shown
