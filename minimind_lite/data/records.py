"""The course's file formats: what each line must look like, validated, with errors that say where.

A training file of a million lines always has a few bad ones. They are skipped, counted by reason and logged, up to a
share of the file (5 % unless you say otherwise): beyond it the file is not "slightly dirty" but the wrong file. With
``strict`` the first bad line stops the run. Whatever a later step could refuse is tried here, where file and line are
known. Formats: MiniMind's JSON Lines (text, conversation, preference), with the liberties that its published files
take; `exams.py` reads the multiple-choice files.
"""

import logging
import re
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, ValidationError, model_validator

from minimind_lite.data.reasoning import check_reasoning, is_tagged, without_thoughts
from minimind_lite.files import UnreadableFile, parse_json
from minimind_lite.tokenizer.chat_template import END_OF_TEXT, TURN_END, TURN_START, check_renderable

logger = logging.getLogger(__name__)

Kind = Literal["text", "conversation", "preference", "reasoning", "reasoning_off", "minimal_pair"]
MAX_BAD_SHARE = 0.05  # of a file's lines
FEW = 20  # bad lines that are always allowed: of a file of ten lines, one is already 10 %
_EARLY = 1000  # lines after which a file that is mostly bad is given up
_KEPT = 1000  # errors that are kept in full; all are counted
_REASON_LENGTH = 200  # characters of a reason
_MARKER = re.compile("|".join(map(re.escape, (END_OF_TEXT, TURN_START, TURN_END))))


class DataError(ValueError):
    """Data that cannot be used; the message names file, line and field, and says what to do."""


def _objects(value: Any) -> Any:
    """A list of objects or its JSON text, as it is; None for the "" that published files hold where there is none."""
    if value in (None, ""):
        return None
    found = parse_json(value, "must hold JSON as a string") if isinstance(value, str) else value
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise ValueError("must be a list of objects, or the JSON text of one")
    return value if found else None


Objects = Annotated[list[dict[str, Any]] | str | None, BeforeValidator(_objects)]


class MessageRecord(BaseModel):
    """One turn of a conversation. The content may be missing, or null, beside tool calls."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str
    reasoning_content: str | None = None  # what the assistant thought, as opposed to what it said
    tools: Objects = None  # on the system turn: the functions it may call
    tool_calls: Objects = None  # on an assistant turn: the calls it makes

    @model_validator(mode="before")
    @classmethod
    def _calls_without_words(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("content") is None and values.get("tool_calls"):
            return values | {"content": ""}
        return values


def _not_only_markers(text: str) -> str:
    if _MARKER.search(text) and not _MARKER.sub("", text).strip():
        raise ValueError(f"holds only {END_OF_TEXT}, {TURN_START} or {TURN_END}, and no text")
    return text


class TextRecord(BaseModel):
    """One document for pretraining or for the tokenizer; more than markers between documents."""

    text: Annotated[str, Field(min_length=1), AfterValidator(_not_only_markers)]

    @property
    def pieces(self) -> list[str]:
        """The texts between the markers; of a text without any, the text as it is."""
        if not _MARKER.search(self.text):
            return [self.text]
        return [text for part in _MARKER.split(self.text) if (text := part.strip())]


def _check_turns(messages: list[MessageRecord]) -> list[MessageRecord]:
    roles = [message.role for message in messages]
    if "system" in roles[1:]:
        raise ValueError(f"turn {roles.index('system', 1)} is a system turn; only the first turn may be one")
    turns = roles[1:] if roles[0] == "system" else roles
    if not turns or turns[0] != "user":
        raise ValueError("the first turn after the system turn must be the user's")
    for index, (before, role) in enumerate(pairwise(roles), start=1):
        if role == before and role != "tool":
            raise ValueError(f"turns {index - 1} and {index} are both {role} turns; join them")
    if "assistant" not in roles:
        raise ValueError("there is no assistant turn, so there is nothing to learn from")
    check_renderable(as_dicts(messages))
    return messages


Turns = Annotated[list[MessageRecord], Field(min_length=1), AfterValidator(_check_turns)]


def as_dicts(turns: list[MessageRecord]) -> list[dict[str, Any]]:
    """The turns as plain dicts, without what is not set."""
    return [turn.model_dump(exclude_none=True) for turn in turns]


def _targets(value: Any) -> Any:
    """One value or a list of them, as texts; numbers keep the digits that they have in the file."""
    values = value if isinstance(value, list) else [value]
    if any(isinstance(one, bool) or not isinstance(one, str | int | float) for one in values):
        raise ValueError("must be a text or a number, or a list of them: what a right answer has to say")
    return [text for one in values if (text := str(one).strip())]


class ConversationRecord(BaseModel):
    """One conversation for supervised fine-tuning, LoRA or reasoning distillation.

    gt: what a right answer has to say, as MiniMind's agent_rl files give it beside a last turn that says nothing.
    """

    conversations: Turns
    gt: Annotated[list[str], BeforeValidator(_targets)] = []

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The turns as plain dicts, as ``Tokenizer.render`` takes them."""
        return as_dicts(self.conversations)


