"""Checks of the exercises on chapter 15, GRPO. References: float64 loops, torch's categorical distribution."""

from typing import Any

import torch
from torch import Tensor

from ...exercises.core import check
from ...exercises.task import Task, close
from ...kit.language import say

DEAD = torch.tensor([False, True, False, True, True])[:, None]  # which of the groups of task 1 are all equal
EXACTLY = (
    "a group of equal rewards must get exactly 0. The mean of eight times 0.6 is not quite 0.6: rounding leaves a "
    "trace, which the division enlarges. Set such rows to 0"
)
NO_GRADIENT = (
    "the values are right, but no gradient flows back through them (`detach`, `item` or `no_grad` cuts it): nothing "
    "would be learned"
)


@check("15.advantage", points=2)
def check_advantages(task: Task) -> str:
    """Advantages inside a group, and groups that teach nothing"""
    rewards = task.rand(5, 8) + task.rand(5, 1)
    rewards[1], rewards[3], rewards[4] = 0.1, 0.6, 1.0  # the mean of eight times 0.6 is not quite 0.6
    rewards[0, 1] = rewards[0, -1] = rewards[0, 0]  # neighbours, and first and last: alike, and yet not all are
    for use_std in (True, False):
        got, dead = _two(task, rewards, use_std)
        task.that(not got.isnan().any(), "NaN: in a group of equal rewards the standard deviation is 0, and 0 / 0 is "
                  "no number. Such a group teaches nothing: its advantages are 0")  # fmt: skip
        task.that(got.shape == rewards.shape, "wanted is one advantage for each answer: (groups, answers)")
        equal, raw = got[DEAD[:, 0]], rewards[DEAD[:, 0]]  # over its deviation, no number of eight is above 2.5
        task.that((equal.abs() < 2.5).all() and not close(equal, raw), "a group of equal rewards must get 0; yours "
                  "gets its rewards, or a multiple of them: take its mean off first")  # fmt: skip
        task.that((equal == 0).all(), EXACTLY)
        task.that((got[~DEAD[:, 0]] != 0).any(dim=1).all(), "a group whose rewards differ got nothing but zeros: "
                  "a group is dead only if *all* its rewards are equal")  # fmt: skip
        centred = rewards - rewards.mean(dim=1, keepdim=True)
        task.equal(got, _over(centred, rewards, use_std), "not yet reward minus its group's mean, over the group's "
                   "standard deviation", _advantage_mistakes(rewards, centred, use_std), tolerance=2e-3)  # fmt: skip
        task.equal(dead, 3, "the second number counts the groups whose rewards are all equal", {
            "these are the groups that do teach; wanted is how many do not": 2,
            "this says of each group whether it is dead; wanted is how many are": DEAD[:, 0],
        })  # fmt: skip
    for reward in (0.1, 0.6, 0.7):  # the standard deviation of one such group is 1e-8; among others torch gets 0
        got, dead = _two(task, torch.full((1, 8), reward), True)
        task.that((got == 0).all(), EXACTLY)
        task.equal(dead, 1, "one group of eight equal rewards was not counted as dead: its standard deviation "
                   "comes out as 1e-8, not 0. Compare each reward with the group's first")  # fmt: skip
    return "compared inside their group; three groups of five had nothing to teach"


def _two(task: Task, rewards: Tensor, use_std: bool) -> tuple[Tensor, Any]:
    """The advantages and the number that the learner's function returns."""
    both = task.call(rewards, use_std)
    task.that(isinstance(both, (tuple, list)) and len(both) == 2, "wanted are two things, the advantages and how many "
              "groups are dead: `return advantages, dead`")  # fmt: skip
    return torch.as_tensor(both[0]), both[1]


