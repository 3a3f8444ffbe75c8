"""Checks of the exercises on chapter 11, LoRA. References: peft's own layer, torch's SVD, autograd."""

import re

import torch
from torch import Tensor, nn

from ...exercises.core import check
from ...exercises.task import Task, Wrong, close
from ...kit.language import say


def _adapter(task: Task, rank: int = 3) -> tuple[Tensor, Tensor, Tensor, float]:
    """W (out, in), A (rank, in), B (out, rank), alpha."""
    return task.randn(7, 5), task.randn(rank, 5), task.randn(7, rank), float(task.number(8, 20))


def _by_peft(x: Tensor, W: Tensor, A: Tensor, B: Tensor, alpha: float) -> Tensor:
    """What the library peft computes with the same numbers."""
    from peft import LoraConfig, get_peft_model

    linear = nn.Linear(W.shape[1], W.shape[0], bias=False)
    linear.weight.data = W.clone()
    config = LoraConfig(r=A.shape[0], lora_alpha=int(alpha), target_modules=["0"])
    model = get_peft_model(nn.Sequential(linear), config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora" in name:
                parameter.copy_(A if "lora_A" in name else B)
        y: Tensor = model(x)
        return y


@check("11.forward", points=1)
def check_lora_forward(task: Task) -> str:
    """A layer with its adapter beside it"""
    (W, A, B, alpha), x = _adapter(task), task.randn(2, 4, 5)
    plain, change = x @ W.T, x @ A.T @ B.T
    task.equal(task.call(x, W, A, B, alpha), _by_peft(x, W, A, B, alpha), "this is not W x + (alpha / rank) · B A x", {
        "the factor alpha / rank is missing": plain + change,
        "the factor is alpha / rank; you multiplied by alpha alone": plain + alpha * change,
        "the factor is alpha / rank; you divided by the rank alone": plain + change / 3,
        "rank and alpha are the wrong way round in the factor": plain + 3 / alpha * change,
        "the rank is the number of A's rows; you divided by one of the layer's widths": plain + alpha / 5 * change,
        "the base's own part is missing: the adapter is added to it and does not replace it": alpha / 3 * change,
        "the factor belongs to the change alone: the base is multiplied by it too": alpha / 3 * (plain + change),
    })  # fmt: skip
    x, W, A, B = task.randn(1, 2, 6), task.randn(4, 6), task.randn(2, 6), task.randn(4, 2)
    task.again(x @ W.T + 2.5 * (x @ A.T @ B.T), x, W, A, B, 5.0)
    return "the same as peft's layer with your numbers"


@check("11.count", points=1)
def check_trained_numbers(task: Task) -> str:
    """How many numbers an adapter trains"""
    shapes = [(task.number(20, 90), task.number(20, 90)) for _ in range(4)]
    rank = task.number(2, 9)
    layers = [nn.ModuleList([nn.Linear(i, rank, bias=False), nn.Linear(rank, o, bias=False)]) for o, i in shapes]
    expected = sum(p.numel() for layer in layers for p in layer.parameters())
    task.equal(task.call(shapes, rank), expected, "count both thin matrices of every layer", {
        "these are the numbers of the layers themselves, which stay frozen": sum(o * i for o, i in shapes),
        "these are the numbers of the product B A, which is never stored": sum(rank * o * i for o, i in shapes),
        "A is counted, B is not: it has rank numbers for each output": sum(rank * i for _, i in shapes),
        "B is counted, A is not: it has rank numbers for each input": sum(rank * o for o, _ in shapes),
        "that is one layer; there are four": rank * sum(shapes[0]),
    }, tolerance=1e-9)  # fmt: skip
    return say("{expected} numbers, as many as torch counts", expected=f"{expected:,}")


NAMES = [f"model.layers.{n}.{part}" for n in (0, 1, 11) for part in
         ("self_attn.q_proj", "self_attn.k_proj", "mlp.up_proj", "mlp.gate_proj", "input_layernorm")]  # fmt: skip
NAMES += ["model.embed_tokens", "lm_head", "model.layers.1.self_attn.q_proj.bias", "old.model.layers.0.mlp.up_proj"]


@check("11.names", points=2)
def check_chosen_layers(task: Task) -> str:
    """Which layers get an adapter"""
    for pattern in (
        r"model\.layers\.0\..*_proj",
        r"model\.layers\.1\..*_proj",
        r".*\.(q_proj|up_proj)",
        r"model\.layers\.\d\.mlp\..*",
        "lm_head",
    ):
        expected = [name for name in NAMES if re.compile(rf"^(?:{pattern})$").search(name)]
        task.equal(list(task.call(NAMES, pattern)), expected, say("for the pattern {pattern} other layers are meant",
                                                                  pattern=repr(pattern)), {
            "the pattern has to fit to the name's end; yours accepts names that go on (a bias got an adapter)":
                [name for name in NAMES if re.match(pattern, name)],
            "the pattern has to fit the *whole* name; you look for it anywhere inside (a layer of an older model came "
            "along)": [name for name in NAMES if re.search(pattern, name)],
            "these are the names that do not fit": [name for name in NAMES if name not in expected],
            "the pattern is a regular expression, not a plain text": [name for name in NAMES if pattern in name],
        })  # fmt: skip
    return "layer 11 is not layer 1, and a bias is not a layer"


@check("11.merge", points=2)
def check_merged(task: Task) -> str:
    """Melt an adapter into the weight, one at a time"""
    W, *_ = _adapter(task)
    adapters = {name: _adapter(task, rank)[1:] for name, rank in (("identity", 2), ("medical", 4))}
    change = {name: alpha / len(A) * (B @ A) for name, (A, B, alpha) in adapters.items()}
    for name in ("identity", "medical"):
        A, B, alpha = adapters[name]
        task.equal(task.call(W, adapters, name), W + change[name], "this is not W + (alpha / rank) · B A", {
            "the factor alpha / rank is missing: the merged model differs from the unmerged one": W + B @ A,
            "both adapters are in it; only the one that is named": W + change["identity"] + change["medical"],
            "the adapter was taken out, not put in: the sign": W - change[name],
            "that is the change alone; the merged layer has the base in it": change[name],
            "that is the other adapter": W + change["medical" if name == "identity" else "identity"],
            "alpha alone is the factor here; divide by the rank": W + alpha * B @ A,
        })  # fmt: skip
        x = task.randn(6, 5)
        task.equal(x @ torch.as_tensor(task.call(W, adapters, name)).T, _by_peft(x, W, A, B, alpha),
                   "merged and unmerged do not answer alike")  # fmt: skip
    back = torch.as_tensor(task.call(W, adapters, None))
    task.that(close(back, W, 1e-3), "with no adapter (None) the layer is its base")
    task.that(torch.equal(back, W), "almost the base, and not to the bit: a sum that is subtracted again leaves its "
              "rounding behind. Keep the frozen matrix, and return it")  # fmt: skip
    return "merged answers as unmerged, and without an adapter it is the base to the bit"


@check("11.start", points=2)
def check_start(task: Task) -> str:
    """A start that changes nothing, and still learns: the planted bug"""
    A, B = (torch.as_tensor(one).detach().clone().requires_grad_() for one in task.call(40, 60, 4))
    task.that(
        A.shape == (4, 60) and B.shape == (40, 4),
        say(
            "wanted are A (4, 60) and B (40, 4); you returned {shape} and {shape_2}",
            shape=tuple(A.shape),
            shape_2=tuple(B.shape),
        ),
    )
    task.that(A.any() or B.any(), "both are zero: A's gradient contains B and B's contains A, so both stay 0 for ever")
    task.that(not (B @ A).any(), "B A is not 0: the adapted model starts as another model, damaged at random. "
              "One of the two has to be zero")  # fmt: skip
    W, x = task.randn(40, 60), task.randn(16, 60)
    (x @ (W + B @ A).T).square().mean().backward()
    if A.grad is None or B.grad is None:
        raise Wrong(say("no gradient arrives"))
    start = A if A.any() else B.T
    task.that(torch.linalg.matrix_rank(start.detach()) == 4, "the four directions are all the same, so they get the "
              "same gradient and remain the same: an adapter of rank 1. Draw them at random")  # fmt: skip
    wide, _ = task.call(8, 400, 4)
    for matrix, inner in ((start.detach(), 60), (torch.as_tensor(wide), 400)):
        size = float(matrix.std())
        task.that(
            not matrix.any() or 0.15 / inner**0.5 < size < 1.0,
            say(
                "the random matrix has a standard deviation of "
                "{size}: too far from that of a linear layer's own "
                "weights, about 1 / √{inner} = {value}; learning "
                "would crawl, or jump",
                size=f"{size:.2g}",
                inner=inner,
                value=f"{inner ** (-0.5):.2g}",
            ),
        )
    return "the base to the bit at the start, and a gradient that gets it moving"


@check("11.rank", points=2)
def check_rank_error(task: Task) -> str:
    """Predict, then measure: what a low rank loses"""
    matrix = task.randn(12, 3) @ task.randn(3, 10) + 0.3 * task.randn(12, 10)
    values, total = torch.linalg.svdvals(matrix), matrix.square().sum()
    for rank in (1, 3, 6):
        u, s, v = torch.linalg.svd(matrix, full_matrices=False)
        lost = ((matrix - (u[:, :rank] * s[:rank]) @ v[:rank]).square().sum() / total).item()
        task.equal(task.call(values, rank), lost, "the measured loss of the best approximation is another", {
            "that is the share it keeps; asked is what it loses": 1 - lost,
            "sum the *squares* of the singular values: their squares add up to the matrix's":
                (values[rank:].sum() / values.sum()).item(),
            "a root too many: asked is the share of the sum of squares": lost**0.5,
            "one direction too few is kept: the first `rank` singular values stay":
                (values[rank - 1 :].square().sum() / total).item(),
            "that is an amount; asked is a share of the whole": values[rank:].square().sum().item(),
        })  # fmt: skip
    return "as measured with the best approximation of rank 1, 3 and 6"
