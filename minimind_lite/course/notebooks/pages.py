"""Notebooks as plain web pages: no kernel, no network, no script in the browser.

The site (tools/build_site.py) and the pages of a run of the course (runner/readable.py) are both made here. A link to a
notebook that has a page leads to that page; a link to anything else in the repository leads to its public address.
Formulas become MathML, which browsers draw by themselves.
"""

import posixpath
import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape, unescape
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import unquote, urlsplit

import nbformat

from minimind_lite.files import repository_root, write_text

from ..kit.errors import CourseError
from ..kit.language import catalogue

ASSETS = Path(__file__).parent / "site"
FOLDERS = ("notebooks", "exercises")
BRANCH = "main"
CODE_OR_FORMULA = re.compile(r"```.*?```|``.+?``|`[^`\n]*`|(?<!\\)\$\$(.+?)\$\$|(?<![\\$])\$([^$\n]+?)\$", re.DOTALL)
TAG_OR_MARK = re.compile(r"<[^>]*>|formula-(\d+)-here")
ADDRESS = re.compile(r'\b(href|src)="([^"]*)"')


class DeadLink(CourseError):
    """A notebook links to something that does not exist."""


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
    def speech(self) -> str:
        """The language of the words around the notebook, as the catalogues call it."""
        return self.language.partition("-")[0]

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
    project = tomllib.loads((repository_root() / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return str(project["urls"]["Repository"]).rstrip("/").removesuffix(".git")


def read_pages(root: Path, files: Iterable[Path]) -> dict[str, Page]:
    """The notebooks as pages, by their paths under ``root``."""
    names = [path.relative_to(root).as_posix() for path in files]
    return {name: Page(name, nbformat.v4.reads((root / name).read_text(encoding="utf-8"))) for name in names}


def with_marks(source: str, formulas: list[str]) -> str:
    """Markdown with a mark for each formula outside of code; its MathML is added to ``formulas``.

    Markdown would read the underscores and bars of a formula as its own, so it never sees them.
    """

    from latex2mathml.converter import convert as mathml

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
    from nbconvert import HTMLExporter

    formulas: list[str] = []
    say = catalogue(page.speech).gettext
    notebook = nbformat.from_dict(page.notebook)
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type == "markdown":
            cell.source = with_marks(cell.source, formulas)
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                picture = output.metadata.setdefault("image/png", {})
                alt = say("Figure drawn by cell {number} of {title}").format(number=number, title=page.title)
                picture.setdefault("alt", alt)
    exporter = HTMLExporter(template_name="basic", exclude_input_prompt=True, exclude_output_prompt=True)  # type: ignore[no-untyped-call]
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
            raise DeadLink(f"{page.path} links to {address}, which does not exist")
        else:
            view = "raw" if kind == "src" else "tree" if (root / target).is_dir() else "blob"
            there = f"{repository()}/{view}/{BRANCH}/{target}"
        return f'{kind}="{escape(there + fragment)}"'

    return ADDRESS.sub(lead, html)


def contents_of(html: str, speech: str) -> str:
    """Links to the second-level headings, for the margin of a wide window; nothing where there are fewer than two."""
    headings = re.findall(r'<h2 id="([^"]*)">(.*?)<a class="anchor-link"', html, re.DOTALL)
    if len(headings) < 2:
        return ""
    lines = "".join(f'<li><a href="#{name}">{text}</a></li>' for name, text in headings)
    say = catalogue(speech).gettext
    here = escape(say("On this page"))
    return f'<nav class="contents" aria-label="{here}"><p>{here}</p><ul>{lines}</ul></nav>'


def neighbours_of(page: Page, pages: dict[str, Page]) -> str:
    """Links to the chapter before, the chapter after, and from a chapter to its exercises or back."""
    say = catalogue(page.speech).gettext
    folder, name = posixpath.split(page.path)
    other = posixpath.join(folder.replace(*(FOLDERS[::-1] if page.is_exercise else FOLDERS), 1), name)
    row = [one for one in pages.values() if posixpath.dirname(one.path) == folder]
    here = [one.path for one in row].index(page.path)
    links = [(f"← {row[here - 1].title}", row[here - 1])] if here else []
    if other in pages and other != page.path:
        links.append((say("The chapter" if page.is_exercise else "Exercises"), pages[other]))
    if here + 1 < len(row):
        links.append((f"{row[here + 1].title} →", row[here + 1]))
    start = posixpath.dirname(page.address)
    kinds = ["" if one.path == other else ' class="chapter"' for _, one in links]  # these have room to be shortened
    addresses = [posixpath.relpath(one.address, start) for _, one in links]
    rows = zip(addresses, kinds, links, strict=True)
    return "".join(f'<a href="{address}"{kind}>{escape(text)}</a>' for address, kind, (text, _) in rows)


def write_page(page: Page, pages: dict[str, Page], root: Path, output: Path) -> None:
    """Write the page of one notebook into the site. Raises DeadLink for a link that leads nowhere."""
    body = with_links(body_of(page), page, pages, root)
    write_text(output / page.address, framed(body, page, pages, public_address(page)))


def public_address(page: Page) -> str:
    """Where the stored notebook is published."""
    return f"{repository()}/blob/{BRANCH}/{page.path}"


def framed(body: str, page: Page, pages: dict[str, Page], source: str) -> str:
    """A whole page around the HTML of a notebook: its head, the links to its neighbours, its contents.

    ``source`` is the address of the notebook that it was made from.
    """
    neighbours = neighbours_of(page, pages)
    return fill_template(
        page.speech,
        language=page.language,
        title=escape(page.title),
        description=escape(page.promise),
        root="../" * page.address.count("/"),
        neighbours=neighbours,
        contents=contents_of(body, page.speech),
        body=body,
        source=escape(source),
        source_name=page.path,
    )


def fill_template(speech: str, kind: str = "", **parts: str) -> str:
    """A page in the language ``speech``, "en" or "zh"; the ``kind`` "wide" has room for cards."""
    say = catalogue(speech).gettext
    link = f'<a href="{parts.pop("source")}">{parts.pop("source_name")}</a>'
    made = escape(say("Made from {notebook} as it was run and stored.")).format(notebook=link)
    return Template((ASSETS / "page.html").read_text(encoding="utf-8")).substitute(
        parts,
        kind=f' class="{kind}"' if kind else "",
        skip=escape(say("Skip to the content")),
        course=escape(say("Course")),
        next_steps=escape(say("Next steps")),
        made=f"{made} {escape(say('Code and text: Apache-2.0.'))}",
    )


def style_sheet() -> str:
    """The style of the pages, with the colours of code for light and dark."""
    from pygments.formatters import HtmlFormatter

    light, dark = (HtmlFormatter(style=name).get_style_defs(".highlight pre") for name in ("default", "github-dark"))
    own = (ASSETS / "style.css").read_text(encoding="utf-8")
    plain = ".highlight pre { background:none !important; }"
    return f"{light}\n@media (prefers-color-scheme: dark) {{\n{dark}\n}}\n{plain}\n{own}"
