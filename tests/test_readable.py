"""The executed chapters as web pages beside the course's page: their links, and what cannot be made."""

from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import browser_kit
import nbformat
import pytest
from browser_kit import needs_chromium
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from test_site import Links

from minimind_lite.course.runner import readable as module
from minimind_lite.course.runner.plan import Plan, make_plan
from minimind_lite.course.runner.questions import Answer
from minimind_lite.course.runner.readable import ReadableChapters
from minimind_lite.course.runner.report import make_report, write_report
from minimind_lite.course.runner.run import CourseRun

browser = browser_kit.browser
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
WIDE = "| " + " | ".join(f"a long heading {n}" for n in range(12)) + " |\n|" + "---|" * 12 + "\n|" + " 1.2345 |" * 12
TEXTS = {
    "01_one": "# 01 · The first\n\n**You will build** one.\n\n[next](02_two.ipynb#There), "
    "[tasks](../exercises/01_one.ipynb), [not yet](03_three.ipynb), $x_1$",
    "02_two": f"# 02 · The second\n\n**You will build** two.\n\n## There\n\n[back](01_one.ipynb)\n\n{WIDE}",
    "03_three": "# 03 · The third\n\n**You will build** three.",
}
CODE = "value = " + " + ".join(f"a_rather_long_name_{n}" for n in range(20))


def notebook(text: str, outputs: bool) -> Any:
    picture = new_output("display_data", data={"image/png": PIXEL}, metadata={"image/png": {"alt": "Loss <falls>."}})
    printed = new_output("stream", text="number " * 60)
    code = new_code_cell(CODE, outputs=[picture, printed] if outputs else [], metadata={"tags": ["main-plot"]})
    return new_notebook(cells=[new_markdown_cell(text), code])


def course(root: Path, language: str = "en", ran: tuple[str, ...] = ("01_one", "02_two")) -> Plan:
    """A course of three chapters, of which those in ``ran`` have been executed."""
    for folder in ("notebooks", "exercises"):
        (root / folder / "zh").mkdir(parents=True, exist_ok=True)
        for name, text in TEXTS.items():
            for place in (root / folder, root / folder / "zh"):
                link = text.replace("../exercises", "../../exercises/zh") if place.name == "zh" else text
                stored = link if folder == "notebooks" else f"# Tasks of {name}\n\nSolve them."
                nbformat.write(notebook(stored, False), place / f"{name}.ipynb")
    plan = make_plan(output_dir=root / "out" / "artifacts", folder=root / "notebooks", language=language)
    plan.home.mkdir(parents=True, exist_ok=True)
    for path in plan.every:
        if path.stem in ran:
            nbformat.write(notebook(nbformat.read(path, 4).cells[0].source, True), plan.home / path.name)
    return plan


def write(plan: Plan, readable: ReadableChapters, ran: tuple[str, ...] = ("01_one", "02_two")) -> str:
    """The course's page as the end of a run writes it."""
    rows = [(path.stem, "done" if path.stem in ran else "not run", 61.0) for path in plan.every]
    report = make_report(CourseRun(plan, rows), [Answer("一加一等于几？" * 9, "W" * 300, "二。")], readable)
    write_report(report, plan.home)
    return (plan.home / "index.html").read_text(encoding="utf-8")


def followed(home: Path) -> dict[str, list[str]]:
    """For each page, its relative links; each of them has to lead to a file."""
    found = {}
    for path in home.rglob("*.html"):
        links = Links(path.read_text(encoding="utf-8"))
        relative = [one for one in links.links + links.loaded if not urlsplit(one).scheme and urlsplit(one).path]
        for one in relative:
            assert (path.parent / unquote(urlsplit(one).path)).resolve().is_file(), f"{path.name}: {one}"
        found[path.relative_to(home).as_posix()] = relative
    return found


@pytest.mark.parametrize(("language", "folder"), [("en", ""), ("zh", "zh/")])
def test_every_link_of_every_page_leads_to_a_file(tmp_path: Path, language: str, folder: str) -> None:
    plan = course(tmp_path, language)
    with ReadableChapters(plan) as readable:
        assert followed(plan.home)  # from the first moment on
    text = write(plan, readable)
    links, one = followed(plan.home), f"notebooks/{folder}01_one.html"
    assert readable.problems == {} and len(links) == 7
    assert {one, f"notebooks/{folder}02_two.html", f"exercises/{folder}01_one.html"} <= set(links["index.html"])
    assert f"notebooks/{folder}03_three.html" not in links["index.html"] and 'href="#03_three"' in text
    up = "../" * one.count("/")
    assert {"02_two.html#There", "03_three.html", f"{up}index.html", f"{up}exercises/{folder}01_one.html"} <= {
        *links[one]
    }
    page = (plan.home / one).read_text(encoding="utf-8")
    assert 'alt="Loss &lt;falls&gt;."' in page and "<math" in page
    assert f'<html lang="{"zh-Hans" if folder else "en"}">' in page
    assert ("跳到正文" if folder else "Skip to the content") in page
    waiting = (plan.home / f"notebooks/{folder}03_three.html").read_text(encoding="utf-8")
    assert ("这一章运行完就会生成这一页" if folder else "as soon as its chapter has been run") in waiting


def test_a_page_is_made_again_only_after_its_chapter_ran_again(tmp_path: Path) -> None:
    plan = course(tmp_path)
    with ReadableChapters(plan):
        pass
    page = plan.home / "notebooks" / "02_two.html"
    before = page.stat().st_mtime_ns
    with ReadableChapters(plan) as readable:
        pass
    assert page.stat().st_mtime_ns == before
    nbformat.write(notebook(TEXTS["03_three"], True), plan.home / "03_three.ipynb")
    with ReadableChapters(plan) as readable:
        readable.make(plan.every[2])
    assert readable.address(plan.every[2]) == "notebooks/03_three.html"


def test_a_chapter_that_cannot_be_converted_is_named_and_the_others_are_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = course(tmp_path)
    convert = module.body_of

    def fail(page: Any) -> str:
        if page.path.endswith("01_one.ipynb"):
            raise RuntimeError("no <template>")
        return convert(page)

    monkeypatch.setattr(module, "body_of", fail)
    with ReadableChapters(plan) as readable:
        pass
    text = write(plan, readable)
    assert "could not be made into a web page: RuntimeError: no &lt;template&gt;" in text
    assert "notebooks/01_one.html" not in text and "notebooks/02_two.html" in text
    followed(plan.home)
    assert "This page could not be made. RuntimeError" in (plan.home / "notebooks/01_one.html").read_text("utf-8")
    monkeypatch.setattr(module, "body_of", convert)
    with ReadableChapters(plan) as again:  # the next run tries once more
        pass
    assert again.address(plan.every[0]) == "notebooks/01_one.html" and again.problems == {}


@needs_chromium
@pytest.mark.parametrize("width", [900, 390])
@pytest.mark.parametrize(("language", "spoken"), [("en", "en"), ("zh", "zh")])
def test_no_page_is_wider_than_its_window(browser: Any, tmp_path: Path, language: str, spoken: str, width: int) -> None:
    plan = course(tmp_path, language)
    with ReadableChapters(plan) as readable:
        pass
    write(plan, readable)
    window = browser.new_page(viewport={"width": width, "height": 800})
    for path in sorted(plan.home.rglob("*.html")):
        window.goto(path.as_uri())
        assert window.evaluate("document.documentElement.scrollWidth") <= width, f"{path.name} scrolls sideways"
        assert window.evaluate("document.documentElement.lang").partition("-")[0] == spoken, path.name
    window.close()
