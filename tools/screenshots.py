"""Make the README's two pictures, docs/images/chapter.png and course_page.png: python tools/screenshots.py

They show a stored chapter as a page of the site (tools/build_site.py), and the beginning of the course's page, filled
from the recorded run (benchmarks/results/course.json). Needs Chromium and the dependency group proofs; on Debian:
apt install chromium fonts-wqy-microhei.
"""

import json
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from minimind_lite.course.kit.paths import stage_of  # noqa: E402
from minimind_lite.course.notebooks.files import title_of  # noqa: E402
from minimind_lite.course.notebooks.pages import style_sheet, write_page  # noqa: E402
from minimind_lite.course.runner.page import ChapterView, page  # noqa: E402
from minimind_lite.course.runner.questions import Answer  # noqa: E402
from minimind_lite.course.runner.report import recorded_counts  # noqa: E402
from tools import build_site  # noqa: E402

IMAGES = ROOT / "docs" / "images"
CHAPTER, HEADING = "notebooks/03_rope.html", "Many-hands"  # the part that is shown begins there
SIZE = {"width": 1200, "height": 900}
LARGEST = 250_000  # bytes
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def course_page() -> str:
    """The course's page of the recorded run, without the chapters' pictures, which no report keeps."""
    data = json.loads((ROOT / "benchmarks" / "results" / "course.json").read_text(encoding="utf-8"))
    views, counts = [], recorded_counts()
    for row in data["chapters"]:
        path, start = ROOT / "notebooks" / f"{row['name']}.ipynb", f"{stage_of(row['name'])}."
        figures = {key.removeprefix(start): value for key, value in data["figures"].items() if key.startswith(start)}
        claims = data["claims"].get(row["name"], {})
        view = ChapterView(path, title_of(path), row["status"], row["seconds"], figures, claims, "")
        views.append(replace(view, counts=counts.get(path.stem, {})))
    return page({"jobs": 1} | data, views, [Answer(**one) for one in data["answers"]], "")


def shoot(browser: Any, address: str, heading: str, target: Path) -> None:
    """Keep what a window shows of a page, from a heading on."""
    window = browser.new_page(viewport=SIZE, color_scheme="light")
    window.goto(address)
    if heading:
        window.locator(f'h2[id^="{heading}"]').evaluate("e => { e.scrollIntoView(); scrollBy(0, -20); }")
    window.wait_for_timeout(500)
    size = len(window.screenshot(path=target))
    window.close()
    print(f"{target.relative_to(ROOT).as_posix()}: {size / 1000:.0f} kB")
    if size > LARGEST:
        raise SystemExit(f"that is more than {LARGEST / 1000:.0f} kB: choose a part with fewer colours")


def main() -> int:
    """Make both pictures; the exit status is 1 where there is no Chromium."""
    if CHROMIUM is None:
        print("no Chromium here: on Debian, apt install chromium", file=sys.stderr)
        return 1
    IMAGES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as started:
        site, report = Path(folder) / "site", Path(folder) / "index.html"
        pages = build_site.find_pages(ROOT)
        write_page(pages[CHAPTER.replace(".html", ".ipynb")], pages, ROOT, site)
        (site / "style.css").write_text(style_sheet(), encoding="utf-8")
        report.write_text(course_page(), encoding="utf-8")
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        shoot(browser, (site / CHAPTER).as_uri(), HEADING, IMAGES / "chapter.png")
        shoot(browser, report.as_uri(), "", IMAGES / "course_page.png")
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
