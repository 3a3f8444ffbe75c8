"""What a request may do to its logits before a token is drawn: bias single tokens, and penalise what it has said.

Each is a callable for ``continuous.Request.adjust``: logits (vocab,) and the tokens so far, prompt included, in; logits
(vocab,) out. Unlike ``sampling.penalise`` these count the answer alone, as OpenAI's parameters of these names do.
One object serves one answer: it remembers where the answer began.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

Adjust = Callable[[Tensor, Sequence[int]], Tensor]


class Bias:
    """Adds a number to the logits of single tokens: -100 all but forbids a token, 100 all but forces it."""

    def __init__(self, biases: Mapping[int, float]) -> None:
        self.ids = torch.tensor(list(biases), dtype=torch.long)
        self.values = torch.tensor(list(biases.values()), dtype=torch.float32)

    def __call__(self, logits: Tensor, tokens: Sequence[int]) -> Tensor:
        return logits.index_add(0, self.ids.to(logits.device), self.values.to(logits))


class AnswerPenalties:
    """Subtracts from the logit of each token that the answer holds: ``presence`` once, ``frequency`` for every time.

    Source: OpenAI's API reference, "frequency and presence penalties".
    """

    def __init__(self, frequency: float, presence: float) -> None:
        self.frequency, self.presence = frequency, presence
        self.prompt_length: int | None = None

    def __call__(self, logits: Tensor, tokens: Sequence[int]) -> Tensor:
        if self.prompt_length is None:
            self.prompt_length = len(tokens)
        counts = Counter(tokens[self.prompt_length :])
        biases = {token: -self.presence - self.frequency * count for token, count in counts.items()}
        return Bias(biases)(logits, tokens)


def chained(steps: Sequence[Adjust]) -> Adjust | None:
    """One adjustment that makes ``steps`` in order; None if there are none."""
    if not steps:
        return None

    def adjust(logits: Tensor, tokens: Sequence[int]) -> Tensor:
        for step in steps:
            logits = step(logits, tokens)
        return logits

    return adjust
