"""Rewards that a program can check: plain functions of the question, what the model wrote, and the right answer.

A model learns exactly what is rewarded, so each of these asks what a lazy answer would earn: the question copied, every
number listed, several answers, no thought. All of them earn nothing. (A question that contains its own answer could be
answered by copying; `rollouts.read_prompts` leaves such questions out.)
"""

import math
from collections.abc import Callable, Sequence

from minimind_lite.data.reasoning import Reasoning, parse_reasoning

Reward = Callable[[str, str, str], float]  # (question, what the model wrote, right answer) → reward
Rewards = Sequence[tuple[Reward, float]]  # functions and their weights

MAX_THOUGHT = 200  # characters of a thought that `length_reward` pays in full


class RewardError(RuntimeError):
    """A reward function that failed; the message names it and the prompt."""


def correctness_reward(question: str, written: str, right_answer: str) -> float:
    """1 if the only answer block holds the right answer and nothing else."""
    return float(parse_reasoning(written).answer == right_answer.strip())


def format_reward(question: str, written: str, right_answer: str) -> float:
    """1 for a thought and then an answer in their tags, neither copied from the question (R1, section 2.2.2)."""
    parts = parse_reasoning(written)
    return float(bool(parts.thought) and not _copies(question, parts))


def length_reward(question: str, written: str, right_answer: str) -> float:
    """1 for a well-formed answer with a thought of up to MAX_THOUGHT characters, falling to 0 at twice that."""
    thought = parse_reasoning(written).thought or ""
    return format_reward(question, written, right_answer) * min(1.0, max(0.0, 2 - len(thought) / MAX_THOUGHT))


def _copies(question: str, parts: Reasoning) -> bool:
    """Whether thought or answer is a piece of the question, or holds the whole of it."""
    asked = question.strip()
    return any(part in asked or asked in part for part in (parts.thought or "", parts.answer or ""))


def score(rewards: Rewards, texts: Sequence[tuple[str, str, str]]) -> list[list[float]]:
    """What every function gives to every (question, what was written, right answer), before weighting.

    Raises RewardError for a function that raises, or that returns NaN or infinity.
    """
    return [[_checked(reward, *text) for reward, _ in rewards] for text in texts]


def _checked(reward: Reward, question: str, written: str, right_answer: str) -> float:
    where = f"the reward function {getattr(reward, '__name__', reward)!r} on the prompt {question!r}"
    try:
        value = float(reward(question, written, right_answer))
    except Exception as error:
        raise RewardError(f"{where} raised {type(error).__name__}: {error}. {_WAY_OUT.format(written)}") from error
    if not math.isfinite(value):
        raise RewardError(f"{where} returned {value}. {_WAY_OUT.format(written)}")
    return value


_WAY_OUT = (
    "The model had written {!r}. The weights were not touched and the checkpoints are intact: fix the function, then "
    "run the same command again"
)
