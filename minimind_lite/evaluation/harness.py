"""Score models on suites, one item after the other, so that a run can be stopped, continued and audited.

Every scored item is a line of ``items.jsonl``: the model's digest, the suite, and the log-likelihood of every choice,
or what the model said and what was expected.
A run that was killed continues behind the last whole line. ``run.json`` holds the digest of each suite, which covers
its prompts to the letter: scores of different questions, or of questions asked differently, never share a table.
"""

import dataclasses
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from minimind_lite.evaluation.likelihood import Answering, LanguageModel, likelihoods, text_likelihoods
from minimind_lite.evaluation.suites import Item, Suite
from minimind_lite.files import UnreadableFile, owned, parse_json, read_json, write_text
from minimind_lite.settings import ConfigError
from minimind_lite.tokenizer import Message

CHUNK = 64  # items that are scored, then written, together: what a kill costs at most
ANSWER_TOKENS = 96  # that a model may write in answer to one question
ITEMS, RUN = "items.jsonl", "run.json"
_FORMAT = 1


@dataclass(frozen=True)
class Candidate:
    """A model to score. digest: of its weights and tokenizer. load: called only if something is left to score."""

    name: str
    digest: str
    load: Callable[[], LanguageModel]


@dataclass(frozen=True)
class ScoredItem:
    """One item as one model sees it; each list has an entry for every choice."""

    item: str
    group: str
    answer: int
    logprobs: list[float]  # nats
    tokens: list[int]
    characters: list[int]
    bytes: list[int]
    greedy: list[bool]
    cut: int  # tokens of the context that the model's window had no room for
    expected: str = ""  # where the model answers in its own words; there is then no log-likelihood
    said: str = ""


Missing = Callable[[Candidate, Suite, Sequence[Item]], Iterator[ScoredItem]]  # scores items, in their order
Scores = dict[tuple[str, str], list[ScoredItem]]  # (model's digest, suite's key) → one entry per item, in their order


class OtherRun(ValueError):
    """The output folder holds the scores of another run; the message says what differs and what to do."""


def evaluate(
    candidates: Sequence[Candidate],
    suites: Sequence[Suite],
    output: Path,
    *,
    setting: str = "",
    batch_size: int = 32,
    fresh: bool = False,
    progress: bool = True,
    engine: Missing | None = None,
) -> Scores:
    """Score every model on every suite; what ``output`` already holds is not computed again.

    setting: anything else that scores depend on, in words; a folder of scores has one. fresh: discard what ``output``
    holds. progress: a bar on standard error, with the time left. engine: what scores items instead of ours; it loads
    the model by itself.
    Raises OtherRun for a folder with other questions or another setting, UnreadableFile for a damaged one, ConfigError
    for a model or suite that is given twice.
    """
    _refuse_twice("models", [one.digest for one in candidates], [one.name for one in candidates])
    _refuse_twice("suites", [one.key for one in suites], [one.key for one in suites])
    engine = engine or _own_engine(batch_size)
    with owned(output):
        if fresh:
            (output / ITEMS).unlink(missing_ok=True)
            (output / RUN).unlink(missing_ok=True)
        _check_run(output, suites, setting)
        found = _read_items(output / ITEMS)
        total = sum(len(suite.items) for suite in suites) * len(candidates)
        done = sum((one.digest, s.key, item.id) in found for one in candidates for s in suites for item in s.items)
        with tqdm(
            total=total, initial=done, unit="item", file=sys.stderr, mininterval=0.5, disable=not progress
        ) as bar:
            for candidate in candidates:
                for key, scored in _score_missing(candidate, suites, found, engine):
                    found[candidate.digest, key, scored.item] = scored
                    _append(output / ITEMS, candidate.digest, key, scored)
                    bar.update()
    return {
        (one.digest, suite.key): [found[one.digest, suite.key, item.id] for item in suite.items]
        for one in candidates
        for suite in suites
    }


def _refuse_twice(what: str, keys: Sequence[str], names: Sequence[str]) -> None:
    twice = [name for index, name in enumerate(names) if keys[index] in keys[:index]]
    if twice:
        raise ConfigError(f"two of the {what} are the same: {twice[0]}")


def _score_missing(
    candidate: Candidate, suites: Sequence[Suite], found: dict[tuple[str, str, str], ScoredItem], engine: Missing
) -> Iterator[tuple[str, ScoredItem]]:
    """(suite's key, scored item) for all items that are not in ``found``."""
    for suite in suites:
        missing = [item for item in suite.items if (candidate.digest, suite.key, item.id) not in found]
        if missing:
            yield from ((suite.key, scored) for scored in engine(candidate, suite, missing))


def _own_engine(batch_size: int) -> Missing:
    """Scores in chunks with a model that is loaded once, when it is first needed."""
    loaded: dict[str, LanguageModel] = {}

    def engine(candidate: Candidate, suite: Suite, missing: Sequence[Item]) -> Iterator[ScoredItem]:
        if candidate.digest not in loaded:
            loaded.clear()  # one model in memory at a time
            loaded[candidate.digest] = candidate.load()
        score = _SCORERS.get(suite.scoring, score_items)
        for start in range(0, len(missing), CHUNK):
            yield from score(loaded[candidate.digest], missing[start : start + CHUNK], batch_size=batch_size)

    return engine


