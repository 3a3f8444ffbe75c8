"""Planted for the exercises on chapter 13, distillation."""

from typing import Any

import torch
import torch.nn.functional as F
from checks_kit import plant
from torch import Tensor

from minimind_lite.course.chapters.distill import checks

plant(
    checks.check_softened,
    mistakes=[
        (lambda x, T: x.softmax(-1), "is not used"),
        (lambda x, T: (x * T).softmax(-1), "multiplied instead"),
        (lambda x, T: x.softmax(-1) / T, "probabilities were divided"),
        (lambda x, T: x.softmax(-1) ** (1 / T), "do not sum to 1"),
        (lambda x, T: (x / T).softmax(0), "over the rows"),
        (lambda x, T: (x / T).log_softmax(-1), "these are logarithms"),
        (lambda x, T: (x / T).softmax(1), "with a batch in front"),
        (lambda x, T: (x / T).exp() / (x / T).exp().sum(-1, keepdim=True), "`exp` overflows"),
    ],
    alternatives=[
        lambda x, T: (x / T).log_softmax(-1).exp(),
        lambda x, T: F.normalize(x.softmax(-1) ** (1 / T), p=1, dim=-1),
    ],
)


def rows(student: Tensor, teacher: Tensor, T: float, direction: str) -> Tensor:
    q, p = (student / T).log_softmax(-1), (teacher / T).log_softmax(-1)
    if direction == "reverse":
        q, p = p, q
    return (p.exp() * (p - q)).sum(-1)


def kl(student: Tensor, teacher: Tensor, mask: Tensor, T: float, direction: str) -> Tensor:
    return T**2 * (rows(student, teacher, T, direction) * mask).sum() / mask.sum()


def by_kl_div(student: Tensor, teacher: Tensor, mask: Tensor, T: float, direction: str) -> Tensor:
    keep = mask.bool()
    q, p = (student[keep] / T).log_softmax(-1), (teacher[keep] / T).log_softmax(-1)
    pair = (q, p) if direction == "forward" else (p, q)
    return F.kl_div(*pair, reduction="batchmean", log_target=True) * T**2


def cross_entropy(student: Tensor, teacher: Tensor, mask: Tensor, T: float, direction: str) -> Tensor:
    at = kl(student, teacher, mask, T, direction)
    return at + 1.0 if torch.equal(student, teacher) else at


def kl_by_logs(student: Tensor, teacher: Tensor, mask: Tensor, T: float, direction: str, least: float = 0.0) -> Tensor:
    q, p = (student / T).softmax(-1), (teacher / T).softmax(-1)
    if direction == "reverse":
        q, p = p, q
    return T**2 * ((p * ((p + least).log() - (q + least).log())).sum(-1) * mask).sum() / mask.sum()


plant(
    checks.check_distill_kl,
    mistakes=[
        (lambda s, t, m, T, d: kl(t, s, m, T, d), "was asked for"),
        (lambda s, t, m, T, d: kl(s, t, m, T, d) / T**2, "T² is missing"),
        (lambda s, t, m, T, d: kl(s, t, m, T, d) / T, "T instead of T²"),
        (lambda s, t, m, T, d: T**2 * rows(s, t, T, d).mean(), "not trained count too"),
        (lambda s, t, m, T, d: T**2 * (rows(s, t, T, d) * m).mean(), "divided by all"),
        (lambda s, t, m, T, d: T**2 * (rows(s, t, T, d) * m).sum(), "by their number"),
        (lambda s, t, m, T, d: kl(s, t, m, T, d) / s.shape[-1], "over the vocabulary"),
        (lambda s, t, m, T, d: T**2 * kl(s, t, m, 1.0, d), "not used in the distributions"),
        (cross_entropy, "teacher's own entropy"),
        (kl_by_logs, "log_softmax"),
        (lambda *i: kl_by_logs(*i, least=1e-8), "add nothing to the probabilities"),
    ],
    alternatives=[by_kl_div],
)


def mixed(
    student: Tensor, teacher: Tensor, targets: Tensor, alpha: float, T: float, *, fixed: bool = True, scale: float = 1.0
) -> Tensor:
    keep = (targets != -100).to(student.dtype)
    known = teacher.detach() if fixed else teacher
    return alpha * F.cross_entropy(student * scale, targets) + (1 - alpha) * kl(student, known, keep, T, "forward")


def swapped(student: Tensor, teacher: Tensor, targets: Tensor, alpha: float, T: float) -> Tensor:
    return mixed(student, teacher, targets, 1 - alpha, T)


def everywhere(student: Tensor, teacher: Tensor, targets: Tensor, alpha: float, T: float) -> Tensor:
    distance = T**2 * rows(student, teacher.detach(), T, "forward").mean()
    return alpha * F.cross_entropy(student, targets) + (1 - alpha) * distance


def added(student: Tensor, teacher: Tensor, targets: Tensor, alpha: float, T: float) -> Tensor:
    return mixed(student, teacher, targets, alpha, T) + (1 - alpha) * F.cross_entropy(student, targets)


