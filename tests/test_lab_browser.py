"""JupyterLab in a real browser: chapters run from the menu, a widget moves, links lead to the exercises and back.

All of it happens in a copy of the course, at smoke size, so that no stored notebook and no learner's build/ is touched.
Pictures are kept in build/screenshots.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import browser_kit
import nbformat
import pytest
from browser_kit import SCREENSHOTS, needs_chromium
from lab_kit import ROOT, Server, running_lab

from minimind_lite.course.kit.paths import SMOKE_OUTPUT, stage_of
from minimind_lite.course.kit.profiles import artifact_of

playwright = pytest.importorskip("playwright.sync_api", reason="needs the group proofs")

browser = browser_kit.browser
pytestmark = [
    needs_chromium,
    pytest.mark.slow,
    pytest.mark.weekly,
    pytest.mark.timeout(3600),
]
BADGE = "https://colab.research.google.com/assets/colab-badge.svg"  # the only thing that a notebook asks others for
CHAPTERS = {  # what each has to find: the chapters before it that train
    "03_rope": (),
    "10_sft": ("01_tokenizer", "08_pretrain"),
    "15_grpo": ("01_tokenizer", "08_pretrain", "10_sft"),
}
VARIABLES = {"MINIMIND_SMOKE": "1", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
MINUTE = 60_000  # milliseconds


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository without what was made in it."""
    copy = tmp_path_factory.mktemp("lab") / "course"
    left_out = {str(ROOT / name) for name in ("build", "data", "dist")}

    def ignored(folder: str, names: list[str]) -> list[str]:
        made = ("__pycache__", ".ipynb_checkpoints")
        hidden = (name for name in names if folder == str(ROOT) and name.startswith("."))
        return [*hidden, *(name for name in names if name in made or str(Path(folder) / name) in left_out)]

    shutil.copytree(ROOT, copy, ignore=ignored)
    return copy


