"""Checks of the capstones. No answer of ours is compared with: each asks for properties that every good answer has."""

import math
from typing import Any

import torch

from ..exercises.core import check
from ..exercises.task import Task
from ..kit.language import say

TEXTS = ("the sea was calm and the ship was slow. ", "the captain saw the sea and the whale. ",
         "a whale is not a fish, said the captain. ", "the ship sailed on and on, and the sea was grey. ")  # fmt: skip
STRANGE = ("湖上有一只船", "naïve café 🐳\n\ttab", "\x00 <|im_end|> zzzz", "")


@check("90.tokenizer", points=4)
def check_tokenizer(task: Task) -> str:
    """Build, 1: a tokenizer of your own"""
    texts = [TEXTS[task.number(0, len(TEXTS))] * 3 for _ in range(6)]
    for text in (*STRANGE, TEXTS[0]):
        got = task.call(texts, 300, text)
        ids, pieces = _tokens(task, got, 300)
        joined = b"".join(pieces[one] for one in ids)
        task.that(
            joined == text.encode("utf-8"),
            say(
                "{text} does not come back: the pieces of its ids, joined, "
                "must be its UTF-8 bytes, also for letters that were not in "
                "the texts",
                text=repr(text),
            ),
        )
    held_out = "the whale saw the ship and the captain was calm. "
    lengths = {size: len(task.call(texts, size, held_out)["ids"]) for size in (256, 280, 300)}
    task.that(lengths[256] == len(held_out.encode()), "a vocabulary of 256 has room for the bytes alone")
    task.that(lengths[300] <= lengths[280] <= lengths[256], "a larger vocabulary makes a text longer: are merges "
              "applied in the order in which they were learned?")  # fmt: skip
    task.that(
        lengths[300] < 0.6 * lengths[256],
        say(
            "44 merges shorten a new text from the same world to {value} of "
            "{value_2} ids: they were not learned from the texts, or are "
            "not all applied",
            value=lengths[300],
            value_2=lengths[256],
        ),
    )
    once, again = (task.call(texts, 300, held_out)["ids"] for _ in range(2))
    task.that(list(once) == list(again), "the same call gave other ids: something depends on the order of a set")
    return say(
        "every text comes back, and a new one needs {value} ids instead of {value_2}",
        value=lengths[300],
        value_2=lengths[256],
    )


def _tokens(task: Task, got: Any, size: int) -> tuple[list[int], list[bytes]]:
    """The ids and the vocabulary, after a look at their form."""
    task.that(isinstance(got, dict) and got.keys() == {"ids", "pieces"}, "return a dict with the keys ids and pieces")
    ids, pieces = list(got["ids"]), list(got["pieces"])
    task.that(all(type(one) is bytes for one in pieces), "pieces is a list of bytes, one for each id")
    task.that(
        len(pieces) <= size, say("the vocabulary has {count} entries, {size} are allowed", count=len(pieces), size=size)
    )
    task.that(len(set(pieces)) == len(pieces), "a piece stands in the vocabulary twice")
    task.that({bytes([one]) for one in range(256)} <= set(pieces), "some of the 256 single bytes are missing: then "
              "there are texts that cannot be written")  # fmt: skip
    return ids, pieces


