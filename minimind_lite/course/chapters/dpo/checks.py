"""Checks of the exercises on chapter 12, DPO. References: torch's categorical distribution, autograd, counting."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ...exercises.core import check
from ...exercises.task import Task
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
        "that is the mean; DPO's loss has the sum over the answer's tokens": expected / 4,
        "these are probabilities that you add; logarithms are added, probabilities multiplied":
            (each.exp() * mask[1:]).sum(),
        "these are scores, not log-probabilities: log_softmax over the vocabulary is missing":
            (logits[:-1].gather(1, ids[1:, None])[:, 0] * mask[1:]).sum(),
        "the sign: log-probabilities are below 0; this is a loss": -expected,
    })  # fmt: skip
    return say("{expected} nats, as torch.distributions says", expected=f"{expected:.2f}")


def _loss(policy: Tensor, reference: Tensor, beta: float) -> Tensor:
    """In double precision, with softplus: exact however large the margin."""
    margin = (policy - reference)[:, 0] - (policy - reference)[:, 1]
    return F.softplus(-beta * margin.double()).mean()


@check("12.loss", points=3)
def check_dpo_loss(task: Task) -> str:
    """The loss that learns from a preference"""
    policy, reference, beta = -20 + 6 * task.randn(5, 2), -20 + 6 * task.randn(5, 2), 0.3
    expected, flipped = _loss(policy, reference, beta), _loss(policy.flip(1), reference.flip(1), beta)
    margin = (policy - reference)[:, 0] - (policy - reference)[:, 1]
    task.equal(task.call(policy, reference, beta), expected, "not yet the mean of -log σ(β · margin)", {
        "chosen and rejected are swapped: column 0 is the better answer": flipped,
        "the reference is not subtracted: answers that were likely anyway look preferred":
            _loss(policy, torch.zeros_like(policy), beta),
        say("β is missing"): _loss(policy, reference, 1.0),
        "β belongs inside the sigmoid; outside it only scales the gradient": beta * _loss(policy, reference, 1.0),
        "that is the sum over the pairs; wanted is their mean": 5 * expected,
        "the logarithm is missing": (1 - torch.sigmoid(beta * margin)).mean(),
        "the sign: this falls when the model gets worse": -expected,
        "the logarithm of a mean is not the mean of logarithms": -torch.sigmoid(beta * margin).mean().log(),
    })  # fmt: skip
    far = torch.tensor([[0.0, 3000.0]])
    task.equal(task.call(far, torch.zeros(1, 2), beta), 900.0, "a very wrong pair gives infinity: the sigmoid is "
               "rounded to 0 before you take its logarithm. F.logsigmoid does both at once")  # fmt: skip
    return "right on ordinary pairs, and finite on a hopeless one"


@check("12.weight", points=2)
def check_gradient_weight(task: Task) -> str:
    """Which pairs are learned from?"""
    policy, reference, beta = (3 * task.randn(6, 2)).requires_grad_(), 3 * task.randn(6, 2), 0.5
    (gradient,) = torch.autograd.grad(_loss(policy, reference, beta), policy)
    expected = -6 * gradient[:, 0]  # of each pair's own loss
    margin = ((policy - reference)[:, 0] - (policy - reference)[:, 1]).detach()
    task.equal(task.call(margin, beta), expected, "autograd finds another weight", {
        "β is missing as a factor: the inner derivative": expected / beta,
        "this is large where the pair is right already; the sign inside the sigmoid":
            beta * torch.sigmoid(beta * margin),
        "β is missing inside the sigmoid": beta * torch.sigmoid(-margin),
        "this is the derivative of the sigmoid; that of its logarithm is simpler":
            beta * torch.sigmoid(beta * margin) * torch.sigmoid(-beta * margin),
        "that is the loss itself": F.softplus(-beta * margin),
        "the sign: asked is the size of the push": -expected,
    })  # fmt: skip
    return "as autograd finds it: β for a hopeless pair, nearly 0 for one that is clear"


@check("12.accuracy", points=2)
def check_reward_accuracy(task: Task) -> str:
    """How often is the better answer preferred? The planted bug"""
    policy, reference = task.randn(40, 2) + torch.tensor([0.5, 0.0]), task.randn(40, 2)
    task.equal(task.call(reference, reference), 0.5, "a model that is its own reference prefers nothing", {
        "every tie was counted as a win: an untrained model would be reported as perfect. A tie is worth one half": 1.0,
        "every tie was counted as a loss: an untrained model would look hopeless. A tie is worth one half": 0.0,
    })  # fmt: skip
    policy[0] = reference[0]
    margin = (policy - reference)[:, 0] - (policy - reference)[:, 1]
    right = sum(0.5 if m == 0 else float(m > 0) for m in margin.tolist()) / 40
    plain = (policy[:, 0] > policy[:, 1]).double().mean().item()
    task.equal(task.call(policy, reference), right, "the share of pairs whose chosen answer has gained more", {
        "the rejected answers win here: the sign": 1 - right,
        "the reference is not subtracted: the reward is the *change*": plain,
        "one pair of the forty is a tie: worth a half, also among others": right - 0.5 / 40,
        "that is a number of pairs; wanted is a share": 40 * right,
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
        at_one = -math.log(math.expm1(loss))
        task.equal(
            float(task.call(loss, beta)) + 100,
            low + 100,
            say(
                "a loss of {loss} at β = {beta} is measured at a margin of {low}",
                loss=f"{loss:.3f}",
                beta=beta,
                low=f"{low:.2f}",
            ),
            {
                "β is missing: this is β · margin": at_one + 100,
                "β is on the wrong side: the margin is (β · margin) / β": at_one * beta + 100,
                "the sign: a small loss means a large margin": -low + 100,
                "-log of the loss is not it: undo the logarithm first, then the sigmoid": -math.log(loss) / beta + 100,
            },
            tolerance=1e-5,
        )
    return "as measured; and 0.69, for every β, is a margin of 0: the model has not moved"
