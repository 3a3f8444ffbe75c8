"""Interactives inside the page: the stored picture is right, and the script moves it, in a real browser."""

import re
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

import pytest
import torch
from browser_kit import CHROMIUM, needs_chromium

from minimind_lite.config import preset
from minimind_lite.course.chapters.attention.in_page import cache_calculator
from minimind_lite.course.chapters.grpo.in_page import advantage_explorer
from minimind_lite.course.chapters.pretrain.in_page import schedule
from minimind_lite.course.chapters.rope.in_page import rotation_dial
from minimind_lite.course.chapters.tokenizer.in_page import merge_stepper
from minimind_lite.course.chapters.tokenizer.widgets import after_merges
from minimind_lite.course.kit.language import speaking
from minimind_lite.training.loop import warmup_cosine
from minimind_lite.training.policy_gradient import group_advantages

SMALL = preset("minimind2-small")
TEXTS = {"English": [b"sea", b" sea"], "中文": ["湖".encode()]}
MERGES = [(b"s", b"e", 8), (b" ", b"se", 5), (b"\xe6", b"\xb9", 3), (b"se", b"a", 2)]
REWARDS = [1.0, 0.0, 0.0, 0.5]


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


def test_the_picture_s_description_is_in_the_course_s_language() -> None:
    assert "Four dials, for the pairs 0, 2, 4 and 8: the hand of a query at position 30" in rotation_dial().data
    with speaking("zh"):
        assert "四个表盘" in rotation_dial().data


@needs_chromium
def test_the_dial_turns_and_moving_both_changes_no_angle(tmp_path: Path) -> None:
    still = dom(rotation_dial(), tmp_path)
    both = dom(rotation_dial(), tmp_path, move("both", 100))
    nearer = dom(rotation_dial(), tmp_path, move("key", 29))
    angles = [re.findall(r'class="angle".*?>(-?\d+)°<', one) for one in (still, both, nearer)]
    hands = [re.findall(r'class="query".*?x2="([^"]+)"', one) for one in (still, both)]
    assert "<form>" in still or '<form hidden="">' not in still
    assert angles[0] == angles[1] == ["344", "109", "34", "3"] and angles[2] == ["57", "18", "6", "1"]
    assert hands[0] != hands[1]


@needs_chromium
def test_the_calculator_multiplies(tmp_path: Path) -> None:
    page = dom(cache_calculator(SMALL), tmp_path, move("texts", 100))
    assert "2 × 8 × 2 × 64 × 8192 × 100 × 2 bytes" in page and ">3.1 GiB<" in page


def stepper(steps: int = 1) -> Any:
    return merge_stepper(TEXTS, MERGES, steps)


def lines(page: str) -> list[list[str]]:
    """The chips of each text as a reader sees them."""
    parts = re.findall(r'<div class="line">(.*?)</div>', page)
    return [[unescape(one) for one in re.findall(r"<span[^>]*>(.*?)</span>", part)] for part in parts]


def test_the_new_pictures_stand_without_a_script() -> None:
    assert lines(stepper().data) == [["se", "a", "␣", "se", "a"], ["<E6>", "<B9>", "<96>"]]
    assert 'visibility:hidden"' in stepper(0).data and '<span class="number">4</span>' in stepper(99).data
    rates = schedule(1000, 2e-3).data
    assert "up to 0.002 in the first 50 of them, then along a cosine down to 0.0002" in rates
    assert f'<b class="rate">{2e-3 * warmup_cosine(499, 1000, 50, 0.1):.2e}</b>' in rates
    explorer = advantage_explorer(REWARDS).data
    assert re.findall(r'class="number".*?>(-?[\d.]+)<', explorer)[-4:] == numbers(REWARDS)
    assert 'class="dead" style="visibility:hidden"' in explorer
    assert 'class="dead" style="visibility:visible"' in advantage_explorer([0.5, 0.5]).data


def found(pattern: str, page: str) -> str:
    """The one group of the first place that fits."""
    place = re.search(pattern, page)
    assert place, pattern
    return place[1]


def numbers(rewards: list[float]) -> list[str]:
    return [f"{value:.2f}" for value in group_advantages(torch.tensor([rewards]))[0].tolist()]


@needs_chromium
@pytest.mark.parametrize("steps", [0, 2, 3, 4])
def test_the_stepper_cuts_as_the_widget_does(steps: int, tmp_path: Path) -> None:
    seen, stored = dom(stepper(), tmp_path, move("steps", steps)), stepper(steps).data
    assert lines(seen) == lines(stored)
    counts = [str(len(after_merges(words, MERGES, steps))) for words in TEXTS.values()]
    assert re.findall(r'class="count">(\d+)<', seen) == counts
    if steps:
        made = MERGES[steps - 1]
        assert f'class="number">{steps}<' in seen and f'class="times">{made[2]}<' in seen
        assert found(r'class="made"><span[^>]*title="([^"]*)"', seen) == (made[0] + made[1]).hex(" ")


@needs_chromium
def test_the_schedule_is_the_training_loops(tmp_path: Path) -> None:
    still = dom(schedule(1000, 2e-3), tmp_path)
    assert points(still) == points(schedule(1000, 2e-3).data)
    moved = dom(schedule(1000, 2e-3), tmp_path,
                move("warmup", 20) + move("floor", 30) + move("peak", 10) + move("step", 701))  # fmt: skip
    wanted = 1e-3 * warmup_cosine(700, 1000, 200, 0.3)
    assert float(found(r'class="rate">([^<]*)<', moved)) == pytest.approx(wanted, rel=5e-3)
    assert 'class="at">701<' in moved and points(moved) != points(still)


def points(page: str) -> str:
    return found(r'class="rates" points="([^"]*)"', page)


@needs_chromium
def test_the_explorer_computes_the_advantages_and_tells_a_dead_group(tmp_path: Path) -> None:
    moved = dom(advantage_explorer(REWARDS), tmp_path, move("answer2", 1))
    assert re.findall(r'class="number".*?>(-?[\d.]+)<', moved)[-4:] == numbers([1.0, 1.0, 0.0, 0.5])
    assert re.search(r'class="dead" style="visibility: ?hidden', moved)
    dead = dom(advantage_explorer([1.0, 0.0]), tmp_path, move("answer1", 0))
    assert 'class="dead" style="visibility: visible' in dead
    assert re.findall(r'class="number".*?>(-?[\d.]+)<', dead)[-2:] == ["0.00", "0.00"]
