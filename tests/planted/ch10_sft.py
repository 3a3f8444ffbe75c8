"""Planted for the exercises on chapter 10, fine-tuning."""

import torch
import torch.nn.functional as F
from checks_kit import plant
from torch import Tensor

from minimind_lite.course.chapters.sft import checks


def by_a_list(ids: Tensor, mask: Tensor) -> list[int]:
    return [token if mark else -100 for token, mark in zip(ids.tolist()[1:], mask.tolist()[1:], strict=True)]


def by_numpy(ids: Tensor, mask: Tensor) -> object:
    return torch.where(mask == 1, ids, -100).numpy()[1:]


def by_rolling(ids: Tensor, mask: Tensor) -> Tensor:
    all_targets = ids.masked_fill(~mask.bool(), -100)
    return all_targets.roll(-1)[:-1]


plant(
    checks.check_targets,
    mistakes=[
        (lambda ids, mask: ids[1:].masked_fill(mask[:-1] == 0, -100), "off by one"),
        (lambda ids, mask: ids[:-1].masked_fill(mask[:-1] == 0, -100), "learn to copy"),
        (lambda ids, mask: ids[:-1].masked_fill(mask[1:] == 0, -100), "the ids are not"),
        (lambda ids, mask: ids[1:].masked_fill(mask[1:] == 1, -100), "you learn the rest"),
        (lambda ids, mask: ids[1:] * mask[1:], "0 is a token"),
        (lambda ids, mask: ids[1:], "the mask is not used"),
        (lambda ids, mask: ids.masked_fill(mask == 0, -100), "eight questions"),
        (lambda ids, mask: ids[1:].masked_fill(mask == 0, -100), "shift the mask, too"),
        (lambda ids, mask: by_rolling(ids, mask).float(), "yours is torch.float32"),
        (by_a_list, "yours is list"),
    ],
    alternatives=[by_numpy, by_rolling],
)


def answers(ids: list[int], header: list[int], end: int, *, head: bool = False, stop: bool = True) -> list[int]:
    marks, at = [0] * len(ids), 0
    while at < len(ids):
        if ids[at : at + len(header)] != header:
            at += 1
            continue
        first = at if head else at + len(header)
        at += len(header)
        while at < len(ids) and ids[at] != end:
            at += 1
        for place in range(first, min(at + stop, len(ids))):
            marks[place] = 1
    return marks


def newline_too(ids: list[int], header: list[int], end: int) -> list[int]:
    marks = answers(ids, header, end)
    return [int(one or (place > 0 and marks[place - 1] and ids[place - 1] == end)) for place, one in enumerate(marks)]


def last_answer(ids: list[int], header: list[int], end: int) -> list[int]:
    start = max(place for place in range(len(ids)) if ids[place : place + len(header)] == header)
    return [0] * start + answers(ids[start:], header, end)


def first_answer(ids: list[int], header: list[int], end: int) -> list[int]:
    marks = answers(ids, header, end)
    stop = ids.index(end, marks.index(1))
    return marks[: stop + 1] + [0] * (len(ids) - stop - 1)


def by_turns(ids: list[int], header: list[int], end: int, *, every: int = 0, head: bool = False) -> list[int]:
    """Marks turns by their place, without a look at the role."""
    marks, turn, inside = [], -1, False
    for place, token in enumerate(ids):
        if token == header[0]:
            turn, body = turn + 1, ids.index(header[-1], place)
        inside = token != header[0] and place > body and (inside or place == body + 1)
        marks.append(int((inside or (head and place <= body)) and (every == 1 or turn % 2 == 1)))
        inside = inside and token != end
    return marks


def deceived(ids: list[int], header: list[int], end: int) -> list[int]:
    """Looks for the word without the token in front of it."""
    return answers(ids, header[1:], end)


def first_line(ids: list[int], header: list[int], end: int) -> list[int]:
    marks, done = answers(ids, header, end), False
    for place, token in enumerate(ids):
        done = (done or (marks[place] == 1 and token == header[-1])) and token != header[0]
        marks[place] *= not done
    return marks


def whole_answers_only(ids: list[int], header: list[int], end: int) -> list[int]:
    marks = answers(ids, header, end)
    if ids[-1] != end and marks[-1]:
        last = max(place for place, mark in enumerate(marks) if not mark)
        marks[last + 1 :] = [0] * (len(ids) - last - 1)
    return marks


