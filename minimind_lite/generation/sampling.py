"""From logits to the next token: penalty, temperature, the filters top-k, top-p and min-p, and one draw.

The order is transformers': repetition penalty, temperature, top-k, top-p, min-p. Each filter sets the logits of
the tokens it masks to -inf; what is left is renormalised by the softmax.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from minimind_lite.device import in_float64
from minimind_lite.settings import Checked, Natural, NotNegative, Positive, Share, ShareAbove0

NEARLY_ZERO = 1e-5  # below this temperature the softmax is a one-hot vector in fp32, so greedy decoding gives the same


class GenerationError(ValueError):
    """Generation that cannot continue: a bad prompt, or logits that are NaN or infinite."""


@dataclass(frozen=True)
class SamplingConfig(Checked):
    """How the next token is drawn. The defaults draw from the model's own distribution, unfiltered."""

    temperature: NotNegative = 1.0  # divides the logits: below 1 sharper, above 1 flatter; 0 is greedy
    top_k: Natural = 0  # only the k likeliest tokens; 0 is off
    top_p: ShareAbove0 = 1.0  # only the likeliest tokens that together reach this probability (nucleus); 1 is off
    min_p: Share = 0.0  # only tokens at least this share as likely as the likeliest; 0 is off
    repetition_penalty: Positive = 1.0  # above 1: tokens of the prompt and of the answer so far become less likely
    seed: Natural | None = None  # None draws one from torch's global generator

    @property
    def greedy(self) -> bool:
        """Whether the likeliest token is always taken."""
        return self.temperature < NEARLY_ZERO


GREEDY = SamplingConfig(temperature=0.0)


class Sampled(NamedTuple):
    """One drawn token per row: ids (batch,) int64, and logprobs (batch,) fp32, nats, under the distribution drawn from.

    Greedy draws from a distribution with one token; its log-probability is given at temperature 1, unfiltered.
    """

    ids: Tensor
    logprobs: Tensor


def row_generator(seed: int | None, row: int) -> torch.Generator:
    """A separate random stream for row ``row``, the same for the same ``(seed, row)`` on every device.

    A prompt's sample thus depends neither on its neighbours in the batch nor on when they finish.
    """
    base = seed if seed is not None else int(torch.randint(2**62, ()))
    mixed = hashlib.blake2b(f"{base}/{row}".encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(mixed, "big") >> 1)


def penalise(logits: Tensor, previous_ids: Tensor, penalty: float) -> Tensor:
    """Make every token that was already seen less likely: positive logits divided, negative ones multiplied.

    logits (batch, vocab); previous_ids (batch, length) with -1 where there is no token (left padding).
    Source: Keskar et al. 2019 (CTRL), section 4.1, in transformers' form for negative logits.
    """
    vocab = logits.shape[-1]
    seen = torch.zeros(len(logits), vocab + 1, dtype=torch.bool, device=logits.device)
    seen.scatter_(1, torch.where(previous_ids < 0, vocab, previous_ids), True)  # padding falls into a spare column
    return torch.where(seen[:, :vocab], torch.where(logits < 0, logits * penalty, logits / penalty), logits)


def keep_top_k(logits: Tensor, k: int) -> Tensor:
    """Mask all but the ``k`` likeliest tokens (ties at the cutoff stay). Source: Fan et al. 2018, section 5.4."""
    border = logits.topk(min(k, logits.shape[-1]), dim=-1).values[..., -1:]
    return logits.masked_fill(logits < border, -math.inf)


def keep_top_p(logits: Tensor, p: float) -> Tensor:
    """Keep the smallest set of likeliest tokens whose probabilities reach ``p``; at least one token stays.

    Source: Holtzman et al. 2020, section 3.1 (nucleus sampling).
    """
    ascending, order = logits.sort(dim=-1)  # summed from the tail, where small numbers are added exactly
    masked = ascending.softmax(dim=-1).cumsum(dim=-1) <= 1 - p
    masked[..., -1] = False
    return logits.masked_fill(masked.scatter(-1, order, masked), -math.inf)


def keep_min_p(logits: Tensor, min_p: float) -> Tensor:
    """Mask tokens less likely than ``min_p`` times the likeliest one. Source: Nguyen et al. 2024, section 3."""
    probabilities = logits.softmax(dim=-1)
    return logits.masked_fill(probabilities < min_p * probabilities.amax(dim=-1, keepdim=True), -math.inf)


def sampling_logits(logits: Tensor, config: SamplingConfig, previous_ids: Tensor | None = None) -> Tensor:
    """The logits actually sampled from: (batch, vocab) in, the same out in fp32, -inf where a filter masks.

    At temperature 0 only the repetition penalty is applied. Raises GenerationError when the logits are not finite.
    """
    logits = logits.float()  # fp16 and bf16 end here: what follows adds up small probabilities
    if not torch.isfinite(logits.amax(dim=-1)).all():
        raise GenerationError(
            "the model's logits hold NaN or infinity: its weights diverged in training, or fp16 overflowed; try float32"
        )
    if config.repetition_penalty != 1 and previous_ids is not None:
        logits = penalise(logits, previous_ids, config.repetition_penalty)
    if config.greedy:
        return logits
    logits = (logits - logits.amax(dim=-1, keepdim=True)) / config.temperature  # ≤ 0: cannot overflow
    if config.top_k:
        logits = keep_top_k(logits, config.top_k)
    if config.top_p < 1:
        logits = keep_top_p(logits, config.top_p)
    if config.min_p > 0:
        logits = keep_min_p(logits, config.min_p)
    return logits


def sample(
    logits: Tensor,
    config: SamplingConfig,
    generator: torch.Generator | Sequence[torch.Generator] | None = None,
    previous_ids: Tensor | None = None,
) -> Sampled:
    """Draw one token per row.

    logits (batch, vocab); generator: one per row (see ``row_generator``), or one CPU generator that serves the rows in
    turn, or torch's global one; previous_ids (batch, length), -1 where there is none, used by the repetition penalty.
    """
    logits = sampling_logits(logits, config, previous_ids)
    logprobs = logits.log_softmax(dim=-1)
    ids = logits.argmax(dim=-1) if config.greedy else _draw(logprobs, generator)
    return Sampled(ids, logprobs.gather(1, ids[:, None]).squeeze(1))


def _draw(logprobs: Tensor, generator: torch.Generator | Sequence[torch.Generator] | None) -> Tensor:
    """Inverse transform sampling: one uniform number per row picks the token whose interval of [0, 1) it falls into."""
    batch = len(logprobs)
    generators = generator if isinstance(generator, Sequence) else [generator] * batch
    # A 24-bit number in a 53-bit sum: the product below can never round up to the total, past the last token.
    cumulative = in_float64(logprobs).exp().cumsum(dim=-1)  # (batch, vocab)
    uniform = torch.cat([torch.rand(1, generator=g) for g in generators]).double().to(cumulative.device)
    ids = torch.searchsorted(cumulative, uniform[:, None] * cumulative[:, -1:], right=True).squeeze(1)
    return ids.to(logprobs.device)
