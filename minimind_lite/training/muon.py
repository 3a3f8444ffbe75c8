"""Muon: momentum whose singular values are all set to about 1 before the step.

A gradient's matrix has a few large singular values and many small ones, so a plain step learns a few directions fast
and the others hardly at all. Muon gives every direction a step of the same size. Finding the singular vectors would
cost an SVD; five Newton–Schulz iterations, matrix products alone, do nearly the same.

Choices: matrices of one shape are stacked and iterated on together, since small products cost more in calls than in
arithmetic · the iteration runs in bfloat16 on a GPU, where that is fast, and in the weights' own precision on a CPU,
where it is not (torch's own Muon always takes bfloat16) · steps have the size of AdamW's, so a learning rate means the
same for both.
Sources: Jordan et al. 2024 (kellerjordan.github.io/posts/muon); the scale: Liu et al. 2025 (arXiv 2502.16982, 2.2).
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of x, x³ and x⁵: steep at 0, and never far from 1 again
ITERATIONS = 5  # then every start from 0.002 to 1 lies between 0.68 and 1.21; a smaller one is still on its way up
_SMALLEST = 1e-7  # no division by the norm of a gradient that is 0


def orthogonalized(matrices: Tensor, iterations: int = ITERATIONS) -> Tensor:
    """The matrices with their singular vectors kept and all their singular values brought near 1.

    matrices: (count, rows, columns); returns the same shape and dtype. Each iteration maps every singular value s to
    3.4445 s - 4.775 s³ + 2.0315 s⁵, without ever computing one.
    """
    wide = matrices.mT if matrices.size(1) > matrices.size(2) else matrices  # the smaller product of the two
    x: Tensor = wide / wide.norm(dim=(1, 2), keepdim=True).clamp(min=_SMALLEST)  # no singular value above 1
    a, b, c = COEFFICIENTS
    for _ in range(iterations):
        squares = torch.bmm(x, x.mT)  # (count, short, short): its eigenvalues are the singular values squared
        factor = torch.baddbmm(squares, squares, squares, beta=b, alpha=c)
        x = torch.baddbmm(x, factor, x, beta=a)
    return x.mT if wide is not matrices else x


class Muon(torch.optim.Optimizer):
    """Muon with Nesterov's momentum and decoupled weight decay, for matrices alone.

    params: parameters of two dimensions, or groups of them. Raises ValueError for another one.
    """

    def __init__(
        self,
        params: Iterable[torch.nn.Parameter] | Iterable[dict[str, Any]],
        lr: float,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
    ) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})
        shapes = [tuple(one.shape) for group in self.param_groups for one in group["params"] if one.dim() != 2]
        if shapes:
            raise ValueError(f"Muon is for matrices, and this parameter has the shape {shapes[0]}: give it to AdamW")

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One update of every parameter that has a gradient."""
        for group in self.param_groups:
            stacks: dict[tuple[torch.Size, torch.device], list[torch.nn.Parameter]] = {}
            for one in group["params"]:
                if one.grad is not None:
                    stacks.setdefault((one.shape, one.device), []).append(one)
            for stack in stacks.values():
                self._step(stack, **{name: group[name] for name in ("lr", "weight_decay", "momentum")})

    def _step(self, stack: list[torch.nn.Parameter], lr: float, weight_decay: float, momentum: float) -> None:
        """Update parameters of one shape."""
        ahead = []
        for one, gradient in ((one, one.grad) for one in stack if one.grad is not None):
            if not self.state[one]:
                self.state[one]["momentum_buffer"] = torch.zeros_like(one)
            average = self.state[one]["momentum_buffer"].lerp_(gradient, 1 - momentum)
            ahead.append(gradient.lerp(average, momentum))
        directions = torch.stack(ahead)  # (count, rows, columns)
        if directions.is_cuda:
            directions = directions.bfloat16()
        size = 0.2 * max(stack[0].shape) ** 0.5  # AdamW's steps have a root mean square of about 0.2
        for one, direction in zip(stack, orthogonalized(directions).to(stack[0].dtype), strict=True):
            one.mul_(1 - lr * weight_decay)
            one.add_(direction, alpha=-lr * size)
