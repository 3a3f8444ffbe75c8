"""What the chapters say of their own runs is code, and what they say of other seeds is what was measured."""

import ast
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from minimind_lite.course.notebooks import files
from minimind_lite.files import repository_root

CLAIMING = (*(f"{number:02}" for number in range(16)), "07b", "15b")
PATHS = files.chapter_paths(CLAIMING)
RESULTS = repository_root() / "benchmarks" / "results"
STAGES = RESULTS / "stages.json"
COUNTED: dict[str, Any] = json.loads((RESULTS / "claims.json").read_text(encoding="utf-8"))["chapters"]
SAYS = {"en": "in {held} of {of} runs", "zh": "{of} 次运行中有 {held} 次"}
Seed = dict[str, float]

# Chapter → what its text says, in this order, with "… in n of 3 seeds".
HELD: dict[str, tuple[str, tuple[Callable[[Seed], bool], ...]]] = {
    "06_moe": ("moe", (lambda one: one["loss"] < one["dense_loss"], lambda one: one["router_entropy"] > 0.9)),
    "08_pretrain": ("pretrain", (lambda one: one["bits_per_byte"] < one["trigram_bits_per_byte"],)),
    "10_sft": ("sft", (lambda one: one["exact_match_low"] > 0.01 + one["exact_match_before"],)),
    "11_lora": (
        "lora",
        (
            lambda one: one["identity_after"] > 0.5 > one["identity_before"],
            lambda one: one["sft_drop"] < 100 * (one["identity_after"] - one["identity_before"]) / 10,
            lambda one: one["medical_disclaimer_after"] > one["medical_disclaimer_before"],
        ),
    ),
    "12_dpo": (
        "dpo",
        (
            lambda one: (
                one["win_rate"] > one["win_rate_before"]
                and one["preference_accuracy_after"] > one["preference_accuracy_before"]
            ),
            lambda one: one["facts_after"] < one["facts_before"],
        ),
    ),
    "13_distill": (
        "distill",
        (
            lambda one: one["loss"] < one["labels_only_loss"],
            lambda one: one["loss_saved_low"] > 0,
            lambda one: one["exact_match"] > one["labels_only_exact_match"],
        ),
    ),
    "14_reason": (
        "reason",
        (
            lambda one: one["accuracy_think"] > one["accuracy_direct"],
            lambda one: one["accuracy_think_low"] > one["accuracy_direct_high"],
            lambda one: one["well_formed"] > 0.9,
            lambda one: one["sft_exact_match_after"] < one["sft_exact_match_before"] / 2,
        ),
    ),
    "15_grpo": (
        "grpo",
        (
            lambda one: one["reward_end"] > one["reward_start"],
            lambda one: one["accuracy_after"] > one["accuracy_before"],
            lambda one: one["thinks_after"] > one["thinks_before"],
        ),
    ),
}


def claims_of(path: Path) -> Iterator[ast.Call]:
    """Every call of ``chapter.claim`` in a chapter's code."""
    for cell in files.read(path).cells:
        if cell.cell_type == "code" and "chapter.claim(" in cell.source:
            for node in ast.walk(ast.parse(cell.source)):
                if isinstance(node, ast.Call) and ast.unparse(node.func) == "chapter.claim":
                    yield node


def compares(node: ast.expr) -> bool:
    """Whether the expression compares something that only the run knows with something else."""
    if not isinstance(node, ast.Compare):
        return False
    sides = [ast.unparse(side) for side in (node.left, *node.comparators)]
    return len(set(sides)) == len(sides) and any(
        isinstance(n, ast.Name) for side in sides for n in ast.walk(ast.parse(side))
    )


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_every_chapter_claims_something_that_can_fail(path: Path) -> None:
    claims = list(claims_of(path))
    assert len(claims) >= 2
    for claim in claims:
        assert len(claim.args) == 2, ast.unparse(claim)
        assert compares(claim.args[1]), f"not a comparison: {ast.unparse(claim)}"


def test_a_constant_is_no_comparison() -> None:
    held = {
        text: compares(ast.parse(text, mode="eval").body)
        for text in ("True", "1 < 2", "a < a", "done", "a < b", "a > 0")
    }
    assert held == {"True": False, "1 < 2": False, "a < a": False, "done": False, "a < b": True, "a > 0": True}


def test_each_claim_is_one_plain_sentence_and_made_only_once() -> None:
    texts = []
    for path in PATHS:
        for claim in claims_of(path):
            text = claim.args[0]
            assert isinstance(text, ast.Constant) and isinstance(text.value, str), ast.unparse(claim)
            texts.append(text.value)
    for text in texts:
        assert len(text.split()) >= 6 and not text.endswith("."), text
        assert not re.search(r"\d", text), f"a number in a claim goes stale: {text}"
    assert len(set(texts)) == len(texts)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_the_text_has_words_for_a_claim_that_did_not_hold(path: Path) -> None:
    prose = [cell.source for cell in files.read(path).cells if cell.cell_type == "markdown"]
    assert any("✗" in text for text in prose)


@pytest.mark.parametrize("name", COUNTED)
def test_the_text_says_how_often_a_claim_held_that_did_not_always_hold(name: str) -> None:
    path = files.chapter_paths([name])[0]
    claims = COUNTED[name]["claims"]
    assert set(claims) <= {ast.literal_eval(one.args[0]) for one in claims_of(path)}, "count them again: make claims"
    for language, words in SAYS.items():
        cells = files.read(files.edition_path(path, language)).cells
        prose = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
        for text, one in claims.items():
            if one["of"] == 1:  # no frequency; the text has words for either outcome
                continue
            assert not one["not_in"] or words.format(**one) in prose, f"{language}: {words.format(**one)}: {text}"


@pytest.mark.parametrize("name", HELD)
def test_what_the_text_says_of_other_seeds_was_measured(name: str) -> None:
    stage, kept = HELD[name]
    measured: dict[str, Any] = json.loads(STAGES.read_text(encoding="utf-8"))
    seeds = measured["per_seed"][stage]
    prose = "\n".join(
        cell.source for cell in files.read(files.chapter_paths([name])[0]).cells if cell.cell_type == "markdown"
    )
    said = re.findall(r"in (\d+) of (\d+) seeds", prose)
    assert said == [(str(sum(map(one, seeds))), str(len(seeds))) for one in kept]


def test_chapter_15_names_where_each_seed_began_and_ended() -> None:
    seeds = json.loads(STAGES.read_text(encoding="utf-8"))["per_seed"]["grpo"]
    path = files.chapter_paths(["15_grpo"])[0]
    cells = {one: files.read(files.edition_path(path, one)).cells for one in ("en", "zh")}
    for figure, english, chinese in (("before", "began at", "开始时是"), ("after", "ended at", "最后分别是")):
        first, second, third = (f"{100 * seed[f'accuracy_{figure}']:.0f}" for seed in seeds)
        for language, said in (
            ("en", f"{english} {first}, {second} and {third} %"),
            ("zh", f"{chinese} {first}%、{second}% 和 {third}%"),
        ):
            assert any(said in cell.source for cell in cells[language])
