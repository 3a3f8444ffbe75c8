"""Scoring item by item: stopped, continued, refused, reported."""

import json
import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from benchmarks_kit import ROWS, write_like
from model_kit import random_model

from minimind_lite.config import ConfigError, preset
from minimind_lite.data.benchmarks import BENCHMARKS
from minimind_lite.evaluation import harness
from minimind_lite.evaluation.harness import Candidate, OtherRun, ScoredItem, evaluate
from minimind_lite.evaluation.likelihood import LanguageModel, OwnModel
from minimind_lite.evaluation.report import credit, draw, make_report, markdown, write_report
from minimind_lite.evaluation.suites import Suite, make_suites
from minimind_lite.files import FolderInUse, UnreadableFile
from minimind_lite.tokenizer import Tokenizer


@pytest.fixture(scope="module")
def suites(tmp_path_factory: pytest.TempPathFactory) -> list[Suite]:
    folder = tmp_path_factory.mktemp("benchmarks")
    return [
        suite
        for name, scoring in (("cmmlu", "both"), ("blimp", "default"), ("lambada", "default"))
        for suite in make_suites(BENCHMARKS[name], write_like(name, folder), scoring=scoring)
    ]


class Counted:
    """A model to score, and how often it was loaded."""

    def __init__(self, seed: int) -> None:
        self.seed, self.loads = seed, 0
        self.candidate = Candidate(f"model {seed}", f"digest {seed}", self.load)

    def load(self) -> LanguageModel:
        self.loads += 1
        tokenizer = Tokenizer.train(["The cats sleep. 他把书看完了 答案： A B C D"] * 3, vocab_size=300)
        return OwnModel(random_model(preset("pico", vocab_size=300), seed=self.seed).eval(), tokenizer)


def lines_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "items.jsonl").read_text(encoding="utf-8").splitlines()]


def run(models: Sequence[Counted], suites: Sequence[Suite], folder: Path, **more: Any) -> harness.Scores:
    return evaluate([one.candidate for one in models], suites, folder, progress=False, **more)


class Killed(BaseException):
    """Like a signal: nothing catches it."""


def test_a_killed_run_continues_and_ends_as_if_it_had_not_been(
    suites: list[Suite], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(harness, "CHUNK", 8)
    whole = run([Counted(0), Counted(1)], suites, tmp_path / "whole")
    append, written = harness._append, 0

    def killed(path: Path, digest: str, key: str, scored: ScoredItem) -> None:
        nonlocal written
        written += 1
        if written == 50:
            with path.open("a", encoding="utf-8") as file:
                file.write('{"model": "digest 0", "su')  # half a line
            raise Killed
        append(path, digest, key, scored)

    monkeypatch.setattr(harness, "_append", killed)
    with pytest.raises(Killed):
        run([Counted(0), Counted(1)], suites, tmp_path / "killed")
    monkeypatch.setattr(harness, "_append", append)
    again = run([Counted(0), Counted(1)], suites, tmp_path / "killed")
    assert again.keys() == whole.keys()
    for key, items in whole.items():
        for one, other in zip(items, again[key], strict=True):
            assert other.logprobs == pytest.approx(one.logprobs, abs=1e-5)
            assert replace(other, logprobs=one.logprobs) == one
    assert len(lines_of(tmp_path / "killed")) == len(lines_of(tmp_path / "whole")) == 2 * 4 * ROWS


def test_what_is_there_is_not_computed_again(suites: list[Suite], tmp_path: Path) -> None:
    first, second = Counted(0), Counted(1)
    run([first], suites[:2], tmp_path)
    before = lines_of(tmp_path)
    run([first], suites[:2], tmp_path)
    assert first.loads == 1 and lines_of(tmp_path) == before
    run([first, second], suites[:3], tmp_path)  # another model, another suite
    assert (first.loads, second.loads) == (2, 1)
    assert lines_of(tmp_path)[: len(before)] == before and len(lines_of(tmp_path)) == 6 * ROWS


def test_other_questions_or_settings_are_refused_or_started_anew(suites: list[Suite], tmp_path: Path) -> None:
    model, fewer = Counted(0), replace(suites[0], items=suites[0].items[:5])
    run([model], suites[:1], tmp_path)
    with pytest.raises(OtherRun, match=r"cmmlu/letter was scored with other questions.*--fresh"):
        run([model], [fewer], tmp_path)
    with pytest.raises(OtherRun, match="scored with '', not with 'no start'"):
        run([model], suites[:1], tmp_path, setting="no start")
    run([model], [fewer], tmp_path, setting="no start", fresh=True)
    assert len(lines_of(tmp_path)) == 5
    (tmp_path / "run.json").unlink()
    with pytest.raises(OtherRun, match=r"items.jsonl is there, and run.json"):
        run([model], [fewer], tmp_path)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("not json", r"items.jsonl, line 2.*not JSON"),
        ('{"model": "m"}', r"line 2: not a scored item \('suite'\); start anew with --fresh"),
        ("[1]", r"line 2: not a scored item"),
        ('{"model": "m", "suite": "s", "item": "i"}', r"line 2: not a scored item .*missing"),
    ],
)
def test_a_damaged_file_is_refused(line: str, words: str, suites: list[Suite], tmp_path: Path) -> None:
    run([Counted(0)], suites[:1], tmp_path)
    kept = (tmp_path / "items.jsonl").read_text(encoding="utf-8").splitlines()
    (tmp_path / "items.jsonl").write_text("\n".join([kept[0], line, *kept[2:]]) + "\n", encoding="utf-8")
    with pytest.raises(UnreadableFile, match=words):
        run([Counted(0)], suites[:1], tmp_path)


