"""The chat page in a real browser: keys and screen readers, and pictures of it in build/screenshots."""

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import browser_kit
import pytest
from browser_kit import SCREENSHOTS, needs_chromium, press
from serving_kit import TOKENIZER, tiny_model

from minimind_lite.model.pretrained import save_pretrained

pytest.importorskip("fastapi", reason="needs the extra serve")
pytest.importorskip("streamlit", reason="needs the extra webui")
pytest.importorskip("openai", reason="needs the extra webui")
playwright = pytest.importorskip("playwright.sync_api", reason="needs the group proofs")

ROOT = Path(__file__).parents[1]
playwright.expect.set_options(timeout=60_000)
browser = browser_kit.browser
pytestmark = [
    needs_chromium,
    pytest.mark.slow,
]
MODELS = os.environ.get("MINIMIND_SCREENSHOT_MODELS", "").split()  # folders of trained models, for better pictures


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The page of a command of its own, over two random models."""
    folders = [Path(one) for one in MODELS]
    if not folders:
        folders = [tmp_path_factory.mktemp("models") / name for name in ("first", "second")]
        for seed, folder in enumerate(folders):
            save_pretrained(tiny_model(seed), TOKENIZER, folder)
    command = [sys.executable, "-m", "minimind_lite.cli", "webui", *map(str, folders), "--port", "0"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            line = process.stdout.readline() if process.stdout else ""
            found = re.search(r"http://\S+", line)
            assert found, line
            yield found[0]
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 0


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    """A new visit. What the page asks of other machines is remembered in ``page.elsewhere``."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.elsewhere = []
    page.on("request", lambda request: None if address in request.url else page.elsewhere.append(request.url))
    page.set_default_timeout(60_000)
    for attempt in range(60):  # the line is printed before Streamlit listens
        try:
            page.goto(address)
            break
        except playwright.Error:
            if attempt == 59:
                raise
            page.wait_for_timeout(500)
    page.get_by_role("textbox", name="Your message").wait_for()
    yield page
    page.close()


def write(page: Any, text: str, message: str = "Your message", again: str = "Ask again") -> None:
    """Send a message with the keyboard, and wait for the end of the answers."""
    box = page.get_by_role("textbox", name=message)
    playwright.expect(box).to_be_enabled()
    box.fill(text)
    box.press("Enter")
    page.locator("[data-testid=stChatMessage]", has_text=text).first.wait_for()
    playwright.expect(page.get_by_role("button", name=again).last).to_be_enabled()
    playwright.expect(box).to_be_enabled()


