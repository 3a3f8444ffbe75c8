"""The course as web pages: every link inside leads somewhere, formulas are drawn, nothing is loaded from elsewhere."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
import pytest

from minimind_lite.course.notebooks.pages import DeadLink, repository, with_marks
from tools import build_site

ROOT = Path(__file__).parents[1]
OWN = repository()


class Links(HTMLParser):
    """Collects the ids of a page and everything that it points to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" and value:
                self.ids.add(value)
            elif name == "href" and value:
                (self.loaded if tag == "link" else self.links).append(value)
            elif name == "src" and value:
                self.loaded.append(value)


SOME = ("notebooks/00_welcome", "notebooks/04_attention", "notebooks/12_dpo", "notebooks/zh/12_dpo", "exercises/12_dpo")


@pytest.fixture(scope="module", params=["some", pytest.param("every", marks=pytest.mark.weekly)])
def notebooks(request: pytest.FixtureRequest) -> list[str]:
    """The notebooks that the site is made of: some, and once a week all, as their HTML takes a minute.

    test_lab.py follows the links of all of them, and so does every build of the published site.
    """
    if request.param == "some":
        return [f"{one}.ipynb" for one in SOME]
    found = [path for folder in ("notebooks", "exercises") for path in (ROOT / folder).rglob("*.ipynb")]
    return [path.relative_to(ROOT).as_posix() for path in found if ".ipynb_checkpoints" not in path.parts]


@pytest.fixture(scope="module")
def site(notebooks: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    with pytest.MonkeyPatch.context() as patch:
        pages = build_site.find_pages(ROOT)
        patch.setattr(build_site, "find_pages", lambda root: {name: pages[name] for name in pages if name in notebooks})
        build_site.build(folder)
    return folder


@pytest.fixture(scope="module")
def parsed(site: Path) -> dict[Path, Links]:
    return {path: Links(path.read_text(encoding="utf-8")) for path in sorted(site.rglob("*.html"))}


def dead(parsed: dict[Path, Links]) -> Iterator[str]:
    for path, page in parsed.items():
        for address in page.links + page.loaded:
            parts = urlsplit(address)
            if parts.scheme in ("http", "https", "data", "mailto"):
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path.resolve()
            if not target.is_file():
                yield f"{path.name}: {address}"
            elif parts.fragment and not {parts.fragment, unquote(parts.fragment)} & parsed[target].ids:
                yield f"{path.name}: {address} names no place on that page"


def test_every_notebook_has_a_page_and_the_first_page_lists_every_chapter(
    parsed: dict[Path, Links], site: Path, notebooks: list[str]
) -> None:
    expected = {Path(name).with_suffix(".html") for name in notebooks}
    assert {path.relative_to(site) for path in parsed} == expected | {Path("index.html")}
    listed = set(parsed[site / "index.html"].links)
    assert {path.as_posix() for path in expected} <= listed


def test_no_link_inside_the_site_is_dead(parsed: dict[Path, Links]) -> None:
    assert list(dead(parsed)) == []


def test_links_to_the_repository_name_what_it_holds(parsed: dict[Path, Links]) -> None:
    view = re.compile(re.escape(OWN) + r"/(?:blob|tree|raw)/main/([^#?]+)")
    named = {match[1] for page in parsed.values() for one in page.links + page.loaded if (match := view.match(one))}
    assert "notebooks/03_rope.ipynb" in named
    assert [name for name in sorted(named) if not (ROOT / unquote(name)).exists()] == []


def test_pages_load_nothing_from_elsewhere_but_the_badge(parsed: dict[Path, Links]) -> None:
    loaded = {one for page in parsed.values() for one in page.loaded if urlsplit(one).scheme in ("http", "https")}
    assert loaded <= {"https://colab.research.google.com/assets/colab-badge.svg"}


def test_formulas_become_mathml_and_none_is_left_over(parsed: dict[Path, Links], site: Path) -> None:
    text = (site / "notebooks" / "12_dpo.html").read_text(encoding="utf-8")
    assert text.count("<math") > 20
    for path in parsed:
        prose = re.sub(r"<(pre|code|math)\b.*?</\1>|<[^>]*>", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        assert not re.search(r"formula-\d+-here|\\(?:frac|text|sqrt|mathrm)\b", prose), path


def test_code_keeps_its_dollars_and_a_formula_its_underscores() -> None:
    formulas: list[str] = []
    text = with_marks("`a $x$ b` costs \\$5; $x_1 * y_1$ and\n```\n$z$\n```\n", formulas)
    assert text == "`a $x$ b` costs \\$5; formula-0-here and\n```\n$z$\n```\n"
    assert len(formulas) == 1 and formulas[0].count("<msub>") == 2


def small_course(root: Path, link: str) -> None:
    (root / "notebooks").mkdir(parents=True)
    (root / "data_samples").mkdir()
    cell = nbformat.v4.new_markdown_cell(f"# 01 · One\n\n**You will build** one.\n\n[there]({link})")
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), root / "notebooks" / "01_one.ipynb")


def test_a_link_to_a_file_without_a_page_leads_to_the_repository(tmp_path: Path) -> None:
    small_course(tmp_path / "course", "../data_samples")
    build_site.build(tmp_path / "site", tmp_path / "course")
    text = (tmp_path / "site" / "notebooks" / "01_one.html").read_text(encoding="utf-8")
    assert f'href="{OWN}/tree/main/data_samples"' in text


def test_a_dead_link_stops_the_builder_and_is_named(tmp_path: Path) -> None:
    small_course(tmp_path / "course", "02_two.ipynb")
    with pytest.raises(DeadLink, match=r"notebooks/01_one\.ipynb links to 02_two\.ipynb"):
        build_site.build(tmp_path / "site", tmp_path / "course")


def test_a_folder_with_other_things_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("four years", encoding="utf-8")
    with pytest.raises(build_site.SiteError, match="not empty"):
        build_site.build(tmp_path)
    assert (tmp_path / "thesis.txt").is_file()
