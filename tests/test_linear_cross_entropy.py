"""The loss in chunks against the plain form: values, gradients, precisions, and what it keeps."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from minimind_lite.config import preset
from minimind_lite.model.transformer import IGNORED_TARGET, Transformer, linear_cross_entropy


def plain(hidden: Tensor, weight: Tensor, targets: Tensor, counts: Tensor | None = None) -> Tensor:
    logits = hidden @ weight.T
    each = F.cross_entropy(logits.to(torch.promote_types(logits.dtype, torch.float32)), targets, reduction="none")
    return (each if counts is None else each * counts).sum()


def gradients(function, *inputs: Tensor | None, **kwargs) -> tuple[Tensor, ...]:
    leaves = [one.clone().requires_grad_() for one in inputs[:2]]
    total = function(*leaves, *inputs[2:], **kwargs)
    return total.detach(), *torch.autograd.grad(3 * total, leaves)


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(0, 30), width=st.integers(1, 9), vocabulary=st.integers(1, 40), weighted=st.booleans(),
    chunk_bytes=st.integers(1, 6000), seed=st.integers(0, 99),
)  # fmt: skip
def test_it_equals_the_plain_form_whatever_the_chunks(rows, width, vocabulary, weighted, chunk_bytes, seed):
    draw = torch.Generator().manual_seed(seed)
    double = {"generator": draw, "dtype": torch.float64}  # in float32, rounding alone can reach 3e-5
    hidden, weight = torch.randn(rows, width, **double), 3 * torch.randn(vocabulary, width, **double)
    targets = torch.randint(0, vocabulary, (rows,), generator=draw)
    counts = 5 * torch.rand(rows, **double) if weighted else None
    expected = gradients(plain, hidden, weight, targets, counts)
    found = gradients(linear_cross_entropy, hidden, weight, targets, counts, chunk_bytes=chunk_bytes)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


def test_its_gradient_is_the_derivative_in_double_precision():
    hidden, weight = (torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in ((7, 3), (5, 3)))
    targets, counts = torch.randint(0, 5, (7,)), torch.rand(7, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda h, w: linear_cross_entropy(h, w, targets, counts, 40), (hidden, weight))


def test_a_certain_mistake_has_its_size_and_not_infinity():
    hidden, weight = torch.tensor([[1.0]]), torch.tensor([[500.0], [-500.0]])
    assert linear_cross_entropy(hidden, weight, torch.tensor([1])).item() == 1000.0
    assert linear_cross_entropy(hidden, weight, torch.tensor([0])).item() == 0.0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_under_autocast_it_is_as_exact_as_the_plain_form(dtype):
    torch.manual_seed(0)
    hidden, weight, targets = torch.randn(50, 32), torch.randn(100, 32), torch.randint(0, 100, (50,))
    exact = gradients(plain, hidden, weight, targets)
    with torch.autocast("cpu", dtype=dtype):
        by_form = [gradients(one, hidden, weight, targets) for one in (plain, linear_cross_entropy)]
    for true, theirs, ours in zip(exact, *by_form, strict=True):
        assert ours.dtype == torch.float32
        assert (ours - true).norm() <= 1.5 * (theirs - true).norm() + 1e-6 * true.norm()


def test_without_gradients_nothing_is_made_for_them():
    hidden, weight, targets = torch.randn(6, 4), torch.randn(5, 4, requires_grad=True), torch.randint(0, 5, (6,))
    with torch.no_grad():
        total = linear_cross_entropy(hidden, weight, targets)
    assert not total.requires_grad
    frozen = linear_cross_entropy(hidden.requires_grad_(), weight.detach(), targets)  # as under LoRA
    made, unneeded = frozen.grad_fn.saved_tensors
    assert made.shape == hidden.shape and unneeded is None


def test_it_keeps_no_logits_for_the_backward_pass():
    hidden, weight = torch.randn(64, 8, requires_grad=True), torch.randn(1000, 8, requires_grad=True)
    kept: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda one: (kept.append(one.numel()), one)[1], lambda one: one):
        total = linear_cross_entropy(hidden, weight, torch.randint(0, 1000, (64,)), None, 8000)
    assert sum(kept) == hidden.numel() + weight.numel() < 64 * 1000
    (once,) = torch.autograd.grad(total.square(), hidden, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        once.sum().backward()


@pytest.mark.parametrize("untrained", [0, 3])
@pytest.mark.parametrize("tied", [True, False])
def test_a_models_loss_and_gradients_are_those_of_its_logits(tied, untrained):
    torch.manual_seed(0)
    model = Transformer(preset("pico", vocab_size=97, tie_word_embeddings=tied))
    ids, targets = torch.randint(0, 97, (2, 12)), torch.randint(0, 97, (2, 12))
    targets[:, 12 - untrained :] = IGNORED_TARGET
    counts = torch.rand(97) + 0.5
    total, items = model.loss(ids, targets, token_weights=counts)
    total.backward()
    found = {name: one.grad.clone() for name, one in model.named_parameters()}
    model.zero_grad()
    logits = model(ids)
    expected = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), weight=counts, reduction="sum")
    expected.backward()
    assert items.item() == pytest.approx(counts[targets[targets != IGNORED_TARGET]].sum().item(), rel=1e-6)
    torch.testing.assert_close(total, expected, rtol=1e-6, atol=1e-6)
    for name, one in model.named_parameters():
        torch.testing.assert_close(found[name], one.grad, rtol=1e-5, atol=1e-6)
