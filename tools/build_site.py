"""Build the course as a site of plain web pages, in build/site/: no kernel, no network, no script in the browser.

    python tools/build_site.py                     (`make site`)
    python tools/build_site.py --output /tmp/site

Every stored notebook of notebooks/ and exercises/ becomes a page with the outputs it was stored with. A link to a
notebook that has a page leads to that page; a link to anything else in the repository leads to its public address.
Formulas become MathML, which browsers draw by themselves. The masters in solutions/ get no page.
"""

import argparse
import base64
import os
import posixpath
import re
import shutil
import sys
import tomllib
from dataclasses import dataclass
from html import escape, unescape
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import unquote, urlsplit

import nbformat
from latex2mathml.converter import convert as mathml
from nbconvert import HTMLExporter
from pygments.formatters import HtmlFormatter

ROOT = Path(__file__).parents[1]
ASSETS = Path(__file__).parent / "site"
FOLDERS = ("notebooks", "exercises")
BRANCH = "main"
STAMP = ".nojekyll"  # tells GitHub Pages to serve the files as they are, and us that a folder is ours to replace
CODE_OR_FORMULA = re.compile(r"```.*?```|``.+?``|`[^`\n]*`|(?<!\\)\$\$(.+?)\$\$|(?<![\\$])\$([^$\n]+?)\$", re.DOTALL)
TAG_OR_MARK = re.compile(r"<[^>]*>|formula-(\d+)-here")
ADDRESS = re.compile(r'\b(href|src)="([^"]*)"')


class SiteError(Exception):
    """A notebook links to something that does not exist, or the output folder is somebody else's."""


@dataclass(frozen=True)
class Page:
    """One notebook on its way to a page. ``path`` counts from the repository's root, with forward slashes."""

    path: str
    notebook: Any

    @property
    def address(self) -> str:
        """Where the page lies in the site."""
        return self.path.removesuffix(".ipynb") + ".html"

    @property
    def language(self) -> str:
        """The edition: a folder zh/ holds Chinese, all else is English."""
        return "zh-Hans" if "zh" in self.path.split("/") else "en"

    @property
    def is_exercise(self) -> bool:
        """Whether this is a set of exercises; otherwise it is a chapter."""
        return self.path.startswith("exercises/")

    @property
    def title(self) -> str:
        """The text of the first heading, without Markdown."""
        return re.sub(r"[*`#]", "", self.notebook.cells[0].source.strip().partition("\n")[0]).strip()

    @property
    def promise(self) -> str:
        """What the reader will build or do, in one paragraph of plain text: the one after the heading and the badge."""
        for paragraph in self.notebook.cells[0].source.split("\n\n")[1:]:
            if not paragraph.lstrip().startswith(("[![", "|", "#")):
                return re.sub(r"\[([^]]*)\]\([^)]*\)|[*`]", r"\1", paragraph.replace("\n", " ")).strip()
        return ""


def repository() -> str:
    """The public address of the repository, as pyproject.toml states it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return str(project["urls"]["Repository"]).rstrip("/").removesuffix(".git")


def find_pages(root: Path) -> dict[str, Page]:
    """Every stored notebook under ``root``, by its path, in reading order."""
    files = [path for folder in FOLDERS for path in sorted((root / folder).rglob("*.ipynb"))]
    names = [path.relative_to(root).as_posix() for path in files if ".ipynb_checkpoints" not in path.parts]
    return {name: Page(name, nbformat.read(root / name, as_version=4)) for name in names}


def with_marks(source: str, formulas: list[str]) -> str:
    """Markdown with a mark for each formula outside of code; its MathML is added to ``formulas``.

    Markdown would read the underscores and bars of a formula as its own, so it never sees them.
    """

    def mark(found: re.Match[str]) -> str:
        block, inline = found.groups()
        if block is None and inline is None:
            return found[0]
        braced = re.sub(r"\\(mathbb|mathcal) (\w)", r"\\\1{\2}", block or inline)  # what the converter expects
        formulas.append(mathml(braced.strip(), display="block" if block else "inline"))
        return f"formula-{len(formulas) - 1}-here"

    return CODE_OR_FORMULA.sub(mark, source)


def body_of(page: Page) -> str:
    """The notebook's cells and outputs as HTML, with formulas as MathML; links are still the notebook's own."""
    formulas: list[str] = []
    notebook = nbformat.from_dict(page.notebook)
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type == "markdown":
            cell.source = with_marks(cell.source, formulas)
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                picture = output.metadata.setdefault("image/png", {})
                picture.setdefault("alt", f"Figure drawn by cell {number} of {page.title}")
    exporter = HTMLExporter(template_name="basic", exclude_input_prompt=True, exclude_output_prompt=True)
    html, _ = exporter.from_notebook_node(notebook)
    return TAG_OR_MARK.sub(lambda found: formulas[int(found[1])] if found[1] else found[0], html)


def with_links(html: str, page: Page, pages: dict[str, Page], root: Path) -> str:
    """The HTML with every relative address led to a page of the site, or to the repository's public address."""

    def lead(found: re.Match[str]) -> str:
        kind, address = found[1], unescape(found[2])
        parts = urlsplit(address)
        if parts.scheme or parts.netloc or not parts.path:
            return found[0]
        target = posixpath.normpath(posixpath.join(posixpath.dirname(page.path), unquote(parts.path)))
        fragment = f"#{parts.fragment}" if parts.fragment else ""
        if target in pages:
            there = posixpath.relpath(pages[target].address, posixpath.dirname(page.address))
        elif target.startswith("../") or not (root / target).exists():
            raise SiteError(f"{page.path} links to {address}, which does not exist")
        else:
            view = "raw" if kind == "src" else "tree" if (root / target).is_dir() else "blob"
            there = f"{repository()}/{view}/{BRANCH}/{target}"
        return f'{kind}="{escape(there + fragment)}"'

    return ADDRESS.sub(lead, html)


