"""Does a held-out split stand in the training split? A held-out score is worth what its split is worth.

Two kinds of copies are looked for: the same item after normalisation (case, width, punctuation and spaces do not
count), and a near copy, of which 30 % or more of the runs of 13 tokens stand in the training split (13-token runs:
Brown et al. 2020, appendix C). A token is a Latin word, a number, an arithmetic sign or one Chinese character.
"""

import re
import unicodedata
from dataclasses import dataclass

RUN_LENGTH = 13
NEAR_SHARE = 0.3
Items = list[list[str]]  # an item is a list of parts: one text, or everything that a user says in a conversation
_TOKEN = re.compile(r"[\u4e00-\u9fff+*/×÷=<>−-]|[^\W\u4e00-\u9fff]+")  # 3+4 and 3-4 are not the same question


@dataclass(frozen=True)
class Overlap:
    """A training split against its held-out split: how many held-out items there are, and how many are not new."""

    train: str
    heldout: str
    items: int
    exact: int  # the same after normalisation
    near: int  # many 13-token runs in common
    copies: tuple[str, ...]  # the items that are not new


def compare(train: str, train_items: Items, heldout: str, heldout_items: Items) -> Overlap:
    """Look for the items of ``heldout`` in ``train`` (the names are only for the report).

    An item counts as the same when each of its parts occurs in training, as a part of whatever item.
    """
    items = [([_tokens(part) for part in item], " / ".join(item)) for item in heldout_items]
    wanted = {run for item, _ in items for part in item for run in _runs(part)}
    seen_parts, seen_runs = set[str](), set[str]()
    for part in (_tokens(part) for item in train_items for part in item):
        seen_parts.add(" ".join(part))
        seen_runs.update(run for run in _runs(part) if run in wanted)
    exact, near = list[str](), list[str]()
    for item, text in items:
        runs = [run for part in item for run in _runs(part)]
        if all(" ".join(part) in seen_parts for part in item):
            exact.append(text)
        elif runs and sum(run in seen_runs for run in runs) >= NEAR_SHARE * len(runs):
            near.append(text)
    return Overlap(train, heldout, len(items), len(exact), len(near), (*exact, *near))


def _tokens(text: str) -> list[str]:
    return _TOKEN.findall(unicodedata.normalize("NFKC", text).casefold())


def _runs(tokens: list[str]) -> list[str]:
    return [" ".join(tokens[start : start + RUN_LENGTH]) for start in range(len(tokens) - RUN_LENGTH + 1)]
