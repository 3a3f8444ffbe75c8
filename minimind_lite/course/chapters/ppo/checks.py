"""Checks of the exercises on chapter 15b, PPO. References: float64 loops over single tokens."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ...exercises.core import check
from ...exercises.task import Task, close
from ...kit.language import say


def _surprises(rewards: Sequence[float], values: Sequence[float], gamma: float) -> list[float]:
    """δ of every token of one answer; after its end nothing is to come."""
    following = [*values[1:], 0.0]
    return [r + gamma * after - before for r, after, before in zip(rewards, following, values, strict=True)]


def _gae_of_one(rewards: Sequence[float], values: Sequence[float], gamma: float, lam: float) -> list[float]:
    """Every advantage as the sum that defines it, with no recursion."""
    delta = _surprises(rewards, values, gamma)
    return [sum((gamma * lam) ** (s - t) * delta[s] for s in range(t, len(delta))) for t in range(len(delta))]


@check("15b.surprise", points=1)
def check_surprise(task: Task) -> str:
    """One line: how much better things look after a token"""
    for size in (6, 9, 1):
        rewards, values, gamma = task.randn(size), task.randn(size), 0.8 if size == 9 else 0.6
        got = task.call(rewards, values, gamma)
        ahead, behind = torch.cat([values[1:], values.new_zeros(1)]), torch.cat([values.new_zeros(1), values[:-1]])
        last = torch.cat([values[1:], values[-1:]])
        expected = torch.tensor(_surprises(rewards.tolist(), values.tolist(), gamma))
        task.equal(got, expected, "not yet r + γ · V of the next token − V of this one", {
            "γ is missing: it multiplies the next value": rewards + ahead - values,
            "γ multiplies this token's value; it belongs to the next one, which is one step further away":
                rewards + ahead - gamma * values,
            "this looks back: V of the *previous* token stands where the next one's belongs":
                rewards + gamma * behind - values,
            "the last token's own value was used for what follows it; after the end nothing is to come, 0":
                rewards + gamma * last - values,
            "the first token follows the last one, as `roll` makes it; after the end nothing is to come, 0":
                rewards + gamma * values.roll(-1) - values,
            "the reward is missing: it is what really happened": gamma * ahead - values,
            "the sign is the wrong way round: better than expected must be positive": -expected,
            "this token's value is missing: what was expected has to be taken off": rewards + gamma * ahead,
        })  # fmt: skip
    return "a surprise is what came, plus what is now hoped for, minus what was hoped for before"


@check("15b.gae", points=3)
def check_gae(task: Task) -> str:
    """Generalised advantage estimation for answers of different lengths"""
    for lengths, width, gamma, lam in (([7, 3, 1, 5], 7, 0.9, 0.7), ([2, 5], 5, 0.8, 0.5)):
        mask = torch.arange(width) < torch.tensor(lengths)[:, None]
        rewards, values = task.randn(len(lengths), width) * mask, task.randn(len(lengths), width)
        got = task.call(rewards, values, mask, gamma, lam)
        rows = [_padded(r[:n], v[:n], width, gamma, lam) for r, v, n in zip(rewards, values, lengths, strict=True)]
        expected = torch.tensor(rows)
        task.that(torch.as_tensor(got).shape == mask.shape, "wanted is one advantage per token: (answers, width)")
        known = _gae_mistakes(rewards, values, mask, gamma, lam)
        same_inside = close(torch.as_tensor(got) * mask, expected)
        task.that(not same_inside or close(got, expected), "right on the tokens, but the padding behind them has "
                  "advantages too; there they are 0")  # fmt: skip
        task.equal(got, expected, "not yet the sum of later surprises, each γλ times less than the one before", known)
    return "each token's later surprises, faded by γλ, and none from behind the answer's end"


def _padded(rewards: Tensor, values: Tensor, width: int, gamma: float, lam: float) -> list[float]:
    found = _gae_of_one(rewards.tolist(), values.tolist(), gamma, lam)
    return found + [0.0] * (width - len(found))


def _recursion(rewards: Tensor, values: Tensor, gamma: float, fade: float, *, forward: bool = False) -> Tensor:
    """The recursion without any mask; forward: from the first token on, as it should not be."""
    width = rewards.shape[1]
    ahead = torch.cat([values[:, 1:], values.new_zeros(len(values), 1)], dim=1)
    delta, found = rewards + gamma * ahead - values, torch.zeros_like(rewards)
    carried = torch.zeros_like(rewards[:, 0])
    for t in range(width) if forward else reversed(range(width)):
        carried = delta[:, t] + fade * carried
        found[:, t] = carried
    return found


def _gae_mistakes(rewards: Tensor, values: Tensor, mask: Tensor, gamma: float, lam: float) -> dict[str, Tensor]:
    """Message → the advantages which that mistake gives."""
    clean = values * mask
    inside = {
        "the padding's values leak in: `values` holds leftovers behind the answer's end, where nothing is to come":
            _recursion(rewards, values, gamma, gamma * lam),
        "γ is missing in the recursion: a surprise fades by γ · λ a token": _recursion(rewards, clean, gamma, lam),
        "λ is missing in the recursion: a surprise fades by γ · λ a token": _recursion(rewards, clean, gamma, gamma),
        "γ is missing in δ: it multiplies the next value": _recursion(rewards, clean, 1.0, gamma * lam),
        "these are the surprises alone (λ = 0): the later ones count too": _recursion(rewards, clean, gamma, 0.0),
        "the recursion runs forwards: a token is to be judged by what comes *after* it":
            _recursion(rewards, clean, gamma, gamma * lam, forward=True),
        "these are returns: the critic's value was not taken off": _recursion(rewards, clean, gamma, gamma * lam)
            + clean,
    }  # fmt: skip
    return {words: value * mask for words, value in inside.items()}


@check("15b.whiten", points=2)
def check_whiten(task: Task) -> str:
    """Advantages with mean 0, over the tokens that were written"""
    mask = torch.arange(6) < torch.tensor([6, 2, 4])[:, None]
    advantages = (3 * task.randn(3, 6) + 5) * mask
    inside = advantages[mask]
    got = torch.as_tensor(task.call(advantages, mask))
    expected = (advantages - inside.mean()) / inside.std() * mask
    task.that(got.shape == mask.shape, "the shape must stay (answers, width)")
    centred = (advantages - inside.mean()) * mask
    wide = (advantages - advantages.mean()) / advantages.std() * mask
    rows = torch.stack([_whitened_row(row, kept) for row, kept in zip(advantages, mask, strict=True)])
    task.that(not close(got * mask, expected, 1e-3) or close(got, expected, 1e-3), "right on the tokens, but the "
              "padding is no longer 0: multiply by the mask at the end")  # fmt: skip
    task.equal(got, expected, "not yet mean 0 and standard deviation 1 over the tokens that were written", {
        "the padding's zeros were counted in mean and deviation: take both over `advantages[mask]`": wide,
        "each answer was whitened by itself: good and bad answers would then look alike": rows,
        "the standard deviation is still missing: only the mean was taken off": centred,
        "the mean is still there: a critic that knows nothing praises everything": advantages / inside.std(),
        "multiplied by the standard deviation where it divides": centred * inside.std(),
        "divided by the variance; take its square root": centred / inside.var(),
    }, tolerance=1e-3)  # fmt: skip
    few, kept = advantages[1:, :5], mask[1:, :5]
    task.again((few - few[kept].mean()) / few[kept].std() * kept, few, kept, tolerance=1e-3)
    return "mean 0 and deviation 1 over all tokens of the batch, and 0 on the padding"


def _whitened_row(row: Tensor, kept: Tensor) -> Tensor:
    return (row - row[kept].mean()) / row[kept].std() * kept


@check("15b.value_loss", points=2)
def check_value_loss(task: Task) -> str:
    """The critic's loss, with a clip of its own"""
    old, clip = task.randn(60), 0.2
    values, returns = old + 0.5 * task.randn(60), old + 0.6 * task.randn(60)
    held = old + (values - old).clamp(-clip, clip)
    plain, clipped = (values - returns) ** 2, (held - returns) ** 2
    expected = 0.5 * torch.maximum(plain, clipped)
    task.equal(task.call(values, old, returns, clip), expected, "not yet half the larger of two squared errors", {
        "the smaller of the two: the clip would then never hold the critic back": 0.5 * torch.minimum(plain, clipped),
        "the clipped error alone: a value that has run away would get no gradient back": 0.5 * clipped,
        "nothing is clipped": 0.5 * plain,
        "the half is missing": 2 * expected,
        "the value itself was clipped to ±clip; what may move by `clip` is its distance from the old value":
            0.5 * torch.maximum(plain, (values.clamp(-clip, clip) - returns) ** 2),
        "the clip is a share of the old value here, as the policy's ratio has it; values may be 0 or negative: add":
            0.5 * torch.maximum(plain, (_between(values, old * (1 - clip), old * (1 + clip)) - returns) ** 2),
        "these are absolute errors; they are to be squared": 0.5 * torch.maximum(plain.sqrt(), clipped.sqrt()),
        "the mean over the tokens; wanted is each token's own, because the mask comes later": expected.mean(),
    })  # fmt: skip
    held = old + (values - old).clamp(-0.4, 0.4)
    wide = 0.5 * torch.maximum(plain, (held - returns) ** 2)
    task.again(wide[5:], values[5:], old[5:], returns[5:], 0.4)
    return "half the larger of two errors: going further than the clip earns nothing"


