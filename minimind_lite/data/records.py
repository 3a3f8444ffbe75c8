"""The course's file formats: what each line must look like, validated, with errors that say where.

A training file of a million lines always has a few bad ones. They are skipped, counted and logged, up to a limit:
beyond it the file is not "slightly dirty" but the wrong file. With ``strict`` the first bad line stops the run.
Formats: MiniMind's JSON Lines (text, conversation, preference); `exams.py` reads the multiple-choice files.
"""

import json
import logging
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field, ValidationError, model_validator

from minimind_lite.data.reasoning import check_reasoning, without_thoughts

logger = logging.getLogger(__name__)

Kind = Literal["text", "conversation", "preference", "reasoning", "reasoning_off"]


class DataError(ValueError):
    """Data that cannot be used; the message names file, line and field, and says what to do."""


def _json_text(value: str) -> str:
    try:
        json.loads(value)
    except ValueError as error:
        raise ValueError(f"must hold JSON as a string, but {error}") from None
    return value


JsonText = Annotated[str, AfterValidator(_json_text)]


class MessageRecord(BaseModel):
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str
    reasoning_content: str | None = None  # what the assistant thought, as opposed to what it said
    tools: JsonText | None = None  # on the system turn: the functions it may call
    tool_calls: JsonText | None = None  # on an assistant turn: the calls it makes


class TextRecord(BaseModel):
    """One document for pretraining or for the tokenizer."""

    text: str = Field(min_length=1)


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
    return messages


Turns = Annotated[list[MessageRecord], Field(min_length=1), AfterValidator(_check_turns)]


def as_dicts(turns: list[MessageRecord]) -> list[dict[str, Any]]:
    """The turns as plain dicts, without what is not set."""
    return [turn.model_dump(exclude_none=True) for turn in turns]


class ConversationRecord(BaseModel):
    """One conversation for supervised fine-tuning, LoRA or reasoning distillation."""

    conversations: Turns

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The turns as plain dicts, as ``Tokenizer.render`` takes them."""
        return as_dicts(self.conversations)


class ReasoningRecord(ConversationRecord):
    """A conversation whose assistant turns are ``<think>…</think><answer>…</answer>``; the thought may be missing."""

    @model_validator(mode="after")
    def _well_formed(self) -> "ReasoningRecord":
        check_reasoning(self.messages)
        return self


class ReasoningOffRecord(ReasoningRecord):
    """The same record as a model should answer it with thinking switched off: an empty think block is given."""

    @property
    def messages(self) -> list[dict[str, Any]]:
        return without_thoughts(super().messages)


class PreferenceRecord(BaseModel):
    """A better and a worse ending of the same conversation, for preference training."""

    chosen: Turns
    rejected: Turns

    @model_validator(mode="after")
    def _same_prompt(self) -> "PreferenceRecord":
        if as_dicts(self.chosen[:-1]) != as_dicts(self.rejected[:-1]):
            raise ValueError("chosen and rejected must share every turn but the last")
        if {self.chosen[-1].role, self.rejected[-1].role} != {"assistant"}:
            raise ValueError("the last turn of chosen and of rejected must be the assistant's: it is what is compared")
        if self.chosen[-1] == self.rejected[-1]:
            raise ValueError("chosen and rejected are identical, so the pair expresses no preference")
        return self


_MODELS: dict[Kind, type[BaseModel]] = {
    "text": TextRecord, "conversation": ConversationRecord, "preference": PreferenceRecord,
    "reasoning": ReasoningRecord, "reasoning_off": ReasoningOffRecord,
}  # fmt: skip


def data_files(path: str | Path, pattern: str = "*.jsonl") -> list[Path]:
    """The file itself, or the files of a folder in order of their names.

    Raises DataError when nothing is there.
    """
    path = Path(path)
    if path.is_dir():
        files = sorted(path.glob(pattern))
        if not files:
            raise DataError(f"{path}: the folder holds no {pattern} file")
        return files
    if not path.is_file():
        raise DataError(f"{path}: there is no such file; check the path, or build the samples: minimind data build")
    return [path]


class RecordReader:
    """Iterate over the valid records of a JSON Lines file, or of all such files in a folder.

    path: UTF-8 file or folder. kind: which format. strict: stop at the first bad line.
    max_bad: how many bad lines are skipped before the file is rejected.
    After an iteration ``skipped`` holds one DataError per bad line. Raises DataError.
    """

    def __init__(self, path: str | Path, kind: Kind, *, strict: bool = False, max_bad: int = 100):
        if kind not in _MODELS:
            raise DataError(f"there is no record kind called {kind!r}; the kinds are: {', '.join(_MODELS)}")
        self.files = data_files(path)
        self.kind, self.strict, self.max_bad = kind, strict, max_bad
        self.skipped: list[DataError] = []

    def __iter__(self) -> Iterator[Any]:
        self.skipped = []
        for file in self.files:
            with file.open("rb") as lines:
                for number, line in enumerate(lines, start=1):
                    if line.strip():
                        yield from self._record(file, number, line)
        if self.skipped:
            logger.warning("skipped %d bad lines; the first: %s", len(self.skipped), self.skipped[0])

    def _record(self, file: Path, number: int, line: bytes) -> Iterator[Any]:
        try:
            yield parse_line(line, self.kind, where=f"{file}, line {number}")
        except DataError as error:
            self.skipped.append(error)
            if self.strict:
                raise DataError(f"{error}. Fix the line, or run without --strict to skip bad lines") from None
            if len(self.skipped) > self.max_bad:
                raise DataError(
                    f"{error}. That is bad line number {len(self.skipped)}, over the limit of {self.max_bad}: "
                    f"is this a file of {self.kind} records? Fix it, or raise the limit (max_bad)"
                ) from None


def parse_line(line: bytes | str, kind: Kind, where: str = "line 1") -> Any:
    """Parse one JSON line into its record; an error starts with ``where``. Raises DataError."""
    try:
        text = line.decode("utf-8-sig") if isinstance(line, bytes) else line
        return _MODELS[kind].model_validate(json.loads(text))
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: not UTF-8 (byte {error.start}); save the file as UTF-8") from None
    except json.JSONDecodeError as error:
        raise DataError(f"{where}, column {error.colno}: not JSON: {error.msg}") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"]).lstrip(".")
        place = f"{where}, field {field}" if field else where
        raise DataError(f"{place}: {first['msg'].removeprefix('Value error, ')}") from None


def read_records(path: str | Path, kind: Kind, *, strict: bool = False, max_bad: int = 100) -> RecordReader:
    """The records of ``path``: see RecordReader."""
    return RecordReader(path, kind, strict=strict, max_bad=max_bad)