class ReasoningRecord(ConversationRecord):
    """A conversation whose assistant turns are ``<think>…</think><answer>…</answer>``; the thought may be missing.

    A turn without any of these tags is an ordinary answer: MiniMind's reasoning file mixes in 10,000 of them.
    """

    @model_validator(mode="after")
    def _well_formed(self) -> "ReasoningRecord":
        check_reasoning(self.messages)
        return self

    @property
    def is_plain(self) -> bool:
        """Whether no assistant turn carries tags."""
        return not any(is_tagged(turn.content) for turn in self.conversations if turn.role == "assistant")


class ReasoningOffRecord(ReasoningRecord):
    """The same record as a model should answer it with thinking switched off: an empty think block is given."""

    @property
    def messages(self) -> list[dict[str, Any]]:
        return without_thoughts(super().messages)


class PreferenceRecord(BaseModel):
    """A better and a worse ending of the same conversation, for preference training.

    kind: what makes the better one better, where a file tells its kinds of preference apart.
    """

    chosen: Turns
    rejected: Turns
    kind: str = ""

    @model_validator(mode="after")
    def _same_prompt(self) -> "PreferenceRecord":
        if as_dicts(self.chosen[:-1]) != as_dicts(self.rejected[:-1]):
            raise ValueError("chosen and rejected must share every turn but the last")
        if {self.chosen[-1].role, self.rejected[-1].role} != {"assistant"}:
            raise ValueError("the last turn of chosen and of rejected must be the assistant's: it is what is compared")
        if self.chosen[-1] == self.rejected[-1]:
            raise ValueError("chosen and rejected are identical, so the pair expresses no preference")
        return self


class MinimalPairRecord(BaseModel):
    """A sentence and one that differs from it by a mistake, for measuring; the fields are BLiMP's."""

    sentence_good: Annotated[str, Field(min_length=1)]
    sentence_bad: Annotated[str, Field(min_length=1)]
    UID: Annotated[str, Field(min_length=1)]  # the kind of mistake

    @model_validator(mode="after")
    def _two_sentences(self) -> "MinimalPairRecord":
        if self.sentence_good == self.sentence_bad:
            raise ValueError("sentence_good and sentence_bad are identical, so nothing can be told apart")
        return self


_MODELS: dict[Kind, type[BaseModel]] = {
    "text": TextRecord, "conversation": ConversationRecord, "preference": PreferenceRecord,
    "reasoning": ReasoningRecord, "reasoning_off": ReasoningOffRecord,
    "minimal_pair": MinimalPairRecord,
}  # fmt: skip


def data_files(path: str | Path, pattern: str = "*.jsonl") -> list[Path]:
    """The file itself, or the files of a folder in order of their names.

    Raises DataError when nothing is there, or something that is no plain file.
    """
    path = Path(path)
    if path.is_dir():
        files = sorted(path.glob(pattern))
        if not files:
            raise DataError(f"{path}: the folder holds no {pattern} file")
        for file in files:
            check_plain(file)
        return files
    if not path.is_file():
        raise DataError(f"{path}: there is no such file; check the path, or build the samples: minimind data build")
    check_plain(path)
    return [path]


def check_plain(path: Path) -> None:
    """Raise DataError for a folder or a broken link that has a file's name, and for a compressed file."""
    if not path.is_file():
        kind = "a folder" if path.is_dir() else "a link to nothing"
        raise DataError(f"{path}: {kind}, not a file; move it away or rename it")
    with path.open("rb") as file:
        if file.read(2) == b"\x1f\x8b":
            raise DataError(f"{path}: compressed with gzip; unpack it first: gunzip")


