"""Checks of the exercises on chapter 18, scale out. References: sums in float64, the whole batch, and counting."""

import torch
from torch import Tensor

from ...exercises.core import check
from ...exercises.task import Task, close
from ...kit.language import say, say_count


@check("18.reads", points=1)
def check_own_examples(task: Task) -> str:
    """Which rank reads which examples"""
    for length, ranks in ((12 + task.number(0, 3) * 4, 4), (13 + task.number(0, 2), 4), (2, 4)):
        shares = [task.call(length, rank, ranks) for rank in range(ranks)]
        case = say("{length} examples, {ranks} ranks", length=length, ranks=ranks)
        for share in shares:
            task.that(isinstance(share, (list, tuple)) and all(isinstance(one, int) for one in share),
                      "return a list of whole numbers, the indices of the rank's examples")  # fmt: skip
        every = [index for share in shares for index in share]
        task.that(sorted(every) != list(range(1, length + 1)), say("{case}: the examples are counted from 0",
                      case=case))  # fmt: skip
        task.that(not every or max(every) < length, say("{case}: an index lies beyond the data", case=case))
        alike = all(list(share) == list(shares[0]) for share in shares)
        task.that(len(set(every)) == len(every), say(
            "{case}: every rank reads the same examples: n cards do the work of one" if alike
            else "{case}: some examples are read twice, so they count double in the gradient", case=case))  # fmt: skip
        task.that(len(every) == length, say("{case}: {value} of them are read by nobody. Were they left out because "
                      "the ranks do not divide the data?", case=case, value=length - len(every)))  # fmt: skip
        sizes = [len(share) for share in shares]
        task.that(max(sizes) - min(sizes) <= 1, say("{case}: one rank reads {most} and another {least}: the others "
                      "wait for the slowest. No two shares may differ by more than one", case=case,
                      most=max(sizes), least=min(sizes)))  # fmt: skip
        task.that(all(list(s) == list(range(r, length, ranks)) for r, s in enumerate(shares)), say("{case}: every "
                      "example is read once and shares are even, but not in turn: rank r starts at r and goes on in "
                      "steps of the number of ranks", case=case))  # fmt: skip
    return "each example is read once, by the rank whose turn it is, and no rank has two more than another"


@check("18.average", points=2)
def check_average(task: Task) -> str:
    """The gradient of the whole batch from the ranks' own means"""
    gradients = [task.randn(3, 4) for _ in range(3)]
    for tokens in ([100 + task.number(0, 9), 10, 40], [7, 0, 21]):
        summed = sum(g.double() * n for g, n in zip(gradients, tokens, strict=True))
        total, right = sum(tokens), torch.as_tensor(summed) / sum(tokens)
        plain = torch.stack(gradients).double().sum(0)
        got = task.call(gradients, tokens)
        task.that(not torch.as_tensor(got).isnan().any(), "a rank without a trained token made it NaN: multiply by its "
                  "0 tokens, do not divide by them")  # fmt: skip
        task.equal(got, right, say("tokens {tokens}: not the gradient of the mean over all {total} tokens",
                                   tokens=tokens, total=total), {
            "you took the mean of the means: a token on a rank with few of them counts more than one elsewhere":
                plain / 3,
            "that is the sum of the means, never divided: the step is several times too long": plain,
            "weighted by tokens, but not divided by their number: the step is too long by their number":
                torch.as_tensor(summed),
            "divided by the number of ranks; the weights are tokens, so divide by the tokens of all ranks":
                torch.as_tensor(summed) / 3,
            "the mean over the tokens is weighted the wrong way round: more tokens, more weight":
                sum((g.double() / max(n, 1) for g, n in zip(gradients, tokens, strict=True)), torch.zeros(3, 4)),
            "one rank's gradient alone: nothing was exchanged": gradients[0],
        })  # fmt: skip
    return "the gradient that one process would have got from the whole batch, unequal shares and an empty one included"


