"""Chapter 16's experiments: the exam's questions, milestones, training on the exam, the letter adapter."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from minimind_lite.data.benchmarks import BENCHMARKS, Question, read_questions
from minimind_lite.data.documents import Document
from minimind_lite.data.packing import PaddedDataset
from minimind_lite.data.records import DataError
from minimind_lite.evaluation.likelihood import LanguageModel, OwnModel, Request, encode_pair, likelihoods
from minimind_lite.evaluation.perplexity import document_nats
from minimind_lite.evaluation.statistics import bootstrap_interval
from minimind_lite.model.lora import LoRAConfig, add_adapter
from minimind_lite.model.pretrained import load_pretrained
from minimind_lite.model.transformer import Transformer
from minimind_lite.tokenizer import Tokenizer
from minimind_lite.training.loop import train
from minimind_lite.training.options import TrainConfig

from ...kit.errors import CourseError
from ...kit.language import say
from ...kit.milestones import FOLDER, milestones
from ...kit.paths import shown

BLANK = "____"
LETTERS = "ABCD"
Pair = tuple[str, str]  # the acceptable sentence, and the other one


def exam(folder: Path, limit: int, split: str = "test") -> list[Question]:
    """The sample exams' four-way questions of a split (``test``, or ``val`` with ``dev``), spread over ``limit``."""
    found = []
    for name, where in (("samples", folder), ("openbookqa", folder / "openbookqa")):
        benchmark = BENCHMARKS[name]
        if split == "test":
            found += read_questions(benchmark, where)
            continue
        found += read_questions(benchmark, where, examples=True)
        if name == "samples":
            found += read_questions(replace(benchmark, split=("val",)), where)
    if any(len(question.choices) != len(LETTERS) for question in found):
        raise DataError(say("{folder}: this chapter's exam must have four choices a question", folder=folder))
    return found[:: -(-len(found) // limit)]


def is_chinese(text: str) -> bool:
    """Whether Chinese characters are in it."""
    return any("\u4e00" <= character <= "\u9fff" for character in text)


def answer_requests(question: Question, fill: bool) -> list[Request]:
    """A request for each choice: behind the question and "Answer:", or put where the question leaves off (``fill``)."""
    chinese = is_chinese(question.text)
    context = question.text.split(BLANK)[0].rstrip()
    if not fill:
        context = f"{question.text}\n{'答案：' if chinese else 'Answer:'}"
    return [Request(context, one if chinese else f" {one}") for one in question.choices]


def letter_requests(question: Question, turn: int = 0) -> list[Request]:
    """A request for each letter, the choices listed under their letters in the context.

    turn: how many places the choices have moved on, so that choice 0 stands under letter ``turn``.
    """
    size = len(question.choices)
    listed = "".join(f"\n{LETTERS[place]}. {question.choices[(place - turn) % size]}" for place in range(size))
    context = f"{question.text}{listed}\n{'答案：' if is_chinese(question.text) else 'Answer:'}"
    return [Request(context, f" {letter}") for letter in LETTERS[:size]]


def cloze_items(folder: Path, limit: int) -> list[Request]:
    """Facts in the words of the flash cards, cut before what must be known: ("The capital of Japan is", " Tokyo")."""
    found = []
    for file in sorted((folder / "near").glob("*.jsonl")):
        for line in file.read_text(encoding="utf-8").splitlines():
            record = json.loads(line)
            statement, value = record["conversations"][-1]["content"], record["value"]
            before = statement[: statement.rfind(value)]
            if before.strip():
                gap = before[len(before.rstrip()) :]
                found.append(Request(before.rstrip(), gap + value))
    return found[:: -(-len(found) // limit)]


def minimal_pairs(file: Path, limit: int) -> list[tuple[str, Pair]]:
    """(what is tested, the pair) of minimal pairs in BLiMP's format, spread over ``limit``."""
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    return [
        (row["linguistics_term"], (row["sentence_good"], row["sentence_bad"]))
        for row in rows[:: -(-len(rows) // limit)]
    ]


def choice_logprobs(model: LanguageModel, asked: Sequence[Sequence[Request]]) -> list[list[float]]:
    """The log-likelihood of every choice of every question, all scored in one go."""
    found = iter(likelihoods(model, [request for one in asked for request in one]))
    return [[next(found).logprob for _ in one] for one in asked]


def letter_logprobs(model: LanguageModel, questions: Sequence[Question], turns: int = 1) -> list[list[list[float]]]:
    """The log-likelihood of each letter, [question][turn][letter]; see ``letter_requests``."""
    asked = [letter_requests(question, turn) for question in questions for turn in range(turns)]
    found = iter(choice_logprobs(model, asked))
    return [[next(found) for _ in range(turns)] for _ in questions]


def pairs_right(model: LanguageModel, pairs: Sequence[Pair]) -> list[float]:
    """1 for each pair whose acceptable sentence is the likelier one, 0 for the others, a half for a tie."""
    found = choice_logprobs(model, [[Request("", one) for one in pair] for pair in pairs])
    return [1.0 if good > bad else 0.5 * (good == bad) for good, bad in found]


@dataclass(frozen=True)
class Sheets:
    """What a model is measured on at each milestone."""

    pairs: dict[str, list[Pair]]  # by language
    questions: list[Question]
    clozes: list[Request]
    texts: list[str]


@dataclass(frozen=True)
class Milestone:
    """A model on its way, measured: tokens seen, bits per byte with a 95 % interval, and (right, of how many)."""

    tokens: int
    bits: float
    limits: tuple[float, float]
    right: dict[str, tuple[float, int]]


def measure_milestone(model: Transformer, tokenizer: Tokenizer, tokens: int, sheets: Sheets) -> Milestone:
    """All measures of one model, in a few seconds."""
    own = OwnModel(model, tokenizer)
    right = {name: (sum(pairs_right(own, pairs)), len(pairs)) for name, pairs in sheets.pairs.items()}
    clozes = likelihoods(own, sheets.clozes)
    right["cloze"] = (sum(one.greedy for one in clozes), len(clozes))
    answers = [answer_requests(question, fill=True) for question in sheets.questions]
    sizes = [[len(choice.encode()) for choice in question.choices] for question in sheets.questions]
    keys = [question.answer for question in sheets.questions]
    for name, found, lengths in (
        ("exam_answers", choice_logprobs(own, answers), sizes),
        ("exam_letters", [one[0] for one in letter_logprobs(own, sheets.questions)], [[1] * len(LETTERS)] * len(keys)),
    ):
        right[name] = (sum(share_right(*one) for one in zip(found, lengths, keys, strict=True)), len(keys))
    bits = [one / math.log(2) for one in document_nats(model, tokenizer, sheets.texts)]
    weights = [len(text.encode()) for text in sheets.texts]
    return Milestone(tokens, sum(bits) / sum(weights), bootstrap_interval(bits, weights), right)


def share_right(logprobs: Sequence[float], lengths: Sequence[int], answer: int) -> float:
    """1 if the right choice has the highest log-likelihood per unit of length, 1 / k if k choices share it, else 0."""
    values = [one / length for one, length in zip(logprobs, lengths, strict=True)]
    best = [place for place, value in enumerate(values) if value == max(values)]
    return (answer in best) / len(best)


def model_on_its_way(base: Path) -> list[tuple[int, int, Path]]:
    """(step, tokens, folder) of the milestones beside chapter 08's model; CourseError if an older run left none."""
    kept = milestones(base / FOLDER)
    if not kept:
        raise CourseError(say("{folder} is empty: run chapter 08 again with --force, which fills it",
                              folder=shown(base / FOLDER)))  # fmt: skip
    return kept


def untrained(base: Path) -> Transformer:
    """A model of the same shape as the one in ``base`` that has learned nothing."""
    config = load_pretrained(base).config
    torch.manual_seed(1)
    return Transformer(config).eval()


def document(model: LanguageModel, request: Request) -> Document:
    """Context and continuation as a training example of which only the continuation is learned."""
    before, after = encode_pair(model, request)
    mask = np.repeat(np.array([0, 1], np.uint8), [len(before), len(after)])
    return Document(np.asarray([*before, *after]), mask)


def trained_on(
    base: Path, requests: Sequence[Request], folder: Path, config: TrainConfig, adapter: LoRAConfig | None = None
) -> Transformer:
    """The model in ``base`` after training on ``requests``: all of its weights, or only those of an adapter."""
    model, tokenizer = load_pretrained(base), Tokenizer.load(base)
    documents = [document(OwnModel(model, tokenizer), request) for request in requests]
    if adapter is not None:
        add_adapter(model, adapter)
    longest = max(len(one) for one in documents)
    train(model, PaddedDataset(documents, longest), config, folder, resume="never")
    return model


def pretended_exams(skill: float, questions: int, exams: int, seed: int = 0) -> Any:
    """Scores of ``exams`` exams on which each question is answered right with probability ``skill``: (exams,)."""
    return np.random.default_rng(seed).binomial(questions, skill, exams) / questions