def _between(values: Tensor, one: Tensor, other: Tensor) -> Tensor:
    return torch.minimum(torch.maximum(values, torch.minimum(one, other)), torch.maximum(one, other))


@check("15b.align", points=2)
def check_align(task: Task) -> str:
    """The value before its token: the planted bug"""
    for prompt, answer, padding in ((4, 5, 3), (1, 2, 0), (6, 1, 2)):
        values = task.randn(3, prompt + answer + padding)
        got = task.call(values, prompt, answer)
        expected = values[:, prompt - 1 : prompt - 1 + answer]
        late = values[:, prompt : prompt + answer]
        task.equal(got, expected, "not the values at the places from which the answer's tokens are guessed", {
            "one too late: at the token's own place the critic has already read it, and the token before it gets the "
            "praise": late,
            "this begins at the start of the prompt; the critic's first guess is at the prompt's last token":
                values[:, :answer],
            "these are the last places of the row, padding included": values[:, -answer:],
            "one place too many: there is no token after the answer's last": values[:, prompt - 1 : prompt + answer],
            "the last token's value is missing": values[:, prompt - 1 : prompt + answer - 2],
            "one too early: the critic has not read the whole prompt there": values[:, prompt - 2 : prompt + answer - 2]
            if prompt > 1 else late,
        })  # fmt: skip
    return "each value was given before its token was known"


