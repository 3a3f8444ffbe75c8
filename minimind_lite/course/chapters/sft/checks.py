"""Checks of the exercises on chapter 10, fine-tuning. References: torch's loss, marks known by construction."""

import re
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ...exercises.core import check
from ...exercises.task import Task, Wrong, close
from ...kit.language import say

START, END, NEWLINE, ASSISTANT, USER, SYSTEM = 1, 2, 3, [7, 8], [9], [10]  # a small vocabulary; words from 20 up
IGNORED = -100


@check("10.targets", points=1)
def check_targets(task: Task) -> str:
    """Where a mark belongs: the shift by one"""
    ids, mask = task.randint(20, 90, 9), torch.tensor([0, 0, 0, 1, 1, 1, 0, 0, 1])
    answer = _targets(task, ids, mask)
    got = torch.as_tensor(answer)
    expected = torch.where(mask[1:] == 1, ids[1:], IGNORED)
    task.that(
        got.shape == (8,), say("nine tokens ask eight questions; your answer has shape {shape}", shape=tuple(got.shape))
    )
    task.equal(got, expected, "targets[t] is ids[t + 1] where *that* token is marked, else -100", {
        "off by one: you took the mark of the token that is read (`mask[:-1]`), so the first word of the answer is not "
        "learned and the token after its end is. The mark belongs to the token that is predicted":
            torch.where(mask[:-1] == 1, ids[1:], IGNORED),
        "the targets are the inputs themselves: the model would learn to copy. Shift them by one":
            torch.where(mask[:-1] == 1, ids[:-1], IGNORED),
        "the marks are shifted and the ids are not: `ids[1:]`": torch.where(mask[1:] == 1, ids[:-1], IGNORED),
        "1 means *learn this*, and you learn the rest": torch.where(mask[1:] == 0, ids[1:], IGNORED),
        "a target that is not learned must be -100; 0 is a token, and the model would learn to say it":
            torch.where(mask[1:] == 1, ids[1:], 0),
        "the mask is not used: the user's words would be learned too": ids[1:],
    })  # fmt: skip
    kind = answer.dtype if isinstance(answer, Tensor) else type(answer).__name__
    task.that(kind == torch.int64, say("the numbers are right, but wanted is a tensor of dtype int64, which the loss "
                                       "takes; yours is {kind}", kind=kind))  # fmt: skip
    return "eight targets, and the first word of the answer is among them"


def _targets(task: Task, ids: Tensor, mask: Tensor) -> Any:
    """The learner's answer; if nine marks met eight tokens on the way, the error is given its reason."""
    try:
        return task.call(ids, mask)
    except Wrong as stopped:
        if not {"8", "9"} <= set(re.findall(r"\d+", str(stopped))):  # torch's words about two sizes
            raise
        shift = "`ids[1:]` has eight entries and `mask` has nine: shift the mask, too"
        raise Wrong(f"{say(shift)} ({stopped})") from stopped


Turn = tuple[list[int], list[int]]  # role, words


def _conversation(turns: list[Turn], learned: Sequence[str] = ("answer", "end")) -> tuple[list[int], list[int]]:
    """(ids, marks), written turn by turn; ``learned`` says which parts of an assistant's turn are marked."""
    ids, marks = [], []
    for role, words in turns:
        mine = role == ASSISTANT
        parts = {"head": [START, *role, NEWLINE], "answer": words, "end": [END], "newline": [NEWLINE]}
        for name, part in parts.items():
            ids += part
            marks += [int(mine and name in learned)] * len(part)
    return ids, marks


def _some_turns(task: Task) -> list[Turn]:
    """A system turn first; a user who says the word "assistant"; a newline inside an answer; an empty answer."""

    def words() -> list[int]:
        return [int(one) for one in task.randint(20, 90, 2 + task.number(0, 3))]

    return [(SYSTEM, words()), (USER, words() + ASSISTANT + [NEWLINE]), (ASSISTANT, [*words(), NEWLINE, *words()]),
            (USER, words()), (ASSISTANT, []), (USER, words()), (ASSISTANT, words())]  # fmt: skip


