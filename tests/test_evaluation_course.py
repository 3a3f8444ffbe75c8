"""Chapter 16: its questions and requests, milestones of a run, and a figure that names its own stage."""

import doctest
import json
from pathlib import Path

import pytest
import torch

from minimind_lite.config import preset
from minimind_lite.course.chapters.evaluation import experiments
from minimind_lite.course.kit import milestones as kit
from minimind_lite.course.kit.errors import CourseError
from minimind_lite.course.kit.milestones import Milestones, milestones
from minimind_lite.data.benchmarks import Question
from minimind_lite.evaluation.harness import ScoredItem
from minimind_lite.evaluation.report import credit
from minimind_lite.files import repository_root
from minimind_lite.model.pretrained import load_pretrained
from minimind_lite.model.transformer import Transformer
from minimind_lite.training.loop import train
from minimind_lite.training.options import TrainConfig

SAMPLES = repository_root() / "data_samples"
QUESTION = Question("1", "geography", "The capital of Japan is ____.", ("Oslo", "Tokyo", "Rome", "Bern"), 1)
CHINESE = Question("2", "geography", "日本的首都是____。", ("奥斯陆", "东京", "罗马", "伯尔尼"), 1)


def test_an_answer_is_put_where_the_question_leaves_off() -> None:
    assert experiments.answer_requests(QUESTION, fill=True)[1] == ("The capital of Japan is", " Tokyo")
    assert experiments.answer_requests(CHINESE, fill=True)[1] == ("日本的首都是", "东京")
    assert experiments.answer_requests(QUESTION, fill=False)[1] == ("The capital of Japan is ____.\nAnswer:", " Tokyo")


def test_in_four_orders_each_choice_stands_under_each_letter_once() -> None:
    under: dict[str, set[str]] = {}
    for turn in range(4):
        for line in experiments.letter_requests(QUESTION, turn)[0].context.splitlines()[1:5]:
            letter, choice = line.split(". ")
            under.setdefault(choice, set()).add(letter)
            assert QUESTION.choices.index(choice) == ("ABCD".index(letter) - turn) % 4
    assert under == {choice: set("ABCD") for choice in QUESTION.choices}


def test_practice_and_exam_share_no_question() -> None:
    exam, practice = (experiments.exam(SAMPLES / "exam", 10_000, split) for split in ("test", "val"))
    assert len(exam) >= 100 and len(practice) >= 50
    assert not {one.text for one in exam} & {one.text for one in practice}
    assert len(experiments.exam(SAMPLES / "exam", 20)) <= 20


def test_a_cloze_breaks_off_before_what_must_be_known() -> None:
    items = experiments.cloze_items(SAMPLES / "facts_rings", 10_000)
    assert ("The capital of China is", " Beijing") in items
    assert all(one.context == one.context.rstrip() and one.continuation.strip() for one in items)


@pytest.mark.parametrize("logprobs", [[-3.0, -2.0, -8.0, -9.0], [-2.0] * 4, [-8.0, -8.0, -8.0, -1.0]])
@pytest.mark.parametrize("answer", range(4))
def test_share_right_is_the_reports_credit(logprobs: list[float], answer: int) -> None:
    lengths = [2, 1, 4, 1]
    item = ScoredItem("", "", answer, logprobs, lengths, lengths, lengths, [False] * 4, 0)
    assert experiments.share_right(logprobs, lengths, answer) == credit(item, lengths)


class Rows(torch.utils.data.Dataset[dict[str, torch.Tensor]]):
    """Four rows of counting."""

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        ids = torch.arange(9) + index
        row = {"input_ids": ids[:-1], "targets": ids[1:], "position_ids": torch.arange(8)}
        return row | {"document_ids": torch.zeros(8, dtype=torch.long)}


def test_milestones_double_and_hold_the_model_of_their_step(tmp_path: Path) -> None:
    assert doctest.testmod(kit).failed == 0
    folder = tmp_path / "milestones"
    (folder / "step-00000099-items-1").mkdir(parents=True)  # of an earlier run
    model = Transformer(preset("pico", vocab_size=64))
    begun = model.model.norm.weight.detach().clone()
    config = TrainConfig(total_steps=8, micro_batch_size=2, learning_rate=0.01, progress=False, device="cpu")
    train(model, Rows(), config, tmp_path, callbacks=[Milestones(folder, halvings=2)])
    found = milestones(folder)
    assert [(step, items) for step, items, _ in found] == [(0, 0), (2, 32), (4, 64), (8, 128)]
    assert torch.equal(load_pretrained(found[0][2]).model.norm.weight, begun)
    assert torch.equal(load_pretrained(found[-1][2]).model.norm.weight, model.model.norm.weight)
    assert milestones(tmp_path / "nowhere") == []
    assert experiments.model_on_its_way(tmp_path) == found
    with pytest.raises(CourseError, match=r"milestones is empty: run chapter 08 again with --force"):
        experiments.model_on_its_way(tmp_path / "nowhere")


def test_the_chapters_figures_are_recorded_under_names_of_their_own() -> None:
    stored = json.loads((repository_root() / "notebooks" / "16_evaluation.ipynb").read_text(encoding="utf-8"))
    source = "".join(line for cell in stored["cells"] for line in cell["source"])
    for name in ("exam.accuracy", "exam.ci_low", "exam.untrained_accuracy", "language.zh", "language.en"):
        assert f'"{name}":' in source
