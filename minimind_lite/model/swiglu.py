"""SwiGLU: the feed-forward half of a block, in which one half of the width decides how much of the other passes."""

import torch.nn.functional as F
from torch import Tensor, nn


class SwiGLU(nn.Module):
    """``down(silu(gate(x)) · up(x))``: three matrices where the classic MLP has two.

    x: (batch, seq, hidden_size); returns the same shape. Because there are three, the inner width is chosen as 8/3 of
    hidden_size instead of 4 times, for equal parameters. ``silu`` is on the gate: put on ``up`` instead, the model
    trains just as well, and every imported weight gives nonsense.
    Source: Shazeer 2020 (arXiv 2002.05202), eq. 6, without biases.
    """

    def __init__(self, hidden_size: int, intermediate_size: int) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(hidden_size, intermediate_size, bias=False)
        self.up_proj = nn.Linear(hidden_size, intermediate_size, bias=False)
        self.down_proj = nn.Linear(intermediate_size, hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))