def _advantage_mistakes(rewards: Tensor, centred: Tensor, use_std: bool) -> dict[str, Tensor]:
    """Message → the advantages which that mistake gives."""
    by_n = centred / rewards.std(dim=1, keepdim=True, correction=0).clamp(min=1e-9)
    of_all = centred / rewards.std()
    by_column = rewards - rewards.mean(dim=0)
    return {
        "you compare along dim=0: each answer with those to *other* questions. A group is a row, so mean and standard "
        "deviation run along dim=1": _over(by_column / (rewards.std(dim=0) if use_std else 1.0), rewards, False),
        "you compare with the mean of the whole batch: an easy question's answers all win, a hard one's all lose. "
        "The mean is the group's (dim=1)": _over(rewards - rewards.mean(), rewards, use_std),
        "the standard deviation is the whole batch's; each group has its own": _over(of_all, rewards, False),
        "you divide although `use_std` is False (Dr. GRPO leaves the division out)": _over(centred, rewards, True),
        "`use_std` asks for a division by the group's standard deviation": _over(centred, rewards, False),
        "this divides by n where a sample's standard deviation divides by n - 1 (`correction=1`, torch's default)":
            _over(by_n, rewards, False),
        "the rewards' mean is not taken off: answers that were all right would push like one that alone was right":
            _over(rewards, rewards, use_std),
    }  # fmt: skip


def _over(values: Tensor, rewards: Tensor, use_std: bool) -> Tensor:
    """Over the group's standard deviation, if asked for, and 0 in the groups that are all equal."""
    spread = rewards.std(dim=1, keepdim=True).masked_fill(DEAD, 1.0) if use_std else 1.0
    return (values / spread).masked_fill(DEAD, 0.0)


@check("15.clip", points=2)
def check_clipped(task: Task) -> str:
    """The clipped objective, with two edges"""
    ratio = torch.cat([torch.tensor([0.5, 0.9, 1.0, 1.25, 1.35, 2.0]).repeat(2), 0.3 + 2 * task.rand(8)])
    advantage = torch.cat([torch.ones(6), -torch.ones(6), task.randn(8)])
    low, high = 0.2, 0.3
    plain, clipped = ratio * advantage, ratio.clamp(1 - low, 1 + high) * advantage
    task.equal(task.call(ratio, advantage, low, high), torch.minimum(plain, clipped), "not the smaller of the two",
               _clip_mistakes(ratio, advantage, low, high))  # fmt: skip
    wide = torch.minimum(ratio * advantage, ratio.clamp(0.9, 1.5) * advantage)
    task.again(wide[3:], ratio[3:], advantage[3:], 0.1, 0.5)
    slope = task.gradients(ratio, advantage, low, high)[0]
    task.that(slope is not None, NO_GRADIENT)
    flat = torch.where(advantage > 0, ratio > 1 + high, ratio < 1 - low)
    task.equal(slope, advantage.masked_fill(flat, 0.0), "the values are right, the gradient is not: both products have "
               "to depend on `ratio`, with no `detach` in between")  # fmt: skip
    return "the smaller of two: no reward for going too far, and always a way back"


def _clip_mistakes(ratio: Tensor, advantage: Tensor, low: float, high: float) -> dict[str, Tensor]:
    """Message → the objective which that mistake gives."""
    plain, clipped = ratio * advantage, ratio.clamp(1 - low, 1 + high) * advantage
    power = ratio.exp()
    return {
        "that is the larger of the two: a token would go on being pushed beyond the edge, which clipping is to prevent":
            torch.maximum(plain, clipped),
        "clipped alone: a bad token that has become likelier (ratio far above 1, advantage below 0) would get no "
        "gradient to bring it back. Take the smaller of clipped and unclipped": clipped,
        "with a negative advantage your clip works in the wrong direction: a bad token that has become likelier is "
        "left alone. The smaller of the two is right for both signs":
            torch.where(advantage < 0, torch.maximum(plain, clipped), torch.minimum(plain, clipped)),
        "nothing is clipped": plain,
        "`high` is not used: DAPO's upper edge is 1 + high":
            torch.minimum(plain, ratio.clamp(1 - low, 1 + low) * advantage),
        "the product was clipped; clip the ratio, then multiply":
            torch.minimum(plain, plain.clamp(1 - low, 1 + high)),
        "this is the loss; wanted is the objective, which is to become large": -torch.minimum(plain, clipped),
        "the edges are 1 - low and 1 + high; you hold the ratio between `low` and `high` themselves":
            torch.minimum(plain, ratio.clamp(low, high) * advantage),
        "the two edges are swapped: the lower one is 1 - low, the upper one 1 + high":
            torch.minimum(plain, ratio.clamp(1 - high, 1 + low) * advantage),
        "the lower edge is missing: a bad token that is already much less likely would be pushed on":
            torch.minimum(plain, ratio.clamp(max=1 + high) * advantage),
        "only 1 + high stands beside the plain product: hold the ratio between both edges (`clamp`), then multiply":
            torch.minimum(plain, (1 + high) * advantage),
        "the advantage is missing": torch.minimum(ratio, ratio.clamp(1 - low, 1 + high)),
        "`ratio` is a ratio of probabilities already, no logarithm: leave `exp` out":
            torch.minimum(power * advantage, power.clamp(1 - low, 1 + high) * advantage),
        "wanted is a value for each token: the averaging comes later (task 4)": torch.minimum(plain, clipped).mean(),
    }  # fmt: skip


