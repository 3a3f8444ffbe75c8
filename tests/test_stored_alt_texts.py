"""Every picture stored in a chapter has an alternative text."""

import json
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_stored_picture_has_an_alternative_text(path: Path) -> None:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    outputs = [(cell["id"], output) for cell in cells for output in cell.get("outputs", [])]
    silent = [
        cell for cell, output in outputs
        if "image/png" in output.get("data", {})
        and not output["metadata"].get("image/png", {}).get("alt", "").endswith(".")
    ]  # fmt: skip
    assert not silent, f"{path.name}: run it again; pictures without words in the cells {', '.join(silent)}"


def test_there_are_pictures_to_look_at() -> None:
    assert sum('"image/png": "' in path.read_text(encoding="utf-8") for path in NOTEBOOKS) >= 17
