"""Checks of the exercises on chapter 16, evaluation. References: float64 sums, exact fractions, the interval's own
defining equation, and counting."""

import math
from collections.abc import Sequence
from fractions import Fraction

import torch

from ...exercises.core import check
from ...exercises.task import Task, close
from ...kit.language import say

Z = 1.96  # standard deviations


@check("16.logprob", points=2)
def check_continuation_logprob(task: Task) -> str:
    """The log-likelihood of a continuation from a model's scores"""
    for length, given in ((9, 4), (6, 1), (5, 4)):
        logits, ids = task.randn(length, 11) * 3, task.randint(0, 11, length)
        logprobs = logits.double().log_softmax(-1)
        right = sum(float(logprobs[at - 1, ids[at]]) for at in range(given, length))
        counted = length - given
        raw = sum(float(logits[at - 1, ids[at]]) for at in range(given, length))
        everything = sum(float(logprobs[at - 1, ids[at]]) for at in range(1, length))
        late = sum(float(logprobs[at, ids[at]]) for at in range(given, length))
        after = sum(float(logprobs[at - 1, ids[at]]) for at in range(given + 1, length))
        task.equal(task.call(logits, ids, given), right, say("{length} tokens, {given} of them given: not the sum of "
                                                             "the continuation's log-probabilities",
                                                             length=length, given=given), {
            "you read row t for token t: row t predicts token t + 1, so token t is read from row t - 1": late,
            "those are raw scores: log_softmax turns them into log-probabilities": raw,
            "the context is counted too: what was given is not scored": everything if given > 1 else math.nan,
            "the continuation's first token is missing: the context's last row predicts it": after,
            "that is the mean over the tokens; wanted is the sum": right / counted if counted > 1 else math.nan,
            "the sign is wrong: a log-probability is never above 0": -right,
            "that is the probability itself: add logarithms, or long texts become 0": math.exp(right),
        })  # fmt: skip
    return "each token of the continuation, read from the row before it, and nothing of the context"


@check("16.credit", points=2)
def check_credit(task: Task) -> str:
    """What an answer is worth: the right choice likeliest per unit of length, ties shared"""
    cases: list[tuple[list[float], list[int], int]] = [
        ([-8.0, -9.0, -20.0, -12.0], [2, 3, 10, 2], 2),
        ([-8.0, -9.0, -20.0, -12.0], [2, 3, 10, 2], 0),
        ([-6.0, -3.0, -8.0, -9.0], [2, 1, 2, 1], 1),
        ([-4.0, -4.0, -4.0, -4.0], [1, 1, 1, 1], 3),
        ([-4.0, -2.0, -9.0, -8.0], [2, 1, 1, 1], 0),
        ([-3.0, -4.0, -9.0, -9.0], [3, 1, 1, 1], 1),
    ]
    turn = task.number(0, 4)
    order = [(place + turn) % 4 for place in range(4)]
    asked = [([a[i] for i in order], [b[i] for i in order], order.index(key)) for a, b, key in cases]
    got = [float(task.call(*one)) for one in asked]
    shared = [_credit(*one) for one in asked]
    wanted = say(
        "for (log-likelihoods, lengths, right choice) {asked} you gave {got}, wanted is {shared}",
        asked=asked,
        got=got,
        shared=shared,
    )
    task.equal(got, shared, wanted, {
        "you compared sums: a long answer loses for being long. Divide each by its length":
            [_credit(logs, [1] * 4, key) for logs, _, key in asked],
        "you multiplied by the lengths: divide, so that a long answer does not lose for being long":
            [_credit([a * b * b for a, b in zip(logs, sizes, strict=True)], sizes, key) for logs, sizes, key in asked],
        "where choices share the best score you gave the right one everything: a model for which all choices are equal "
        "would score 100 %": [float(one > 0) for one in shared],
        "where choices share the best score you gave nothing: a guess among k is worth 1 / k":
            [float(one == 1) for one in shared],
        "a tie is worth a half only between two: a guess among k is worth 1 / k":
            [one if one in (0, 1) else 0.5 for one in shared],
        "you took the least likely choice: log-likelihoods are negative, and nearer to 0 is likelier":
            [_credit([-one for one in logs], sizes, key) for logs, sizes, key in asked],
    })  # fmt: skip
    return "per unit of length, and a guess among k equals is worth 1 / k"


