"""Chapter 07b's experiment: dirt is planted in clean texts, and each step of cleaning is worth what it measures.

All arms train the same model for the same number of steps of the same size, so for equally many tokens; only what the
tokens are differs. Two things are measured: bits per byte of held-out clean texts, and how many questions of an exam
are answered right, of those whose answers were planted in the texts and of others. The difference between these two is
what a dishonest exam would add to the score.
"""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from minimind_lite.config import ConfigError
from minimind_lite.data.cleaning import CleaningOptions, clean
from minimind_lite.data.exams import LETTERS, ExamQuestion
from minimind_lite.data.records import read_records
from minimind_lite.evaluation.likelihood import OwnModel, Request, likelihoods
from minimind_lite.evaluation.perplexity import bits_per_byte
from minimind_lite.files import write_text
from minimind_lite.model.transformer import Transformer
from minimind_lite.tokenizer import Tokenizer
from minimind_lite.training.options import TrainConfig
from minimind_lite.training.pretrain import PretrainOptions, run_pretrain

from ...kit.language import say

NOISE = ("encoding", "symbols", "length", "repeats")
DUPLICATES = ("exact", "near")
ARMS = {
    "planted": (),
    "noise out": NOISE,
    "duplicates out": (*NOISE, *DUPLICATES),
    "exam out": (*NOISE, *DUPLICATES, "exams"),
}
_SIGNS = "★☆◆◇■□●○▲△※§¶†‡|~^\\#_"


@dataclass(frozen=True)
class Dirt:
    """How much is planted: shares of the number of clean texts, and how often each exam question is."""

    noise: float = 0.2
    duplicates: float = 0.4
    exam_copies: int = 4


@dataclass(frozen=True)
class Arm:
    """One way of cleaning, and the model that it led to."""

    name: str
    texts: int  # left after cleaning
    rejected: dict[str, int]  # by step
    bits_per_byte: float  # of held-out texts
    seen: float  # share of right answers to the questions that were planted
    unseen: float  # to the others

    @property
    def dishonesty(self) -> float:
        """What having seen the questions added to the score."""
        return self.seen - self.unseen


def planted(texts: Sequence[str], exam: Sequence[ExamQuestion], dirt: Dirt, seed: int = 0) -> list[str]:
    """The texts with noise, copies of a few of them, and an exam with its answers, shuffled.

    Noise is, by turns, a text read in the wrong encoding, a line of signs, and a sentence said again and again. Copies
    are of one text in twenty, every other one with a character left out.
    """
    chance = random.Random(seed)  # noqa: S311  toy data
    made = list(texts)
    for number in range(round(dirt.noise * len(texts))):
        text = chance.choice(texts)
        misread = text.encode("utf-8").decode("latin-1")
        signs = "".join(chance.choices(_SIGNS, k=len(text)))
        made.append((misread, signs, "\n".join([text[:40]] * 9))[number % 3])
    popular = chance.sample(texts, max(1, len(texts) // 20))
    for number in range(round(dirt.duplicates * len(texts))):
        text = chance.choice(popular)
        place = chance.randrange(len(text))
        made.append(text[:place] + text[place + 1 :] if number % 2 else text)
    made += [_told(question) for question in exam for _ in range(dirt.exam_copies)]
    chance.shuffle(made)
    return made


def _answer(question: ExamQuestion) -> str:
    if question.answer is None:
        raise ConfigError(say("the exam withholds the answer to {question}; take a split with answers",
                              question=repr(question.question)))  # fmt: skip
    return question.choices[LETTERS.index(question.answer)]


def _told(question: ExamQuestion) -> str:
    return f"{question.question}\n{_answer(question)}"


def run_arm(
    name: str, data: Path, exams: Path, heldout: Sequence[str], questions: Sequence[Sequence[ExamQuestion]], base: Path,
    folder: Path, config: TrainConfig, options: PretrainOptions, without: Sequence[str] = (),
) -> Arm:  # fmt: skip
    """Clean ``data`` as ARMS[name] says, pretrain on what is left, and measure.

    exams: a file with the planted questions, one JSON object with ``question`` a line. questions: the planted ones, and
    others. base: a tokenizer's folder. without: steps that are left out, such as "near" where datasketch is missing.
    Raises ConfigError unless ``config.total_steps`` is given: arms are compared at equal training tokens.
    """
    if not config.total_steps:
        raise ConfigError(say("give total_steps: arms that train by epochs see different numbers of tokens"))
    steps = tuple(step for step in ARMS[name] if step not in without)
    source, rejected = data, dict[str, int]()
    if steps:
        source = folder / "clean.jsonl"
        report = clean([data], source, CleaningOptions(steps=steps, exams=(exams,) if "exams" in steps else ()))
        rejected = {step: one.rejected for step, one in report.steps.items()}
    stage = run_pretrain(source, base, folder / "model", config, options)
    tokenizer = Tokenizer.load(base)
    seen, unseen = (_share_right(stage.model, tokenizer, some) for some in questions)
    bits = bits_per_byte(stage.model, tokenizer, heldout, block_size=options.block_size)
    return Arm(name, sum(1 for _ in read_records(source, "text")), rejected, bits, seen, unseen)


def _share_right(model: Transformer, tokenizer: Tokenizer, questions: Sequence[ExamQuestion]) -> float:
    """The share of questions whose right choice is the most likely one after the question, per character."""
    requests = [Request(f"{one.question}\n", choice) for one in questions for choice in one.choices]
    scores = [
        found.logprob / len(request.continuation)
        for request, found in zip(requests, likelihoods(OwnModel(model, tokenizer), requests), strict=True)
    ]
    rows = [scores[start : start + len(LETTERS)] for start in range(0, len(scores), len(LETTERS))]
    picked = [row.index(max(row)) for row in rows]
    right = (one.choices[number] == _answer(one) for one, number in zip(questions, picked, strict=True))
    return sum(right) / len(questions)


def compare_arms(
    texts: Sequence[str], heldout: Sequence[str], exam: Sequence[ExamQuestion], base: Path, folder: Path,
    config: TrainConfig, options: PretrainOptions, dirt: Dirt = Dirt(), without: Sequence[str] = (),
) -> list[Arm]:  # fmt: skip
    """Plant dirt and every other question of ``exam`` in ``texts``, and run all of ARMS on the result, in their order.

    heldout: clean texts. See ``run_arm`` for the rest. Writes the planted texts, the planted questions, what each arm
    kept and its model into ``folder``.
    """
    seen, unseen = exam[::2], exam[1::2]
    data, exams = folder / "planted.jsonl", folder / "exam.jsonl"
    write_text(data, _lines("text", planted(texts, seen, dirt, config.seed)))
    write_text(exams, _lines("question", [one.question for one in seen]))
    return [
        run_arm(
            name, data, exams, heldout, (seen, unseen), base, folder / name.replace(" ", "-"), config, options, without
        )
        for name in ARMS
    ]


def _lines(field: str, texts: Sequence[str]) -> str:
    return "".join(json.dumps({field: text}, ensure_ascii=False) + "\n" for text in texts)
