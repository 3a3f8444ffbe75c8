"""Planted for the exercises on chapter 15, GRPO."""

import re
from typing import Any

import torch
from checks_kit import plant
from torch import Tensor

from minimind_lite.course.chapters.grpo import checks


def advantages(rewards: Tensor, use_std: bool) -> tuple[Tensor, int]:
    same = (rewards == rewards[:, :1]).all(dim=1)
    centred = (rewards - rewards.mean(dim=1, keepdim=True)).masked_fill(same[:, None], 0.0)
    if use_std:
        centred = centred / (rewards.std(dim=1, keepdim=True) + 1e-4)
    return centred, int(same.sum())


def one_by_one(rewards: Tensor, use_std: bool) -> tuple[list[list[float]], int]:
    rows, dead = [], 0
    for group in rewards.double().tolist():
        mean = sum(group) / len(group)
        spread = (sum((one - mean) ** 2 for one in group) / (len(group) - 1)) ** 0.5 if use_std else 1.0
        alike = max(group) == min(group)
        dead += alike
        rows.append([0.0 if alike else (one - mean) / spread for one in group])
    return rows, dead


def other(mean_dim: int | None = 1, std_dim: int | None = 1, correction: int = 1, ask: bool | None = None) -> Any:
    """The advantages, with the mean or the standard deviation of something else."""

    def wrong(rewards: Tensor, use_std: bool) -> tuple[Tensor, int]:
        same = (rewards == rewards[:, :1]).all(dim=1, keepdim=True)
        mean = 0.0 if mean_dim == 9 else rewards.mean() if mean_dim is None else rewards.mean(dim=1, keepdim=True)
        spread = rewards.std() if std_dim is None else rewards.std(dim=1, keepdim=True, correction=correction)
        divided = (rewards - mean) / (spread + 1e-6) if (use_std if ask is None else ask) else rewards - mean
        return divided.masked_fill(same, 0.0), int(same.sum())

    return wrong


def a_small_number_will_do(rewards: Tensor, use_std: bool) -> tuple[Tensor, int]:
    spread = rewards.std(dim=1, keepdim=True)
    return (rewards - rewards.mean(dim=1, keepdim=True)) / (spread + 1e-4), int((spread == 0).sum())


def along_the_questions(rewards: Tensor, use_std: bool) -> tuple[Tensor, int]:
    same = (rewards == rewards[:, :1]).all(dim=1, keepdim=True)
    values = rewards - rewards.mean(dim=0)
    if use_std and len(rewards) > 1:
        values = values / (rewards.std(dim=0) + 1e-6)
    return values.masked_fill(same, 0.0), int(same.sum())


def alike_at_the_ends(rewards: Tensor, use_std: bool) -> tuple[Tensor, int]:
    same = rewards[:, 0] == rewards[:, -1]
    return advantages(rewards, use_std)[0].masked_fill(same[:, None], 0.0), int(same.sum())


plant(
    checks.check_advantages,
    mistakes=[
        (other(mean_dim=None), "mean of the whole batch"),
        (other(std_dim=None), "whole batch's; each group"),
        (other(ask=True), "leaves the division out"),
        (other(ask=False), "asks for a division"),
        (other(correction=0), "divides by n - 1"),
        (other(mean_dim=9), "mean is not taken off"),
        (a_small_number_will_do, "not quite 0.6"),
        (lambda rewards, use_std: (rewards / (rewards.std(1)[:, None] + 1e-4), 3), "take its mean off first"),
        (lambda rewards, use_std: ((rewards - rewards.mean(1)[:, None]) / rewards.std(1)[:, None], 3), "0 / 0"),
        (lambda rewards, use_std: (advantages(rewards, use_std)[0], 0), "counts the groups"),
        (along_the_questions, "along dim=0"),
        (alike_at_the_ends, "nothing but zeros"),
        (
            lambda rewards, use_std: (advantages(rewards, use_std)[0], int((rewards.std(dim=1) == 0).sum())),
            "comes out as 1e-8",
        ),
        (
            lambda rewards, use_std: (advantages(rewards, use_std)[0], len(rewards) - advantages(rewards, use_std)[1]),
            "groups that do teach",
        ),
        (
            lambda rewards, use_std: (advantages(rewards, use_std)[0], (rewards == rewards[:, :1]).all(dim=1)),
            "says of each group",
        ),
        (lambda rewards, use_std: advantages(rewards, use_std)[0], "wanted are two things"),
    ],
    alternatives=[advantages, one_by_one],
)


