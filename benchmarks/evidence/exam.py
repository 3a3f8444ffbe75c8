"""Chapter 16: the sample exams by whole answers, the pretrained model and one that has learned nothing.

Which way of asking and dividing counts is decided on the questions for practice, as in the chapter.
"""

from collections.abc import Sequence

from minimind_lite.course.chapters.evaluation import experiments
from minimind_lite.course.kit.data_files import data_path
from minimind_lite.data.benchmarks import Question
from minimind_lite.evaluation.closed_book import wilson_interval
from minimind_lite.evaluation.likelihood import OwnModel
from minimind_lite.model.pretrained import load_pretrained
from minimind_lite.tokenizer import Tokenizer

from . import Measured, Run

SETTINGS = "evaluation"
WAYS = [(fill, by_byte) for fill in (False, True) for by_byte in (False, True)]


def right(model: OwnModel, questions: Sequence[Question], fill: bool, by_byte: bool) -> float:
    """How many answers are right; see ``experiments.answer_requests`` and ``share_right``."""
    asked = [experiments.answer_requests(question, fill) for question in questions]
    found = experiments.choice_logprobs(model, asked)
    lengths = [[len(choice.encode()) if by_byte else 1 for choice in one.choices] for one in questions]
    keys = [question.answer for question in questions]
    return sum(experiments.share_right(*one) for one in zip(found, lengths, keys, strict=True))


def measure(run: Run) -> Measured:
    """Ask both models."""
    base, settings = run.folder("pretrain"), run.settings(SETTINGS)
    tokenizer, folder = Tokenizer.load(base), data_path("exam", "quick")
    trained = OwnModel(load_pretrained(base), tokenizer)
    practice = experiments.exam(folder, settings.eval_questions, split="val")
    fill, by_byte = max(WAYS, key=lambda way: right(trained, practice, *way))
    questions = experiments.exam(folder, settings.eval_questions)
    count = right(trained, questions, fill, by_byte)
    low, high = wilson_interval(count, len(questions))
    untrained = right(OwnModel(experiments.untrained(base), tokenizer), questions, fill, by_byte)
    return {
        "accuracy": count / len(questions),
        "ci_low": low,
        "ci_high": high,
        "untrained_accuracy": untrained / len(questions),
        "questions": len(questions),
    }, []
