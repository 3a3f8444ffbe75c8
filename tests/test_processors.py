"""What is compared strictly shows nothing that hangs on the processor, and ``make processors`` leaves no test out."""

import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from processors import ALSO, LEFT_OUT, ROOT, STRICT, imported, numerical_tests

NUMBER = re.compile(r"(?<![\w.])[-+]?\d[\d,]*\.\d+(?:e[-+]?\d+)?(?![\w.])|(?<![\w.])-0(?![\w.])", re.IGNORECASE)


def hangs_on_the_processor(text: str) -> list[str]:
    """The numbers in ``text`` that another processor may print differently: negative zeros, seven digits or more."""
    found = []
    for number in NUMBER.findall(text):
        mantissa = number.lower().partition("e")[0]
        digits = re.sub(r"[-+,.]", "", mantissa).lstrip("0")
        if len(digits) > 6 or (number.startswith("-") and not digits):
            found.append(number)
    return found


def strict_cells() -> list[Any]:
    paths = sorted(path for folder in ("notebooks", "solutions") for path in (ROOT / folder).rglob("*.ipynb"))
    return [
        pytest.param(cell, id=f"{path.relative_to(ROOT)}-{cell.id}")
        for path in paths
        for cell in nbformat.read(path, as_version=4).cells
        if STRICT in cell.metadata.get("tags", [])
    ]


@pytest.mark.parametrize("cell", strict_cells())
def test_a_strict_cell_shows_nothing_that_hangs_on_the_processor(cell: Any) -> None:
    shown = [
        text
        for output in cell.outputs
        for text in (output.get("text"), output.get("data", {}).get("text/plain"))
        if text is not None
    ]
    assert shown, "a strict cell without text compares nothing"
    assert hangs_on_the_processor("\n".join(shown)) == [], "print with round(x, 3) + 0.0, or to fewer digits"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("gelu:  -0.000   -0.159", ["-0.000"]),
        ("[-0.0, 1.0]", ["-0.0"]),
        ("score -0", ["-0"]),
        ("bias -0.00e+00", ["-0.00e+00"]),
        ("loss 0.0310034", []),
        ("loss 0.31003472", ["0.31003472"]),
        ("off by 4.768372e-07", ["4.768372e-07"]),
        ("off by 4.8e-07 of 25,829,888 weights, 90112.0", []),
        ("2,345.6789", ["2,345.6789"]),
        ("version 2.13.0, 12-0.5, [-1, 0], 10-03", []),
    ],
)
def test_what_hangs_on_the_processor_is_found(text: str, found: list[str]) -> None:
    assert hangs_on_the_processor(text) == found


def test_every_test_that_imports_torch_runs_on_other_processors(tmp_path: Path) -> None:
    files = {path.stem: path for path in (ROOT / "tests").glob("test_*.py")}
    chosen = {path.stem for path in numerical_tests()}
    assert {name for name, path in files.items() if "torch" in imported(path)} - LEFT_OUT <= chosen
    assert chosen >= ALSO and "test_readme" not in chosen and not chosen & LEFT_OUT
    for name, line in {"here": "from torch import nn", "kit": "import torch", "through": "from kit import x"}.items():
        (tmp_path / f"{'' if name == 'kit' else 'test_'}{name}.py").write_text(line, encoding="utf-8")
    (tmp_path / "test_none.py").write_text("import json", encoding="utf-8")
    assert [path.stem for path in numerical_tests(tmp_path)] == ["test_here", "test_through"]
