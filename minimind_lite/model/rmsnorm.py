"""RMSNorm: give every token's vector the same length before a layer reads it.

LayerNorm also subtracts the mean and adds a bias; RMSNorm leaves both out and nothing is lost (Zhang & Sennrich 2019).
"""

import torch
from torch import Tensor, nn


class RMSNorm(nn.Module):
    """Divide a vector by its root mean square, then scale each dimension by a learned weight.

    x: (..., dim), any dtype; returns x's shape and dtype. ``y = x / sqrt(mean(x²) + eps) · weight``.

    The mean of squares is taken in float32 whatever comes in: in float16 a single activation of 256 already squares to
    infinity, and bfloat16 keeps only two or three digits of the sum.
    Source: Zhang & Sennrich 2019 (arXiv 1910.07467), eq. 4.

    >>> RMSNorm(2, eps=0.0)(torch.tensor([3.0, 4.0]) * 7)  # the scale is gone, the direction stays
    tensor([0.8485, 1.1314], grad_fn=<MulBackward0>)
    """

    def __init__(self, dim: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = (
            eps  # inside the root: v3 and Qwen3 use 1e-6, MiniMind2 1e-5; a wrong one shifts every logit a little
        )
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        wide = x.float()
        normed = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps)
        return (normed * self.weight).type_as(x)

    def extra_repr(self) -> str:
        return f"{self.weight.numel()}, eps={self.eps}"
