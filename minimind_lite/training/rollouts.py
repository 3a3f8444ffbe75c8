"""Rollouts: the model answers prompts, several times each, and a program marks the answers."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from minimind_lite.config import ConfigError
from minimind_lite.data.documents import Document
from minimind_lite.data.padding import pad_documents
from minimind_lite.data.reasoning import parse_reasoning
from minimind_lite.data.records import DataError, read_records
from minimind_lite.generation.engine import generate
from minimind_lite.generation.sampling import SamplingConfig
from minimind_lite.model.transformer import IGNORED_TARGET, Transformer
from minimind_lite.tokenizer import Tokenizer
from minimind_lite.training.config import FromSettings
from minimind_lite.training.logprobs import token_logprobs
from minimind_lite.training.rewards import Reward, correctness_reward, format_reward, length_reward, score

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RolloutOptions(FromSettings):
    """How answers are drawn and marked; raises ConfigError for a value that cannot work."""

    group_size: int = 8  # answers to each prompt
    updates_per_rollout: int = 1  # steps that learn from the same answers
    temperature: float = 1.0  # of sampling, and so of every log-probability
    max_new_tokens: int = 72  # longest answer
    max_digits: int = 0  # only prompts with at most this many digits in all (23+59 has 4); 0 takes every prompt
    kl_weight: float = 0.02  # how hard the reference model pulls back; 0 does without one
    correct_weight: float = 1.0  # of the three rewards
    format_weight: float = 0.1
    length_weight: float = 0.1

    def __post_init__(self) -> None:
        for name in ("group_size", "updates_per_rollout", "max_new_tokens", "temperature"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"{name} must be above 0, not {getattr(self, name)}: rollouts are drawn, not greedy")
        if self.kl_weight < 0 or self.max_digits < 0:
            raise ConfigError("kl_weight and max_digits must be 0 or more")

    @property
    def rewards(self) -> list[tuple[Reward, float]]:
        """The three rewards with their weights."""
        return [
            (correctness_reward, self.correct_weight),
            (format_reward, self.format_weight),
            (length_reward, self.length_weight),
        ]


@dataclass(frozen=True)
class Prompt:
    """A question for the model, and what a right answer is."""

    question: str
    right_answer: str
    ids: list[int]  # up to where the assistant's words begin


def read_prompts(path: str | Path, tokenizer: Tokenizer, max_digits: int = 0, strict: bool = False) -> list[Prompt]:
    """The prompts of a file of conversations; the right answer is the last turn's answer block, or the whole turn.

    A question that holds its own answer (7+0) is left out and counted: copying would solve it. Raises DataError.
    """
    prompts, copied = [], 0
    for record in read_records(path, "conversation", strict=strict):
        *asked, said = record.messages
        question, answer = asked[-1]["content"], parse_reasoning(said["content"]).answer or said["content"].strip()
        if max_digits and sum(map(str.isdigit, question)) > max_digits:
            continue
        if answer in question:
            copied += 1
            continue
        prompts.append(Prompt(question, answer, tokenizer.render(asked, add_generation_prompt=True).ids))
    if copied:
        logger.info("%s: %d questions hold their own answer and were left out", path, copied)
    if not prompts:
        raise DataError(f"{path}: no prompt is left (max_digits={max_digits}): is it a file of questions with answers?")
    return prompts


@dataclass(frozen=True)
class Rollout:
    """Answers to some prompts, row by row, groups side by side; (rows, tokens) where nothing else is said."""

    input_ids: Tensor
    targets: Tensor  # shifted; -100 outside of the answer
    old_logprobs: Tensor  # under the distribution that was drawn from, temperature included
    reference_logprobs: Tensor  # under the reference, at the same temperature; the old ones where there is none
    scores: Tensor  # (rows, reward functions), unweighted
    rewards: Tensor  # (rows,) weighted sums

    @property
    def mask(self) -> Tensor:
        """True where the model wrote."""
        return self.targets != IGNORED_TARGET


@torch.no_grad()
def roll_out(
    model: Transformer, tokenizer: Tokenizer, prompts: Sequence[Prompt], options: RolloutOptions,
    rewards: Sequence[tuple[Reward, float]], reference: Transformer | None = None,
) -> Rollout:  # fmt: skip
    """Answer every prompt ``group_size`` times and mark the answers. Raises RewardError.

    No top-k or top-p: the model must be able to learn about every token that it may write.
    """
    rows = [prompt for prompt in prompts for _ in range(options.group_size)]
    sampling = SamplingConfig(temperature=options.temperature)  # no seed: the global generator, which checkpoints keep
    ids = [row.ids for row in rows]
    answers = generate(
        model, tokenizer, ids, max_new_tokens=options.max_new_tokens, sampling=sampling, batch_size=len(rows)
    )
    texts = [(row.question, one.text, row.right_answer) for row, one in zip(rows, answers, strict=True)]
    documents = [
        Document(np.array(row.ids + one.ids), np.array([0] * len(row.ids) + [1] * len(one.ids), dtype=np.uint8))
        for row, one in zip(rows, answers, strict=True)
    ]
    device = next(model.parameters()).device
    batch = {name: tensor.to(device) for name, tensor in pad_documents(documents).items()}
    drawn = torch.tensor([logprob for one in answers for logprob in one.logprobs], device=device)
    old = torch.zeros(batch["targets"].shape, device=device).masked_scatter(batch["targets"] != IGNORED_TARGET, drawn)
    other = token_logprobs(reference, **batch, temperature=options.temperature) if reference else old
    scores = torch.tensor(score(rewards, texts), device=device)
    return Rollout(**batch, old_logprobs=old, reference_logprobs=other, scores=scores,
                   rewards=scores @ torch.tensor([weight for _, weight in rewards], device=device))  # fmt: skip
