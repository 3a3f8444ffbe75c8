"""Planted for the exercises on chapter 14, reasoning."""

import re
from typing import Any

import torch
import torch.nn.functional as F
from checks_kit import plant
from torch import Tensor

from minimind_lite.course.chapters.reason import checks
from minimind_lite.data.reasoning import parse_reasoning
from minimind_lite.tokenizer.chat_template import conversation_pieces

HEAD, EMPTY = "<|im_start|>assistant\n", "<think>\n\n</think>\n\n"


def ending(none: str = "", on: str = "<think>\n", off: str = EMPTY) -> Any:
    return lambda turns, thinking: turns + HEAD + (none if thinking is None else on if thinking else off)


def by_the_library(turns: str, thinking: bool | None) -> str:
    said = [{"role": "user", "content": "?"}]
    pieces = conversation_pieces(said, add_generation_prompt=True, thinking=thinking)[len(conversation_pieces(said)) :]
    return turns + "".join(piece.text for piece in pieces)


plant(
    checks.check_switched_prompt,
    mistakes=[
        (ending(none=EMPTY), "`if thinking` takes both for no"),
        (ending(none="<think>\n"), "you have chosen for it"),
        (ending(on=""), "may think or not"),
        (ending(on=EMPTY, off="<think>\n"), "that is thinking off"),
        (ending(off=""), "unless it finds an empty thought"),
        (ending(off="<think>\n"), "left it open"),
        (ending(on="<think>"), "thinking=True yours is '<think>'"),
        (ending(off="<think></think>"), "right tags, wrong white space: with thinking=False"),
        (ending(off="</think>\n\n"), "another end is wanted"),
        (lambda turns, thinking: HEAD, "after the given turns"),
        (lambda *a: ending()(*a) + "<|im_end|>\n", "nothing is left for it to say"),
    ],
    alternatives=[by_the_library],
)


def weigh(tokens: Tensor, mask: Tensor, tags: list[int], weight: float) -> Tensor:
    return torch.where(torch.isin(tokens, torch.tensor(tags)), weight, 1.0) * mask


def between(ids: Tensor, mask: Tensor, tags: list[int], weight: float) -> Tensor:
    opened, closed = (torch.isin(ids, torch.tensor(half)) for half in (tags[::2], tags[1::2]))
    return ((1 + (weight - 1) * (opened.cumsum(0) - closed.cumsum(0) + closed.long())) * mask)[1:]


def by_a_loop(ids: Tensor, mask: Tensor, tags: list[int], weight: float) -> list[float]:
    return [(weight if int(ids[t + 1]) in tags else 1.0) if mask[t + 1] else 0.0 for t in range(len(ids) - 1)]


plant(
    checks.check_prediction_weights,
    mistakes=[
        (lambda i, m, t, w: weigh(i[:-1], m[1:], t, w), "the token *behind* each tag"),
        (lambda i, m, t, w: weigh(i[1:], m[:-1], t, w), "the marks are shifted"),
        (lambda i, m, t, w: weigh(i[:-1], m[:-1], t, w), "both are of the token that is read"),
        (between, "everything between the tags"),
        (lambda i, m, t, w: weigh(i[1:], torch.ones_like(m[1:]), t, w), "the mask is not used"),
        (lambda i, m, t, w: m[1:].float().masked_fill(torch.isin(i[1:], torch.tensor(t)), w), "was *given*"),
        (lambda i, m, t, w: w * torch.isin(i[1:], torch.tensor(t)) * m[1:], "only the tags are learned"),
        (lambda i, m, t, w: weigh(i[1:], m[1:], t, 1 + w), "not 1 + weight"),
        (lambda i, m, t, w: weigh(i[1:], m[1:], t[::2], w), "only the opening tags"),
        (lambda i, m, t, w: weigh(i[1:], m[1:], t[:2], w), "by the token that is predicted"),
    ],
    alternatives=[by_a_loop],
)


def divided(logits: Tensor, targets: Tensor, weights: Tensor, *, by: Any) -> Tensor:
    nats = F.cross_entropy(logits.mT, targets, reduction="none")  # 0 where the target is -100
    return (weights[targets] * nats).sum() / by(targets, weights)


def torch_mean(logits: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), weight=weights)


def by_loops(logits: Tensor, targets: Tensor, weights: Tensor) -> float:
    total = items = 0.0
    for scores, target in zip(logits.double().flatten(0, 1), targets.flatten().tolist(), strict=True):
        if target != -100:
            total += float(weights[target] * (scores.logsumexp(0) - scores[target]))
            items += float(weights[target])
    return total / items if items else 0.0


plant(
    checks.check_weighted_loss,
    mistakes=[
        (lambda *a: divided(*a, by=lambda t, w: (t != -100).sum()), "the number of learned tokens"),
        (lambda *a: divided(*a, by=lambda t, w: t.numel()), "all positions"),
        (lambda *a: divided(*a, by=lambda t, w: w[t].sum()), "are in your divisor"),
        (lambda *a: divided(*a, by=lambda t, w: 1), "that is the sum"),
        (lambda a, b, w: torch.stack([torch_mean(x[None], y[None], w) for x, y in zip(a, b, strict=True)]).mean(),
         "each row counts the same"),
        (lambda a, b, w: torch_mean(a, b, torch.ones_like(w)), "the weights are not used"),
        (lambda a, b, w: torch_mean(a * w, b, torch.ones_like(w)), "not on the scores"),
        (torch_mean, "loss 0"),
    ],
    alternatives=[by_loops],
)  # fmt: skip