def clipped(ratio: Tensor, advantage: Tensor, low: float, high: float) -> Tensor:
    return torch.minimum(ratio * advantage, ratio.clamp(1 - low, 1 + high) * advantage)


def by_cases(ratio: Tensor, advantage: Tensor, low: float, high: float) -> Tensor:
    edge = torch.where(advantage > 0, ratio.clamp(max=1 + high), ratio.clamp(min=1 - low))
    return edge * advantage


plant(
    checks.check_clipped,
    mistakes=[
        (lambda r, a, low, high: torch.maximum(r * a, r.clamp(1 - low, 1 + high) * a), "the larger of the two"),
        (lambda r, a, low, high: r.clamp(1 - low, 1 + high) * a, "clipped alone"),
        (lambda r, a, low, high: clipped(r, a.abs(), low, high) * a.sign(), "wrong direction"),
        (lambda r, a, low, high: r * a, "nothing is clipped"),
        (lambda r, a, low, high: clipped(r, a, low, low), "`high` is not used"),
        (lambda r, a, low, high: torch.minimum(r * a, (r * a).clamp(1 - low, 1 + high)), "clip the ratio, then"),
        (lambda r, a, low, high: -clipped(r, a, low, high), "this is the loss"),
        (lambda r, a, low, high: torch.minimum(r * a, r.clamp(low, high) * a), "`low` and `high` themselves"),
        (lambda r, a, low, high: clipped(r, a, high, low), "edges are swapped"),
        (lambda r, a, low, high: torch.minimum(r * a, r.clamp(max=1 + high) * a), "lower edge is missing"),
        (lambda r, a, low, high: torch.minimum(r * a, (1 + high) * a), "only 1 + high"),
        (lambda r, a, low, high: clipped(r, torch.ones_like(a), low, high), "advantage is missing"),
        (lambda r, a, low, high: clipped(r.exp(), a, low, high), "leave `exp` out"),
        (lambda r, a, low, high: clipped(r, a, low, high).mean(), "for each token"),
        (lambda r, a, low, high: clipped(r.detach(), a.detach(), low, high), "no gradient flows"),
        (lambda r, a, low, high: torch.minimum(r * a, r.detach().clamp(1 - low, 1 + high) * a), "gradient is not"),
    ],
    alternatives=[by_cases],
)

plant(
    checks.check_k3,
    mistakes=[
        (lambda p, r: p - r, "this is k1"),
        (lambda p, r: (p - r) ** 2 / 2, "this is k2"),
        (lambda p, r: (p - r).exp() - (p - r) - 1, "upside down"),
        (lambda p, r: (r - p).exp() + (r - p) - 1, "sign of log"),
        (lambda p, r: r - p, "log ρ alone"),
        (lambda p, r: p.exp() * (p - r), "have been drawn with it already"),
        (lambda p, r: (r - p).exp() - (r - p), "the 1 is not taken off"),
        (lambda p, r: r / p - 1 - (r / p).log(), "divided the logarithms"),
        (lambda p, r: 1 + (r - p) - (r - p).exp(), "sign of the whole"),
        (lambda p, r: (torch.expm1(r - p) - (r - p)).mean(), "averaging comes later"),
        (lambda p, r: (torch.expm1(r - p) - (r - p)).sum(), "not their sum"),
        (
            lambda p, r: torch.expm1(r.log_softmax(-1) - p.log_softmax(-1)) - (r.log_softmax(-1) - p.log_softmax(-1)),
            "a softmax over the tokens",
        ),
        (lambda p, r: (torch.expm1(r - p) - (r - p)).detach(), "no gradient flows"),
    ],
    alternatives=[lambda p, r: torch.expm1(r - p) - (r - p)],
)


