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


def press(page: Any, button: str, shows: str) -> None:
    """Click, and once more if nothing has come of it: a busy machine may lose a click in a page that is being drawn."""
    expected = page.get_by_text(shows)
    for attempt in range(2):
        page.get_by_role("button", name=button).click()
        try:
            expected.wait_for(timeout=60_000)
            return
        except Exception:
            page.screenshot(path=SCREENSHOTS / f"without-{shows.replace(' ', '-')}-{attempt}.png")
            if attempt or page.get_by_role("button", name="Stop").count():
                raise
