"""How well a model predicts the answers of held-out conversations, and how certain a difference between models is.

Exact match is all or nothing; the cross-entropy on the answers' tokens shows a model getting closer to being right.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

from minimind_lite.data.documents import conversation_documents
from minimind_lite.data.packing import pad_documents
from minimind_lite.device import in_float64
from minimind_lite.model.losses import token_logprobs
from minimind_lite.model.transformer import Transformer
from minimind_lite.tokenizer import Message, Tokenizer


@dataclass(frozen=True)
class AnswerLoss:
    """Nats and trained tokens of each conversation, (conversations,) each, fp64."""

    nats: Tensor
    tokens: Tensor

    @property
    def mean(self) -> float:
        """Cross-entropy in nats per token, each token counting the same."""
        return float(self.nats.sum() / self.tokens.sum())

    def saved(self, other: "AnswerLoss") -> tuple[float, float, float]:
        """How much lower this mean is than ``other``'s on the same conversations, and its 95 % interval.

        Paired: what makes a conversation hard for both models cancels. A ratio of two sums over conversations, so its
        spread is that of what each conversation adds beyond its share (Cochran 1977, Sampling Techniques, section 6.3).
        Returns (saved, low, high).
        """
        difference, total = other.nats - self.nats, self.tokens.sum()
        saved = float(difference.sum() / total)
        beyond = difference - saved * self.tokens
        half = 1.96 * float(beyond.std() * math.sqrt(len(beyond)) / total) if len(beyond) > 1 else math.inf
        return saved, saved - half, saved + half


@torch.inference_mode()
def answer_loss(
    model: Transformer,
    tokenizer: Tokenizer,
    conversations: Sequence[list[Message]],
    *,
    max_length: int = 512,
    batch_size: int = 32,
) -> AnswerLoss:
    """The cross-entropy on the assistant's tokens, conversation by conversation; each is cut to ``max_length`` tokens.

    Raises ValueError when no conversation has a token to measure.
    """
    remaining = conversation_documents(conversations, tokenizer, max_length)
    device, was_training, nats, tokens = next(model.parameters()).device, model.training, [], []
    model.eval()
    while documents := list(islice(remaining, batch_size)):
        batch = {name: tensor.to(device) for name, tensor in pad_documents(documents).items()}
        nats.append(-in_float64(token_logprobs(model, batch["input_ids"], batch["targets"])).sum(dim=1).cpu())
        tokens.append(in_float64(batch["targets"] >= 0).sum(dim=1).cpu())
    model.train(was_training)
    if not nats:
        raise ValueError("no conversation has an answer to measure")
    return AnswerLoss(torch.cat(nats), torch.cat(tokens))
