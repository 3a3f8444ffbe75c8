"""JupyterLab as `make lab` starts it, for the tests: on a free port, with its own settings, without a browser."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


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

    def ask(self, path: str, method: str = "GET") -> tuple[int, str]:
        """The status and the text of ``path``."""
        headers = {"Authorization": f"token {self.token}"}
        request = urllib.request.Request(self.url + path, headers=headers, method=method)  # noqa: S310  # our own server
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310
                return answer.status, answer.read().decode("utf-8")
        except urllib.error.HTTPError as error:
            return error.code, ""

    def serves(self, path: str) -> bool:
        """Whether ``path``, from the server's root, is a file or folder that it serves."""
        return self.ask(f"api/contents/{urllib.parse.quote(path)}?content=0")[0] == 200

    def stop_kernels(self) -> None:
        """End all kernels, and with them their memory."""
        for kernel in json.loads(self.ask("api/kernels")[1]):
            self.ask(f"api/kernels/{kernel['id']}", "DELETE")


@contextmanager
def running_lab(home: Path, root: Path = ROOT, **variables: str) -> Iterator[Server]:
    """A JupyterLab on the repository in ``root``. Settings and log lie in ``home``; kernels get ``variables``."""
    places = {name: str(home) for name in ("JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR")}
    extra = ["--no-browser", "--ServerApp.port=0", "--ServerApp.ip=127.0.0.1", "--ServerApp.allow_root=True"]
    with (home / "log").open("w") as log:
        process = subprocess.Popen(
            lab_command() + extra, cwd=root, env=os.environ | places | variables, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        found: list[Path] = []
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