def averaged(losses: Tensor, mask: Tensor, how: str, longest: int) -> Tensor:
    if how == "grpo":
        return ((losses * mask).sum(1) / mask.sum(1)).mean()
    return (losses * mask).sum() / (mask.sum() if how == "dapo" else len(losses) * longest)


def by_lists(losses: Tensor, mask: Tensor, how: str, longest: int) -> float:
    answers = [[x for x, m in zip(*row, strict=True) if m] for row in zip(losses.tolist(), mask.tolist(), strict=True)]
    if how == "grpo":
        return sum(sum(one) / len(one) for one in answers) / len(answers)
    return sum(map(sum, answers)) / (sum(map(len, answers)) if how == "dapo" else longest * len(answers))


def only(which: str, other_sum: Any) -> Any:
    """The averages, of which one is another."""
    return lambda losses, mask, how, n: other_sum(losses, mask, n) if how == which else averaged(losses, mask, how, n)


plant(
    checks.check_average,
    mistakes=[
        (lambda losses, mask, how, n: averaged(losses, mask, "dapo", n), 'this is "dapo"'),
        (lambda losses, mask, how, n: averaged(losses, mask, "grpo", n), 'this is "grpo"'),
        (lambda losses, mask, how, n: losses.mean(), "the padding"),
        (lambda losses, mask, how, n: (losses * mask).sum(), "still has to be divided"),
        (lambda losses, mask, how, n: averaged(losses, mask, how, losses.shape[1]), "does not divide by the padded"),
        (only("grpo", lambda losses, mask, n: (losses.sum(1) / mask.sum(1)).mean()), "multiply by the mask first"),
        (only("grpo", lambda losses, mask, n: (losses * mask).sum(1) / mask.sum(1)), "a mean for each answer"),
        (only("grpo", lambda losses, mask, n: ((losses * mask).sum(1) / mask.sum(1)).sum()), 'are added up; "grpo"'),
        (only("grpo", lambda losses, mask, n: ((losses * mask).sum(0) / mask.sum(0)).mean()), "along dim=0"),
        (only("grpo", lambda losses, mask, n: (losses * mask).sum() / len(losses)), "that answer's own length"),
        (only("dr_grpo", lambda losses, mask, n: (losses * mask).sum() / n), "number of answers is missing"),
        (only("dr_grpo", lambda losses, mask, n: (losses * mask).sum() / len(losses)), "`longest` is missing"),
    ],
    alternatives=[by_lists],
)


def picked(scores: Tensor, tokens: Tensor) -> Tensor:
    return scores.gather(-1, tokens[..., None])[..., 0]


def by_cross_entropy(logits: Tensor, tokens: Tensor, sampled: Tensor, temperature: float) -> Tensor:
    losses = torch.nn.functional.cross_entropy(logits.transpose(1, 2) / temperature, tokens, reduction="none")
    return torch.exp(-losses - sampled)


plant(
    checks.check_ratios,
    mistakes=[
        (lambda x, t, s, T: (picked(x.log_softmax(-1), t) - s).exp(), "before the first step"),
        (lambda x, t, s, T: (picked(x.log_softmax(-1), t) / T - s).exp(), "not the log-probabilities"),
        (lambda x, t, s, T: (picked((x * T).log_softmax(-1), t) - s).exp(), "multiplied by"),
        (lambda x, t, s, T: picked((x / T).log_softmax(-1), t) - s, "their exponential"),
        (lambda x, t, s, T: (picked((x / T).log_softmax(1), t) - s).exp(), "over the positions"),
        (lambda x, t, s, T: (s - picked((x / T).log_softmax(-1), t)).exp(), "upside down"),
        (lambda x, t, s, T: torch.ones_like(s), "always 1"),
        (lambda x, t, s, T: (picked(x / T, t) - s).exp(), "`log_softmax` is missing"),
        (lambda x, t, s, T: (picked((x / T).log_softmax(-1), t) - s / T).exp(), "taken at the temperature already"),
        (lambda x, t, s, T: ((x / T).log_softmax(-1).gather(-1, t[..., None]) - s[..., None]).exp(), "one dimension"),
        (lambda x, t, s, T: (picked((x / 0.7).log_softmax(-1), t) - s).exp(), "temperature of the example"),
        (lambda x, t, s, T: picked((x / T).log_softmax(-1), t) / s, "you divided the logarithms"),
        (
            lambda x, t, s, T: (picked((x / T).log_softmax(-1), t) - s).sum(1, keepdim=True).exp().expand_as(s),
            "for a whole answer",
        ),
        (lambda x, t, s, T: (picked((x / T).log_softmax(-1), t) - s).exp().detach(), "no gradient flows"),
    ],
    alternatives=[by_cross_entropy],
)


