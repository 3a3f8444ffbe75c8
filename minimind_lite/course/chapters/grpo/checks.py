"""Checks of the exercises on chapter 15, GRPO. References: float64 loops, torch's categorical distribution."""

import torch
from torch import Tensor

from ...exercises.core import check
from ...exercises.task import Task, close
from ...kit.language import say

SILENT = torch.tensor([False, True, False, True, True])[:, None]  # which of the groups of task 1 are all equal


@check("15.advantage", points=2)
def check_advantages(task: Task) -> str:
    """Advantages inside a group, and groups that teach nothing"""
    rewards = task.rand(5, 8) + task.rand(5, 1)
    rewards[1], rewards[3], rewards[4] = 0.1, 0.6, 1.0  # the mean of eight times 0.6 is not quite 0.6
    for use_std in (True, False):
        got, silent = task.call(rewards, use_std)
        got = torch.as_tensor(got)
        task.that(not got.isnan().any(), "NaN: in a group of equal rewards the standard deviation is 0, and 0 / 0 is "
                  "no number. Such a group teaches nothing: its advantages are 0")  # fmt: skip
        task.that(got.shape == rewards.shape, "wanted is one advantage for each answer: (groups, answers)")
        task.that((got[SILENT[:, 0]] == 0).all(), "a group of equal rewards must get exactly 0: rounding leaves "
                  "1e-9, and divided by a tiny number that is a large push in a random direction")  # fmt: skip
        centred = rewards - rewards.mean(dim=1, keepdim=True)
        task.equal(got, _over(centred, rewards, use_std), "not yet reward minus its group's mean, over the group's "
                   "standard deviation", _advantage_mistakes(rewards, centred, use_std), tolerance=2e-3)  # fmt: skip
        task.equal(silent, 3, "the second number counts the groups whose rewards are all equal")
    return "compared inside their group; three groups of five had nothing to teach"