@pytest.fixture(scope="module")
def server(course: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("jupyter")
    settings = (
        home / "lab" / "user-settings" / "@jupyterlab" / "apputils-extension" / "notification.jupyterlab-settings"
    )
    settings.parent.mkdir(parents=True)
    settings.write_text('{"fetchNews": "false"}', encoding="utf-8")  # or Lab asks, in a corner of every picture
    with running_lab(home, course, PYTHONPATH=str(course), **VARIABLES) as server:
        yield server


@pytest.fixture
def page(browser: Any, server: Server) -> Iterator[Any]:
    """A window. What it asks of other machines is not let through; ``page.elsewhere`` has it."""
    page = browser.new_page(viewport={"width": 1400, "height": 1000})
    page.elsewhere = []

    def stop(route: Any) -> None:
        page.elsewhere.append(route.request.url)
        route.abort()

    page.route(lambda address: not address.startswith((server.url, "data:", "blob:")), stop)
    page.set_default_timeout(2 * MINUTE)
    yield page
    page.close()
    server.stop_kernels()


def leave(course: Path, chapters: tuple[str, ...]) -> None:
    """Let the course's runner make what these chapters leave for later ones, unless it is there."""
    for name in chapters:
        stage, number = stage_of(name), name.partition("_")[0]
        if (course / SMOKE_OUTPUT / stage / artifact_of(stage)).is_file():
            continue
        command = [sys.executable, "-m", "minimind_lite.cli", "course", "run", "--from", number, "--to", number]
        environment = os.environ | VARIABLES | {"PYTHONPATH": str(course)}
        done = subprocess.run(
            command, cwd=course, env=environment, capture_output=True, text=True, check=False, timeout=600
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


def opened(page: Any, path: str) -> Any:
    """The notebook that Lab shows, once it is ``path`` and its kernel is ready."""
    page.wait_for_url(f"**/{path}*")
    notebook = page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)")
    wait_for_idle_kernel(page)
    return notebook


def wait_for_idle_kernel(page: Any) -> None:
    """Until the line at the bottom says so."""
    page.locator("#jp-main-statusbar").get_by_text("| Idle").wait_for()


def choose(page: Any, menu: str, item: str) -> None:
    """Click an item of the menu bar."""
    page.get_by_role("menuitem", name=menu, exact=True).click()
    page.get_by_role("menuitem", name=item).first.click()


def wait_until_it_has_run(page: Any, notebook: Any, minutes: float) -> None:
    """Until no cell waits or runs and the kernel is idle; an error ends a run, and no cell waits any longer."""
    waiting = notebook.locator(".jp-InputPrompt", has_text="[*]")
    playwright.expect(waiting).to_have_count(0, timeout=minutes * MINUTE)
    wait_for_idle_kernel(page)


def errors(notebook: Any) -> list[str]:
    """What went wrong and can be seen: exceptions, and widgets that cannot be drawn."""
    exceptions = notebook.locator(
        '[data-mime-type="application/vnd.jupyter.stderr"]', has_text="Traceback (most recent"
    )
    widgets = notebook.locator(".jupyter-widgets.jp-mod-error, .jupyter-widgets-error-widget")
    return [*exceptions.all_inner_texts(), *widgets.all_inner_texts()]


def broken_pictures(notebook: Any) -> list[str]:
    """Pictures in outputs that the browser could not decode, by their alternative text."""
    found: list[str] = notebook.locator(".jp-OutputArea img").evaluate_all("""async pictures => {
        const drawn = await Promise.all(pictures.map(e => e.decode().then(() => e.naturalWidth > 50, () => false)));
        return pictures.filter((e, place) => !drawn[place]).map(e => e.alt || e.src.slice(0, 80));
    }""")
    return found


def cut_labels(notebook: Any) -> list[str]:
    """Words beside sliders and menus that do not fit and end in an ellipsis."""
    found: list[str] = notebook.locator(".widget-label, .widget-readout").evaluate_all(
        "labels => labels.filter(e => e.scrollWidth > e.clientWidth).map(e => e.textContent)"
    )
    return found


def pictures_of(path: Path) -> int:
    """How many outputs of the file are pictures."""
    outputs = (one for cell in nbformat.read(path, as_version=4).cells for one in cell.get("outputs", []))
    return sum("image/png" in one.get("data", {}) for one in outputs)


def screenshot(page: Any, name: str) -> None:
    """Keep a picture, and see that it is not empty."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.wait_for_timeout(400)  # for fades
    assert len(page.screenshot(path=SCREENSHOTS / f"lab-{name}.png")) > 10_000


def move_a_slider(page: Any, notebook: Any, name: str) -> None:
    """Move the first slider of the first widget by one key, and see that what the widget shows is another."""
    widget = notebook.locator(".widget-interact, .jp-OutputArea-output .widget-vbox").first
    shown, handle = widget.locator(".jp-OutputArea-output"), widget.get_by_role("slider").first
    shown.first.wait_for()
    handle.evaluate("handle => handle.scrollIntoView({block: 'center'})")
    screenshot(page, f"{name}-2-widget")
    before, value = parts_of(shown), handle.get_attribute("aria-valuenow")
    handle.focus()
    page.keyboard.press("ArrowLeft" if value == handle.get_attribute("aria-valuemax") else "ArrowRight")
    playwright.expect(handle).not_to_have_attribute("aria-valuenow", value)
    for _ in range(300):  # the old picture is gone for a moment before the new one is there
        if len(now := parts_of(shown)) == len(before) and now != before:
            break
        page.wait_for_timeout(100)
    assert len(now) == len(before)
    pictures = [(old, new) for old, new in zip(before, now, strict=True) if "<img" in old]
    assert now != before and all("<img" in new and old != new for old, new in pictures)
    assert broken_pictures(notebook) == []
    screenshot(page, f"{name}-3-widget-moved")


def parts_of(outputs: Any) -> list[str]:
    """The outputs as they are in the page."""
    found: list[str] = outputs.evaluate_all("outputs => outputs.map(e => e.innerHTML)")
    return found


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_chapter_runs_and_leads_to_its_exercises_and_back(name: str, page: Any, server: Server, course: Path) -> None:
    leave(course, CHAPTERS[name])
    chapter, exercises = f"notebooks/{name}.ipynb", f"exercises/{name}.ipynb"
    page.goto(f"{server.url}lab/tree/{chapter}?reset&token={server.token}")  # without the tabs of the visit before
    notebook = opened(page, chapter)
    choose(page, "Edit", "Clear Outputs of All Cells")
    playwright.expect(notebook.locator(".jp-OutputArea-output")).to_have_count(0)

    choose(page, "Run", "Run All Cells")
    wait_until_it_has_run(page, notebook, minutes=20)
    assert errors(notebook) == []
    choose(page, "File", "Save Notebook")
    stored = course / chapter
    playwright.expect(page.locator("#jp-main-dock-panel .lm-TabBar-tab.jp-mod-dirty")).to_have_count(0)
    cells = [one for one in nbformat.read(stored, as_version=4).cells if one.cell_type == "code"]
    assert [one.execution_count for one in cells] == list(range(1, len(cells) + 1))
    assert [one for cell in cells for one in cell.outputs if one.output_type == "error"] == []
    assert pictures_of(stored) >= pictures_of(ROOT / chapter) > 0
    assert notebook.locator(".jp-OutputArea img").count() >= pictures_of(stored)
    assert broken_pictures(notebook) == []
    notebook.locator(".jp-OutputArea img").first.scroll_into_view_if_needed()
    screenshot(page, f"{name}-1-run")
    move_a_slider(page, notebook, name)
    assert cut_labels(notebook) == []
    assert errors(notebook) == []

    link = notebook.get_by_role("link", name=re.compile(r"^set \d+b?$"))
    link.scroll_into_view_if_needed()
    screenshot(page, f"{name}-4-end")
    link.click()
    tasks = opened(page, exercises)
    playwright.expect(tasks.get_by_role("heading", level=1)).to_contain_text("exercises")
    screenshot(page, f"{name}-5-exercises")
    tasks.get_by_role("link", name=re.compile(r"^chapter \d+b?$")).first.click()
    back = opened(page, chapter)
    playwright.expect(back.get_by_role("heading", level=1)).to_contain_text(name.partition("_")[0])
    assert set(page.elsewhere) <= {BADGE}