@check("18.ring", points=3)
def check_ring(task: Task) -> str:
    """Ring all-reduce, step by step"""
    for ranks in (2, 4, 3):
        data = [[task.randn(2 + piece % 2) for piece in range(ranks)] for _ in range(ranks)]
        sums = [torch.stack([data[rank][piece] for rank in range(ranks)]).sum(0) for piece in range(ranks)]
        got = task.call(data)
        case = say_count("{count} rank", "{count} ranks", ranks)
        task.that(isinstance(got, (list, tuple)) and len(got) == 2, "return two things: the ranks' pieces and the log")
        pieces, log = got
        task.that(
            len(pieces) == ranks and all(len(own) == ranks for own in pieces),
            say("{case}: wanted is a list of pieces for every rank", case=case),
        )
        right = [[close(pieces[rank][piece], sums[piece]) for piece in range(ranks)] for rank in range(ranks)]
        _explain_pieces(task, case, pieces, data, right, len(log))
        _check_log(task, case, [tuple(one) for one in log], ranks)
    return "every rank has every sum, and each sent 2(n-1) pieces, to its neighbour alone"


def _explain_pieces(task: Task, case: str, pieces: list[list[Tensor]], data: list[list[Tensor]],
                    right: list[list[bool]], messages: int) -> None:  # fmt: skip
    """Name what is wrong with the pieces that are not yet the sums."""
    ranks = len(data)
    if all(map(all, right)):
        return
    means = [torch.stack([one[piece] for one in data]).mean(0) for piece in range(ranks)]
    task.that(
        not all(close(pieces[r][p], means[p]) for r in range(ranks) for p in range(ranks)),
        say("{case}: those are means. An all-reduce adds; the division comes later", case=case),
    )
    task.that(
        not all(close(pieces[r][p], data[r][p]) for r in range(ranks) for p in range(ranks)),
        say("{case}: nobody has anything new: is what was received added to the receiver's own piece?", case=case),
    )
    complete = [sum(own) for own in right]
    first_round_only = complete == [1] * ranks and messages <= ranks * (ranks - 1)
    task.that(
        not first_round_only,
        say(
            "{case}: each rank has one complete sum: that is the first round, the "
            "reduce-scatter. A second round hands the complete pieces on",
            case=case,
        ),
    )
    task.that(
        False,
        say(
            "{case}: not all pieces are the sums of all ranks' ({total} of {value} are). In step s of "
            "the first round rank r sends piece r - s and adds what it receives; in the second it sends "
            "piece r + 1 - s and puts what it receives in place of its own. Sent is what was there "
            "before",
            case=case,
            total=sum(complete),
            value=ranks**2,
        ),
    )


def _check_log(task: Task, case: str, log: list[tuple[int, ...]], ranks: int) -> None:
    """The log holds (step, sender, receiver, piece) of every message."""
    task.that(all(len(one) == 4 for one in log), "the log holds one (step, sender, receiver, piece) for each message")
    neighbours = all(receiver == (sender + 1) % ranks for _, sender, receiver, _ in log)
    task.that(neighbours, say("{case}: a piece was sent to another rank than the next one: in a ring every link "
                  "carries the same traffic", case=case))  # fmt: skip
    sent = [sum(sender == rank for _, sender, _, _ in log) for rank in range(ranks)]
    task.that(len(set(sent)) == 1, say("{case}: rank {value} sends {most} pieces and another {least}: the busiest "
                  "link sets the time", case=case, value=sent.index(max(sent)), most=max(sent),
                  least=min(sent)))  # fmt: skip
    wanted = 2 * (ranks - 1)
    task.that(sent[0] <= wanted, say("{case}: each rank sent {value} pieces where {wanted} are enough: n - 1 steps a "
                  "round", case=case, value=sent[0], wanted=wanted))  # fmt: skip
    task.that(sent[0] == wanted, say("{case}: the sums are right, but the log shows {value} pieces a rank and not "
                  "{wanted}", case=case, value=sent[0], wanted=wanted))  # fmt: skip
    busy = {(step, sender) for step, sender, _, _ in log}
    task.that(len(busy) == len(log), say("{case}: in one step a rank sends one piece", case=case))


