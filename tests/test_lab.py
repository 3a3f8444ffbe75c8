"""`make lab`: the server shows the first chapter, and every link in a notebook leads to a file that it serves."""

import json
import posixpath
import re
import urllib.parse
from collections.abc import Iterator

import nbformat
import pytest
from lab_kit import ROOT, Server, running_lab

FOLDERS = ("notebooks", "exercises", "solutions")
LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)|(?:href|src)=\"([^\"#]+)[^\"]*\"")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_lab(tmp_path_factory.mktemp("jupyter")) as server:
        yield server


def relative_links() -> list[tuple[str, str]]:
    """(notebook, target): both as paths from the repository's root."""
    found = set()
    for path in sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.ipynb")):
        name = path.relative_to(ROOT).as_posix()
        for cell in nbformat.read(path, as_version=4).cells:
            for match in LINK.finditer(cell.source) if cell.cell_type == "markdown" else ():
                target = match[1] or match[2]
                if not urllib.parse.urlparse(target).scheme:
                    found.add((name, posixpath.normpath(posixpath.join(posixpath.dirname(name), target))))
    return sorted(found)


def test_every_relative_link_is_served(server: Server) -> None:
    links = relative_links()
    assert len({target for _, target in links}) >= 30
    served = {target: server.serves(target) for target in {target for _, target in links}}
    assert [(notebook, target) for notebook, target in links if not served[target]] == []
    assert not server.serves("notebooks/no_such_chapter.ipynb")


def test_the_first_page_is_the_first_chapter(server: Server) -> None:
    status, page = server.ask("")
    assert status == 200
    settings = json.loads(re.search(r'<script id="jupyter-config-data"[^>]*>(.*?)</script>', page, re.DOTALL)[1])  # type: ignore[index]
    assert settings["treePath"] == "notebooks/00_welcome.ipynb" and server.serves(settings["treePath"])