@check("15b.horizon", points=2)
def check_horizon(task: Task) -> str:
    """Predict, then measure: how far does a surprise reach back?"""
    for gamma, lam in ((1.0, 0.95), (0.99, 0.95), (1.0, 0.5), (0.9, 0.7), (1.0, 0.3)):
        got = task.call(gamma, lam)
        rewards, values = [0.0] * 40 + [1.0], [0.0] * 41
        weights = _gae_of_one(rewards, values, gamma, lam)[::-1]  # how much the token n places earlier gets
        measured = next(n for n, weight in enumerate(weights) if weight <= 0.5 + 1e-9)
        fade = gamma * lam
        for words, value in {
            "λ was left out: the surprise fades by γ · λ at every token": _tokens(gamma),
            "γ was left out: the surprise fades by γ · λ at every token": _tokens(lam),
            "this is the mean reach, 1 / (1 − γλ); asked is where the weight has fallen to a half":
                1 / (1 - fade),
            "not rounded up: a token is a whole one": math.log(0.5) / math.log(fade),
            "rounded down: there the weight is still above a half": math.floor(math.log(0.5) / math.log(fade)),
        }.items():  # fmt: skip
            task.that(not close(got, value) or close(got, measured), words)
        task.that(
            close(got, measured),
            say(
                "at γ = {gamma} and λ = {lam} the weight is at most a half {measured} "
                "tokens before the surprise; you predicted {got}",
                gamma=gamma,
                lam=lam,
                measured=measured,
                got=got,
            ),
        )
    return "with λ = 0.95 a surprise still counts half fourteen tokens earlier, with λ = 0.5 one token earlier"


def _tokens(fade: float) -> float:
    return math.ceil(math.log(0.5) / math.log(fade) - 1e-9) if fade < 1 else math.inf
