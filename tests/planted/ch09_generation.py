"""Planted for the exercises on chapter 09, generation."""

import torch
import torch.nn.functional as F
from checks_kit import plant
from torch import Tensor

from minimind_lite.course.chapters.generation import checks


def occurred(logits: Tensor, seen: Tensor) -> Tensor:
    return torch.zeros_like(logits).index_fill(0, seen, 1.0) > 0


def punished(logits: Tensor, penalty: float) -> Tensor:
    return torch.where(logits > 0, logits / penalty, logits * penalty)


def by_a_loop(logits: Tensor, seen: Tensor, penalty: float) -> list[float]:
    values = logits.tolist()
    for token in set(seen.tolist()):
        values[token] *= penalty if values[token] < 0 else 1 / penalty
    return values


def twice(logits: Tensor, seen: Tensor, penalty: float) -> Tensor:
    out = logits.clone()
    for token in seen.tolist():
        out[token] = punished(out[token], penalty)
    return out


plant(
    checks.check_repetition_penalty,
    mistakes=[
        (lambda x, seen, p: torch.where(occurred(x, seen), x / p, x), "*rewards* the repetition"),
        (lambda x, seen, p: punished(x, p), "every token is punished"),
        (lambda x, seen, p: torch.where(occurred(x, seen), punished(x, 1 / p), x), "you reward what occurred"),
        (twice, "punished twice"),
        (lambda x, seen, p: x - p * occurred(x, seen).float(), "presence"),
    ],
    alternatives=[by_a_loop, lambda x, seen, p: x.scatter(0, seen, torch.minimum(x[seen] / p, x[seen] * p))],
)

Answer = tuple[Tensor, Tensor, Tensor]


def attend(x: Tensor, keys: Tensor, values: Tensor, q: Tensor, k: Tensor, v: Tensor, *, look: str = "cache",
           scale: float = 8**-0.5) -> Answer:  # fmt: skip
    keys, values = torch.cat([keys, x @ k.mT]), torch.cat([values, x @ v.mT])
    ones = torch.ones(len(x), len(keys), dtype=torch.bool)
    may_look = {"all": ones, "corner": ones.tril(), "cache": ones.tril(len(keys) - len(x))}[look]
    return (
        F.scaled_dot_product_attention((x @ q.mT)[None], keys[None], values[None], may_look, scale=scale)[0],
        keys,
        values,
    )


def token_by_token(x: Tensor, keys: Tensor, values: Tensor, q: Tensor, k: Tensor, v: Tensor) -> Answer:
    outputs = []
    for token in x:
        keys, values = torch.vstack([keys, k @ token]), torch.vstack([values, v @ token])
        weights = ((keys @ (q @ token)) / len(token) ** 0.5).softmax(0)
        outputs.append(torch.einsum("t,td->d", weights, values))
    return torch.stack(outputs), keys, values


def only_new(x: Tensor, keys: Tensor, values: Tensor, q: Tensor, k: Tensor, v: Tensor) -> Answer:
    _, keys, values = attend(x, keys, values, q, k, v)
    return attend(x, keys[:0], values[:0], q, k, v)[0], keys, values


def forgets(x: Tensor, keys: Tensor, values: Tensor, q: Tensor, k: Tensor, v: Tensor) -> Answer:
    return attend(x, keys, values, q, k, v)[0], x @ k.mT, x @ v.mT


def in_front(x: Tensor, keys: Tensor, values: Tensor, q: Tensor, k: Tensor, v: Tensor) -> Answer:
    return attend(x, keys, values, q, k, v)[0], torch.cat([x @ k.mT, keys]), torch.cat([x @ v.mT, values])


plant(
    checks.check_attend_with_cache,
    mistakes=[
        (lambda *a: attend(*a, look="all"), "causal too"),
        (lambda *a: attend(*a, look="corner"), "lines up the first"),
        (lambda *a: attend(*a, scale=1.0), "√dim is missing"),
        (only_new, "see only each other"),
        (forgets, "the cache is forgotten"),
        (in_front, "come before the old"),
        (lambda *a: (attend(*a)[0], attend(*a)[2], attend(*a)[1]), "exchanged"),
        (lambda *a: attend(*a)[0], "return three things"),
    ],
    alternatives=[attend, token_by_token],
)


def top_p(rows: Tensor, p: float, *, extra: int = 0, rescale: bool = True, back: bool = True) -> Tensor:
    ordered, order = rows.sort(dim=-1, descending=True)
    needed = (ordered.cumsum(-1) < p).sum(-1, keepdim=True) + 1 + extra
    kept = ordered * (torch.arange(rows.shape[-1]) < needed)
    kept = kept / kept.sum(-1, keepdim=True) if rescale else kept
    return torch.zeros_like(rows).scatter(-1, order, kept) if back else kept


def one_by_one(rows: Tensor, p: float) -> list[list[float]]:
    result = []
    for row in rows.tolist():
        kept: dict[int, float] = {}
        for token in sorted(range(len(row)), key=lambda i: -row[i]):
            if sum(kept.values()) < p:
                kept[token] = row[token]
        result.append([kept.get(i, 0.0) / sum(kept.values()) for i in range(len(row))])
    return result


plant(
    checks.check_repaired_top_p,
    mistakes=[
        (lambda rows, p: top_p(rows, p, extra=-1).nan_to_num(), "still there"),
        (lambda rows, p: top_p(rows, p, extra=1), "one token too many"),
        (lambda rows, p: top_p(rows, p, rescale=False), "rescaled to sum 1"),
        (lambda rows, p: top_p(rows, p, back=False), "put them back"),
        (lambda rows, p: rows, "not the smallest set"),
        (lambda rows, p: top_p(rows, p + 1e-7), "not `<=`"),
    ],
    alternatives=[top_p, one_by_one],
)


def read(prompt: int, new: int, cached: bool) -> int:
    return prompt + new - 1 if cached else sum(range(prompt, prompt + new))


plant(
    checks.check_predicted_work,
    mistakes=[
        (lambda n, new, c: n + new if c else sum(range(n, n + new + 1)), "never read by the model"),
        (lambda n, new, c: read(n, new, not c), "the wrong way round"),
        (lambda n, new, c: new - 1 if c else new * (new - 1) // 2, "the prompt is read as well"),
        (lambda n, new, c: read(n, new, c) if c else new * n, "grows by one token"),
        (lambda n, new, c: new * n if c else read(n, new, c), "read once"),
    ],
    alternatives=[read, lambda n, new, c: n + new - 1 if c else new * (2 * n + new - 1) / 2],
)