def _mask_mistakes(turns: list[Turn]) -> dict[str, list[int]]:
    """Message → the marks which that mistake gives."""
    roles = [role for role, _ in turns]
    places = [number for number, role in enumerate(roles) if role == ASSISTANT]
    whose = {
        "only the last answer is marked: all of the assistant's turns are to be learned": places[-1:],
        "only the first answer is marked: go on until the tokens end": places[:1],
        "you took every second turn; a conversation may begin with a system turn. The role is in the header":
            range(1, len(turns), 2),
        "the user's words are marked too: the role is in the header": range(len(turns)),
    }  # fmt: skip
    parts = {
        "you also learn the header: `<|im_start|>assistant` is given to the model, it never has to say it":
            ("head", "answer", "end"),
        "the answer's end is not learned: the model would never stop. Mark <|im_end|> too": ("answer",),
        "you also learn the newline after the end: at use nobody asks the model for it": ("answer", "end", "newline"),
    }  # fmt: skip
    everything = {"everything is marked": [1] * len(_conversation(turns)[0])}
    return (everything | {message: _conversation(turns, learned)[1] for message, learned in parts.items()}
            | {message: _marks_of(turns, list(which)) for message, which in whose.items()})  # fmt: skip


@check("10.mask", points=3)
def check_answer_mask(task: Task) -> str:
    """The loss mask, from the tokens alone"""
    header, turns = [START, *ASSISTANT, NEWLINE], _some_turns(task)
    ids, marks = _conversation(turns)
    got = [int(one) for one in task.call(ids, header, END)]
    task.that(
        len(got) == len(ids),
        say(
            "wanted is one mark for each of the {count} tokens; you returned {count_2}",
            count=len(ids),
            count_2=len(got),
        ),
    )
    for message, value in _mask_mistakes(turns).items():
        task.that(got != value, message)
    task.that(got == marks, _first_difference(ids, got, marks))
    cut = ids[: len(ids) - 3]  # a length limit took the end of the last answer
    no_end = "an answer that a length limit has cut has no end; what is left of it counts"
    try:
        rest = [int(one) for one in task.call(cut, header, END)]
    except Wrong as stopped:  # the same function has run on the whole conversation
        raise Wrong(f"{say(no_end)} ({stopped})") from stopped
    task.that(rest == marks[: len(cut)], no_end)
    return 'every answer with its end, nothing else; and a user who says "assistant" deceives nobody'


def _first_difference(ids: list[int], got: list[int], marks: list[int]) -> str:
    """Where the learner's marks begin to be wrong, with the tokens around it."""
    at = next((place for place, (one, other) in enumerate(zip(got, marks, strict=True)) if one != other), 0)
    part = slice(max(0, at - 4), at + 4)
    return say("the marks are wrong from token {at} on. The ids around it are {ids}, wanted is {wanted}, yours "
               "is {got}. Here {start} is <|im_start|>, {end} <|im_end|> and {newline} a newline. Does a user's word "
               "\"assistant\" deceive it? Does an answer go on after a newline? The header is a run of several tokens",
               at=at, ids=ids[part], wanted=marks[part], got=got[part], start=START, end=END,
               newline=NEWLINE)  # fmt: skip


def _marks_of(turns: list[Turn], learned: list[int]) -> list[int]:
    """Marks with the words and the end of the turns that are learned."""
    marks = []
    for number, (role, words) in enumerate(turns):
        marks += [0] * (len(role) + 2) + [int(number in learned)] * (len(words) + 1) + [0]
    return marks