@check("90.model", points=4)
def check_model(task: Task) -> str:
    """Build, 2: a decoder from an empty cell"""
    vocabulary, ids = 50, task.randint(0, 50, 3, 12)
    got = torch.as_tensor(task.call(ids, vocabulary, 0))
    task.that(
        got.shape == (3, 12, vocabulary),
        say(
            "wanted are logits (3, 12, {vocabulary}), yours are {shape}", vocabulary=vocabulary, shape=tuple(got.shape)
        ),
    )
    task.that(got.isfinite().all(), "some logits are no finite numbers")
    changed = ids.clone()
    changed[:, -1] = (changed[:, -1] + 1) % vocabulary
    moved = (torch.as_tensor(task.call(changed, vocabulary, 0)) - got).abs().amax(dim=(0, 2))
    task.that(moved[:-1].max() < 1e-5, "a change of the last token changes earlier positions: they see the future")
    task.that(moved[-1] > 1e-6, "a change of the last token does not change its own logits")
    early = ids.clone()
    early[:, :2] = ids[:, [1, 0]]
    early[:, 0] = torch.where(early[:, 0] == early[:, 1], (early[:, 0] + 1) % vocabulary, early[:, 0])
    last = (torch.as_tensor(task.call(early, vocabulary, 0)) - got)[:, -1].abs().amax(-1)
    task.that(last.max() > 1e-6, "the last position does not notice what stood at the first two: nothing carries "
              "information from one token to another, or it has no notion of order")  # fmt: skip
    alone = torch.as_tensor(task.call(ids[:1], vocabulary, 0))
    task.that((alone - got[:1]).abs().max() < 1e-4, "a row gets other logits when it stands alone: rows mix")
    loss = torch.nn.functional.cross_entropy(got[:, :-1].flatten(0, 1), ids[:, 1:].flatten()).item()
    task.that(
        abs(loss - math.log(vocabulary)) < 0.35,
        say(
            "the untrained loss is {loss}, that of knowing nothing is "
            "ln {vocabulary} = {value}: the first weights are too "
            "large",
            loss=f"{loss:.2f}",
            vocabulary=vocabulary,
            value=f"{math.log(vocabulary):.2f}",
        ),
    )
    task.that((torch.as_tensor(task.call(ids, vocabulary, 0)) - got).abs().max() < 1e-6, "seed 0 twice, two answers")
    task.that((torch.as_tensor(task.call(ids, vocabulary, 1)) - got).abs().max() > 1e-4, "the seed changes nothing")
    return say("causal, ordered, rows apart, and a first loss of {loss}", loss=f"{loss:.2f}")


@check("90.train", points=4, patience=6)
def check_training(task: Task) -> str:
    """Align, 1: a model that has learned a small language"""
    first, second, vocabulary = task.randint(0, 11, 200, 1), task.randint(0, 11, 200, 1), 11
    rows = [first, second]
    for _ in range(10):
        rows.append((rows[-1] + rows[-2]) % vocabulary)  # each token is the sum of the two before it
    data = torch.cat(rows, dim=1)
    train, held_out = data[:160], data[160:]
    got = torch.as_tensor(task.call(train, held_out, vocabulary))
    task.that(got.shape == (40, 11, vocabulary), say("wanted are logits for every next token of the held-out rows, "
                  "(40, 11, {vocabulary}); yours are {shape}", vocabulary=vocabulary,
                  shape=tuple(got.shape)))  # fmt: skip
    shares = bool((got >= 0).all() and (got.double().sum(-1) - 1).abs().max() < 1e-3)
    task.that(not shares, "these are probabilities, each row sums to 1: return the logits, before the softmax")
    other = held_out.clone()
    other[:, -1] = (other[:, -1] + 1) % vocabulary
    again = torch.as_tensor(task.call(train, other, vocabulary))
    task.that((again - got).abs().max() < 1e-3, "the logits know the held-out rows' last token, which is only a target")
    loss = torch.nn.functional.cross_entropy(got[:, 1:].flatten(0, 1), held_out[:, 2:].flatten()).item()
    chance = math.log(vocabulary)
    task.that(loss < 1.3 * chance, say("{loss} nats on new rows, worse than knowing nothing ({chance}): the training "
                  "rows were learned by heart", loss=f"{loss:.2f}", chance=f"{chance:.2f}"))  # fmt: skip
    task.that(loss < 0.5 * chance, say("{loss} nats on new rows, knowing nothing costs {chance}: the rule has not "
                  "been found. The next token depends on *two* tokens before it", loss=f"{loss:.2f}",
                  chance=f"{chance:.2f}"))  # fmt: skip
    return say(
        "{loss} nats on rows that it never saw, where guessing costs {chance}",
        loss=f"{loss:.2f}",
        chance=f"{chance:.2f}",
    )


