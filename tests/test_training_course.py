"""The band around a loss curve, and the pictures and controls of chapters 08 and 10."""

import json
import math
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from minimind_lite.course.chapters.pretrain import figures, widgets
from minimind_lite.course.chapters.pretrain.settings import PretrainSettings
from minimind_lite.course.chapters.sft import figures as chat_figures
from minimind_lite.course.chapters.sft import widgets as sft_widgets
from minimind_lite.course.kit import answers as sft_figures
from minimind_lite.course.kit import curves
from minimind_lite.course.kit.bands import expected_band, inside, make_band
from minimind_lite.data.documents import Document
from minimind_lite.evaluation.closed_book import Answer, ExactMatch
from minimind_lite.evaluation.sample_world import FALSE_REFUSALS, JudgedAnswer, KindScore
from minimind_lite.tokenizer import Tokenizer


def noisy_run(seed: int, length: int = 80, noise: float = 0.1) -> list[dict]:
    chance = random.Random(seed)
    return [{"step": 10 * i, "loss": 3 + 5 * 0.95**i + chance.gauss(0, noise)} for i in range(1, length + 1)]


def test_nineteen_of_twenty_steps_of_another_seed_lie_in_the_band() -> None:
    band = make_band([noisy_run(seed) for seed in (1, 2, 3)], PretrainSettings(), (1, 2, 3))
    shares = [inside(noisy_run(seed), band) for seed in range(10, 40)]
    assert 0.92 < sum(shares) / len(shares) < 0.98
    higher = [row | {"loss": row["loss"] + 0.5} for row in noisy_run(50)]
    assert inside(higher, band) < 0.1


def test_a_band_reaches_below_zero_only_where_the_loss_does() -> None:
    settings = PretrainSettings()
    low = [row | {"loss": 0.01 * (row["step"] % 3)} for row in noisy_run(1)], noisy_run(2)
    scattered = [[row | {"loss": abs(one["loss"] - 3)} for one, row in zip(run, run, strict=True)] for run in low]
    band = make_band(scattered, settings, (1, 2))
    assert min(band["low"]) == 0.0 < min(band["high"])
    scattered[0][0]["loss"] = -1e-8  # rounded
    assert min(make_band(scattered, settings, (1, 2))["low"]) == 0.0
    signed = [[row | {"loss": -row["loss"]} for row in run] for run in scattered]
    assert min(make_band(signed, settings, (1, 2))["low"]) < 0


def test_where_all_seeds_agree_the_band_is_what_they_agree_on() -> None:
    runs = [[{"step": 1, "loss": math.log(2)}, *noisy_run(seed, 20)] for seed in (1, 2, 3)]
    band = make_band(runs, PretrainSettings(), (1, 2, 3))
    assert inside(runs[0][:1], band) == 1 and band["high"][0] - band["low"][0] < 0.01 < band["high"][1] - band["low"][1]


def test_a_band_holds_for_its_own_settings_only(tmp_path: Path) -> None:
    settings, file = PretrainSettings(), tmp_path / "bands.json"
    band = make_band([noisy_run(seed) for seed in (1, 2)], settings, (1, 2))
    file.write_text(json.dumps({"pretrain": band}), encoding="utf-8")
    assert expected_band("pretrain", replace(settings, seed=7, save_every=1), file) == json.loads(json.dumps(band))
    assert expected_band("pretrain", replace(settings, learning_rate=1.0), file) is None
    assert expected_band("sft", settings, file) is None
    assert expected_band("pretrain", settings, tmp_path / "missing.json") is None


LENGTHS = [30, 60, 20, 100, 70, 5, 64]
DOCUMENTS = [Document(np.arange(length + 1)) for length in LENGTHS]


def test_the_waste_is_what_counting_gives() -> None:
    padded, packed = figures.fill_shares(LENGTHS, 128)
    assert padded == sum(LENGTHS) / (7 * 128)
    assert packed == sum(LENGTHS) / (3 * 128)


def test_the_pictures_of_chapter_08_draw(tmp_path: Path) -> None:
    history = [row | ({"eval_loss": 4.0} if row["step"] % 200 == 0 else {}) for row in noisy_run(1)]
    band = make_band([noisy_run(2), noisy_run(3)], PretrainSettings(), (2, 3))
    drawn = [
        figures.waste(LENGTHS, [64, 128], 128),
        figures.schedule(100, 3e-3, [0.0, 0.1], 0.1),
        figures.loss_band(history, band),
        figures.loss_band(noisy_run(1), None),
        figures.lines({"a": [1.0, 2.0], "b": [2.0, 3.0]}),
        figures.bits({"untrained": 4.0, "trigram": 2.5, "trained": 2.3}, best="trained"),
    ]
    for number, figure in enumerate(drawn):
        figure.savefig(tmp_path / f"{number}.png")
        assert (tmp_path / f"{number}.png").stat().st_size < 60_000


