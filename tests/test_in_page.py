"""Interactives inside the page: the stored picture is right, and the script moves it, in a real browser."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from minimind_lite.config import preset
from minimind_lite.course.chapters.attention.in_page import cache_calculator
from minimind_lite.course.chapters.rope.in_page import rotation_dial

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SMALL = preset("minimind2-small")


def dom(page: Any, tmp_path: Path, then: str = "") -> str:
    """The page as a browser leaves it, after its script and ``then`` have run."""
    file = tmp_path / "page.html"
    file.write_text(f'<!doctype html><meta charset="utf-8">{page.data}<script>{then}</script>', encoding="utf-8")
    command = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}",
               "--dump-dom", file.as_uri()]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


def move(name: str, value: int) -> str:
    return (f'{{ const one = document.querySelector("input[name={name}]"); one.value = {value};'
            'one.dispatchEvent(new Event("input")); }')  # fmt: skip


def test_without_a_script_the_picture_stands_and_the_sliders_are_hidden() -> None:
    dial, calculator = rotation_dial().data, cache_calculator(SMALL).data
    assert "<form hidden>" in dial and "<form hidden>" in calculator
    assert re.findall(r'class="angle".*?>(-?\d+)°<', dial) == ["344", "109", "34", "3"]
    assert "2 × 8 × 2 × 64 × 8192 × 1 × 2 bytes" in calculator and ">32.0 MiB<" in calculator


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_the_dial_turns_and_moving_both_changes_no_angle(tmp_path: Path) -> None:
    still = dom(rotation_dial(), tmp_path)
    both = dom(rotation_dial(), tmp_path, move("both", 100))
    nearer = dom(rotation_dial(), tmp_path, move("key", 29))
    angles = [re.findall(r'class="angle".*?>(-?\d+)°<', one) for one in (still, both, nearer)]
    hands = [re.findall(r'class="query".*?x2="([^"]+)"', one) for one in (still, both)]
    assert "<form>" in still or '<form hidden="">' not in still
    assert angles[0] == angles[1] == ["344", "109", "34", "3"] and angles[2] == ["57", "18", "6", "1"]
    assert hands[0] != hands[1]


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_the_calculator_multiplies(tmp_path: Path) -> None:
    page = dom(cache_calculator(SMALL), tmp_path, move("texts", 100))
    assert "2 × 8 × 2 × 64 × 8192 × 100 × 2 bytes" in page and ">3.1 GiB<" in page