@check("18.shards", points=2)
def check_shards(task: Task) -> str:
    """Cut a flat parameter into shards, and gather it again"""
    for shape, ranks in (((3, 4), 4), ((5, 3), 4), ((2,), 3)):
        weight = task.randn(*shape) + 5  # nowhere 0, so that padding can be told from it
        size = -(-weight.numel() // ranks)
        case = say("{shape} on {ranks} ranks", shape=tuple(shape), ranks=ranks)
        got = task.call(weight, ranks)
        task.that(
            isinstance(got, (list, tuple)) and len(got) == 2, "return two things: the shards and the gathered weight"
        )
        parts, gathered = got
        task.that(len(parts) == ranks, say("{case}: {count} shards; wanted is one for each rank",
                      case=case, count=len(parts)))  # fmt: skip
        lengths = [torch.as_tensor(part).numel() for part in parts]
        task.that(sum(lengths) != weight.numel() * ranks, say("{case}: every rank holds the whole weight: nothing is "
                      "saved", case=case))  # fmt: skip
        task.that(len(set(lengths)) == 1, say("{case}: shards of lengths {lengths}: a gather needs equal ones. Fill "
                      "the last with zeros", case=case, lengths=lengths))  # fmt: skip
        task.that(lengths[0] >= size, say("{case}: the shards have room for {total} of {value} values: round the "
                      "length up, or the last ones are lost", case=case, total=sum(lengths),
                      value=weight.numel()))  # fmt: skip
        task.that(lengths[0] == size, say("{case}: shards of {value} values, {size} are enough: pad as little as "
                      "possible", case=case, value=lengths[0], size=size))  # fmt: skip
        flat = torch.cat([weight.flatten(), torch.zeros(ranks * size - weight.numel())])
        joined = torch.cat([torch.as_tensor(part).flatten() for part in parts])
        turns = torch.stack([flat[rank::ranks] for rank in range(ranks)]).flatten()
        task.equal(joined, flat, say("{case}: rank r's shard is not stretch r of the flat weight, zeros behind it",
                                     case=case), {
            "the shards deal the values out in turn; neighbours belong together, so that a gather is one copy": turns,
            "the padding is in front: values move, and no rank knows where a weight begins": flat.roll(
                ranks * size - weight.numel()),
        })  # fmt: skip
        task.that(torch.as_tensor(gathered).shape != (ranks * size,) or weight.dim() == 1, say("{case}: what was "
                      "gathered is still flat, with its padding: cut it off and restore the shape",
                      case=case))  # fmt: skip
        task.equal(gathered, weight, say("{case}: the gathered weight is not the weight that was sharded", case=case))
    return "equal shards, as little padding as possible, and the weight back as it was"


@check("18.memory", points=2)
def check_memory(task: Task) -> str:
    """Memory of one card, under each kind of sharding"""
    parameters, ranks = 1_000_000 * (5 + task.number(0, 9)), 8
    got = [float(task.call(parameters, ranks, stage)) for stage in range(4)]
    right = [_stage_bytes(parameters, ranks, stage) for stage in range(4)]
    one_average = [_stage_bytes(parameters, ranks, stage, adamw=4) for stage in range(4)]
    ddp = right[0]
    task.equal(got, right, say("these are not the bytes of weights, gradients and AdamW's two averages: stages 0 to "
                               "3 on {ranks} ranks, {parameters} parameters: you said {got}",
                               ranks=ranks, parameters=f"{parameters:,}", got=got), {
        "AdamW keeps two averages of 4 bytes for each parameter, not one": one_average,
        "everything is divided by the ranks at every stage: stage 0 shards nothing, 1 only the optimizer's averages":
            [ddp / ranks] * 4,
        "nothing is divided by the ranks, so all of this is stage 0, DDP": [ddp] * 4,
        "that is one stage further each time": [*right[1:], right[3]],
        "that is one stage less each time": [ddp, *right[:3]],
        "those are values, not bytes: a float32 has four": [one / 4 for one in right],
        "that is what all ranks hold together; wanted is one card": [one * ranks for one in right],
    })  # fmt: skip
    task.equal(
        task.call(parameters, 1, 3), parameters * 16.0, "on one rank there is nobody to share with: 16 bytes each"
    )
    return "16 bytes for each parameter, of which 8, 12 and then all 16 are shared out"


def _stage_bytes(parameters: int, ranks: int, stage: int, adamw: int = 8) -> float:
    """Bytes on one card at a stage of ZeRO."""
    whole = {0: 8 + adamw, 1: 8, 2: 4, 3: 0}[stage]
    return parameters * (whole + (8 + adamw - whole) / ranks)