def until_the_end(ids: list[int], header: list[int], end: int) -> list[int]:
    """Takes it that every answer has an end."""
    marks, at = [0] * len(ids), 0
    while at < len(ids):
        if ids[at : at + len(header)] == header:
            at += len(header)
            stop = ids.index(end, at)
            marks[at : stop + 1] = [1] * (stop + 1 - at)
        at += 1
    return marks


def by_a_switch(ids: list[int], header: list[int], end: int) -> Tensor:
    """One pass with a switch, and a window over the last tokens."""
    marks, on = torch.zeros(len(ids), dtype=torch.bool), False
    for place, token in enumerate(ids):
        marks[place] = on
        if token == end:
            on = False
        elif ids[max(0, place - len(header) + 1) : place + 1] == header:
            on = True
    return marks


plant(
    checks.check_answer_mask,
    mistakes=[
        (lambda *a: answers(*a, head=True), "you also learn the header"),
        (lambda *a: answers(*a, stop=False), "would never stop"),
        (newline_too, "newline after the end"),
        (last_answer, "only the last answer"),
        (first_answer, "only the first answer"),
        (by_turns, "every second turn"),
        (lambda *a: by_turns(*a, every=1), "the user's words are marked too"),
        (lambda ids, *a: [1] * len(ids), "everything is marked"),
        (deceived, "deceive it"),
        (first_line, "wrong from token"),
        (lambda *a: by_turns(*a, head=True), "wrong from token"),
        (until_the_end, "your function stopped with ValueError"),
        (whole_answers_only, "what is left of it counts"),
        (lambda *a: answers(*a)[1:], "one mark for each"),
    ],
    alternatives=[answers, by_a_switch],
)


def surprise(logits: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum")


def by_gathering(logits: Tensor, targets: Tensor) -> Tensor:
    learned = targets >= 0
    picked = logits.log_softmax(-1).gather(-1, targets.clamp(min=0)[..., None])[..., 0]
    return -(picked * learned).sum() / learned.sum().clamp(min=1)


def by_loops(logits: Tensor, targets: Tensor) -> Tensor | float:
    total, count = torch.tensor(0.0), 0
    for scores, target in zip(logits.flatten(0, 1), targets.flatten().tolist(), strict=True):
        if target != -100:
            total, count = total + scores.logsumexp(0) - scores[target], count + 1
    return total / count if count else 0.0


def mean_of_rows(logits: Tensor, targets: Tensor) -> Tensor:
    rows = [F.cross_entropy(a, b) for a, b in zip(logits, targets, strict=True) if (b >= 0).any()]
    return torch.stack(rows).mean()


plant(
    checks.check_repaired_loss,
    mistakes=[
        (lambda a, b: torch.stack([F.cross_entropy(x, y) for x, y in zip(a, b, strict=True)]).mean(), "not a number"),
        (lambda a, b: F.cross_entropy(a[:, :-1].flatten(0, 1), b[:, 1:].flatten()), "shifted twice"),
        (mean_of_rows, "a word of a short answer counts more"),
        (lambda a, b: mean_of_rows(a, b) * 2 / 3, "the empty one too"),
        (surprise, "that is the sum"),
        (lambda a, b: surprise(a, b) / b.numel(), "all positions"),
        (lambda a, b: surprise(a, b) / len(b), "number of rows"),
        (lambda a, b: F.cross_entropy(a.flatten(0, 1), b.flatten()), "divide by at least 1"),
        (lambda a, b: by_gathering(a, b).item(), "no gradient flows"),
    ],
    alternatives=[by_gathering, by_loops],
)

plant(
    checks.check_exam_luck,
    mistakes=[
        (lambda p, n: p * (1 - p) / n, "that is the variance"),
        (lambda p, n: (p * (1 - p)) ** 0.5, "*one* question"),
        (lambda p, n: (p * (1 - p)) ** 0.5 / n, "1/√n, not by 1/n"),
        (lambda p, n: (p * (1 - p) * n) ** 0.5, "*number* of right answers"),
        (lambda p, n: p / n**0.5, "no luck at all"),
        (lambda p, n: 1.96 * (p * (1 - p) / n) ** 0.5, "half of the 95 %"),
        (lambda p, n: 0.5 / n**0.5, "use `share` itself"),
        (lambda p, n: 100 * (p * (1 - p) / n) ** 0.5, "these are per cent"),
        (lambda p, n: 0.5, "measured"),
    ],
    alternatives=[
        lambda p, n: torch.distributions.Binomial(n, torch.tensor(p)).stddev / n,
        lambda p, n: (p / n - p * p / n) ** 0.5,
    ],
)
