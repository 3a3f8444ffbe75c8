"""Chapters 15 and 15b: their pictures, interactives, and the two habits they start from."""

import json
from pathlib import Path

import pytest

from minimind_lite.course.chapters.grpo import figures, widgets
from minimind_lite.course.chapters.ppo import figures as ppo_figures
from minimind_lite.course.chapters.ppo import widgets as ppo_widgets
from minimind_lite.course.kit.cold_start import easy_sums, mostly_at_once
from minimind_lite.data.reasoning import parse_reasoning
from minimind_lite.training.policy_gradient import OBJECTIVES


def conversation(question: str, answer: str) -> list[dict]:
    said = f"<think>\nones\n</think>\n<answer>\n{answer}\n</answer>"
    return [{"role": "user", "content": question}, {"role": "assistant", "content": said}]


def test_easy_sums_are_chosen_by_their_digits(tmp_path: Path) -> None:
    file = tmp_path / "sums.jsonl"
    turns = [conversation("What is 23+59?", "82"), conversation("1+2+3=?", "6"), conversation("123+45=？", "168")]
    file.write_text("".join(json.dumps({"conversations": one}) + "\n" for one in turns), encoding="utf-8")
    assert easy_sums(file, 4) == turns[:2] and easy_sums(file, 0) == turns


def test_the_habit_is_three_answers_at_once_for_one_with_a_thought() -> None:
    mixed = mostly_at_once([conversation("2+3=?", "5")])
    assert {turns[0]["content"] for turns in mixed} == {"2+3=?"}
    parsed = [parse_reasoning(turns[1]["content"]) for turns in mixed]
    assert [(one.thought, one.answer, one.well_formed) for one in parsed] == [("ones", "5", True)] + 3 * [
        (None, "5", True)
    ]


def test_pictures_draw() -> None:
    history = [
        {"step": step, "correctness_reward": 0.5, "kl": 0.1, "answer_tokens": 9.0, "dead_groups": 0.2}
        for step in range(1, 4)
    ]
    for figure in (
        figures.advantages([1.0, 0.0, 0.5]), figures.clips({name: OBJECTIVES[name] for name in ("grpo", "cispo")}),
        figures.estimators({"k1": (0.1, 0.2), "k3": (0.1, 0.05)}, 0.1), figures.curves(history),
        ppo_figures.gae_lines([0.0, 1.0], [0.4, 0.6], {"λ = 1": [0.6, 0.4]}),
    ):  # fmt: skip
        figure.canvas.draw()
    shown = figures.texts({"question": ["2 < 3"], "answer": ["x" * 500]}).data
    assert "2 &lt; 3" in shown and "…" in shown


def test_the_explorer_says_when_a_group_is_dead(capsys: pytest.CaptureFixture[str]) -> None:
    explorer = widgets.advantage_explorer([1.0, 0.0, 0.0])
    explorer.update()
    assert "1.15" in capsys.readouterr().out
    explorer.children[0].value = 0.0
    assert "nothing is learned" in capsys.readouterr().out


def test_the_lambda_slider_recomputes(capsys: pytest.CaptureFixture[str]) -> None:
    slider = ppo_widgets.gae_slider([0.0, 1.0], [0.5, 0.5])
    slider.children[0].value = 0.0
    assert "[0.0, 0.5]" in capsys.readouterr().out