class RecordReader:
    """Iterate over the valid records of a JSON Lines file, or of all such files in a folder.

    path: UTF-8 file or folder. kind: which format. strict: stop at the first bad line. max_bad_share: the share of a
    file's lines that may be bad (FEW lines always may) before the file is rejected: at its end, or after a thousand
    lines if most of them are bad.
    Texts are cut at ``<|im_start|>``, ``<|im_end|>`` and ``<|endoftext|>``, which the published corpora hold between
    their texts: they are neither words nor turns. A line with nothing else is a bad line. Raises DataError.
    """

    def __init__(
        self, path: str | Path, kind: Kind, *, strict: bool = False, max_bad_share: float = MAX_BAD_SHARE
    ) -> None:
        if kind not in _MODELS:
            raise DataError(f"there is no record kind called {kind!r}; the kinds are: {', '.join(_MODELS)}")
        self.files = data_files(path)
        self.kind, self.strict, self.max_bad_share = kind, strict, max_bad_share
        self._reset()

    def _reset(self) -> None:
        self.skipped: list[DataError] = []  # the errors of an iteration, the first thousand of them
        self.reasons: Counter[str] = Counter()  # how many bad lines there were of each kind
        self.firsts: dict[str, DataError] = {}  # the first of each kind
        self.records = 0  # valid lines
        self.cut = self.pieces = 0  # texts that held markers, and how many texts they were cut into
        self.plain = self.tagged = 0  # reasoning records without tags, and with

    def __iter__(self) -> Iterator[Any]:
        self._reset()
        for file in self.files:
            yield from self._records(file)
        if self.cut:
            logger.info("%s", self.cuts())
        if self.plain and not self.tagged:
            raise DataError(
                f"{self.files[0]}: none of {self.plain} conversations has think or answer tags: is this a file of "
                "reasoning records? Plain conversations are for minimind train sft"
            )
        if self.plain:
            logger.info("%d conversations have no think or answer tags: they are used as they are", self.plain)
        if self.reasons:
            logger.warning("skipped %s", self.summary())

    def summary(self) -> str:
        """The bad lines of the last iteration by reason, the most frequent first, each with the first such line."""
        common, total = self.reasons.most_common(8), self.reasons.total()
        kinds = "".join(f"\n  {count}: {self.firsts.get(reason, reason)}" for reason, count in common)
        return f"{total} bad line{'s' * (total != 1)}. By reason, each with its first line:{kinds}"

    def cuts(self) -> str:
        """What the last iteration did with texts that hold markers, in words."""
        one = self.cut == 1
        return (
            f"{self.cut} text{'s' * (not one)} held {TURN_START}, {TURN_END} or {END_OF_TEXT} and "
            f"{'was' if one else 'were'} cut there into {self.pieces} piece{'s' * (self.pieces != 1)}"
        )

    def _records(self, file: Path) -> Iterator[Any]:
        seen = bad = 0
        with file.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.strip():
                    continue
                seen += 1
                try:
                    record = parse_line(line, self.kind, where=f"{file}, line {number}")
                except DataError as error:
                    bad += 1
                    self._note(error)
                    if seen >= _EARLY and bad > max(0.5, self.max_bad_share) * seen:
                        self._reject(file, bad, seen)
                else:
                    yield from self._pieces(record)
        if bad > max(FEW, self.max_bad_share * seen):
            self._reject(file, bad, seen)

    def _note(self, error: DataError) -> None:
        if self.strict:
            raise DataError(f"{error}. Fix the line, or run without --strict to skip bad lines") from None
        if len(self.skipped) < _KEPT:
            self.skipped.append(error)
        reason = _reason(error)
        self.reasons[reason] += 1
        if len(self.firsts) < _KEPT:
            self.firsts.setdefault(reason, error)

    def _reject(self, file: Path, bad: int, seen: int) -> NoReturn:
        raise DataError(
            f"{file}: {bad} of {seen} lines are bad, over the limit of {self.max_bad_share:.0%}: is this a file of "
            f"{self.kind} records? Fix it, or raise the limit (--max-bad 0.5, in Python max_bad_share=0.5). "
            f"All in all {self.summary()}"
        )

    def _pieces(self, record: Any) -> Iterator[Any]:
        """The record; or, of a text with markers in it, a record for each text between them."""
        self.records += 1
        if isinstance(record, ReasoningRecord):
            self.plain, self.tagged = self.plain + record.is_plain, self.tagged + (not record.is_plain)
        if isinstance(record, TextRecord) and (texts := record.pieces) != [record.text]:
            self.cut, self.pieces = self.cut + 1, self.pieces + len(texts)
            yield from (TextRecord(text=text) for text in texts)
        else:
            yield record


def _reason(error: DataError) -> str:
    """An error without its place, with … for numbers and after _REASON_LENGTH: the same for the same fault."""
    reason = re.sub(r"\d+", "…", re.sub(r"^.*?, line \d+(, (column|field) [^:]*)?: ", "", str(error)))
    if len(reason) <= _REASON_LENGTH:
        return reason
    return (reason[:_REASON_LENGTH].rpartition(" ")[0] or reason[:_REASON_LENGTH]) + " …"


def parse_line(line: bytes | str, kind: Kind, where: str = "line 1") -> Any:
    """Parse one JSON line into its record; an error starts with ``where``. Raises DataError."""
    try:
        return validated(parse_json(line, where), kind, where)
    except UnreadableFile as error:
        raise DataError(str(error)) from None


def validated(value: Any, kind: Kind, where: str) -> Any:
    """The record that a JSON value stands for; an error starts with ``where`` and names the field. Raises DataError."""
    try:
        return _MODELS[kind].model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        if first["type"] == "model_type":
            raise DataError(f"{where}: must be a JSON object, {{…}}, not a {type(first['input']).__name__}") from None
        field = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"]).lstrip(".")
        place = f"{where}, field {field}" if field else where
        raise DataError(f"{place}: {first['msg'].removeprefix('Value error, ')}") from None


def read_records(
    path: str | Path, kind: Kind, *, strict: bool = False, max_bad_share: float = MAX_BAD_SHARE
) -> RecordReader:
    """The records of ``path``: see RecordReader."""
    return RecordReader(path, kind, strict=strict, max_bad_share=max_bad_share)
