"""Planted for the exercises on chapter 17, deploy."""

import heapq
import re
from typing import Any

import torch
from checks_kit import plant
from torch import Tensor

from minimind_lite.course.chapters.deploy import checks
from minimind_lite.course.chapters.deploy.experiments import batch_by_batch, continuous
from minimind_lite.model.quantization import Scheme, pack, quantize


def rows(weight: Tensor, bits: int, slip: str = "") -> tuple[Tensor, Tensor]:
    largest = {"unsigned": 2**bits - 1, "one more": 2 ** (bits - 1)}.get(slip, 2 ** (bits - 1) - 1)
    reach = weight.amax(1) if slip == "signed" else weight.abs().amax(1)
    reach = weight.abs().max() if slip == "matrix" else reach
    scales = reach / largest
    exact = weight / scales.view(-1, 1)
    codes = {"trunc": exact.trunc(), "floor": exact.floor(), "exact": exact}.get(slip, exact.round())
    if slip == "weights":
        codes = codes * scales[:, None]
    return codes, 1 / scales if slip == "steps" else scales


plant(
    checks.check_round_rows,
    mistakes=[
        (lambda w, b: rows(w, b, "unsigned"), "and a sign"),
        (lambda w, b: rows(w, b, "one more"), "on either side of 0"),
        (lambda w, b: rows(w, b, "signed"), "not the largest magnitude"),
        (lambda w, b: rows(w, b, "matrix"), "one for each row"),
        (lambda w, b: rows(w, b, "steps"), "1 / scale"),
        (lambda w, b: rows(w, b, "exact"), "not rounded yet"),
        (lambda w, b: rows(w, b, "trunc"), "cut the fraction off"),
        (lambda w, b: rows(w, b, "floor"), "always rounded down"),
        (lambda w, b: rows(w, b, "weights"), "weights again"),
        (lambda w, b: rows(w, b)[0], "two things"),
    ],
    alternatives=[
        rows,
        lambda w, b: (rows(w, b)[0].to(torch.int8), rows(w, b)[1][:, None]),
        lambda w, b: (quantize(w, Scheme(b)).codes, w.abs().max(dim=1).values / (2 ** (b - 1) - 1)),
    ],
)


def groups(weight: Tensor, size: int, slip: str = "") -> Tensor:
    if slip == "columns":
        return groups(weight.T.contiguous(), weight.shape[0]).T
    cut = weight.unflatten(1, (-1, weight.shape[1] if slip == "row" else size))
    low, high = cut.amin(-1, keepdim=True), cut.amax(-1, keepdim=True)
    scale = (high - low) / (16 if slip == "16" else 15)
    if slip == "symmetric":
        scale = cut.abs().amax(-1, keepdim=True) / 7
        return ((cut / scale).round() * scale).flatten(1)
    exact = (cut - low) / (scale if slip == "nan" else scale.clamp(min=1e-12))
    codes = exact.round()
    if slip == "codes":
        return codes.flatten(1)
    return (codes * scale + (0 if slip == "no minimum" else low)).flatten(1)


plant(
    checks.check_round_groups,
    mistakes=[
        (lambda w, g: groups(w, g, "row"), "one group for the whole row"),
        (lambda w, g: groups(w, g, "columns"), "run down the columns"),
        (lambda w, g: groups(w, g, "no minimum"), "not added again"),
        (lambda w, g: groups(w, g, "16"), "divide by 15"),
        (lambda w, g: groups(w, g, "codes"), "these are the codes"),
        (lambda w, g: groups(w, g, "symmetric"), "no minimum"),
        (lambda w, g: groups(w, g, "nan"), "made NaN"),
    ],
    alternatives=[
        groups,
        lambda w, g: quantize(w, Scheme(4, g, minimum=True)).weight(),
        lambda w, g: torch.stack([torch.cat([groups(part[None], g)[0] for part in row.split(g)]) for row in w]),
    ],
)


def packed(codes: Tensor, slip: str = "") -> Tensor:
    odd = len(codes) % 2
    even = codes[: len(codes) - odd] if slip == "lost" else torch.cat([codes, codes.new_zeros(odd)])
    low, high = even[::2].long(), even[1::2].long()
    half = len(even) // 2
    return {
        "": low | high << 4,
        "lost": low | high << 4,
        "upper": low << 4 | high,
        "added": low + high,
        "halves": even[:half].long() | even[half:].long() << 4,
        "by 8": (low | high << 8) & 255,
        "by 3": (low | high << 3) & 255,
        "wasted": codes,
        "long": torch.cat([low | high << 4, torch.zeros(1, dtype=torch.long)]),
    }[slip]


