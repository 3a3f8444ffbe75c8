"""Where a mixture of experts sends held-out text."""

from itertools import islice
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from minimind_lite.data.packing import PackedDataset
from minimind_lite.model.attention import document_mask
from minimind_lite.model.moe import recorded_routing
from minimind_lite.model.transformer import Transformer


@torch.inference_mode()
def routing_loads(model: Transformer, data: PackedDataset, batch_size: int = 8) -> Tensor:
    """The share of visits each expert gets in each layer over all of ``data``: (layers, experts) fp32, rows sum to 1.

    Padding does not count. `model.moe.load_entropy` sums up in one number how even they are.
    """
    config, device = model.config, next(model.parameters()).device
    visits = torch.zeros(config.num_hidden_layers, config.num_experts, device=device)
    rows = (data[index] for index in range(len(data)))
    while batch := list(islice(rows, batch_size)):
        stacked: dict[str, Any] = {name: torch.stack([row[name] for row in batch]).to(device) for name in batch[0]}
        mask = document_mask(stacked["document_ids"])
        with recorded_routing(model) as routings:
            model.hidden_states(stacked["input_ids"], position_ids=stacked["position_ids"], attention_mask=mask)
        real = stacked["document_ids"] >= 0
        visits += torch.stack([F.one_hot(one.chosen[real], config.num_experts).sum((0, 1)) for one in routings])
    return visits / visits.sum(dim=1, keepdim=True)