def _advantage_mistakes(rewards: Tensor, centred: Tensor, use_std: bool) -> dict[str, Tensor]:
    """Message → the advantages which that mistake gives."""
    by_n = centred / rewards.std(dim=1, keepdim=True, correction=0).clamp(min=1e-9)
    of_all = centred / rewards.std()
    return {
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
    spread = rewards.std(dim=1, keepdim=True).masked_fill(SILENT, 1.0) if use_std else 1.0
    return (values / spread).masked_fill(SILENT, 0.0)


@check("15.clip", points=2)
def check_clipped(task: Task) -> str:
    """The clipped objective, with two edges"""
    ratio = torch.cat([torch.tensor([0.5, 0.9, 1.0, 1.25, 1.35, 2.0]).repeat(2), 0.3 + 2 * task.rand(8)])
    advantage = torch.cat([torch.ones(6), -torch.ones(6), task.randn(8)])
    low, high = 0.2, 0.3
    plain, clipped = ratio * advantage, ratio.clamp(1 - low, 1 + high) * advantage
    task.equal(task.call(ratio, advantage, low, high), torch.minimum(plain, clipped), "not the smaller of the two", {
        "that is the larger of the two: a gain that is too good would be followed, which is what clipping prevents":
            torch.maximum(plain, clipped),
        "clipped alone: an answer that has become *worse* (ratio far above 1, advantage below 0) would get no gradient "
        "back. Take the smaller of clipped and unclipped": clipped,
        "with a negative advantage your clip works in the wrong direction: a bad token that has become likelier is "
        "left alone. The smaller of the two is right for both signs":
            torch.where(advantage < 0, torch.maximum(plain, clipped), torch.minimum(plain, clipped)),
        "nothing is clipped": plain,
        "`high` is not used: DAPO's upper edge is 1 + high":
            torch.minimum(plain, ratio.clamp(1 - low, 1 + low) * advantage),
        "the product was clipped; clip the ratio, then multiply":
            torch.minimum(plain, plain.clamp(1 - low, 1 + high)),
        "this is the loss; wanted is the objective, which is to become large": -torch.minimum(plain, clipped),
    })  # fmt: skip
    return "the smaller of two: no reward for going too far, and always a way back"


@check("15.k3", points=1)
def check_k3(task: Task) -> str:
    """An estimate of the KL divergence that is never negative"""
    policy, reference = task.randn(7).log_softmax(0), task.randn(7).log_softmax(0)
    got = torch.as_tensor(task.call(policy, reference))
    log_ratio = reference - policy
    task.equal(got, log_ratio.exp() - log_ratio - 1, "not yet ρ - 1 - log ρ with ρ = reference / policy", {
        "this is k1, -log ρ: right on average, negative for many tokens, and it swings widely": -log_ratio,
        "this is k2, ½ (log ρ)²: never negative, but biased": 0.5 * log_ratio**2,
        "ρ is upside down: the samples come from the policy, so ρ = reference / policy":
            (-log_ratio).exp() + log_ratio - 1,
        "the sign of log ρ is wrong: the estimate would not be 0 where both agree": log_ratio.exp() + log_ratio - 1,
    })  # fmt: skip
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
    for how, expected in each.items():
        others = {
            say('"{how}" was asked for, this is "{other}"', how=how, other=other): value
            for other, value in each.items()
            if other != how
        }
        task.equal(task.call(losses, mask, how, longest), expected, say("not yet the average called \"{how}\"",
                                                                        how=how), others | {
            "the padding behind the short answers counts too": losses.mean(),
            "the sum still has to be divided": sums.sum(),
            say("\"{how}\" does not divide by the padded width, 8", how=how): sums.sum() / 24,
        })  # fmt: skip
    return "an answer of two tokens weighs as much as one of eight, or a quarter of it: that is the choice"


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
    })  # fmt: skip
    moved = logits + task.randn(2, 5, 11)
    expected = (pick((moved / temperature).log_softmax(-1)) - sampled).exp()
    task.equal(task.call(moved, tokens, sampled, temperature), expected, "right at the start, wrong after a step", {
        "upside down: the ratio is new over old": 1 / expected,
        "this is always 1: it has to compare the new logits with the log-probabilities of the sampling":
            torch.ones(2, 5),
    })  # fmt: skip
    return "1 before the first step, and right after it"


@check("15.reward", points=2)
def check_reward(task: Task) -> str:
    """A reward that copying does not earn"""
    a, b = f"{task.number(20, 50)}.5", task.number(20, 50)
    right = str(float(a) + b)
    answers = _answers(f"{a} + {b}", a, right)
    for answer, expected, mistake in answers:
        task.equal(float(task.call(f"{a} + {b} = ?", answer, right)), float(expected), mistake)
    return say("{count} answers, two of them worth a reward", count=len(answers))


def _answers(question: str, other: str, right: str) -> list[tuple[str, int, str]]:
    """(answer, its reward, what is wrong if it gets another one)."""
    thought = f"<think>{question} is {right}</think>"
    good, bad = f"<answer>{right}</answer>", f"<answer>{other}</answer>"
    return [
        (thought + good, 1, "a right answer in the right format earns 1"),
        (f"<think>{question}\nis {right}</think>{good}", 1, "a thought of two lines was refused: without re.DOTALL a "
         "dot stops at the line's end"),
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
    ]  # fmt: skip


@check("15.silent", points=2)
def check_silent(task: Task) -> str:
    """Predict, then measure: how many groups teach nothing"""
    for rate, size in ((0.05, 8), (0.5, 4), (0.9, 8), (0.3, 3)):
        answers = task.rand(20_000, size) < rate
        share = (answers.all(1) | ~answers.any(1)).double().mean().item()
        got = float(task.call(rate, size))
        for message, value in {
            "only the groups without a right answer: those that are all right teach nothing, either": (1 - rate)
            ** size,
            "only the groups that are all right: where none is, there is nothing to compare, either": rate**size,
            "these are the groups that do teach": 1 - rate**size - (1 - rate) ** size,
        }.items():
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