@check("15.k3", points=1)
def check_k3(task: Task) -> str:
    """An estimate of the KL divergence that is never negative"""
    policy, reference = task.randn(7).log_softmax(0), task.randn(7).log_softmax(0)
    got = torch.as_tensor(task.call(policy, reference))
    log_ratio = reference - policy
    right, upside_down = log_ratio.exp() - log_ratio - 1, (-log_ratio).exp() + log_ratio - 1
    quotient = reference / policy
    task.equal(got, right, "not yet ρ - 1 - log ρ with ρ = reference / policy", {
        "this is k1, -log ρ: right on average, negative for many tokens, and it swings widely": -log_ratio,
        "this is log ρ alone: k1 with the wrong sign": log_ratio,
        "this is k2, ½ (log ρ)²: never negative, but biased": 0.5 * log_ratio**2,
        "ρ is upside down: the samples come from the policy, so ρ = reference / policy": upside_down,
        "the sign of log ρ is wrong: the estimate would not be 0 where both agree": log_ratio.exp() + log_ratio - 1,
        "the 1 is not taken off: the estimate would be 1, not 0, where both agree": right + 1,
        "you divided the logarithms: log probabilities are subtracted, and ρ is the exponential of the difference":
            quotient - 1 - quotient.log(),
        "the sign of the whole is wrong: this is never positive": -right,
        "this weights a token by its probability, but the tokens have been drawn with it already":
            policy.exp() * (policy - reference),
        "wanted is an estimate for each token: the averaging comes later (task 4)": right.mean(),
        "wanted is an estimate for each token, not their sum": right.sum(),
    })  # fmt: skip
    task.equal(task.call(policy[:3], reference[:3]), right[:3], "right for a whole vocabulary, wrong for three tokens "
               "of it: these are log probabilities already, and a softmax over the tokens changes them")  # fmt: skip
    slope = task.gradients(policy, reference)[0]
    task.that(slope is not None and slope.any(), NO_GRADIENT)
    expected = torch.distributions.kl_divergence(
        torch.distributions.Categorical(logits=policy), torch.distributions.Categorical(logits=reference)
    )
    task.equal((policy.exp() * got).sum(), expected, "its mean under the policy is not the KL divergence")
    return say("never negative, and its mean is torch's own KL divergence, {expected} nats", expected=f"{expected:.3f}")


@check("15.average", points=2)
def check_average(task: Task) -> str:
    """Three papers, three ways to average"""
    losses, lengths, longest = task.randn(3, 8) + 1, [2, 8, 5], 10
    mask = torch.tensor([[float(place < length) for place in range(8)] for length in lengths])
    sums = (losses * mask).sum(dim=1)
    each = {"grpo": (sums / mask.sum(dim=1)).mean(), "dapo": sums.sum() / mask.sum(), "dr_grpo": sums.sum() / 30}
    slips = _average_mistakes(losses, mask)
    for how, expected in each.items():
        others = {
            say('"{how}" was asked for, this is "{other}"', how=how, other=other): value
            for other, value in each.items()
            if other != how
        }
        task.equal(task.call(losses, mask, how, longest), expected, say("not yet the average called \"{how}\"",
                                                                        how=how), others | slips[how] | {
            "the sum still has to be divided": sums.sum(),
            say("\"{how}\" does not divide by the padded width, 8", how=how): sums.sum() / 24,
        })  # fmt: skip
    task.again(losses[:2, :5].sum() / 14, losses[:2, :5], torch.ones(2, 5), "dr_grpo", 7)
    return "an answer of two tokens weighs as much as one of eight, or a quarter of it: that is the choice"