plant(
    checks.check_pack,
    mistakes=[
        (lambda c: packed(c, "lost"), "the last code is lost"),
        (lambda c: packed(c, "upper"), "in the upper half"),
        (lambda c: packed(c, "added"), "without moving one"),
        (lambda c: packed(c, "halves"), "neighbours share"),
        (lambda c: packed(c, "by 8"), "falls out of the byte"),
        (lambda c: packed(c, "by 3"), "overlap"),
        (lambda c: packed(c, "wasted"), "one code a byte"),
        (lambda c: packed(c, "long"), "are enough"),
    ],
    alternatives=[packed, lambda c: pack(c, 4), lambda c: packed(c).to(torch.uint8)],
)


def by_heap(answers: list[tuple[int, int]], slots: int) -> list[int]:
    free, ends = [0] * slots, []
    for came, tokens in answers:
        ends.append(max(heapq.heappop(free), came) + tokens)
        heapq.heappush(free, ends[-1])
    return ends


def by_steps(answers: list[tuple[int, int]], slots: int) -> list[int]:
    left, ends, queue, running, step = {}, [0] * len(answers), list(enumerate(answers)), [], 0
    while queue or running:
        while queue and queue[0][1][0] <= step and len(running) < slots:
            number, (_, tokens) = queue.pop(0)
            running.append(number)
            left[number] = tokens
        for number in list(running):
            left[number] -= 1
            if not left[number]:
                running.remove(number)
                ends[number] = step + 1
        step += 1
    return ends


def in_turn(answers: list[tuple[int, int]], slots: int) -> list[int]:
    free, ends = [0] * slots, []
    for number, (came, tokens) in enumerate(answers):
        free[number % slots] = max(free[number % slots], came) + tokens
        ends.append(free[number % slots])
    return ends


plant(
    checks.check_slots,
    mistakes=[
        (lambda a, n: [came + tokens for came, tokens in a], "a slot at once"),
        (lambda a, n: [one.ends for one in batch_by_batch(a, n)], "batch by batch"),
        (lambda a, n: by_heap([(0, tokens) for _, tokens in a], n), "before they have come"),
        (in_turn, "in turn"),
        (lambda a, n: by_heap(a, 1), "one after the other"),
        (lambda a, n: [end - 1 for end in by_heap(a, n)], "the step of the last token"),
        (lambda a, n: [one.begins for one in continuous(a, n)], "in which they begin"),
        (lambda a, n: max(by_heap(a, n)), "one step for each"),
    ],
    alternatives=[by_heap, by_steps, lambda a, n: [one.ends for one in continuous(a, n)]],
)

Talk = list[dict[str, str]]


def rendered(talk: Talk, numbers: dict[str, int], slip: str = "") -> list[int]:
    start, end = numbers["<|im_start|>"], numbers["<|im_end|>"]

    def spelled(text: str) -> list[int]:
        return [one + 3 for one in (map(ord, text) if slip == "points" else text.encode("utf-8"))]

    newline: list[int] = [] if slip == "newline" else spelled("\n")
    ids: list[Any] = []
    for message in talk[-1:] if slip == "last" else talk:
        content = message["content"]
        if slip == "deleted":
            content = content.replace("<|im_start|>", "").replace("<|im_end|>", "")
        role = talk[-1]["role"] if slip == "role" else message["role"]
        ids += [start, *spelled(role), *newline, *spelled(content)]
        ids += newline if slip == "end" else [end, *newline]
    return ids if slip == "opening" else [*ids, start, *spelled("assistant"), *newline]


def parsed(talk: Talk, numbers: dict[str, int]) -> list[int]:
    """The naive way: one text, in which control tokens are looked for."""
    text = "".join(f"<|im_start|>{one['role']}\n{one['content']}<|im_end|>\n" for one in talk)
    pieces = re.split(r"(<\|im_start\|>|<\|im_end\|>)", f"{text}<|im_start|>assistant\n")
    spelled = [[numbers[one]] if one in numbers else [byte + 3 for byte in one.encode()] for one in pieces]
    return [one for piece in spelled for one in piece]


plant(
    checks.check_render,
    mistakes=[
        (parsed, "become control tokens"),
        (lambda t, n: rendered(t, n, "deleted"), "not all there"),
        (lambda t, n: rendered(t, n, "opening"), "opening is missing"),
        (lambda t, n: rendered(t, n, "end"), "not ended"),
        (lambda t, n: rendered(t, n, "newline"), "newline is missing"),
        (lambda t, n: rendered(t, n, "last"), "only the last"),
        (lambda t, n: rendered(t, n, "role"), "own role"),
        (lambda t, n: rendered(t, n, "points"), "code points"),
    ],
    alternatives=[rendered, lambda t, n: tuple(rendered(t, n))],
)