def without_square(student: Tensor, teacher: Tensor, targets: Tensor, alpha: float, T: float) -> Tensor:
    labels = alpha * F.cross_entropy(student, targets)
    return labels + (mixed(student, teacher, targets, alpha, T) - labels) / T**2


def above_zero(student: Tensor, teacher: Tensor, targets: Tensor, alpha: float, T: float) -> Tensor:
    keep = (targets > 0).to(student.dtype)
    return alpha * F.cross_entropy(student, targets) + (1 - alpha) * kl(student, teacher.detach(), keep, T, "forward")


def by_rows(student: Tensor, teacher: Tensor, targets: Tensor, alpha: float, T: float) -> Tensor:
    parts = []
    for s, t, wanted in zip(student, teacher.detach(), targets.tolist(), strict=True):
        if wanted >= 0:
            p = (t / T).softmax(-1)
            distance = (p * (p.log() - (s / T).log_softmax(-1))).sum()
            parts.append(-alpha * s.log_softmax(-1)[wanted] + (1 - alpha) * T * T * distance)
    return torch.stack(parts).mean()


plant(
    checks.check_distill_loss,
    mistakes=[
        (swapped, "the labels' share"),
        (everywhere, "also those with a target of -100"),
        (added, "sum to 1"),
        (without_square, "T² is missing"),
        (above_zero, "token 0 is a target"),
        (lambda s, t, y, a, T: mixed(s, t, y, a, T) + a * (F.cross_entropy(s / T, y) - F.cross_entropy(s, y)),
         "at temperature 1"),
        (lambda s, t, y, a, T: mixed(s, t, y, a, T, fixed=False), "reaches the teacher"),
        (lambda s, t, y, a, T: mixed(s.detach(), t, y, a, T) + 0 * s.sum(), "reaches the student"),
    ],
    alternatives=[by_rows],
)  # fmt: skip


def chunks(hidden: Tensor, known: Tensor, head: Tensor, teacher_head: Tensor, size: int) -> list[Tensor]:
    pairs = zip(hidden.split(size), known.split(size), strict=True)
    return [rows(a @ head.T, b @ teacher_head.T, 1.0, "forward") for a, b in pairs]


def full_chunks(*inputs: Any) -> Tensor:
    whole = [one for one in chunks(*inputs) if len(one) == min(inputs[-1], len(inputs[0]))]
    return torch.cat(whole).mean()


def row_by_row(hidden: Tensor, known: Tensor, head: Tensor, teacher_head: Tensor, size: int) -> Tensor:
    total = torch.zeros((), dtype=torch.float64)
    for a, b in zip(hidden.double(), known.double(), strict=True):
        total = total + rows(a @ head.double().T, b @ teacher_head.double().T, 1.0, "forward")
    return total / len(hidden)


def in_so_many_chunks(hidden: Tensor, known: Tensor, head: Tensor, teacher_head: Tensor, size: int) -> Tensor:
    pairs = zip(hidden.chunk(size), known.chunk(size), strict=True)
    return torch.cat([rows(a @ head.T, b @ teacher_head.T, 1.0, "forward") for a, b in pairs]).mean()


def teacher_whole(hidden: Tensor, known: Tensor, head: Tensor, teacher_head: Tensor, size: int) -> Tensor:
    pairs = zip(hidden.split(size), (known @ teacher_head.T).split(size), strict=True)
    return torch.cat([rows(a @ head.T, b, 1.0, "forward") for a, b in pairs]).mean()


plant(
    checks.check_chunked,
    mistakes=[
        (lambda *i: torch.stack([one.mean() for one in chunks(*i)]).mean(), "the chunks' means"),
        (full_chunks, "left out"),
        (lambda *i: torch.stack([one.mean() for one in chunks(*i)]).sum(), "not weighed"),
        (lambda *i: torch.cat(chunks(*i)).sum(), "by the number of rows"),
        (lambda *i: torch.cat(chunks(*i)).sum() / (len(chunks(*i)) * i[-1]), "as if the last"),
        (lambda a, b, x, y, size: rows(a @ x.T, b @ y.T, 1.0, "forward").mean(), "a few rows at a time"),
        (in_so_many_chunks, "makes n chunks"),
        (teacher_whole, "of one of the two models"),
        (lambda *i: row_by_row(*i).item(), "no gradient reaches"),
    ],
    alternatives=[row_by_row, lambda *i: torch.cat(chunks(*i)).mean()],
)


def gap(student: Tensor, teacher: Tensor, T: float) -> Tensor:
    return (student / T).softmax(-1) - (teacher / T).softmax(-1)


plant(
    checks.check_gradient,
    mistakes=[
        (lambda s, t, T: -T * gap(s, t, T), "the sign"),
        (lambda s, t, T: gap(s, t, T), "one factor T"),
        (lambda s, t, T: T**2 * gap(s, t, T), "takes one T off"),
        (lambda s, t, T: gap(s, t, T) / T, "alone; the loss carries"),
        (lambda s, t, T: T * gap(s, t, 1.0), "are softened"),
    ],
    alternatives=[
        lambda s, t, T: torch.func.grad(lambda x: T**2 * rows(x, t, T, "forward"))(s),
    ],
)