def _average_mistakes(losses: Tensor, mask: Tensor) -> dict[str, dict[str, Tensor]]:
    """For each average: message → the number which that mistake gives."""
    masked, lengths = losses * mask, mask.sum(dim=1)
    means = masked.sum(dim=1) / lengths
    padding = "the padding behind the short answers counts too"
    not_masked = "you count the answers' tokens, but the sum takes in the padding: multiply by the mask first"
    return {
        "grpo": {
            padding: losses.mean(),
            not_masked: (losses.sum(dim=1) / lengths).mean(),
            "this is a mean for each answer; \"grpo\" then takes the mean of those": means,
            "the answers' means are added up; \"grpo\" takes their mean": means.sum(),
            "you sum along dim=0, over the answers: an answer is a row, its tokens run along dim=1":
                (masked.sum(dim=0) / mask.sum(dim=0)).mean(),
            "each answer's tokens are added up; \"grpo\" takes their mean, over that answer's own length":
                masked.sum() / len(losses),
        },
        "dapo": {padding: losses.mean(), not_masked: losses.sum() / mask.sum()},
        "dr_grpo": {
            padding: losses.sum() / 30,
            "divided by `longest` alone; the number of answers is missing below the line": masked.sum() / 10,
            "divided by the number of answers alone; `longest` is missing below the line": masked.sum() / len(losses),
        },
    }  # fmt: skip


@check("15.ratio", points=2)
def check_ratios(task: Task) -> str:
    """Ratios that are 1 before the first step: the planted bug"""
    logits, tokens, temperature = 3 * task.randn(2, 5, 11), task.randint(0, 11, 2, 5), 0.7

    def pick(scores: Tensor) -> Tensor:
        return scores.gather(-1, tokens[..., None])[..., 0]

    sampled = pick((logits / temperature).log_softmax(-1))
    got = task.call(logits, tokens, sampled, temperature)
    task.equal(got, torch.ones(2, 5), "the policy has not moved, so every ratio must be 1", {
        "the answers were drawn at a temperature, and your log-probabilities are those at temperature 1: they differ "
        "before the first step": (pick(logits.log_softmax(-1)) - sampled).exp(),
        "the temperature divides the logits, not the log-probabilities: those would no longer sum to 1":
            (pick(logits.log_softmax(-1)) / temperature - sampled).exp(),
        "the logits were multiplied by the temperature": (pick((logits * temperature).log_softmax(-1)) - sampled).exp(),
        "these are differences of logarithms; a ratio is their exponential": torch.zeros(2, 5),
        "the softmax runs over the positions; it belongs over the vocabulary, the last dimension":
            (pick((logits / temperature).log_softmax(1)) - sampled).exp(),
        "logits are no log probabilities yet: `log_softmax` is missing": (pick(logits / temperature) - sampled).exp(),
        "`sampled` was taken at the temperature already; only the logits still have to be divided by it":
            (pick((logits / temperature).log_softmax(-1)) - sampled / temperature).exp(),
        "one dimension too many: `gather` keeps the last one, and `[..., 0]` takes it away": torch.ones(2, 5, 1),
    })  # fmt: skip
    moved, temperature = logits + task.randn(2, 5, 11), task.number(12, 18) / 10
    sampled = pick((logits / temperature).log_softmax(-1))
    expected = (pick((moved / temperature).log_softmax(-1)) - sampled).exp()
    task.equal(task.call(moved, tokens, sampled, temperature), expected, "right at the start, wrong after a step", {
        "upside down: the ratio is new over old": 1 / expected,
        "this is always 1: it has to compare the new logits with the log-probabilities of the sampling":
            torch.ones(2, 5),
        "0.7 is the temperature of the example; take the argument `temperature`":
            (pick((moved / 0.7).log_softmax(-1)) - sampled).exp(),
        "you divided the logarithms; subtract them, and take the exponential":
            pick((moved / temperature).log_softmax(-1)) / sampled,
        "one ratio for a whole answer; wanted is one for each token": expected.prod(dim=1, keepdim=True).expand(2, 5),
    })  # fmt: skip
    slope = task.gradients(moved, tokens, sampled, temperature)[0]
    task.that(slope is not None and slope.any(), NO_GRADIENT)
    return "1 before the first step, and right after it"


@check("15.reward", points=2)
def check_reward(task: Task) -> str:
    """A reward that copying does not earn"""
    a, b = f"{task.number(20, 50)}.5", task.number(20, 50)
    right = str(float(a) + b)
    answers = _answers(f"{a} + {b}", a, right)
    for answer, expected, mistake in answers:
        got = float(task.call(f"{a} + {b} = ?", answer, right))
        task.equal(got, float(expected), say("{mistake}. The answer was {answer}, with right = {right}",
                                             mistake=say(mistake), answer=repr(answer), right=repr(right)))  # fmt: skip
    return say("{count} answers, three of them worth a reward", count=len(answers))


