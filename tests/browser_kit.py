"""A real browser for the tests: Chromium or Chrome where the machine has one, driven by playwright.

A module of tests takes the fixture as its own: ``browser = browser_kit.browser``.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

SCREENSHOTS = Path(__file__).resolve().parents[1] / "build" / "screenshots"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: on Debian, apt install chromium")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A browser without a window, for all tests of a module."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs the group proofs")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()