@check("90.align", points=4)
def check_alignment(task: Task) -> str:
    """Align, 2: preferences in, a policy out that stays near"""
    reference = task.randn(12)
    order = torch.randperm(8, generator=task.generator)
    pairs = [(int(order[i]), int(order[j])) for i in range(8) for j in range(i + 1, 8)]  # answers 8 to 11: never seen
    found = {beta: torch.as_tensor(task.call(reference, pairs, beta)).double() for beta in (0.1, 1.0)}
    old = reference.double().log_softmax(0)
    distances = {}
    for beta, logits in found.items():
        task.that(logits.shape == (12,), say("wanted is one logit for each answer, (12,); yours are {shape}",
                      shape=tuple(logits.shape)))  # fmt: skip
        new = logits.log_softmax(0)
        gains = new - old
        task.that(gains.abs().max() > 1e-6, say("beta {beta}: the policy is still the reference: no step was taken, "
                      "or no gradient reached the logits", beta=beta))  # fmt: skip
        unseen = gains[8:] - gains[8:].mean()
        task.that(unseen.abs().max() < 0.05, say("beta {beta}: answers that no pair names changed among themselves: "
                      "start from the reference's logits, and leave the others alone", beta=beta))  # fmt: skip
        right = sum(bool(gains[won] > gains[lost]) for won, lost in pairs) / len(pairs)
        task.that(right > 0.1, say("beta {beta}: the rejected answers gained: the pairs are (chosen, rejected)",
                      beta=beta))  # fmt: skip
        task.that(right > 0.9, say("beta {beta}: in {right} of the pairs the chosen answer gained more than the "
                      "rejected one, compared with the reference; wanted are more than 90 %",
                      beta=beta, right=f"{right:.0%}"))  # fmt: skip
        distances[beta] = float((new.exp() * gains).sum())
        task.that(new.max() < math.log(0.995), say("beta {beta}: one answer has {value} of the probability now: it "
                      "ran away", beta=beta, value=f"{new.max().exp():.0%}"))  # fmt: skip
    task.that(distances[1.0] < 0.8 * distances[0.1], say("a larger beta holds the policy nearer to the reference; "
                  "yours is {value} nats away at beta 1 and {value_2} at 0.1: is beta used?",
                  value=f"{distances[1.0]:.2f}", value_2=f"{distances[0.1]:.2f}"))  # fmt: skip
    return say(
        "preferences learned, {value} nats away at beta 0.1 and {value_2} at beta 1",
        value=f"{distances[0.1]:.2f}",
        value_2=f"{distances[1.0]:.2f}",
    )


@check("90.measure", points=3)
def check_measure(task: Task) -> str:
    """Measure, 1: a share with an interval that can be trusted"""
    for right, count in ((0, 15), (20, 20), (34 + task.number(0, 13), 90 + task.number(0, 21))):
        answers = [one < right for one in range(count)]
        got = _interval(task, answers, 0.25)
        task.that(abs(got["share"] - right / count) < 1e-6, say("{right} of {count} is a share of {value}",
                      right=right, count=count, value=f"{right / count:.2f}"))  # fmt: skip
        task.that(0 <= got["low"] <= got["share"] <= got["high"] <= 1, say("{right} of {count}: an interval lies "
                      "within 0 and 1 and has the share in it", right=right, count=count))  # fmt: skip
        task.that(got["high"] - got["low"] > 0.05, say("{right} of {count}: an interval of no width says that twenty "
                      "questions prove everything; p(1 - p) is no good at 0 and at 1", right=right,
                      count=count))  # fmt: skip
        _judge_better(task, answers, got)
        mirrored = _interval(task, [not one for one in answers], 0.25)
        task.that(abs(mirrored["low"] + got["high"] - 1) < 1e-6, "right and wrong answers exchanged, the interval must "
                  "be its own mirror image: from 1 - high to 1 - low")  # fmt: skip
    counts = (30 + task.number(0, 21), 80 + task.number(0, 41))
    held = sum(_share_held(task, count) for count in counts) / len(counts)
    said = say("over all exams of {count} and of {count_2} questions your intervals hold the truth in {held} of the "
               "cases, and 95 % are wanted", count=counts[0], count_2=counts[1], held=f"{held:.1%}")  # fmt: skip
    task.that(held > 0.925, say("{said}: yours are too narrow. In a normal distribution 1.96 standard deviations to "
                                "either side hold 95 %, 1.645 hold 90 %, one holds 68 %", said=said))  # fmt: skip
    task.that(held < 0.982, say("{said}: yours are too wide", said=said))
    return "19 of 20 intervals hold the truth, and none is of no width"