def contents_of(html: str) -> str:
    """Links to the second-level headings, for the margin of a wide window; nothing where there are fewer than two."""
    headings = re.findall(r'<h2 id="([^"]*)">(.*?)<a class="anchor-link"', html, re.DOTALL)
    if len(headings) < 2:
        return ""
    lines = "".join(f'<li><a href="#{name}">{text}</a></li>' for name, text in headings)
    return f'<nav class="contents" aria-label="On this page"><p>On this page</p><ul>{lines}</ul></nav>'


def neighbours_of(page: Page, pages: dict[str, Page]) -> str:
    """Links to the chapter before, the chapter after, and from a chapter to its exercises or back."""
    folder, name = posixpath.split(page.path)
    other = posixpath.join(folder.replace(*(FOLDERS[::-1] if page.is_exercise else FOLDERS), 1), name)
    row = [one for one in pages.values() if posixpath.dirname(one.path) == folder]
    here = row.index(page)
    links = [(f"← {row[here - 1].title}", row[here - 1])] if here else []
    if other in pages:
        links.append(("The chapter" if page.is_exercise else "Exercises", pages[other]))
    if here + 1 < len(row):
        links.append((f"{row[here + 1].title} →", row[here + 1]))
    start = posixpath.dirname(page.address)
    kinds = ["" if one.path == other else ' class="chapter"' for _, one in links]  # these have room to be shortened
    addresses = [posixpath.relpath(one.address, start) for _, one in links]
    rows = zip(addresses, kinds, links, strict=True)
    return "".join(f'<a href="{address}"{kind}>{escape(text)}</a>' for address, kind, (text, _) in rows)


def write_page(page: Page, pages: dict[str, Page], root: Path, output: Path) -> None:
    """Write the page of one notebook into the site."""
    body = with_links(body_of(page), page, pages, root)
    text = Template((ASSETS / "page.html").read_text(encoding="utf-8")).substitute(
        language=page.language,
        title=escape(page.title),
        description=escape(page.promise),
        root="../" * page.address.count("/"),
        neighbours=neighbours_of(page, pages),
        contents=contents_of(body),
        body=body,
        source=f"{repository()}/blob/{BRANCH}/{page.path}",
        source_name=page.path,
    )
    path = output / page.address
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="\n")


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
    text = (ASSETS / "page.html").read_text(encoding="utf-8")
    editions: dict[str, list[Page]] = {}
    for page in pages.values():
        if not page.is_exercise:
            editions.setdefault(page.language, []).append(page)
    names = {"en": "The chapters", "zh-Hans": "中文版"}
    body = (ASSETS / "welcome.html").read_text(encoding="utf-8").replace("$repository", repository())
    for language, chapters in editions.items():
        cards = "".join(card(page, pages, output) for page in chapters)
        body += f'<h2>{names[language]}</h2><ul class="cards" lang="{language}">{cards}</ul>'
    alone = [page for page in pages.values() if page.is_exercise and page.path.replace(*FOLDERS[::-1], 1) not in pages]
    for page in alone:
        body += f'<h2><a href="{page.address}">{escape(page.title)}</a></h2><p>{escape(page.promise)}</p>'
    text = Template(text.replace("<body>", '<body class="wide">')).substitute(
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


def style_sheet() -> str:
    """The site's style, with the colours of code for light and dark."""
    light, dark = (HtmlFormatter(style=name).get_style_defs(".highlight pre") for name in ("default", "github-dark"))
    own = (ASSETS / "style.css").read_text(encoding="utf-8")
    plain = ".highlight pre { background:none !important; }"
    return f"{light}\n@media (prefers-color-scheme: dark) {{\n{dark}\n}}\n{plain}\n{own}"


def build(output: Path, root: Path = ROOT) -> list[str]:
    """Build the whole site anew in ``output``; the addresses of its pages, in reading order.

    Errors: SiteError names a notebook and a link in it that leads nowhere, or a folder that holds something else.
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
    except SiteError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{len(written)} pages in {os.path.relpath(output)}; open {os.path.relpath(output / 'index.html')}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