def _credit(logprobs: Sequence[float], lengths: Sequence[int], answer: int) -> float:
    values = [Fraction(one) / size for one, size in zip(logprobs, lengths, strict=True)]
    best = [place for place, value in enumerate(values) if value == max(values)]
    return (answer in best) / len(best)


@check("16.interval", points=2)
def check_interval(task: Task) -> str:
    """The 95 % interval of a score"""
    for right, total in ((50 + task.number(0, 9), 200), (10, 10), (0, 12), (3, 7)):
        got = task.call(right, total)
        case = say("{right} of {total}", right=right, total=total)
        task.that(isinstance(got, (tuple, list)) and len(got) == 2, "return two numbers, the lower end and the upper")
        low, high = (float(one) for one in got)
        task.that(
            low <= high,
            say(
                "{case}: the lower end comes first; you returned {low} and {high}",
                case=case,
                low=f"{low:.3f}",
                high=f"{high:.3f}",
            ),
        )
        _explain_interval(task, case, (low, high), right, total)
        for end in (low, high):
            inside = 1e-9 < end < 1 - 1e-9
            task.that(
                not inside or abs(abs(right / total - end) / math.sqrt(end * (1 - end) / total) - Z) < 1e-3,
                say(
                    "{case}: at {end} the score is not 1.96 standard deviations away, as it is at either end "
                    "of Wilson's interval",
                    case=case,
                    end=f"{end:.4f}",
                ),
            )
        task.that(
            0 < high - low < 1 and low <= right / total <= high,
            say(
                "{case}: {low} to {high} does not hold the score, or holds everything",
                case=case,
                low=f"{low:.3f}",
                high=f"{high:.3f}",
            ),
        )
    return "either end is a skill at which the score would be exactly 1.96 standard deviations away"


def _explain_interval(task: Task, case: str, got: tuple[float, float], right: int, total: int) -> None:
    p = right / total
    half = Z * math.sqrt(p * (1 - p) / total)
    weight = Z * Z / total
    centre = (p + weight / 2) / (1 + weight)
    wilson = Z * math.sqrt(p * (1 - p) / total + weight / (4 * total)) / (1 + weight)
    task.that(max(got) <= 1.5, say("{case}: give shares from 0 to 1, not percent", case=case))
    task.that(
        not close(got, (p - half, p + half)) and not close(got, (max(0.0, p - half), min(1.0, p + half))),
        say(
            "{case}: that is p ± 1.96·√(p(1-p)/n), which has no width at 0 and at 1 and is too narrow near "
            "them; take Wilson's",
            case=case,
        ),
    )
    task.that(
        not close(got, (centre - wilson / Z, centre + wilson / Z), 1e-3),
        say("{case}: that is one standard deviation to either side; 95 % takes 1.96", case=case),
    )
    task.that(
        not close(got, (p - wilson, p + wilson), 1e-3),
        say("{case}: Wilson's interval is not centred on the score: its centre is pulled towards a half", case=case),
    )
    wide = wilson * (1 + weight)
    task.that(
        not close(got, (centre - wide, centre + wide), 1e-3),
        say("{case}: the half-width is divided by 1 + z²/n, as the centre is", case=case),
    )
    task.that(
        got[0] >= -1e-9 and got[1] <= 1 + 1e-9,
        say("{case}: {value} to {value_2} leaves 0 to 1", case=case, value=f"{got[0]:.3f}", value_2=f"{got[1]:.3f}"),
    )


