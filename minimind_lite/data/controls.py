"""Controls for preference data: could somebody tell chosen from rejected without reading what is said?

Two classifiers are trained on a file's pairs and score its held-out pairs: one sees only the last sentence of each
answer, the other only how long the two are. Where either does well, a model can learn that instead of the preference.
Both are naive Bayes (multinomial, add-one smoothing), and of a pair the answer with the higher odds of being chosen is
taken; a tie counts half.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minimind_lite.data.records import PreferenceRecord, read_records

MOST = 0.6  # the share of held-out pairs that a control may get right
_WORD = re.compile(r"[^\W\u4e00-\u9fff]+|[^\w\s]|[\u4e00-\u9fff]")
_SENTENCE = re.compile(r"[^.!?。！？；\n]+[.!?。！？；\s”’\")）」』]*")

Features = Callable[[str, str], list[str]]  # of an answer beside the other one


@dataclass(frozen=True)
class Control:
    """How well one classifier does on held-out pairs, as shares from 0 to 1."""

    name: str
    pairs: int
    right: float
    by_kind: dict[str, float]

    @property
    def passed(self) -> bool:
        """Whether the classifier stays within MOST over all pairs."""
        return self.right <= MOST

    @property
    def judged(self) -> bool:
        """Whether the pairs say what kinds of preference they hold; others make no claim that could be wrong."""
        return any(self.by_kind)

    def __str__(self) -> str:
        kinds = ", ".join(f"{kind} {share:.0%}" for kind, share in self.by_kind.items() if kind)
        return f"{self.name} {self.right:.0%}" + (f" ({kinds})" if kinds else "")


def last_sentence(answer: str, _other: str = "") -> list[str]:
    """The words, Chinese characters and punctuation marks of an answer's last sentence.

    >>> last_sentence("Yes. Ask me again!")
    ['Ask', 'me', 'again', '!']
    """
    sentences = _SENTENCE.findall(answer.strip())
    return _WORD.findall(sentences[-1] if sentences else answer)


def lengths(answer: str, other: str) -> list[str]:
    """How long an answer is and how much longer than the other one, each in steps of a quarter of a doubling."""
    script = "Chinese" if re.search(r"[\u4e00-\u9fff]", answer) else "other"
    mine, theirs = len(answer), len(other)
    longer = "longer" if mine > theirs else "shorter" if mine < theirs else "equal"
    ratio = round(4 * math.log2((mine + 1) / (theirs + 1)))
    return [f"{script} {round(4 * math.log2(mine + 1))}", longer, f"{longer} by {ratio}"]


CONTROLS: dict[str, Features] = {"last sentence": last_sentence, "length": lengths}


class _NaiveBayes:
    """Log odds that an answer is the chosen one, summed over its features."""

    def __init__(self, pairs: Iterable[tuple[str, str]], features: Features) -> None:
        self.features = features
        self.counts = Counter[str](), Counter[str]()
        for chosen, rejected in pairs:
            self.counts[0].update(features(chosen, rejected))
            self.counts[1].update(features(rejected, chosen))
        known = len(self.counts[0] | self.counts[1]) + 1
        self.totals = [counts.total() + known for counts in self.counts]

    def odds(self, answer: str, other: str) -> float:
        found = self.features(answer, other)
        chosen, rejected = (
            sum(math.log((counts[one] + 1) / total) for one in found)
            for counts, total in zip(self.counts, self.totals, strict=True)
        )
        return chosen - rejected

    def right(self, chosen: str, rejected: str) -> float:
        """1 if the chosen answer has the higher odds, 0 if the other has, a half for a tie."""
        margin = self.odds(chosen, rejected) - self.odds(rejected, chosen)
        return 0.5 if abs(margin) < 1e-9 else float(margin > 0)


def _answers(record: PreferenceRecord) -> tuple[str, str]:
    return record.chosen[-1].content, record.rejected[-1].content


def preference_controls(train: str | Path, heldout: str | Path) -> list[Control]:
    """Train every control on the pairs of ``train`` and score it on those of ``heldout``.

    Bad lines are passed over. Returns an empty list where one of the two holds no pair. Raises DataError.
    """
    taught, tested = ([*read_records(path, "preference", max_bad_share=1)] for path in (train, heldout))
    if not taught or not tested:
        return []
    return [_control(name, features, taught, tested) for name, features in CONTROLS.items()]


def _control(name: str, features: Features, taught: list[Any], tested: list[Any]) -> Control:
    classifier = _NaiveBayes(map(_answers, taught), features)
    scores: dict[str, list[float]] = {}
    for record in tested:
        scores.setdefault(record.kind, []).append(classifier.right(*_answers(record)))
    flat = [one for some in scores.values() for one in some]
    by_kind = {kind: sum(some) / len(some) for kind, some in sorted(scores.items())}
    return Control(name, len(flat), sum(flat) / len(flat), by_kind)