def pattern(text: str, flags: int = re.DOTALL, escape: Any = re.escape) -> Any:
    """A reward that wants the whole answer to match; RIGHT stands for the right result."""
    return lambda p, answer, right: float(bool(re.fullmatch(text.replace("RIGHT", escape(right)), answer, flags)))


def calculated(prompt: str, answer: str, right: str) -> float:
    found = re.fullmatch(r"<think>[^<]+</think><answer>([\d.+ ]+)</answer>", answer)
    return float(found is not None and sum(map(float, found[1].split("+"))) == float(right))


def by_cutting(prompt: str, answer: str, right: str) -> bool:
    end = f"</think><answer>{right}</answer>"
    thought = answer.removeprefix("<think>").removesuffix(end)
    return answer == f"<think>{thought}{end}" and thought != "" and "<" not in thought


plant(
    checks.check_reward,
    mistakes=[
        (lambda p, answer, right: right in answer, "right digits inside a wrong"),
        (lambda p, answer, right: re.search(rf"\b{right}\b", answer) is not None, "right number in the *thought*"),
        (lambda p, answer, right: re.findall(r"[\d.]+", answer)[-1] == right, "without any tags"),
        (pattern("<think>.*<answer>RIGHT</answer>"), "two answers"),
        (pattern(r"<think>[^<]+</think><answer>\d+</answer>"), "right format earns 1. The answer was '<think>"),
        (pattern("<think>.+</think><answer>RIGHT</answer>", 0), "re.DOTALL"),
        (pattern("(<think>[^<]*</think>)?<answer>RIGHT</answer>"), "without a thought"),
        (pattern("<think>.+</think><answer>RIGHT</answer>.*"), "words behind"),
        (calculated, "copied into the tags"),
        (pattern("<think>.*</think><answer>RIGHT</answer>"), "an empty thought"),
        (pattern("<think>.+</think><answer>RIGHT</answer>"), "a second try"),
        (pattern("<think>[^<]+</think><answer>RIGHT</answer>", escape=str), "re.escape"),
        (pattern("<think>[^<>]+</think><answer>RIGHT</answer>"), "only `<` may not"),
        (pattern("<think>[^<]+</think><answer>RIGHT0?</answer>"), "not the numbers"),
        (pattern("<think>[^<]+</think><answer> ?RIGHT ?</answer>"), "spaces around the result"),
        (pattern(r"<think>[^<]+</think>\s*<answer>RIGHT</answer>"), "follows the other at once"),
        (
            lambda p, answer, right: (
                re.match(f"<think>[^<]+</think><answer>{re.escape(right)}</answer>$", answer) is not None
            ),
            "a line break behind",
        ),
    ],
    alternatives=[pattern("<think>[^<]+</think><answer>RIGHT</answer>"), by_cutting],
)

plant(
    checks.check_dead,
    mistakes=[
        (lambda p, n: (1 - p) ** n, "only the groups without"),
        (lambda p, n: p**n, "only the groups that are all right"),
        (lambda p, n: 1 - p**n - (1 - p) ** n, "that do teach"),
        (lambda p, n: 1 / n, "you predicted"),
        (lambda p, n: 2 * p**n, "twice the groups"),
        (lambda p, n: (p * (1 - p)) ** n, "not multiplied"),
        (lambda p, n: p**n + (1 - p) ** n - (p * (1 - p)) ** n, "nothing has to be taken off"),
    ],
    alternatives=[
        lambda p, n: torch.distributions.Binomial(n, torch.tensor(p)).log_prob(torch.tensor([0.0, n])).exp().sum()
    ],
)