@check("16.paired", points=2)
def check_paired(task: Task) -> str:
    """Is the second model better? The exact sign test"""
    cases = [_answers(task, better, worse) for better, worse in ((9, 1), (1, 9), (6, 6), (0, 0), (14, 4))]
    for first, second in cases:
        better = sum(b > a for a, b in zip(first, second, strict=True))
        worse = sum(a > b for a, b in zip(first, second, strict=True))
        total, right = better + worse, _sign(better, worse)
        got = float(task.call(first, second))
        case = say(
            "better on {better} items, worse on {worse}, the same on {value}",
            better=better,
            worse=worse,
            value=len(first) - total,
        )
        task.that(
            not total or got <= 1 + 1e-9,
            say(
                "{case}: {got} is above 1, and no probability is: when both tails meet in the middle, the answer is 1",
                case=case,
                got=f"{got:.3g}",
            ),
        )
        task.that(
            math.isfinite(got),
            say("{case}: not a number: without a difference there is nothing to doubt, p is 1", case=case),
        )
        exact = Fraction(math.comb(total, better), 2**total)
        one_sided = sum(math.comb(total, one) for one in range(better, total + 1)) / 2**total
        lower = sum(math.comb(total, one) for one in range(min(better, worse) + 1)) / 2**total
        task.equal(got, right, say("{case}: not how often fair coins split at least so unevenly", case=case), {
            "the ties were counted: items on which both are the same decide nothing":
                _sign(min(better, worse), len(first) - min(better, worse)),
            "ties were counted as wins": _sign(len(first) - worse, worse),
            "that is exactly this split: count the more uneven ones too": float(exact),
            "that is one side only: the first model might have been better just as well": lower,
            "that is one side only, the second model's: it might have been worse just as well": one_sided,
            "that is 1 - p: how often chance alone would NOT do it": 1 - right,
            "that is the difference of the two scores, not how likely chance makes it":
                (better - worse) / len(first),
        })  # fmt: skip
    return "only the items that differ, both tails, and 1 where nothing differs"


def _answers(task: Task, better: int, worse: int) -> tuple[list[float], list[float]]:
    """Two models' answers to items, shuffled; on 8 to 11 they do the same."""
    same = 8 + task.number(0, 4)
    pairs = [(0.0, 1.0)] * better + [(1.0, 0.0)] * worse + [(float(i % 2), float(i % 2)) for i in range(same)]
    order = torch.randperm(len(pairs), generator=task.generator).tolist()
    return [pairs[i][0] for i in order], [pairs[i][1] for i in order]


def _sign(better: int, worse: int) -> float:
    total = better + worse
    tail = sum(Fraction(math.comb(total, one), 2**total) for one in range(min(better, worse) + 1))
    return float(min(Fraction(1), 2 * tail))


@check("16.overlap", points=2)
def check_overlap(task: Task) -> str:
    """Which questions of an exam stand in the training texts"""
    words = [f"w{task.number(0, 1000)}x{number}" for number in range(40)]
    leaked, short, close_one, fresh = words[:8], words[8:11], [*words[11:15], "other", *words[16:20]], words[30:37]
    texts = [
        " ".join(["begin", *leaked, "end"]), " ".join(words[11:20]), " ".join(reversed(fresh)), " ".join(short),
        " ".join(fresh[:3]), " ".join(fresh[3:]),
    ]  # fmt: skip
    exam = [" ".join(leaked), " ".join(close_one), " ".join(fresh), " ".join(short), " ".join(words[20:24])]
    expected, got = [0, 3], task.call(exam, texts, 5)
    task.that(isinstance(got, (list, tuple)) and all(isinstance(one, int) for one in got),
              "return a list of whole numbers, the questions' numbers")  # fmt: skip
    found = sorted(got)
    task.that(4 not in found, "question 4 shares no word with any text, and you accuse it")
    task.that(1 not in found, "question 1 differs from a text by one word in its middle and shares no run of 5 words, "
              "only shorter ones: look for runs of neighbours, n at a time")  # fmt: skip
    task.that(2 not in found, "all words of question 2 are in the texts, but in another order or in two texts: runs of "
              "neighbours within one text count, not single words")  # fmt: skip
    task.that(0 in found, "question 0 stands inside a longer text, word for word, and you did not find it: look for "
              "runs, not for whole texts")  # fmt: skip
    task.that(3 in found, "question 3 is shorter than n and stands in a text as a whole: take the whole question as "
              "its run")  # fmt: skip
    task.that(
        list(got) == expected,
        say(
            "wanted is each question's number once, in order: {expected}, not {found}",
            expected=expected,
            found=list(got),
        ),
    )
    inner = ["x y " + " ".join(leaked[2:7]) + " z q"]
    task.that(list(task.call(inner, texts, 5)) == [0], "a question of which n words in a row stand in a text is "
              "contaminated, even if its beginning and its end are new")  # fmt: skip
    cut = [" ".join([words[0][1:], *words[1:3]])]
    task.that(list(task.call(cut, [" ".join(leaked)], 5)) == [], "part of a word is not that word: compare lists of "
              "words, not pieces of text")  # fmt: skip
    return "runs of neighbouring words, shorter questions as a whole, and no innocent question accused"
