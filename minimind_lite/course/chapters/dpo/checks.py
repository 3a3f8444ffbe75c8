"""Checks of the exercises on chapter 12, DPO. References: torch's categorical distribution, autograd, counting."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ...exercises.core import check
from ...exercises.task import Task, close
from ...kit.language import say


@check("12.answer", points=2)
def check_answer_logprob(task: Task) -> str:
    """How likely is an answer?"""
    logits, ids = 2 * task.randn(9, 13), task.randint(0, 13, 9)
    mask = torch.tensor([0, 0, 0, 1, 1, 1, 1, 0, 0])  # a prompt of three, an answer of four, padding of two
    each = torch.distributions.Categorical(logits=logits[:-1]).log_prob(ids[1:])
    expected = (each * mask[1:]).sum()
    here = torch.distributions.Categorical(logits=logits).log_prob(ids)
    task.equal(task.call(logits, ids, mask), expected, "this is not the sum of the answer's four log-probabilities", {
        "not shifted: row t of the logits speaks about token t + 1, and you asked it about token t":
            (here * mask).sum(),
        "off by one: a mark belongs to the token that is predicted, `mask[1:]`": (each * mask[:-1]).sum(),
        "the mask is not used: the prompt and the padding are scored too": each.sum(),
        "shifted the wrong way: row t of the logits speaks about token t + 1, and you asked it about token t - 1":
            (torch.distributions.Categorical(logits=logits[1:]).log_prob(ids[:-1]) * mask[1:]).sum(),
        "the mask is inverted: you scored the prompt and the padding, and left the answer out":
            (each * (1 - mask[1:])).sum(),
        "each row was asked about every token (`[:, ids]`): take one column from each row, with `gather`":
            (logits[:-1].log_softmax(-1)[:, ids[1:]] * mask[1:]).sum(),
        "that is a probability; wanted is its logarithm": expected.exp(),
        "that is the mean over all places, masked ones too; wanted is the sum": expected / 8,
        "only the padding is left out: the tokens of the prompt are scored too": each[:6].sum(),
        "the first token of the answer is missing: the last row of the prompt predicts it": each[3:6].sum(),
        "`gather` gave a column, which was spread against the mask into a square: take its column 0, or `squeeze(1)`":
            each.sum() * mask.sum(),
        "the mask is used as an index: its 0s and 1s fetch the first two numbers again and again. Multiply by it, or "
        "use `mask.bool()`": each[mask[1:]].sum(),
        "the softmax runs over the places; wanted is one over the vocabulary, `dim=-1`":
            (logits[:-1].log_softmax(0).gather(1, ids[1:, None])[:, 0] * mask[1:]).sum(),
        "that is the mean; DPO's loss has the sum over the answer's tokens": expected / 4,
        "these are probabilities that you add; logarithms are added, probabilities multiplied":
            (each.exp() * mask[1:]).sum(),
        "these are scores, not log-probabilities: log_softmax over the vocabulary is missing":
            (logits[:-1].gather(1, ids[1:, None])[:, 0] * mask[1:]).sum(),
        "the sign: log-probabilities are below 0; this is a loss": -expected,
    })  # fmt: skip
    return say("{expected} nats, as torch.distributions says", expected=f"{expected:.2f}")


def _margin(policy: Tensor, reference: Tensor) -> Tensor:
    """What the chosen answer of each pair has gained more than the rejected one, (pairs,)."""
    return (policy - reference)[:, 0] - (policy - reference)[:, 1]


def _loss(policy: Tensor, reference: Tensor, beta: float) -> Tensor:
    """In double precision, with softplus: exact however large the margin."""
    return F.softplus(-beta * _margin(policy, reference).double()).mean()


def _judge_training(task: Task, policy: Tensor, reference: Tensor, beta: float) -> None:
    """A loss is there to be trained with, on the worst pair too."""
    leaf = policy.clone().requires_grad_()
    (wanted,) = torch.autograd.grad(_loss(leaf, reference, beta), leaf)
    found = task.gradients(policy, reference, beta)[0]
    task.that(found is not None, "the value is right, but no gradient reaches the policy (`detach`, `item`, "
              "`tolist`?): nothing could be trained with it")  # fmt: skip
    task.equal(found, wanted, "the value is right, the gradient for the policy is not: is a part of it detached?",
               tolerance=1e-3)  # fmt: skip
    got = task.call(torch.tensor([[0.0, 3000.0]]), torch.zeros(1, 2), beta)
    task.that(torch.as_tensor(got).isfinite().all(), "a very wrong pair gives infinity: the sigmoid is rounded to 0 "
              "before you take its logarithm. F.logsigmoid does both at once")  # fmt: skip
    task.equal(got, 900.0, "a very wrong pair must cost β times 3000. Does a `clamp`, or a small number inside the "
               "logarithm, cap it? Then just these pairs get no gradient")  # fmt: skip


@check("12.loss", points=3)
def check_dpo_loss(task: Task) -> str:
    """The loss that learns from a preference"""
    policy, reference, beta = -20 + 6 * task.randn(5, 2), -20 + 6 * task.randn(5, 2), 0.3
    expected, flipped = _loss(policy, reference, beta), _loss(policy.flip(1), reference.flip(1), beta)
    margin = _margin(policy, reference)
    gain = policy - reference
    task.equal(task.call(policy, reference, beta), expected, "not yet the mean of -log σ(β · margin)", {
        "chosen and rejected are swapped: column 0 is the better answer": flipped,
        "the reference is not subtracted: answers that were likely anyway look preferred":
            _loss(policy, torch.zeros_like(policy), beta),
        say("β is missing"): _loss(policy, reference, 1.0),
        "β is an argument: this is what 0.1 gives": _loss(policy, reference, 0.1),
        "β belongs inside the sigmoid; outside it only scales the gradient": beta * _loss(policy, reference, 1.0),
        "that is the sum over the pairs; wanted is their mean": 5 * expected,
        "that is one loss for each pair; wanted is their mean": F.softplus(-beta * margin),
        "the mean comes last: in the mean of the margins, a pair that is right hides one that is wrong":
            F.softplus(-beta * margin.mean()),
        "you subtracted the second pair from the first: `[0]` is a pair, `[:, 0]` holds the chosen answers":
            F.softplus(-beta * (gain[0] - gain[1])).mean(),
        "the signs: the margin is (policy − reference) of the chosen answer *minus* (policy − reference) of the "
        "rejected one. Look at the brackets":
            F.softplus(-beta * (policy[:, 0] - policy[:, 1] - reference[:, 0] - reference[:, 1])).mean(),
        "you divided by β; the margin is multiplied by it": F.softplus(-margin / beta).mean(),
        "the margin is missing: subtract the rejected answer's gain from the chosen one's first":
            F.softplus(-beta * gain).mean(),
        "the logarithm is missing": (1 - torch.sigmoid(beta * margin)).mean(),
        "the sign: this falls when the model gets worse": -expected,
        "the logarithm of a mean is not the mean of logarithms": -torch.sigmoid(beta * margin).mean().log(),
    })  # fmt: skip
    policy, reference = task.randn(3, 2), task.randn(3, 2)
    task.again(_loss(policy, reference, 0.7), policy, reference, 0.7)
    _judge_training(task, policy, reference, beta)
    return "right on ordinary pairs, with their gradient, and finite on a hopeless one"


@check("12.weight", points=2)
def check_gradient_weight(task: Task) -> str:
    """Which pairs are learned from?"""
    policy, reference, beta = (3 * task.randn(6, 2)).requires_grad_(), 3 * task.randn(6, 2), 0.5
    (gradient,) = torch.autograd.grad(_loss(policy, reference, beta), policy)
    expected = -6 * gradient[:, 0]  # of each pair's own loss
    margin = _margin(policy, reference).detach()
    task.equal(task.call(margin, beta), expected, "autograd finds another weight", {
        "β is missing as a factor: the inner derivative": expected / beta,
        "this is large where the pair is right already; the sign inside the sigmoid":
            beta * torch.sigmoid(beta * margin),
        "β is missing inside the sigmoid": beta * torch.sigmoid(-margin),
        "this is the derivative of the sigmoid; that of its logarithm is simpler":
            beta * torch.sigmoid(beta * margin) * torch.sigmoid(-beta * margin),
        "that is the loss itself": F.softplus(-beta * margin),
        "that is log σ(β · margin) itself; wanted is its derivative": F.logsigmoid(beta * margin),
        "β is an argument: this is what 0.1 gives": 0.1 * torch.sigmoid(-0.1 * margin),
        "each is a sixth of its pair's weight: you took the mean over the pairs before the derivative": expected / 6,
        "the sign: asked is the size of the push": -expected,
    })  # fmt: skip
    few = task.randn(3)
    task.again(0.2 * torch.sigmoid(-0.2 * few), few, 0.2)
    return "as autograd finds it: β for a hopeless pair, nearly 0 for one that is clear"


@check("12.accuracy", points=2)
def check_reward_accuracy(task: Task) -> str:
    """How often is the better answer preferred? The planted bug"""
    policy, reference = (task.randn(40, 2) + torch.tensor([one, 0.0]) for one in (2.0, 1.0))
    unchanged = (reference[:, 0] > reference[:, 1]).double().mean()
    task.equal(task.call(reference, reference), 0.5, "a model that is its own reference prefers nothing", {
        "every tie was counted as a win: an untrained model would be reported as perfect. A tie is worth one half": 1.0,
        "every tie was counted as a loss: an untrained model would look hopeless. A tie is worth one half": 0.0,
        "a tie is worth one half, not one and a half: `>=` has counted it as a win already": 1.5,
        "that is per cent; wanted is a share from 0 to 1": 50.0,
        "the reference is not subtracted: then an unchanged model seems to prefer one of the two": unchanged,
    })  # fmt: skip
    policy[0] = reference[0]  # a tie of two rewards of 0
    reference[1:7] = torch.tensor([0.25, -0.5])  # without rounding, unlike most numbers
    policy[1:3] = reference[1:3] + 0.5  # ties of two others
    policy[3:7] = reference[3:7] + torch.tensor([1 / 1024, 0.0])  # nearly ties
    right = sum(0.5 if m == 0 else float(m > 0) for m in _margin(policy, reference).tolist()) / 40
    plain = (policy[:, 0] > policy[:, 1]).double().mean().item()
    task.equal(task.call(policy, reference), right, "the share of pairs whose chosen answer has gained more", {
        "the rejected answers win here: the sign": 1 - right,
        "three pairs of the forty are ties: each is worth a half, also among others": right - 1.5 / 40,
        "among others, ties count as wins: each is worth a half": right + 1.5 / 40,
        "a tie is two *equal* rewards: they need not be 0": right - 1 / 40,
        "a small margin is no tie: only equal rewards are": right - 2 / 40,
        "ties are left out; each counts as half a win, and as one of the pairs": (40 * right - 1.5) / 37,
        "that is a number of pairs; wanted is a share": 40 * right,
        "the reference is not subtracted: the reward is the *change*": plain,
    })  # fmt: skip
    return "0.5 before the first step, and ties in the midst of others count half"


@check("12.margin", points=2)
def check_margin_of_loss(task: Task) -> str:
    """Predict, then measure: what a loss of 0.69 means"""
    for loss, beta in ((math.log(2), 0.1), (0.2, 0.1), (1.1, 0.5), (0.05, 0.3)):
        low, high = -200.0, 200.0  # the loss falls with the margin: halve the interval until it fits
        for _ in range(80):
            middle = (low + high) / 2
            pair = torch.tensor([[middle, 0.0]], dtype=torch.float64)
            low, high = (middle, high) if _loss(pair, torch.zeros(1, 2), beta) > loss else (low, middle)
        got, at_one = float(task.call(loss, beta)), -math.log(math.expm1(loss))
        inside = abs(got - low) < 1e-3
        known = {
            "β is missing: this is β · margin": at_one,
            "β is on the wrong side: the margin is (β · margin) / β": at_one * beta,
            "the sign: a small loss means a large margin": -low,
            "-log of the loss is not it: undo the logarithm first, then the sigmoid": -math.log(loss) / beta,
            "exp(loss) is 1 + exp(-β · margin): take the 1 away before the logarithm": -loss / beta,
            "that is the loss at this margin; wanted is the margin at this loss": math.log1p(math.exp(-beta * loss)),
        }
        for message, value in known.items():
            task.that(inside or not close(got, value), message)
        task.that(
            inside,
            say(
                "with β = {beta}, a loss of {loss} is measured at a margin of {margin}; you said {got}",
                beta=beta,
                loss=f"{loss:.3f}",
                margin=f"{round(low, 2) + 0.0:.2f}",
                got=f"{got:.2f}",
            ),
        )
    return ("as measured; and 0.69, for every β, is a margin of 0: both answers have gained alike, mostly because "
            "nothing has moved")  # fmt: skip
