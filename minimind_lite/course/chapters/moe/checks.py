"""Checks of the exercises on chapter 06, mixture of experts. References: loops in float64, autograd, and counting."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ...exercises.core import check
from ...exercises.task import Task, close
from ...kit.language import say


def _weights(scores: Tensor, k: int, slip: str = "") -> Tensor:
    """(tokens, experts): weights of the k likeliest, zeros elsewhere; with one ``slip`` that people make."""
    shares = scores.exp() / scores.exp().sum(-1, keepdim=True)
    rank = (scores[:, :, None] < scores[:, None]).sum(-1)  # how many experts are liked better
    kept = shares * (rank < k)
    total = kept.sum(-1, keepdim=True)
    if slip in ("", "raw"):
        return kept / total if k > 1 and not slip else kept
    again = (kept.exp() * (rank < k)) / (kept.exp() * (rank < k)).sum(-1, keepdim=True)
    return {"divided": kept / total, "constant": kept / total.detach(), "equal": (rank < k) / k + 0 * kept,
            "whole": kept / kept.sum(), "average": kept / k, "again": again}[slip]  # fmt: skip


def _gradient(scores: Tensor, k: int, upstream: Tensor, slip: str = "") -> Tensor:
    leaf = scores.double().requires_grad_()
    with torch.enable_grad():
        return torch.autograd.grad((_weights(leaf, k, slip) * upstream).sum(), leaf)[0]


@check("06.router", points=1)
def check_router(task: Task) -> str:
    """A router that can learn, even with one expert"""
    scores = task.randn(6, 5)
    for k in (3, 2):
        task.equal(task.call(scores, k), _weights(scores, k), say(
                "k = {k}: these are not the probabilities of the {k} likeliest experts, divided by their sum", k=k), {
            say("k = {k}: the weights sum to less than 1: divide them by their sum", k=k): _weights(scores, k, "raw"),
            say("k = {k}: all visits count the same, so the router's opinion is lost", k=k):
                _weights(scores, k, "equal"),
            say("k = {k}: you divided by the sum over all tokens: each has its own, `sum(dim=-1, keepdim=True)`", k=k):
                _weights(scores, k, "whole"),
            say("k = {k}: you divided by k, which makes a mean and not weights that sum to 1", k=k):
                _weights(scores, k, "average"),
            say("k = {k}: a second softmax, over probabilities, makes them nearly alike: divide by the sum", k=k):
                _weights(scores, k, "again"),
        })  # fmt: skip
    _check_single(task, scores)
    upstream = task.randn(6, 5)
    found = task.gradients(scores, 3, upstream=upstream)[0]
    task.equal(found, _gradient(scores, 3, upstream), "for k = 3 the values are right, the gradient is not", {
        "for k = 3 you divide by a sum without a gradient (`detach`): the sum depends on the scores as well":
            _gradient(scores, 3, upstream, "constant")})  # fmt: skip
    return "weights that sum to 1 for k > 1, and a gradient for k = 1 as well"


def _check_single(task: Task, scores: Tensor) -> None:
    """k = 1: the probability itself, with its gradient."""
    single, upstream = task.call(scores, 1), task.randn(6, 5)
    found = task.gradients(scores, 1, upstream=upstream)[0]
    alive = found is not None and found.abs().max() > 1e-5
    divided = close(single, _weights(scores, 1, "divided"))
    task.that(alive or not divided, "for k = 1 the weight is divided by itself: always 1, and the router's gradient is "
              "zero. Nothing crashes, and it never learns. Do not divide")  # fmt: skip
    task.that(not divided, "for k = 1 your weight is 1, with a gradient: a trick that works, but do not divide here")
    task.equal(single, _weights(scores, 1), "for k = 1 wanted is the largest probability, as it is")
    task.that(alive, "for k = 1 the value is right, but no gradient reaches the scores (`detach`, `item`, `no_grad`?): "
              "this router would never learn")  # fmt: skip
    task.equal(found, _gradient(scores, 1, upstream), "for k = 1 the value is right, the gradient is not")


def _balance(shares: Tensor, chosen: Tensor, per: str) -> Tensor:
    """The balance loss in float64, counted expert by expert; (batch, seq, experts), (batch, seq, k)."""
    if per == "batch":
        shares, chosen = shares.flatten(0, 1)[None], chosen.flatten(0, 1)[None]
    count = shares.shape[-1]
    loads = torch.stack([(chosen == expert).double().mean((1, 2)) for expert in range(count)], dim=1)
    return count * (loads * shares.double().mean(1)).sum(1).mean()


@check("06.balance", points=2)
def check_balance(task: Task) -> str:
    """The balance loss, in each sequence and over the batch"""
    shares = (task.randn(3, 8, 5) * 2 + task.randn(3, 1, 5) * 2).softmax(-1)
    visits = F.one_hot(chosen := shares.topk(2).indices, 5).float().mean(2)
    for per, other in (("sequence", "batch"), ("batch", "sequence")):
        right = _balance(shares, chosen, per)
        task.equal(task.call(shares, chosen, per), right, say('per="{per}": this is not E · Σ load · P̄', per=per), {
            say('per="{per}": you gave the loss per {other}: are load and P̄ means within a sequence or over the batch?',
                per=per, other=other): _balance(shares, chosen, other),
            say('per="{per}": the factor E is missing: balance must give 1, however many experts there are', per=per):
                right / 5,
            say('per="{per}": your loads sum to k: divide the counts by all visits, not by the tokens', per=per):
                right * 2,
            say('per="{per}": you counted the first choice alone, and the second is a visit, too', per=per):
                _balance(shares, chosen[..., :1], per),
            say('per="{per}": take the mean of the sequences; with the sum a larger batch presses harder', per=per):
                right * 3,
            say('per="{per}": you multiplied loads by loads, and counts have no gradient', per=per):
                _balance(visits, chosen, per),
        })  # fmt: skip
        found, leaf = task.gradients(shares, chosen, per)[0], shares.clone().requires_grad_()
        task.that(found is not None and found.abs().max() > 0, say("per=\"{per}\": the value is right, but no "
                      "gradient reaches the probabilities, so this loss changes nothing", per=per))  # fmt: skip
        with torch.enable_grad():
            wanted = torch.autograd.grad(_balance(leaf, chosen, per), leaf)[0]
        task.equal(
            found, wanted, say('per="{per}": the value is right, the gradient for the probabilities is not', per=per)
        )
    few = chosen.clamp(max=2)  # nobody visits the last two experts
    task.equal(task.call(shares, few, "batch"), _balance(shares, few, "batch"), "wrong as soon as the last experts "
               "have no visit: E is the number of experts, `probabilities.shape[-1]`, whoever was chosen")  # fmt: skip
    return "both formulas, and a gradient that presses each expert in proportion to its load"


def _dense(x: Tensor, share: Tensor, gate: Tensor, up: Tensor, down: Tensor) -> Tensor:
    """Every expert on every token, weighted by ``share`` (tokens, experts): slow, and in no need of any dispatch."""
    inner = F.silu(torch.einsum("td,eid->tei", x, gate)) * torch.einsum("td,eid->tei", x, up)
    return torch.einsum("tei,edi,te->td", inner, down, share)


def _layer_mistakes(x: Tensor, scores: Tensor, gate: Tensor, up: Tensor, down: Tensor, k: int) -> dict[str, Tensor]:
    share = _weights(scores, k)
    kept, least = share > 0, share.masked_fill(share == 0, torch.inf).amin(1, keepdim=True)
    slips = {
        "every expert answered: a token visits k of them": scores.softmax(-1),
        "an answer is overwritten: with k > 1 a token gets several, and `out[rows] = …` keeps the last expert's":
            share * (kept & (kept.cumsum(1) == k)),
        "only the weakest of the k answers is left: `out = …` where it should add": share * (share == least),
        "only the likeliest expert answered: a token visits k of them": share * (share == share.amax(1, keepdim=True)),
        "for k = 1 the weight is 1: divided by itself, or not used at all": _weights(scores, k, "divided"),
        "the answers are added without their weights": kept.float(),
        "for k > 1 the weights are to be divided by their sum": _weights(scores, k, "raw"),
    }  # fmt: skip
    known = {message: _dense(x, one, gate, up, down) for message, one in slips.items()}
    return known | {"gate and up have changed places: SiLU bends the gate": _dense(x, share, up, gate, down)}


@check("06.layer", points=3)
def check_mixture(task: Task) -> str:
    """The whole layer: send tokens to experts and bring the answers home"""
    x, asleep = torch.cat((torch.ones(10, 1), task.randn(10, 5)), dim=1), task.number(0, 5)
    router, experts = task.randn(5, 6), (task.randn(5, 4, 6), task.randn(5, 4, 6), task.randn(5, 6, 4))
    router[:, 0], router[asleep, 0] = 0.0, -40.0  # x[:, 0] is 1: nobody visits that expert
    sick = [torch.where(torch.arange(5)[:, None, None] == asleep, torch.nan, one) for one in experts]
    for k in (2, 1):
        scores, got = x @ router.T, task.call(x, router, *experts, k)
        task.equal(
            got,
            _dense(x, _weights(scores, k), *experts),
            say("k = {k}: not Σ weight · expert(token). Are the answers back in the tokens' order?", k=k),
            _layer_mistakes(x, scores, *experts, k),
        )
        task.that(not torch.as_tensor(task.call(x, router, *sick, k)).isnan().any(), "an expert that nobody visits was "
                  "computed all the same, and multiplied by 0: that is a dense model's work")  # fmt: skip
        task.that(not any(found for _, found in task.products(x, router, *sick, k)), "an expert that nobody visits was "
                  "computed all the same, and its answer thrown away: give it only the rows that visit it")  # fmt: skip
        upstream, leaves = task.randn(10, 6), [one.double().requires_grad_() for one in (x, router, *experts)]
        with torch.enable_grad():
            expected = _dense(leaves[0], _weights(leaves[0] @ leaves[1].T, k), *leaves[2:])
            wanted = torch.autograd.grad((expected * upstream).sum(), leaves)
        found = task.gradients(x, router, *experts, k, upstream=upstream)
        for i, name in ((1, "router"), (2, "gate"), (3, "up"), (4, "down"), (0, "x")):  # x hears of all the others
            task.that(
                found[i] is not None,
                say("k = {k}: the values are right, but no gradient reaches `{name}`", k=k, name=name),
            )
            task.equal(
                found[i], wanted[i], say("k = {k}: the gradient for `{name}` is wrong", k=k, name=name), tolerance=1e-3
            )
    return "values and gradients of the definition, and the expert that nobody visits rests"


@check("06.combine", points=2)
def check_repaired_combine(task: Task) -> str:
    """Find the planted bugs: answers that get lost"""
    owners = torch.cat((task.rand(6).argsort(), task.rand(4).argsort(), task.rand(4).argsort()))  # token 6 gets none
    answers, weights, home = task.randn(14, 5), task.rand(14) + 0.2, F.one_hot(owners, 7).float().T  # (tokens, visits)
    expected, got = home @ (weights[:, None] * answers), task.call(answers, owners, weights, 7)
    task.that(got.shape != (6, 5), "a token without an answer is a row of zeros: the result has `tokens` rows")
    lost = close(got[4:6], expected[4:6]) and not close(got[:4], expected[:4])
    mean = expected / home.sum(1, keepdim=True).clamp(min=1)
    task.equal(got, expected, "tokens with one answer are right, those with several are not: an index that occurs "
               "twice is written twice, not added twice. `index_add_` adds" if lost else "not the weighted sum", {
        "that is the mean of a token's answers: their weights are all the dividing there is": mean,
        "the weights are missing": home @ answers,
    })  # fmt: skip
    loud = torch.tensor([[40000.0, 2048.0]] + [[0.0, 1.0]] * 8 + [[40000.0, 0.0], [-30000.0, 0.0]]).half()
    half = task.call(loud, torch.zeros(11, dtype=torch.int64), torch.ones(11), 1)
    task.that(
        half.dtype == torch.float16,
        say("float16 came in and {dtype} went out: return the answers' dtype", dtype=half.dtype),
    )
    task.that(half.isfinite().all(), "the sum still passes through float16, and 40000 + 40000 - 30000 becomes infinite "
              "on its way: add up in float32, come back at the end")  # fmt: skip
    task.equal(half, [[50000.0, 2056.0]], "in float16, 2048 and eight times 1 must make 2056: there 2048 + 1 is 2048. "
               "Add up in float32", tolerance=1e-3)  # fmt: skip
    heavy = task.call(torch.tensor([[40000.0], [40000.0]]).half(), torch.zeros(2, dtype=torch.int64),
                      torch.tensor([2.0, -1.5]), 1)  # fmt: skip
    task.equal(heavy, [[20000.0]], "2 · 40000 - 1.5 · 40000 must make 20000: the products pass through float16, where "
               "80000 is infinite. Convert the answers to float32 before you multiply by the weights",
               tolerance=1e-3)  # fmt: skip
    return "no answer is lost, and the sum is rounded once"


@check("06.awake", points=2)
def check_awake(task: Task) -> str:
    """Predict, then measure: how many experts wake up for a batch?"""
    for tokens in (2 + task.number(0, 3), 1):
        experts, k = 7 + task.number(0, 4), 3 if tokens > 1 else 2
        got, still = float(task.call(experts, k, tokens)), (1 - k / experts) ** tokens
        visited = F.one_hot(task.rand(4000, tokens, experts).topk(k).indices, experts).amax(dim=(1, 2))
        measured = visited.sum(1).float().mean().item()
        inside = abs(got / measured - 1) < 0.02
        for value, message in [
            (experts * still, "that is the number of those who sleep"),
            (1 - still, "that is one expert's chance to wake up; there are many"),
            (k * tokens if got > experts else min(k * tokens, experts), "two tokens may visit the same expert"),
            (experts * (1 - (1 - 1 / experts) ** (k * tokens)), "the k experts of one token are different ones: it "
             "misses an expert with chance 1 - k/E, and not (1 - 1/E) to the power k"),
            (experts * (k / experts) ** tokens, "those are the experts that *all* tokens visit; one visit is enough"),
            (k, "that is one token's number; a batch wakes more of them"),
        ]:  # fmt: skip
            task.that(inside or not close(got, value), message)
        task.that(
            inside,
            say(
                "{tokens} tokens, {k} of {experts} experts: measured {measured}, you said {got}",
                tokens=tokens,
                k=k,
                experts=experts,
                measured=f"{measured:.2f}",
                got=f"{got:.2f}",
            ),
        )
    return "within 2 % of what 4,000 random batches woke up: k experts for one token, nearly all for a few"


def example() -> tuple[Tensor, Tensor, Tensor]:
    """Answers of four visits in float16, whose they are, and their weights, for the notebook."""
    answers = torch.tensor([[1.0, 40000.0], [2.0, 5.0], [10.0, 40000.0], [100.0, -30000.0]]).half()
    return answers, torch.tensor([0, 1, 0, 0]), torch.ones(4)