def picture(page: Any, name: str) -> None:
    """Keep a picture, and see that it is not empty."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.wait_for_timeout(400)  # for fades
    assert len(page.screenshot(path=SCREENSHOTS / f"{name}.png")) > 10_000


def nameless(page: Any) -> list[str]:
    """What can be reached with the keyboard and has no name for a screen reader."""
    found: list[str] = page.evaluate("""() => {
        const named = e => e.ariaLabel || e.innerText?.trim() || e.title || e.placeholder || e.labels?.length
            || e.getAttribute('aria-labelledby') || e.querySelector('title');
        const all = document.querySelectorAll('button, input, textarea, select, summary, a[href], [tabindex="0"]');
        const seen = e => e.checkVisibility({visibilityProperty: true}) && !e.closest('[aria-hidden=true]');
        const scrolls = e => e.matches('[data-testid=stMain], [data-testid=stSidebarContent], section');
        return [...all].filter(e => seen(e) && !scrolls(e) && !named(e)).map(e => e.outerHTML.slice(0, 300));
    }""")
    return found


def test_a_conversation(page: Any) -> None:
    picture(page, "1-start")
    write(page, "What is the capital of France?")
    picture(page, "2-answer")
    page.get_by_role("radio", name="Tokens").click()
    tokens = page.locator(".mm-token")
    tokens.first.wait_for()
    tip = tokens.nth(1).locator(".mm-tip")
    assert not tip.is_visible()
    tokens.nth(1).hover()
    playwright.expect(tip).to_be_visible()
    picture(page, "3-token-under-the-pointer")
    page.mouse.move(5, 5)
    tokens.first.focus()
    page.keyboard.press("Tab")
    playwright.expect(tip).to_be_visible()  # without a mouse too
    assert re.fullmatch(r".+: (< 0\.1|> 99\.9|[\d.]+) %", tokens.nth(1).get_attribute("aria-label"))
    press(page, "Ask again", shows="2 of 2")
    page.get_by_role("button", name="Edit").first.click()
    question = page.get_by_role("textbox", name="Your question")
    question.fill("What is the capital of Italy?")
    picture(page, "4-edit")
    page.get_by_role("button", name="Ask this instead").click()
    playwright.expect(question).to_have_count(0)
    page.locator(".mm-text", has_text="Italy").first.wait_for()
    playwright.expect(page.get_by_role("button", name="Ask again")).to_be_enabled()
    picture(page, "5-branches")
    assert page.elsewhere == []


def test_two_models_and_the_controls(page: Any) -> None:
    page.get_by_text("Compare with a second model").click()
    page.get_by_role("combobox", name="Second model").wait_for()
    write(page, "Tell me a story about a fox.")
    playwright.expect(page.get_by_role("button", name="Ask again")).to_have_count(2)
    page.get_by_role("radio", name="Tokens").click()
    page.locator(".mm-token").first.wait_for()
    picture(page, "6-two-models")
    page.get_by_text("What the controls do").click()
    page.get_by_text("How words are drawn").click()
    page.get_by_role("slider", name="Temperature").focus()
    for _ in range(6):
        page.keyboard.press("ArrowRight")
    page.locator(".mm-bar").first.wait_for()
    page.locator(".mm-bar").last.evaluate("bar => bar.scrollIntoView()")  # a page that redraws is never "stable"
    picture(page, "7-controls")


def test_a_file_of_the_conversation_can_be_downloaded(page: Any, tmp_path: Path) -> None:
    write(page, "hello")
    page.get_by_text("Keep the conversation").click()
    button = page.get_by_role("button", name=re.compile("Download . conversations"))
    button.wait_for()
    if button.is_disabled():  # a random model's answer may not come to its end
        assert page.get_by_text("cut: it reached the most tokens").count() == 1
        return
    with page.expect_download() as waiting:
        button.click()
    waiting.value.save_as(tmp_path / "kept.jsonl")
    assert '"content": "hello"' in (tmp_path / "kept.jsonl").read_text(encoding="utf-8")


def test_stop_by_a_key(page: Any) -> None:
    page.get_by_text("How words are drawn").click()
    longest = page.get_by_role("spinbutton", name="Most tokens of an answer")
    longest.fill("900")
    longest.press("Enter")
    page.wait_for_timeout(500)
    box = page.get_by_role("textbox", name="Your message")
    box.fill("Tell me a long story.")
    box.press("Enter")
    page.get_by_role("button", name="Stop").wait_for()
    again = page.get_by_role("button", name="Ask again")
    for _ in range(4):  # on a busy machine the page may be redrawing itself when the key comes, as a person would see
        page.keyboard.press("Escape")
        with contextlib.suppress(playwright.TimeoutError):
            again.wait_for(timeout=15_000)
            break
    again.wait_for()


def test_the_page_in_chinese_and_names_for_everything(page: Any) -> None:
    for summary in ("How words are drawn", "Tools", "Another server"):
        page.get_by_text(summary, exact=True).click()
    write(page, "hello")
    page.get_by_role("radio", name="Tokens").click()
    page.locator(".mm-token").first.wait_for()
    assert nameless(page) == []
    page.get_by_text("中文", exact=True).click()
    page.get_by_role("textbox", name="输入消息").wait_for()
    page.get_by_role("radio", name="纯文本").click()
    write(page, "湖南的简称是什么？", "输入消息", "重新生成")
    picture(page, "8-chinese")
    assert nameless(page) == []


def test_a_narrow_screen(page: Any) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    page.reload()
    box = page.get_by_role("textbox", name="Your message")
    box.wait_for()
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= 390
    picture(page, "9-narrow")