FORM, BLOCK = r"\s*(?:<think>(.*)</think>\s*)?<answer>(.*)</answer>\s*", r"<answer>\s*(.*?)\s*</answer>"


def apart(text: str, *, form: str = FORM, flags: int = re.DOTALL, once: bool = True, empty: bool = False) -> Any:
    """Right as it stands; each keyword plants a mistake."""
    hit, found = re.fullmatch(form, text, flags), re.findall(BLOCK, text, re.DOTALL)
    single = all(text.count(tag) <= 1 for tag in ("<think>", "</think>", "<answer>", "</answer>"))
    if hit and (single or not once) and (hit[2].strip() or empty):
        return hit[1] if hit[1] is None else hit[1].strip(), hit[2].strip(), True
    return None, found[0] if len(found) == 1 else None, False


def found(text: str) -> str:
    return (re.findall(BLOCK, text, re.DOTALL) or [""])[0]


def by_partition(text: str) -> list[Any]:
    """Without a pattern: cut at each tag in turn."""
    rest, _, behind = text.partition("<answer>")
    answer, _, tail = behind.partition("</answer>")
    head, opened, thought = rest.partition("<think>")
    thought, over, gap = thought.partition("</think>")
    one = text.count("<answer>") == text.count("</answer>") == 1
    stray = "think>" in thought or bool((head + gap + tail).strip())
    form = one and bool(answer.strip()) and bool(opened) == bool(over) and not stray
    return [thought.strip() if form and opened else None, answer.strip() if one else None, form]


plant(
    checks.check_take_apart,
    mistakes=[
        (lambda text: apart(text, flags=0), "does your pattern's dot pass a newline"),
        (lambda text: apart(text, form=FORM.removeprefix(r"\s*")), "white space around the blocks"),
        (lambda text: apart(text, form=FORM.replace(")?", ")")), "a direct answer without a think block"),
        (lambda text: (apart(text)[0] or None, *apart(text)[1:]), "'', not None"),
        (lambda text: apart(text, form=FORM.replace(r"think>\s*", r"think>.*?")), "a word between the blocks"),
        (lambda text: apart(text) if apart(text)[2] else (None, None, False), "the answer can still be read"),
        (lambda text: apart(text, form=".*?" + FORM), "a word in front"),
        (lambda text: apart(text, form=FORM + ".*"), "behind the blocks"),
        (lambda text: apart(text, once=False), "there are two thoughts"),
        (lambda text: (apart(text)[0], found(text) or None, apart(text)[2]), "which one? None"),
        (lambda text: apart(text if "</answer>" in text else text + "</answer>"), "it may have been cut off"),
        (lambda text: apart(text, empty=True), "an empty answer does not count"),
    ],
    alternatives=[by_partition, parse_reasoning],
)


def grader(right: Any) -> Any:
    return lambda texts, wanted: sum(map(right, texts, wanted)) / len(texts)


exact = grader(lambda t, n: re.findall(BLOCK, t, re.DOTALL) == [n])
plant(
    checks.check_repaired_share,
    mistakes=[
        (grader(lambda t, n: f"<answer>{n}</answer>" in t), "white space around the number"),
        (grader(lambda t, n: "<think>" in t and found(t) == n), "a direct answer is right too"),
        (grader(lambda t, n: parse_reasoning(t).well_formed and found(t) == n), "words outside are bad form"),
        (grader(lambda t, n: n in t), "is in the thought"),
        (grader(lambda t, n: n in found(t)), "not with `in`"),
        (grader(lambda t, n: found(t).endswith(n)), "only have to end so"),
        (lambda ts, ns: exact(ts, ns) * len(ts) / sum("<answer>" in t for t in ts), "divide by all questions"),
        (grader(lambda t, n: t.partition("<answer>")[2].removesuffix("</answer>").strip() == n), "never closed"),
        (grader(lambda t, n: (re.findall(BLOCK, t, re.DOTALL) or [""])[-1] == n), "the last answer of two"),
        (grader(lambda t, n: found(t) == n), "the first answer of two"),
    ],
    alternatives=[exact, grader(lambda t, n: parse_reasoning(t).answer == n)],
)


def effect(tokens: int, tags: int, w: float, tag_nats: float, nats: float) -> tuple[float, float]:
    loss = [w * tag_nats] * tags + [nats] * (tokens - tags)
    return sum(loss[:tags]) / sum(loss), tokens / sum([w] * tags + [1.0] * (tokens - tags))


plant(
    checks.check_weight_effect,
    mistakes=[
        (lambda n, t, w, a, b: (w * t / (w * t + n - t), effect(n, t, w, a, b)[1]), "the share of the *weights*"),
        (lambda n, t, w, a, b: effect(n + t, t, w, a, b), "only tokens - tags others"),
        (lambda n, t, w, a, b: effect(n, t, 1.0, a, b), "without a weight"),
        (lambda *a: (effect(*a)[0], 1.0), "the divisor has grown"),
        (lambda *a: (effect(*a)[0], 1 / effect(*a)[1]), "the wrong way round"),
        (lambda n, t, w, *a: (effect(n, t, w, *a)[0], n / (n + w * t)), "not 1 + weight"),
        (lambda *a: effect(*a)[0], "return two"),
    ],
    alternatives=[effect, lambda n, t, w, a, b: [1 / (1 + (n - t) * b / (w * t * a)), 1 / (1 + (w - 1) * t / n)]],
)
