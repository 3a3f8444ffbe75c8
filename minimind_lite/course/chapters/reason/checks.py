"""Checks of the exercises on chapter 14, reasoning. References: torch's weighted loss, texts known by construction."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ...exercises.core import check
from ...exercises.task import Task
from ...kit.language import say

Parts = tuple[str | None, str | None, bool]  # thought, answer, well-formed
TAGS, END, NEWLINE = [5, 6, 7, 8], 2, 3  # a small vocabulary; words from 20 up
OPENED, EMPTY = "<|im_start|>assistant\n", "<think>\n\n</think>\n\n"
ENDS = {None: "", True: "<think>\n", False: EMPTY}
SWITCH_MISTAKES = {
    (None, EMPTY): "None is not False, it leaves the choice to the model; `if thinking` takes both for no",
    (None, "<think>\n"): "None leaves the choice to the model; you have chosen for it",
    (True, ""): "with True the thought is to be opened by the prompt; your model may think or not, as it likes",
    (True, EMPTY): "with True you wrote a finished thought, and the model continues after it: that is thinking off",
    (False, ""): "with False a model that has learned to think will think, unless it finds an empty thought there",
    (False, "<think>\n"): "with False you opened a thought and left it open: the model can only go on thinking",
}  # fmt: skip


@check("14.switch", points=1)
def check_switched_prompt(task: Task) -> str:
    """The thinking switch: what the prompt ends with"""
    turns = f"<|im_start|>user\n{task.number(11, 99)}+{task.number(11, 99)}=?<|im_end|>\n"
    for thinking, wanted in ENDS.items():
        got = task.call(turns, thinking)
        start, end = got[: len(turns + OPENED)], got[len(turns + OPENED) :]
        task.that(start == turns + OPENED, "after the given turns, unchanged, comes `<|im_start|>assistant`, a newline")
        task.that("<|im_end|>" not in end, "you closed the assistant's turn: nothing is left for it to say")
        task.that((thinking, end) not in SWITCH_MISTAKES, SWITCH_MISTAKES.get((thinking, end), ""))
        same_tags = "".join(end.split()) == wanted.replace("\n", "")
        why = "right tags, wrong white space" if same_tags else "another end is wanted"
        task.that(
            end == wanted,
            say(
                "{why}: with thinking={thinking} yours is {end}, training had {wanted}",
                why=say(why),
                thinking=thinking,
                end=repr(end),
                wanted=repr(wanted),
            ),
        )
    return "left alone, opened, or over before it began: three prompts, the same letters as in training"


def _tagged(task: Task) -> tuple[Tensor, Tensor, Tensor]:
    """(ids, mask, inside): a turn with an empty thought that was given, a turn with a thought; inside = in a block."""
    think, over, answer, done = TAGS

    def words() -> list[int]:
        return [int(one) for one in task.randint(20, 90, 2 + task.number(0, 3))]

    parts = [(words(), 0, 0), ([think, NEWLINE, over, NEWLINE], 0, 1), ([answer, *words(), done], 1, 1), ([END], 1, 0),
             (words(), 0, 0), ([think, *words(), over], 1, 1), ([NEWLINE], 1, 0), ([answer, *words(), done], 1, 1),
             ([END], 1, 0), ([NEWLINE], 0, 0)]  # fmt: skip
    mask, inside = (torch.tensor([row[one] for ids, *row in parts for _ in ids]) for one in (0, 1))
    return torch.tensor([token for ids, *_ in parts for token in ids]), mask, inside


@check("14.weights", points=2)
def check_prediction_weights(task: Task) -> str:
    """Where the weight goes"""
    (ids, mask, inside), weight = _tagged(task), 2.0 + task.number(1, 9)
    tag = torch.isin(ids, torch.tensor(TAGS))
    got = torch.as_tensor(task.call(ids, mask, TAGS, weight))
    task.that(
        got.shape == (len(ids) - 1,),
        say(
            "{count} tokens make {value} predictions, yours are {count_2}",
            count=len(ids),
            value=len(ids) - 1,
            count_2=len(got),
        ),
    )
    weights, learned = 1 + (weight - 1) * tag, mask[1:]
    task.equal(got, weights[1:] * learned, "wanted is 0, 1 or the weight, by the token that is predicted", {
        "shifted by one: the weight lies on the token *behind* each tag. What counts is the predicted token, ids[1:]":
            weights[:-1] * learned,
        "the marks are shifted by one: a token is learned if its own mark, mask[1:], is 1": weights[1:] * mask[:-1],
        "both are of the token that is read; what counts is the token that is predicted": (weights * mask)[:-1],
        "everything between the tags is weighted, so the tags count no more than the text around them":
            (1 + (weight - 1) * inside)[1:] * learned,
        "the mask is not used: the user's words would be learned": weights[1:],
        "the empty thought was *given* (mask 0), and you weight its tags: the mask comes first":
            torch.where(tag[1:], weight, learned.float()),
        "only the tags are learned; every other learned token counts 1": weight * tag[1:] * learned,
        "a tag counts `weight`, not 1 + weight": (1 + weight * tag)[1:] * learned,
        "only the opening tags are weighted; a forgotten </think> is as bad":
            (1 + (weight - 1) * torch.isin(ids, torch.tensor(TAGS[::2])))[1:] * learned,
    })  # fmt: skip
    return "the weight lies on learned tags and on nothing else; the given ones count 0"


@check("14.loss", points=2)
def check_weighted_loss(task: Task) -> str:
    """The weighted loss and what it is divided by"""
    logits, targets = task.randn(2, 8, 120) * 2, task.randint(20, 90, 2, 8)
    targets[0, 2], targets[0, 5], targets[1, 4] = TAGS[0], TAGS[1], TAGS[2]
    targets[0, :2], targets[1, :4] = -100, -100
    weights = torch.ones(120)
    weights[TAGS] = 4.0 + task.number(0, 8)
    got = task.call(logits, targets, weights)
    flat, wanted = logits.flatten(0, 1), targets.flatten()
    total = F.cross_entropy(flat, wanted, weights, reduction="sum")
    items, rows = weights[wanted[wanted >= 0]].sum(), zip(logits, targets, strict=True)
    task.equal(got, F.cross_entropy(flat, wanted, weights), "this is not Σ weight · surprise / Σ weight", {
        "you divided by the number of learned tokens: the weight then also makes every step larger": total / 10,
        "you divided by all positions; those with -100 do not count": total / 16,
        "the positions with -100 are in your divisor: -100 is an index too, from the end": total / (items + 6),
        "that is the sum; divide it by the sum of the weights": total,
        "the weights are not used": F.cross_entropy(flat, wanted),
        "each row counts the same: add up both, then divide once":
            sum(F.cross_entropy(x, y, weights) for x, y in rows) / 2,
        "the weights belong on the surprises, not on the scores": F.cross_entropy(flat * weights, wanted),
    })  # fmt: skip
    nothing = task.call(logits, torch.full((2, 8), -100), weights)
    task.equal(nothing, 0.0, "a batch without a target must have loss 0: look what you divide by")
    return "torch's weighted cross-entropy, a mean in nats whatever the weight, and 0 where nothing is learned"


def _texts(n: str) -> list[tuple[str, Parts, str]]:
    """(text, what it says, what is wrong with another answer), with the number n in the answer block."""
    thought, block = "7+5=12, so 2, carry 1\nthe answer is near", f"<answer>\n{n}\n</answer>"
    think = f"<think>\n{thought}\n</think>\n"
    spoilt = (None, n, False)
    return [
        (think + block, (thought, n, True), "a whole reply: the two texts without white space at their ends, and True. "
         "A thought has several lines: does your pattern's dot pass a newline?"),
        (f"\n {think}\n{block}\n", (thought, n, True), "white space around the blocks and between them is allowed"),
        (block, (None, n, True), "a direct answer without a think block is well-formed; its thought is None"),
        (EMPTY + block, ("", n, True), "with thinking off there is a thought, and it is empty: '', not None"),
        (f"It is {n}.", (None, None, False), "without tags there is neither thought nor answer"),
        (f"Sure! {think}{block}", spoilt, "a word in front spoils the form; the answer can still be read"),
        (f"{think}Sure! {block}", spoilt, "a word between the blocks spoils the form"),
        (f"{think}{block} Bye", spoilt, "a word behind the blocks spoils the form"),
        (f"<think>\n{thought}\n{block}", spoilt, "the thought is never closed"),
        (f"{block}\n{think}", spoilt, "the answer comes before the thought"),
        (think + think + block, spoilt, "there are two thoughts; each tag may stand there once"),
        (think + block + "<answer>\n1\n</answer>", (None, None, False), "there are two answers: which one? None"),
        (f"{think}<answer>\n{n}", (None, None, False), "the answer is never closed: None, it may have been cut off"),
        (f"<think>\nso {block}\n</think>", spoilt, "the answer is inside the thought"),
        (f"{think}<answer>\n\n</answer>", (None, "", False), "an empty answer does not count: badly formed, text ''"),
    ]  # fmt: skip


@check("14.parse", points=3)
def check_take_apart(task: Task) -> str:
    """Take a reply apart: thought, answer, form"""
    for text, wanted, wrong in _texts(str(task.number(100, 2000))):
        got = task.call(text)
        task.that(
            tuple(got) == wanted,
            say(
                "{wrong} (for {text} you said {got}; wanted is {wanted})",
                wrong=say(wrong),
                text=repr(text),
                got=repr(got),
                wanted=repr(wanted),
            ),
        )
    return "fifteen replies, each as it is: the thought, the answer, and whether a program may trust the form"


def _replies(n: str, good: str) -> list[tuple[str, int, str]]:
    """(reply to a question whose answer is n, whether it is right, what is wrong with another verdict)."""
    guesses = "who guesses twice is not right. Wanted is one answer block, and only one"
    return [
        (good, 1, "two right replies make 1.0. Is the white space around the number taken away?"),
        (f"<answer>{n}</answer>", 1, "a direct answer is right too"),
        (f"Sure! <answer>\n{n}\n</answer>", 1, "words outside are bad form; the answer is right all the same"),
        (good.replace(n, "7").replace("1\n", f"{n}\n"), 0, "the number is in the thought and the answer is 7"),
        (good.replace(n, n + "0"), 0, "ten times too much, and you call it right: compare with `==`, not with `in`"),
        (good.replace(n, f"1{n}"), 0, "more than it should be, and you call it right: does it only have to end so?"),
        (n, 0, "a number without an answer block is not right, and its question still counts: divide by all questions"),
        (f"<think>\n1\n</think>\n<answer>\n{n}", 0, "the answer block is never closed: the next digit may be missing"),
        (
            f"<answer>1</answer><answer>{n}</answer>",
            0,
            say("you took the last answer of two: {guesses}", guesses=say(guesses)),
        ),
        (
            f"<answer>{n}</answer><answer>1</answer>",
            0,
            say("you took the first answer of two: {guesses}", guesses=say(guesses)),
        ),
    ]


@check("14.grader", points=2)
def check_repaired_share(task: Task) -> str:
    """Find the bugs in the grader"""
    n = str(task.number(100, 900))
    good = f"<think>\n1\n</think>\n<answer>\n{n}\n</answer>"
    for text, right, wrong in _replies(n, good):
        got = task.call([good, text], [n, n])
        task.equal(
            got,
            (1 + right) / 2,
            say("{wrong} · the second of two replies was {text}", wrong=say(wrong), text=repr(text)),
        )
    task.equal(task.call([good, good, good, "?"], [n, "5", n, n]), 0.5, "two of four questions are right")
    return "all questions count, and only a whole, single, equal answer is right"


@check("14.share", points=2)
def check_weight_effect(task: Task) -> str:
    """Predict, then measure: what does the weight buy, and who pays?"""
    tokens, tags, weight = task.number(40, 120), task.number(2, 7), float(task.number(5, 20))
    for tag_nats, nats in ((4.0 + task.number(0, 3), 2.0), (0.05, 0.9)):
        got = task.call(tokens, tags, weight, tag_nats, nats)
        task.that(isinstance(got, tuple | list) and len(got) == 2, "return two: (share of the tags, factor)")
        share, factor = (float(one) for one in got)
        on_tags, on_others, n = weight * tags * tag_nats, (tokens - tags) * nats, weight * tags + tokens - tags
        measured = _measure(tokens, tags, weight, tag_nats, nats)
        task.equal(share, measured[0], "share of the loss: not what torch measures", {
            "that is the share of the *weights*; what a token adds to the loss is weight · surprise": weight * tags / n,
            "the tags are among the tokens: only tokens - tags others are left": on_tags / (on_tags + tokens * nats),
            "that is the share without a weight": on_tags / (on_tags + weight * on_others),
        }, 1e-3)  # fmt: skip
        task.equal(factor, measured[1], "factor: not what torch measures", {
            "the others do change: their weight is 1 as before, but the divisor has grown": 1.0,
            "the wrong way round: a larger divisor makes the gradient smaller": n / tokens,
            "the divisor is the sum of all weights, and a tag has one weight, not 1 + weight":
                tokens / (tokens + weight * tags),
        }, 1e-3)  # fmt: skip
    return say(
        "as torch measured it; with {tags} tags of {tokens} the others learn at {value} of their pace",
        tags=tags,
        tokens=tokens,
        value=f"{measured[1]:.0%}",
    )


def _measure(tokens: int, tags: int, weight: float, tag_nats: float, nats: float) -> tuple[float, float]:
    """By torch: the tags' share of the weighted loss; another token's gradient, beside the one without weights."""
    targets = (torch.arange(tokens) < tags).long()  # of three words, 1 is a tag
    p = torch.exp(-torch.where(targets == 1, tag_nats, nats).double())
    scores = ((1 - p) / 2).log()[:, None].repeat(1, 3)
    scores = scores.scatter(1, targets[:, None], p.log()[:, None]).requires_grad_()
    weights, plain = torch.tensor([1.0, weight, 1.0]).double(), torch.ones(3).double()
    parts = F.cross_entropy(scores, targets, weights, reduction="none").detach()
    slopes = [torch.autograd.grad(F.cross_entropy(scores, targets, one), scores)[0][-1] for one in (weights, plain)]
    return float(parts[:tags].sum() / parts.sum()), float(slopes[0].norm() / slopes[1].norm())