def score_items(model: LanguageModel, items: Sequence[Item], *, batch_size: int = 32) -> list[ScoredItem]:
    """The likelihood of every choice of every item. Raises ValueError, naming the item that cannot be scored."""
    requests = [request for item in items for request in item.requests]
    with _naming(items):
        answers = iter(likelihoods(model, requests, batch_size=batch_size))
    scored = []
    for item in items:
        found = [next(answers) for _ in item.requests]
        scored.append(
            ScoredItem(
                item.id, item.group, item.answer, [one.logprob for one in found], [one.tokens for one in found],
                [len(one) for one in item.choices], [len(one.encode("utf-8")) for one in item.choices],
                [one.greedy for one in found], max(one.cut for one in found),
            )
        )  # fmt: skip
    return scored


def score_texts(model: LanguageModel, items: Sequence[Item], *, batch_size: int = 32) -> list[ScoredItem]:
    """The likelihood of every text as a whole. Raises ValueError, naming the item that cannot be scored."""
    texts = [item.choices[0] for item in items]
    with _naming(items):
        found = text_likelihoods(model, texts, batch_size=batch_size)
    return [
        ScoredItem(
            item.id, item.group, 0, [one.logprob], [one.tokens], [len(text)], [len(text.encode("utf-8"))],
            [one.greedy], 0,
        )
        for item, text, one in zip(items, texts, found, strict=True)
    ]  # fmt: skip


def score_answers(model: LanguageModel, items: Sequence[Item], *, batch_size: int = 32) -> list[ScoredItem]:
    """What the model says to every question. Raises ValueError for a model that cannot be asked."""
    asked: list[list[Message]] = [[{"role": role, "content": words} for role, words in item.turns] for item in items]
    with _naming(items):
        if not isinstance(model, Answering):
            raise ValueError("this model gives likelihoods and no answers")
        said = model.say(asked, ANSWER_TOKENS, batch_size)
    return [
        ScoredItem(item.id, item.group, 0, [], [], [], [], [], 0, item.choices[0], words)
        for item, words in zip(items, said, strict=True)
    ]


_SCORERS = {"text": score_texts, "exact": score_answers, "sums": score_answers}


@contextmanager
def _naming(items: Sequence[Item]) -> Iterator[None]:
    """Say in a ValueError which items were being scored."""
    try:
        yield
    except ValueError as error:
        where = items[0].id if len(items) == 1 else f"one of the items {items[0].id} to {items[-1].id}"
        raise ValueError(f"{where}: {error}") from error


def _check_run(output: Path, suites: Sequence[Suite], setting: str) -> None:
    """Hold the suites against those of ``run.json``, and add what is new to it."""
    known: dict[str, Any] = read_json(output / RUN) if (output / RUN).is_file() else {}
    way_out = f"use another folder, or start anew with --fresh, which deletes {output / ITEMS}"
    if not known and (output / ITEMS).exists():
        raise OtherRun(f"{output}: {ITEMS} is there, and {RUN}, which says what was asked, is not; {way_out}")
    digests = known.get("suites", {})
    if known and (known.get("format") != _FORMAT or known.get("setting") != setting or not isinstance(digests, dict)):
        raise OtherRun(f"{output}: scored with {known.get('setting')!r}, not with {setting!r}; {way_out}")
    for suite in suites:
        if digests.get(suite.key, suite.digest) != suite.digest:
            raise OtherRun(
                f"{output}: {suite.key} was scored with other questions, examples or prompts (other files, --shots or "
                f"--limit); {way_out}"
            )
    description = {"format": _FORMAT, "setting": setting, "suites": digests | {one.key: one.digest for one in suites}}
    write_text(output / RUN, json.dumps(description, ensure_ascii=False, indent=1) + "\n")


def _append(path: Path, digest: str, key: str, scored: ScoredItem) -> None:
    values = dataclasses.asdict(scored)
    if not scored.expected:
        del values["expected"], values["said"]
    line = {"model": digest, "suite": key, **values}
    with path.open("a", encoding="utf-8", newline="\n") as file:
        file.write(json.dumps(line, ensure_ascii=False) + "\n")


def _read_items(path: Path) -> dict[tuple[str, str, str], ScoredItem]:
    """What was scored before; a last line without its end (the program was killed) is cut off.

    Raises UnreadableFile, naming the line, for one that is not what ``_append`` writes.
    """
    if not path.is_file():
        return {}
    whole, end, rest = path.read_bytes().rpartition(b"\n")
    if rest:
        with path.open("rb+") as file:
            file.truncate(len(whole) + len(end))
    found = {}
    for number, line in enumerate(whole.split(b"\n") if end else [], start=1):
        where = f"{path}, line {number}"
        values = parse_json(line, where)
        try:
            digest, key = values.pop("model"), values.pop("suite")
            scored = ScoredItem(**values)
            if (
                len({len(getattr(scored, name)) for name in ("logprobs", "tokens", "characters", "bytes", "greedy")})
                != 1
            ):
                raise ValueError("its lists differ in length")
        except (TypeError, KeyError, AttributeError, ValueError) as error:
            raise UnreadableFile(f"{where}: not a scored item ({error}); start anew with --fresh") from None
        found[digest, key, scored.item] = scored
    return found