def test_lists_of_different_lengths_are_damage(suites: list[Suite], tmp_path: Path) -> None:
    run([Counted(0)], suites[:1], tmp_path)
    first = lines_of(tmp_path)[0]
    (tmp_path / "items.jsonl").write_text(json.dumps(first | {"tokens": [1]}) + "\n", encoding="utf-8")
    with pytest.raises(UnreadableFile, match="differ in length"):
        run([Counted(0)], suites[:1], tmp_path)


def test_the_same_twice_or_two_runs_in_one_folder_are_refused(suites: list[Suite], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="two of the models are the same: model 0"):
        run([Counted(0), Counted(0)], suites, tmp_path)
    with pytest.raises(ConfigError, match="two of the suites are the same: cmmlu/letter"):
        run([Counted(0)], [suites[0], suites[0]], tmp_path)
    tmp_path.joinpath(".run.lock").write_text('{"pid": 1, "started": null, "host": "elsewhere"}', encoding="utf-8")
    with pytest.raises(FolderInUse, match="on elsewhere"):
        run([Counted(0)], suites, tmp_path)


def test_an_item_that_cannot_be_scored_is_named(suites: list[Suite], tmp_path: Path) -> None:
    item = suites[0].items[3]
    empty = replace(item, requests=(item.requests[0]._replace(continuation=""), *item.requests[1:]))
    with pytest.raises(ValueError, match=r"^test/law.csv:5: there is no continuation"):
        run([Counted(0)], [replace(suites[0], items=[empty])], tmp_path)


def scored(logprobs: list[float], answer: int = 0, lengths: Sequence[int] = (1, 1, 1, 1)) -> ScoredItem:
    count = len(logprobs)
    tokens = list(lengths)[:count]
    return ScoredItem("i", "g", answer, logprobs, tokens, [2 * one for one in tokens], tokens, [True] * count, 0)


def test_credit_is_for_the_highest_score_and_ties_are_guesses() -> None:
    assert credit(scored([-1.0, -2.0])) == 1 and credit(scored([-2.0, -1.0])) == 0
    assert credit(scored([-1.0, -1.0])) == 0.5
    assert credit(scored([-1.0, -1.0, -1.0, -5.0], answer=2)) == pytest.approx(1 / 3)
    assert credit(scored([-1.0, -1.0, -3.0], answer=2)) == 0
    long = scored([-4.0, -3.0], lengths=(4, 2))
    assert credit(long) == 0 and credit(long, long.tokens) == 1


