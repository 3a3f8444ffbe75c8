"""Checks of the exercises on chapter 13, distillation. References: torch.distributions in float64, autograd."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Categorical, kl_divergence

from ...exercises.core import check
from ...exercises.task import Task
from ...kit.language import say


def _kl(student: Tensor, teacher: Tensor, temperature: float, direction: str = "forward") -> Tensor:
    """KL at a temperature for each row, by torch.distributions in double precision; without the factor T²."""
    ours, theirs = (Categorical(logits=one.double() / temperature) for one in (student, teacher))
    return kl_divergence(theirs, ours) if direction == "forward" else kl_divergence(ours, theirs)


@check("13.soften", points=1)
def check_softened(task: Task) -> str:
    """A distribution at a temperature"""
    logits, temperature = 3 * task.randn(4, 9), 2.5
    task.equal(task.call(logits, temperature), Categorical(logits=logits / temperature).probs, "not the softmax at T", {
        "the temperature is not used": logits.softmax(-1),
        "multiplied instead of divided: a temperature above 1 has to make the rows flatter":
            (logits * temperature).softmax(-1),
        "the probabilities were divided: divide the logits, before the softmax": logits.softmax(-1) / temperature,
        "the rows do not sum to 1: p ** (1 / T) has to be normalised": logits.softmax(-1) ** (1 / temperature),
        "the softmax runs over the rows; it belongs over the vocabulary, the last dimension":
            (logits / temperature).softmax(0),
        "these are logarithms": (logits / temperature).log_softmax(-1),
    })  # fmt: skip
    batch = 3 * task.randn(2, 5, 9)
    task.equal(task.call(batch, temperature), Categorical(logits=batch / temperature).probs, "right for (positions, "
               "vocabulary), wrong with a batch in front", {
        "with a batch in front, dim=1 runs over the positions; the vocabulary is the last dimension, -1":
            (batch / temperature).softmax(1),
    })  # fmt: skip
    loud = torch.tensor([[900.0, 0.0, -900.0]])
    task.that(torch.as_tensor(task.call(loud, 1.0)).isfinite().all(), "a logit of 900 gives infinity: `exp` overflows. "
              "`softmax` subtracts the largest logit first")  # fmt: skip
    return "flatter, and each row still sums to 1"


@check("13.kl", points=3)
def check_distill_kl(task: Task) -> str:
    """How far is the student from the teacher?"""
    student, teacher, temperature = 2 * task.randn(8, 11), 2 * task.randn(8, 11), 2.0
    mask = torch.tensor([0, 1, 1, 0, 1, 1, 1, 0])
    rows = {d: 4 * _kl(student, teacher, temperature, d) for d in ("forward", "reverse")}
    for direction, other in (("forward", "reverse"), ("reverse", "forward")):
        expected = (rows[direction] * mask).sum() / 5
        hard = _kl(student, teacher, 1.0, direction)
        got = task.call(student, teacher, mask, temperature, direction)
        task.equal(got, expected, say("not the mean {direction} KL of the trained positions, times T²",
                                      direction=direction), {
            say("\"{direction}\" was asked for, this is \"{other}\": forward is KL(teacher ‖ student)",
                direction=direction, other=other):
                (rows[other] * mask).sum() / 5,
            "T² is missing: at a temperature of 2 the gradient would be four times too small": expected / 4,
            "you have T instead of T²": expected / 2,
            "the mask is not used: positions that are not trained count too": rows[direction].mean(),
            "divided by all positions; the mean is over the trained ones": (rows[direction] * mask).sum() / 8,
            "the sum over the trained positions has to be divided by their number": (rows[direction] * mask).sum(),
            "the mean over the vocabulary was taken as well (kl_div's reduction=\"mean\" does): sum over it":
                expected / 11,
            "the temperature is not used in the distributions": 4 * (hard * mask).sum() / 5,
        })  # fmt: skip
    task.equal(task.call(student, student, mask, temperature, "forward"), 0.0, "a student that is its teacher is at 0; "
               "a cross-entropy is not: it still has the teacher's own entropy in it")  # fmt: skip
    loud = torch.tensor([[100.0, 0.0, -100.0]])
    for direction in ("forward", "reverse"):
        far = task.call(loud, loud.flip(-1), torch.ones(1), 1.0, direction)
        task.equal(
            far,
            _kl(loud, loud.flip(-1), 1.0, direction).mean(),
            say(
                "{direction}, two models that are sure of "
                "different tokens, at T = 1: the logarithm of a "
                "probability that was rounded to 0 is not what it "
                "was. Take `log_softmax`, and add nothing to the "
                "probabilities",
                direction=direction,
            ),
        )
    return "both directions as torch.distributions says, and 0 for the teacher itself"


def _mixed(student: Tensor, teacher: Tensor, targets: Tensor, alpha: float, temperature: float) -> Tensor:
    learned = targets != -100
    labels = F.cross_entropy(student.double(), targets)
    return alpha * labels + (1 - alpha) * temperature**2 * _kl(student, teacher, temperature)[learned].mean()


@check("13.loss", points=2)
def check_distill_loss(task: Task) -> str:
    """Labels and teacher together: the planted bugs"""
    student, teacher = 2 * task.randn(7, 9), 2 * task.randn(7, 9)
    targets, alpha, temperature = task.randint(0, 9, 7), 0.3, 3.0
    targets[2], targets[5], targets[6] = -100, -100, 0  # 0 is a token like any other
    inputs = (student, teacher, targets, alpha, temperature)
    expected = _mixed(*inputs)
    labels = F.cross_entropy(student.double(), targets)
    distance = temperature**2 * _kl(student, teacher, temperature)
    task.equal(task.call(*inputs), expected, "not alpha · labels + (1 - alpha) · T² · KL over the trained positions", {
        "alpha is the labels' share; you gave it to the teacher": _mixed(student, teacher, targets, 0.7, temperature),
        "the KL is taken over all positions, also those with a target of -100": 0.3 * labels + 0.7 * distance.mean(),
        "the two parts are to be mixed with weights that sum to 1": labels + 0.7 * distance[targets != -100].mean(),
        "the factor T² is missing": 0.3 * labels + 0.7 * distance[targets != -100].mean() / temperature**2,
        "T² is wanted, not 2 · T: at T = 2 the two are equal":
            0.3 * labels + 0.7 * distance[targets != -100].mean() * 2 / temperature,
        "the labels are learned at temperature 1":
            expected + 0.3 * (F.cross_entropy(student / temperature, targets) - labels),
        "token 0 is a target like any other; only -100 marks what is not trained":
            0.3 * labels + 0.7 * distance[targets > 0].mean(),
    })  # fmt: skip
    others = (task.randn(3, 5), task.randn(3, 5), torch.tensor([1, -100, 4]), 0.6, 1.5)
    task.again(_mixed(*others), *others)
    to_student, to_teacher = task.gradients(*inputs)[:2]
    task.that(to_teacher is None or not to_teacher.any(), "a gradient reaches the teacher: it would learn to be like "
              "the student, which is an easy way to make the distance small. Detach it")  # fmt: skip
    leaf = student.clone().requires_grad_()
    (wanted,) = torch.autograd.grad(_mixed(leaf, teacher, targets, alpha, temperature), leaf)
    task.that(to_student is not None and to_student.any(), "no gradient reaches the student: only the teacher is "
              "detached")  # fmt: skip
    task.equal(to_student, wanted, "the value is right and the student's gradient is not")
    return "the student learns, the teacher stays as it is"


def _judge_rows(rows: list[int], size: int, task: Task) -> None:
    """rows: of how many tokens each product with a head gave logits."""
    whole = sum(one > size for one in rows)
    so_far = say(
        "the mean is right, but with size = {size} logits of {most} tokens stand at once",
        size=size,
        most=max(rows, default=0),
    )
    task.that(
        not whole or size > 1,
        say("{so_far}: `chunk(n)` makes n chunks; `split(size)` makes chunks of this size", so_far=so_far),
    )
    task.that(
        whole != 1, say("{so_far}, of one of the two models: multiply by both heads inside the loop", so_far=so_far)
    )
    task.that(not whole, say("{so_far}: multiply by the heads inside the loop, a few rows at a time", so_far=so_far))


@check("13.chunks", points=2)
def check_chunked(task: Task) -> str:
    """The same mean, a few rows at a time"""
    hidden, known = task.randn(11, 4), task.randn(11, 6)
    head, teacher_head = task.randn(30, 4), task.randn(30, 6)
    rows = _kl(hidden @ head.T, known @ teacher_head.T, 1.0)
    for size in (4, 11, 100, 1):
        parts = [chunk.mean() for chunk in rows.split(size)]
        got = task.call(hidden, known, head, teacher_head, size)
        task.equal(got, rows.mean(), say("in chunks of {size} the mean over 11 rows is another", size=size), {
            "a mean of the chunks' means: the rows of the smaller last chunk weigh more": torch.stack(parts).mean(),
            "the last, incomplete chunk is left out": rows[: 11 // size * size or None].mean(),
            "the chunks' means were added and not weighed": torch.stack(parts).sum(),
            "the sum has to be divided by the number of rows": rows.sum(),
            "divided by chunks · size, as if the last one were full": rows.sum() / (len(parts) * size),
        })  # fmt: skip
        shapes = [shape for shape, _ in task.products(hidden, known, head, teacher_head, size)]
        _judge_rows([math.prod(shape) // 30 for shape in shapes if 30 in shape], size, task)
    leaf = hidden.clone().requires_grad_()
    (wanted,) = torch.autograd.grad(_kl(leaf @ head.T, known @ teacher_head.T, 1.0).mean(), leaf)
    found = task.gradients(hidden, known, head, teacher_head, 4)[0]
    task.that(found is not None, "the mean is right, but no gradient reaches the student's states (`item`, `detach`, "
              "`no_grad`?): nothing could be learned from it")  # fmt: skip
    task.equal(found, wanted, "the mean is right, the gradient is not")
    return "11 rows in chunks of 4, 11, 100 and 1: one and the same mean, and never more logits than asked for"


@check("13.gradient", points=2)
def check_gradient(task: Task) -> str:
    """Predict, then measure: why T²"""
    student, teacher = (2 * task.randn(9)).requires_grad_(), 2 * task.randn(9)
    for temperature in (1.0, 3.0, 10.0):
        loss = temperature**2 * _kl(student, teacher, temperature)
        (measured,) = torch.autograd.grad(loss, student)
        gap = ((student / temperature).softmax(-1) - (teacher / temperature).softmax(-1)).detach()
        task.equal(task.call(student.detach(), teacher, temperature), measured, "autograd measures another gradient", {
            "the sign: where the student says too much, the gradient is positive": -measured,
            "one factor T is missing: T² from the loss, and 1 / T from the inner derivative": gap,
            "the inner derivative takes one T off: student / T is what the softmax sees": temperature**2 * gap,
            "the inner derivative alone; the loss carries T²": gap / temperature,
            "both distributions are softened": temperature * (student.softmax(-1) - teacher.softmax(-1)).detach(),
        })  # fmt: skip
    return "T · (student - teacher), as autograd measures at three temperatures"
