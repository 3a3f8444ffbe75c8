"""Planted for the exercises on chapter 05, SwiGLU."""

from typing import Any

import torch
import torch.nn.functional as F
from checks_kit import plant
from torch import Tensor

from minimind_lite.course.chapters.swiglu import checks


def sigma(z: Tensor) -> Tensor:
    return z.sigmoid()


def by_differences(z: Tensor) -> Tensor:
    wide = z.double()
    return ((F.silu(wide + 1e-5) - F.silu(wide - 1e-5)) / 2e-5).float()


plant(
    checks.check_silu_slope,
    mistakes=[
        (F.silu, "SiLU itself"),
        (sigma, "two terms"),
        (lambda z: z * sigma(z) * (1 - sigma(z)), "only the second term"),
        (lambda z: sigma(z) + z * sigma(z), "σ alone"),
        (lambda z: sigma(z) * (1 - sigma(z)), "the sigmoid's slope, not"),
        (lambda z: (z > 0).float(), "no corner"),
        (lambda z: sigma(z) - z * sigma(z) * (1 - sigma(z)), "the sign is wrong"),
    ],
    alternatives=[by_differences, lambda z: sigma(z) * (1 + z * sigma(-z)), lambda z: F.silu(z) * sigma(-z) + sigma(z)],
)


def by_einsum(x: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
    gate, up = gate_up.view(2, -1, x.shape[-1])
    g, u = torch.einsum("...d,id->...i", x, gate), torch.einsum("...d,id->...i", x, up)
    return torch.einsum("...i,di->...d", g * u / (1 + (-g).exp()), down)


def by_neurons(x: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
    """One inner neuron after the other adds its column of down."""
    inner = len(gate_up) // 2
    out = torch.zeros_like(x)
    for i in range(inner):
        out = out + (F.silu(x @ gate_up[i]) * (x @ gate_up[inner + i]))[..., None] * down[:, i]
    return out


def halves(x: Tensor, gate_up: Tensor) -> tuple[Tensor, Tensor]:
    gate, up = (x @ gate_up.mT).chunk(2, dim=-1)
    return gate, up


def with_gate(bend: Any) -> Any:
    def wrong(x: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
        gate, up = halves(x, gate_up)
        passed: Tensor = bend(gate, up)
        return passed @ down.mT

    return wrong


plant(
    checks.check_fused_swiglu,
    mistakes=[
        (with_gate(lambda g, u: g * F.silu(u)), "are exchanged"),
        (lambda x, gu, d: (F.silu(x @ gu[::2].mT) * (x @ gu[1::2].mT)) @ d.mT, "split in the middle"),
        (with_gate(lambda g, u: F.relu(g) * u), "ReGLU"),
        (with_gate(lambda g, u: g.sigmoid() * u), "GLU of 2016"),
        (with_gate(lambda g, u: F.gelu(g) * u), "GEGLU"),
        (with_gate(lambda g, u: g * u), "activation is missing"),
        (with_gate(lambda g, u: F.silu(g * u)), "not on the product"),
        (with_gate(lambda g, u: F.silu(g) + u), "not added"),
        (lambda x, gu, d: F.silu(halves(x, gu)[0]) * halves(x, gu)[1], "the way back"),
    ],
    alternatives=[by_einsum, by_neurons],
)

plant(
    checks.check_repaired_gate,
    mistakes=[
        (lambda g, u: F.silu(g * u), "still there"),
        (lambda g, u: F.silu(g) * F.silu(u), "not proportional"),
        (lambda g, u: g.sigmoid() * u, "a sigmoid gate"),
        (lambda g, u: F.relu(g) * u, "ReLU's gate"),
        (lambda g, u: torch.zeros_like(u), "nothing passes"),
    ],
    alternatives=[lambda g, u: u * g / (1 + torch.exp(-g)), lambda g, u: torch.einsum("ij,ij->ij", F.silu(g), u)],
)

plant(
    checks.check_predicted_growth,
    mistakes=[
        (lambda factor, gated: factor, "How often does x enter"),
        (lambda factor, gated: factor**2, "only one factor"),
        (lambda factor, gated: factor**3, "three matrices"),
        (lambda factor, gated: 1.0, "no norm inside"),
        (lambda factor, gated: 2 * factor, "measured"),
    ],
    alternatives=[
        lambda factor, gated: factor * factor if gated else factor,
        lambda f, gated: torch.tensor(f) ** (1 + gated),
    ],
)