@check("10.loss", points=2)
def check_repaired_loss(task: Task) -> str:
    """Find the bug in the loss"""
    logits, targets = task.randn(3, 6, 12) * 2, task.randint(0, 12, 3, 6)
    targets[0, :1], targets[1, :4], targets[2] = IGNORED, IGNORED, IGNORED  # five, two and no learned tokens
    got = task.call(logits, targets)
    task.that(not torch.as_tensor(got).isnan(), "not a number: a row without a target has a mean of 0/0. Add up all "
              "the surprises of the batch first, divide once")  # fmt: skip
    rows = [F.cross_entropy(logits[row], targets[row]) for row in (0, 1)]
    again = [F.cross_entropy(logits[row, :-1], targets[row, 1:], reduction="sum") for row in (0, 1)]
    total = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum")
    task.equal(got, total / 7, "this is not the mean surprise of the learned tokens", {
        "still shifted twice: the data has shifted the targets already, so this model learns to skip a word":
            sum(again) / 7,
        "each row counts the same, so a word of a short answer counts more than one of a long answer": sum(rows) / 2,
        "each row counts the same, the empty one too": sum(rows) / 3,
        "that is the sum; divide by the number of learned tokens": total,
        "you divided by all positions; those that are not learned do not count": total / 18,
        "you divided by the number of rows": total / 3,
    })  # fmt: skip
    slope = task.gradients(logits, targets)[0]
    task.that(slope is not None and slope.any(), "the value is right, but no gradient flows back through it (`item`, "
              "`detach` or `no_grad` cuts it): nothing would be learned")  # fmt: skip
    nothing = task.call(logits, torch.full((3, 6), IGNORED))
    task.equal(nothing, 0.0, "a batch with nothing to learn has loss 0 (and no NaN): divide by at least 1")
    return "the mean over the learned tokens, as torch's cross-entropy over the whole batch has it, and 0 for none"


@check("10.luck", points=2)
def check_exam_luck(task: Task) -> str:
    """Predict, then measure: how much of a score is luck?"""
    share, questions = 0.75 + task.number(0, 20) / 100, 110 + task.number(0, 130)  # far from one half, and not 100
    got = float(task.call(share, questions))
    exams = (task.rand(20000, questions) < share).float().mean(dim=1)  # 20,000 models of the same ability
    measured, variance = exams.std().item(), share * (1 - share)
    inside = abs(got / measured - 1) < 0.05
    for value, message in [
        (variance / questions, "that is the variance; its root is in the same unit as the score"),
        (variance**0.5, "that is the spread of *one* question; a mean of many spreads less"),
        (variance**0.5 / questions, "a mean of n questions spreads by 1/√n, not by 1/n"),
        (
            variance**0.5 * questions**0.5,
            "that is the spread of the *number* of right answers; divide by the questions",
        ),
        (0.5 / questions**0.5, "that is the spread at a share of one half, where it is largest; use `share` itself"),
        (100 * (variance / questions) ** 0.5, "these are per cent; wanted is a share between 0 and 1"),
        (share / questions**0.5, "a model that is always right has no luck at all: use share · (1 - share)"),
        (
            1.96 * (variance / questions) ** 0.5,
            "that is half of the 95 % interval; one standard deviation is asked for",
        ),
    ]:
        task.that(inside or not close(got, value), message)
    task.that(
        inside,
        say(
            "{questions} questions at {share}: measured {measured}, you said {got}",
            questions=questions,
            share=f"{share:.0%}",
            measured=f"{measured:.4f}",
            got=f"{got:.4f}",
        ),
    )
    return say(
        "within 5 % of what 20,000 exams showed: ± {measured} with {questions} questions, by luck alone",
        measured=f"{measured:.1%}",
        questions=questions,
    )


def example() -> tuple[Tensor, Tensor]:
    """Logits and shifted targets of a tiny batch for the notebook: the second row has nothing to learn."""
    logits = torch.randn(2, 4, 8, generator=torch.Generator().manual_seed(0))
    return logits, torch.tensor([[IGNORED, 3, 5, 2], [IGNORED] * 4])