def test_the_report_counts_what_the_items_say(suites: list[Suite], tmp_path: Path) -> None:
    models = [Counted(0), Counted(1)]
    found = run(models, suites, tmp_path)
    report = make_report([one.candidate for one in models], suites, found)
    by_name = {(one.suite, one.metric, one.model): one for one in report.scores}
    items = found["digest 0", "cmmlu/answer"]
    right = sum(max(range(4), key=one.logprobs.__getitem__) == one.answer for one in items)
    accuracy = by_name["cmmlu/answer", "accuracy", "model 0"]
    assert (accuracy.n, accuracy.value, accuracy.chance) == (ROWS, right / ROWS, 0.25)
    assert accuracy.low < accuracy.value < accuracy.high and accuracy.groups == {"law": (ROWS, right / ROWS)}
    normed = sum(max(range(4), key=lambda at: one.logprobs[at] / one.characters[at]) == one.answer for one in items)
    assert by_name["cmmlu/answer", "accuracy per character", "model 0"].value == normed / ROWS
    words = [one.logprobs[0] for one in found["digest 1", "lambada/cloze"]]
    perplexity = by_name["lambada/cloze", "perplexity", "model 1"]
    assert perplexity.value == pytest.approx(math.exp(-sum(words) / len(words))) and perplexity.chance is None
    assert perplexity.low < perplexity.value < perplexity.high
    assert {one.first for one in report.comparisons} == {"model 0"} and len(report.comparisons) == 1 + 4 + 2 + 2
    text = markdown(report)
    assert f"| cmmlu/answer | accuracy | {ROWS} | 25.0% | {right / ROWS:.1%} (" in text
    assert "| lambada/cloze | perplexity | model 1 − model 0 |" in text and " nats (" in text


def test_the_report_is_written_whole_and_without_infinities(suites: list[Suite], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    models, one_item = [Counted(0), Counted(1)], [replace(suites[3], items=suites[3].items[:1]), suites[0]]
    candidates = [one.candidate for one in models]
    report = make_report(candidates, one_item, run(models, one_item, tmp_path))
    written = write_report(report, tmp_path, {"settings": {"shots": 0}})
    assert [path.name for path in written] == ["results.json", "results.md", "results.png"]
    content = json.loads(written[0].read_text(encoding="utf-8"), parse_constant=pytest.fail)
    assert content["settings"] == {"shots": 0} and len(content["scores"]) == 6
    (single,) = [one for one in content["comparisons"] if one["metric"] == "perplexity"]
    assert single["test"]["low"] is None
    assert written[2].read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_there_is_no_picture(
    suites: list[Suite], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = make_report([Counted(0).candidate], suites[:1], run([Counted(0)], suites[:1], tmp_path))
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert [path.name for path in write_report(report, tmp_path, {})] == ["results.json", "results.md"]


def test_the_picture_shows_chance_and_every_share(
    suites: list[Suite], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figure_module = pytest.importorskip("matplotlib.figure")
    drawn: list[Any] = []

    class Kept(figure_module.Figure):  # type: ignore[name-defined,misc]
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            drawn.append(self)

    monkeypatch.setattr(figure_module, "Figure", Kept)
    models = [Counted(0), Counted(1)]
    report = make_report([one.candidate for one in models], suites, run(models, suites, tmp_path))
    draw(report, tmp_path / "picture.png")
    (axes,) = drawn[0].axes
    shares = [one for one in report.scores if one.chance is not None]
    assert sorted(round(bar.get_width(), 6) for bar in axes.patches) == sorted(round(one.value, 6) for one in shares)
    assert axes.get_yticklabels()[0].get_text() == "cmmlu/letter\naccuracy"