def test_the_controls_of_chapter_08_redraw(capsys: pytest.CaptureFixture[str]) -> None:
    meter = widgets.waste_meter(DOCUMENTS)
    block_size, packed = meter.children[:2]
    block_size.value = 128
    meter.update()
    assert "61.0%" in _said(meter, capsys)
    packed.value = True
    meter.update()
    assert "9.1%" in _said(meter, capsys)
    widgets.schedule_slider(100, 3e-3).update()


def _said(widget: object, capsys: pytest.CaptureFixture[str]) -> str:
    """Outside a notebook, an Output widget does not capture prints."""
    return capsys.readouterr().out


def test_chapter_10_shows_answers_and_masks() -> None:
    old = ExactMatch([Answer("capital?", "Rome", "no <b>idea</b>"), Answer("2 + 2", "4", "5")])
    new = ExactMatch([Answer("capital?", "Rome", "Rome"), Answer("2 + 2", "4", "")])
    assert sft_figures.shares({"before": old, "after": new}).axes[0].get_xlim()[1] > 100
    table = sft_figures.answers(old.answers, new.answers).data
    assert "✓ Rome" in table and "✗ ∅" in table and "<b>" not in table
    tokenizer = Tokenizer.train(["hello world"] * 3, vocab_size=280)
    turns = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "world"}]
    viewer = sft_widgets.mask_viewer(tokenizer, {"one": turns, "two": turns * 2})
    viewer.children[1].value = 5
    viewer.update()


def test_chapter_10_draws_each_kind_in_each_language(tmp_path: Path) -> None:
    right, wrong = JudgedAnswer("q", "a", "a", True), JudgedAnswer("<b>?", "a", "b" * 200, False)
    names = [f"{kind} {language}" for kind in ("talk", FALSE_REFUSALS) for language in ("zh", "en")]
    before = dict.fromkeys(names, KindScore([wrong, wrong]))
    after = dict.fromkeys(names, KindScore([right, wrong])) | {"talk en": KindScore([right] * 4)}
    figure = chat_figures.kinds(before, after)
    assert "small talk 50 (0), 100 (0); known names refused" in figure.alt
    assert [one.get_text() for one in figure.axes[0].get_yticklabels()][1] == "small talk"
    figure.savefig(tmp_path / "kinds.png")
    assert (tmp_path / "kinds.png").stat().st_size < 60_000
    kept = {"before_fine_tuning": 2.5, "with_plain_text": 2.75, "conversations_only": 3.5}
    losses = {"answers_of_every_kind": dict.fromkeys(kept, 1.5), "answers_held_out": dict.fromkeys(kept, 1.25)}
    both = chat_figures.kept_and_learned(kept, losses)
    assert "plain text mixed in 2.75; short run, conversations only 3.5. Loss on answers" in both.alt
    assert "(held out, facts): before fine-tuning 1.25; " in both.alt
    text, talk = both.axes
    assert len(talk.patches) == 2 * len(text.patches) == 6 and text.yaxis_inverted()
    table = chat_figures.judged([("talk zh", right), ("talk en", wrong)]).data
    assert "✓ a" in table and "✗ bbb" in table and "…" in table and "<b>?" not in table
    assert "small talk (Chinese)" in table


def test_the_legend_of_held_out_losses_names_the_last_step_of_each_run() -> None:
    runs = {"pretrained_first": [(100, 2.0), (2300, 0.25)], "random_weights": [(100, 3.0), (300, 1.5)]}
    measured = {name: [{"step": step, "eval_loss": loss} for step, loss in one] for name, one in runs.items()}
    with_more = {name: [*rows, {"step": 9999, "loss": 1.0}] for name, rows in measured.items()}  # not held out
    legend = curves.held_out(with_more).axes[0].get_legend()
    assert [one.get_text() for one in legend.get_texts()] == [
        "after pretraining (the main run), step 2300: 0.250",
        "from random weights, step 300: 1.500",
    ]


def test_chapter_10_lists_what_the_conversations_hold() -> None:
    table = chat_figures.contents({"talk": {"zh": 1200, "en": 7}}, {"talk": {"zh": "你好", "en": "Hi\nthere"}}).data
    assert "1,200" in table and "你好" in table and "Hi ⏎ there" in table
