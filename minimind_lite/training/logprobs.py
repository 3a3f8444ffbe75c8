"""How likely a model finds the tokens that stand there: what preference and reinforcement losses are made of."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from minimind_lite.model.transformer import IGNORED_TARGET


def token_logprobs(model: Any, input_ids: Tensor, targets: Tensor, temperature: float = 1.0) -> Tensor:
    """log p(target | what stands before) in nats, (batch, seq) fp32; 0 where the target is -100.

    input_ids, targets: (batch, seq) as `data.padding.pad_documents` makes them, targets already shifted. temperature
    divides the logits, as in sampling. The head runs on the trained positions only.
    """
    trained = targets != IGNORED_TARGET
    logits = model.logits(model.hidden_states(input_ids)[trained]).float() / temperature  # (trained, vocab_size)
    picked = -F.cross_entropy(logits, targets[trained], reduction="none")
    return picked.new_zeros(targets.shape).masked_scatter(trained, picked)
