"""Build the course as a site of plain web pages, in build/site/: no kernel, no network, no script in the browser.

    python tools/build_site.py                     (`make site`)
    python tools/build_site.py --output /tmp/site

Every stored notebook of notebooks/ and exercises/ becomes a page with the outputs it was stored with
(minimind_lite/course/notebooks/pages.py). The masters in solutions/ get no page.
"""

import argparse
import base64
import os
import re
import shutil
import sys
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from minimind_lite.course.notebooks.pages import (  # noqa: E402
    BRANCH,
    FOLDERS,
    DeadLink,
    Page,
    fill_template,
    read_pages,
    repository,
    style_sheet,
    write_page,
)

WELCOME = Path(__file__).parent / "site" / "welcome.html"
STAMP = ".nojekyll"  # tells GitHub Pages to serve the files as they are, and us that a folder is ours to replace


class SiteError(Exception):
    """The output folder is somebody else's."""


def find_pages(root: Path) -> dict[str, Page]:
    """Every stored notebook under ``root``, by its path, in reading order."""
    files = [path for folder in FOLDERS for path in sorted((root / folder).rglob("*.ipynb"))]
    return read_pages(root, [path for path in files if ".ipynb_checkpoints" not in path.parts])


def main_plot(page: Page) -> tuple[bytes, str] | None:
    """The picture that stands for the chapter, as PNG, with its alternative text; None where no cell is tagged."""
    for cell in page.notebook.cells:
        if "main-plot" in cell.metadata.get("tags", []):
            for output in cell.get("outputs", []):
                if "image/png" in output.get("data", {}):
                    alt = output.metadata.get("image/png", {}).get("alt", f"The main figure of {page.title}")
                    return base64.b64decode(output.data["image/png"]), alt
    return None


def card(page: Page, pages: dict[str, Page], output: Path) -> str:
    """One chapter on the first page: its picture, its title, what it promises, and its links."""
    picture = ""
    if found := main_plot(page):
        name = f"images/{page.path.removesuffix('.ipynb').replace('/', '-')}.png"
        (output / name).parent.mkdir(parents=True, exist_ok=True)
        (output / name).write_bytes(found[0])
        picture = f'<img src="{name}" alt="{escape(found[1])}" loading="lazy">'
    exercises = page.path.replace(*FOLDERS, 1)
    links = f'<a href="{page.address}">Read</a>'
    if exercises in pages:
        links += f' · <a href="{pages[exercises].address}">Exercises</a>'
    promise = re.split(r"(?<=[.。])\s*", page.promise, maxsplit=1)[0]
    title = f'<h3><a href="{page.address}">{escape(page.title)}</a></h3>'
    return f'<li>{picture}{title}<p>{escape(promise)}</p><p class="links">{links}</p></li>'


def write_index(pages: dict[str, Page], output: Path) -> None:
    """Write the first page, which lists the chapters of each edition."""
    editions: dict[str, list[Page]] = {}
    for page in pages.values():
        if not page.is_exercise:
            editions.setdefault(page.language, []).append(page)
    names = {"en": "The chapters", "zh-Hans": "中文版"}
    body = WELCOME.read_text(encoding="utf-8").replace("$repository", repository())
    for language, chapters in editions.items():
        cards = "".join(card(page, pages, output) for page in chapters)
        body += f'<h2>{names[language]}</h2><ul class="cards" lang="{language}">{cards}</ul>'
    alone = [page for page in pages.values() if page.is_exercise and page.path.replace(*FOLDERS[::-1], 1) not in pages]
    for page in alone:
        body += f'<h2><a href="{page.address}">{escape(page.title)}</a></h2><p>{escape(page.promise)}</p>'
    text = fill_template(
        "en",
        "wide",
        language="en",
        title="MiniMind Lite: build a language model, line by line",
        description="A course in which you build a ChatGPT-style language model from an empty folder, on a laptop.",
        root="",
        neighbours=f'<a href="{repository()}">Repository</a>',
        contents="",
        body=body,
        source=f"{repository()}/tree/{BRANCH}/notebooks",
        source_name="notebooks/",
    )
    (output / "index.html").write_text(text, encoding="utf-8", newline="\n")


def build(output: Path, root: Path = ROOT) -> list[str]:
    """Build the whole site anew in ``output``; the addresses of its pages, in reading order.

    Raises DeadLink for a link that leads nowhere, SiteError for a folder that holds something else.
    """
    if output.exists() and any(output.iterdir()) and not (output / STAMP).is_file():
        raise SiteError(f"{output} is not empty and is not a site: name another folder, or empty it")
    pages = find_pages(root)
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    (output / STAMP).write_text("", encoding="utf-8")
    (output / "style.css").write_text(style_sheet(), encoding="utf-8", newline="\n")
    for page in pages.values():
        write_page(page, pages, root, output)
    write_index(pages, output)
    return ["index.html", *(page.address for page in pages.values())]


def main() -> int:
    """Run the command line; the exit status is 1 when a link is dead."""
    parser = argparse.ArgumentParser(description="Build the course as a site of plain web pages.")
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "site", help="a folder, replaced as a whole")
    output = parser.parse_args().output
    try:
        written = build(output)
    except (DeadLink, SiteError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{len(written)} pages in {os.path.relpath(output)}; open {os.path.relpath(output / 'index.html')}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