def _interval(task: Task, answers: list[bool], chance: float) -> dict[str, Any]:
    """The learner's answer, after a look at its form."""
    got = task.call(answers, chance)
    wanted = {"share", "low", "high", "better"}
    task.that(isinstance(got, dict) and got.keys() == wanted, "return share, low, high and better in a dict")
    return dict(got)


def _judge_better(task: Task, answers: list[bool], got: dict[str, Any]) -> None:
    """``better`` at three chances; ``got`` is the answer at 0.25."""
    right, count = sum(answers), len(answers)
    task.that(got["better"] == (got["low"] > 0.25), "better than chance means that chance lies below the interval")
    task.that(not _interval(task, answers, 1.0)["better"], "nothing is better than a chance of 1: `chance` is an "
              "argument, it is not always 0.25")  # fmt: skip
    between = (got["low"] + got["share"]) / 2
    task.that(_interval(task, answers, between)["better"] == (got["low"] > between), say("{right} of {count} with "
                  "chance at {chance}: that is below your share but within your interval, so a model that only "
                  "guesses may have had luck: `better` is False", right=right, count=count,
                  chance=f"{between:.2f}"))  # fmt: skip


def _share_held(task: Task, count: int) -> float:
    """How often the interval of an exam of ``count`` questions holds the truth, at a skill of 0.1, 0.2 … 0.9 in turn.

    Not drawn but worked out: every result that an exam can have, times how likely it is. With 150 exams drawn for each
    skill, one grading in 160 refused Wilson's interval.
    """
    found = [_interval(task, [one < right for one in range(count)], 0.25) for right in range(count + 1)]
    held = 0.0
    for truth in (tenth / 10 for tenth in range(1, 10)):
        for right, got in enumerate(found):
            if got["low"] - 1e-9 <= truth <= got["high"] + 1e-9:
                held += math.comb(count, right) * truth**right * (1 - truth) ** (count - right) / 9
    return held


@check("90.leaks", points=3)
def check_leaks(task: Task) -> str:
    """Measure, 2: which test questions stood in the training text?"""
    words = [f"{a}{b}" for a in "bdfgklmnprst" for b in ("a", "el", "in", "or")]

    def sentence(length: int) -> str:
        return " ".join(words[task.number(0, len(words))] for _ in range(length))

    questions = [sentence(12) for _ in range(12)]
    loud = ["", questions[1].upper(), questions[2].replace(" ", "  \n"), f"({questions[3].replace(' ', ', ')}!)"]
    training = [sentence(30) for _ in range(20)]
    training += [questions[0], *loud[1:], f"{sentence(9)} {questions[4]} {sentence(9)}"]
    training += [" ".join(questions[5].split()[:3]), " ".join(reversed(questions[6].split()))]
    got = task.call(training, questions)
    task.that(isinstance(got, (list, tuple)) and len(got) == 12, "return one True or False for each question")
    for place, why in enumerate((
        say("word for word"), say("in capitals"), say("with other spaces"), say("with other punctuation"),
        say("in the middle of a longer text"),
    )):  # fmt: skip
        task.that(
            got[place],
            say("question {place} stands in the training text {why}, and was not found", place=place, why=why),
        )
    task.that(not got[5], "three common words in a row are no leak: question 5 was marked for its first three")
    task.that(not got[6], "the words of question 6 stand there backwards: that is another sentence")
    task.that(not any(got[7:]), "questions were marked that stand nowhere")
    return "every leak was found, whatever its dress, and nothing else"
