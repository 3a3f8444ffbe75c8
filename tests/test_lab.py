"""`make lab`: the server shows the first chapter, and every link in a notebook leads to a file that it serves."""

import json
import os
import posixpath
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("notebooks", "exercises", "solutions")
LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)|(?:href|src)=\"([^\"#]+)[^\"]*\"")


def lab_command() -> list[str]:
    """What ``make lab`` runs, with this Python."""
    recipe = re.search(r"^lab:.*\n\t(.+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert recipe is not None
    program, *arguments = recipe[1].split()
    assert program == "$(BIN)/jupyter"
    return [sys.executable, "-m", "jupyter", *arguments]


class Server:
    """A running JupyterLab."""

    def __init__(self, facts: dict[str, Any]) -> None:
        self.url, self.token = facts["url"], facts["token"]

    def ask(self, path: str) -> tuple[int, str]:
        """The status and the text of ``path``."""
        headers = {"Authorization": f"token {self.token}"}
        request = urllib.request.Request(self.url + path, headers=headers)  # noqa: S310  # our own server
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310
                return answer.status, answer.read().decode("utf-8")
        except urllib.error.HTTPError as error:
            return error.code, ""

    def serves(self, path: str) -> bool:
        """Whether ``path``, from the server's root, is a file or folder that it serves."""
        return self.ask(f"api/contents/{urllib.parse.quote(path)}?content=0")[0] == 200


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("jupyter")
    places = {name: str(home) for name in ("JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR")}
    extra = ["--no-browser", "--ServerApp.port=0", "--ServerApp.ip=127.0.0.1", "--ServerApp.allow_root=True"]
    with (home / "log").open("w") as log:
        process = subprocess.Popen(
            lab_command() + extra, cwd=ROOT, env=os.environ | places, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        for _ in range(600):
            found = list(home.glob("jpserver-*.json"))
            if found and found[0].stat().st_size:
                break
            assert process.poll() is None, (home / "log").read_text()
            time.sleep(0.1)
        yield Server(json.loads(found[0].read_text(encoding="utf-8")))
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


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