def _answers(question: str, other: str, right: str) -> list[tuple[str, int, str]]:
    """(answer, its reward, what is wrong if it gets another one)."""
    thought = f"<think>{question} is {right}</think>"
    good, bad = f"<answer>{right}</answer>", f"<answer>{other}</answer>"
    return [
        (thought + good, 1, "a right answer in the right format earns 1"),
        (f"<think>{question}\nis {right}</think>{good}", 1, "a thought of two lines was refused: without re.DOTALL a "
         "dot stops at the line's end"),
        (f"<think>{other} > 1</think>{good}", 1, "a thought with `>` in it was refused: only `<` may not stand there"),
        (f"<think>I count</think><answer>{right}1</answer>", 0, "right digits inside a wrong number were paid"),
        (thought + bad, 0, "a right number in the *thought* was paid; the answer is what counts"),
        (f"{question} = {right}", 0, "paid without any tags: a model that lists numbers would do as well"),
        (thought + bad + good, 0, "two answers, one of them right, were paid: the model would learn to give ten"),
        (good, 0, "paid without a thought: the format asks for one"),
        (f"{thought}{good} or {other}?", 0, "words behind the answer were accepted; it ends there"),
        (f"{thought}<answer>{question}</answer>", 0, "the question, copied into the tags, was paid: the result has to "
         "be a number, not a sum that evaluates to it"),
        (f"<think></think>{good}", 0, "an empty thought was paid: the model would write the tags and stop thinking"),
        (thought + bad + thought + good, 0, "a second try behind a wrong answer was paid: your thought runs on over "
         "`</think>` to a later one. Forbid tags in it"),
        (f"{thought}<answer>{right.replace('.', '/')}</answer>", 0, "the dot of the right result stood for any "
         "character: in a pattern it wants re.escape"),
        (f"{thought}<answer>{right}0</answer>", 0, "the same number, written in another way, was paid: compare the "
         "texts, not the numbers"),
        (f"{thought}<answer> {right} </answer>", 0, "spaces around the result were accepted: between the tags stands "
         "`right` and nothing else"),
        (f"{thought}\n{good}", 0, "something between `</think>` and `<answer>` was accepted: one follows the other at "
         "once"),
        (thought + good + "\n", 0, "a line break behind the answer was accepted: `$` and `strip` let it pass, "
         "`re.fullmatch` does not"),
    ]  # fmt: skip


@check("15.dead", points=2)
def check_dead(task: Task) -> str:
    """Predict, then measure: how many groups teach nothing"""
    for rate, size in ((0.3, 2), (0.05, 8), (0.4, 3), (0.9, 8)):
        answers = task.rand(20_000, size) < rate
        share = (answers.all(1) | ~answers.any(1)).double().mean().item()
        got = float(task.call(rate, size))
        for message, value in _share_mistakes(rate**size, (1 - rate) ** size).items():
            task.that(not close(got, value) or abs(got - share) < 0.015, message)
        task.that(
            abs(got - share) < 0.015,
            say(
                "at a rate of {rate} and {size} answers a group {share} of 20,000 "
                "groups were all alike; you predicted {got}",
                rate=rate,
                size=size,
                share=f"{share:.3f}",
                got=f"{got:.3f}",
            ),
        )
    return "the measured shares are those that you predicted"


def _share_mistakes(all_right: float, all_wrong: float) -> dict[str, float]:
    """Message → the share which that mistake gives."""
    return {
        "only the groups without a right answer: those that are all right teach nothing, either": all_wrong,
        "only the groups that are all right: where none is, there is nothing to compare, either": all_right,
        "these are the groups that do teach": 1 - all_right - all_wrong,
        "twice the groups that are all right: those that are all wrong are another share, with 1 - rate": 2 * all_right,
        "a group cannot be all right *and* all wrong: the two shares are added, not multiplied": all_right * all_wrong,
        "a group cannot be all right *and* all wrong: nothing is counted twice, so nothing has to be taken off":
            all_right + all_wrong - all_right * all_wrong,
    }  # fmt: skip
