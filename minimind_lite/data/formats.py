"""The forms in which text data is published, turned into ours: text, conversations and preferences.

Read line by line: JSON Lines (and JSON arrays, CSV and Parquet by row) in the forms of ShareGPT (``from``, ``value``),
Alpaca (``instruction``, ``input``, ``output``), OpenAI's ``messages``, Magpie (``instruction``, ``response``) and
MiniMind itself; and plain text, ``.txt`` and ``.md``, which is cut into documents at blank lines. What cannot be read
is yielded as an error that names file and line, for the reader to count or to raise.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minimind_lite.data.records import DataError, Kind, check_plain, validated
from minimind_lite.data.tables import read_table
from minimind_lite.files import LARGEST_JSON, UnreadableFile, parse_json

DOCUMENT_CHARACTERS = 2000  # of plain text: paragraphs are joined until a document has as many
_LINES, _TEXTS, _TABLES = (".jsonl", ".ndjson"), (".txt", ".md"), (".json", ".csv", ".parquet")
SUFFIXES = (*_LINES, *_TEXTS, *_TABLES)
_ROLES = {
    "human": "user", "user": "user", "prompter": "user",
    "gpt": "assistant", "assistant": "assistant", "chatgpt": "assistant", "bing": "assistant", "bard": "assistant",
    "model": "assistant", "system": "system", "developer": "system",
    "tool": "tool", "function": "tool", "observation": "tool",
}  # fmt: skip
_SAID = ("reasoning_content", "content")  # the texts of a turn
_KEPT = ("reasoning_content", "tools", "tool_calls")  # what a turn carries beside its words


@dataclass
class Item:
    """One record in our form, and where it was found ("FILE, line N")."""

    where: str
    kind: Kind
    record: dict[str, Any]

    @property
    def texts(self) -> list[str]:
        """Everything that is said or thought in it, in order; what chosen and rejected share is in it once."""
        if self.kind == "text":
            return [self.record["text"]]
        turns = self.record["conversations"] if self.kind == "conversation" else self.record["chosen"]
        turns = turns if self.kind == "conversation" else [*turns, self.record["rejected"][-1]]
        return [turn[name] for turn in turns for name in _SAID if turn.get(name)]

    def rewrite(self, change: Callable[[str], str]) -> bool:
        """Put every text through ``change``; returns whether that made a difference."""
        before = self.record
        if self.kind == "text":
            self.record = before | {"text": change(before["text"])}
        for name in ("conversations", "chosen", "rejected"):
            if name in before:
                said = [{part: change(turn[part]) for part in _SAID if turn.get(part)} for turn in before[name]]
                turns = [turn | new for turn, new in zip(before[name], said, strict=True)]
                self.record = self.record | {name: turns}
        return self.record != before


def source_files(paths: list[Path]) -> list[Path]:
    """The files that are named, and those of a known form in the folders that are named, in order of their names.

    Raises DataError for a path that is not there, an unknown form, and a folder without data.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(one for one in path.rglob("*") if one.suffix.lower() in SUFFIXES and one.is_file())
            if not inside:
                raise DataError(f"{path}: the folder holds no file that ends in {', '.join(SUFFIXES)}")
            found += inside
        elif not path.exists():
            raise DataError(f"{path}: there is no such file or folder; check the path")
        elif path.suffix.lower() not in SUFFIXES:
            raise DataError(f"{path}: unknown form; the name must end in one of {', '.join(SUFFIXES)}")
        else:
            found.append(path)
    for file in found:
        check_plain(file)
    return found


def read_items(file: Path) -> Iterator[Item | DataError]:
    """The records of one file in our form; in place of one that cannot be read or converted, the error.

    Raises DataError for a table that is damaged as a whole.
    """
    suffix = file.suffix.lower()
    if suffix in _TEXTS:
        yield from _documents(file)
    elif suffix in _LINES or (suffix == ".json" and not _is_array(file)):
        for number, line in _lines(file):
            where = f"{file}, line {number}"
            yield line if isinstance(line, DataError) else _item(line, where)
    else:
        for row in read_table(file):
            yield _item(row.values, f"{file}, row {row.number}")


def _is_array(file: Path) -> bool:
    with file.open("rb") as handle:
        return handle.read(100).lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"["


def _lines(file: Path) -> Iterator[tuple[int, bytes | DataError]]:
    """Numbered lines that are not blank; an error in place of one that is too long to be read at once."""
    with file.open("rb") as handle:
        number = 0
        while line := handle.readline(LARGEST_JSON):
            number += 1
            if len(line) == LARGEST_JSON and not line.endswith(b"\n"):
                while (rest := handle.readline(LARGEST_JSON)) and not rest.endswith(b"\n"):
                    pass
                yield number, DataError(f"{file}, line {number}: longer than {LARGEST_JSON // 2**20} MiB")
            elif line.strip():
                yield number, line


def _item(value: Any, where: str) -> Item | DataError:
    """A line or a parsed row as a valid record of ours."""
    try:
        found = parse_json(value, where) if isinstance(value, bytes) else value
        kind, record = converted(found, where)
        validated(record, kind, where)
        json.dumps(record, ensure_ascii=False).encode()
        return Item(where, kind, record)
    except UnicodeEncodeError:
        return DataError(f"{where}: holds half of a surrogate pair (\\ud800 to \\udfff), which is no character")
    except (DataError, UnreadableFile) as error:
        return error if isinstance(error, DataError) else DataError(str(error))


def _documents(file: Path) -> Iterator[Item | DataError]:
    """Plain text, cut at blank lines into documents of about DOCUMENT_CHARACTERS; at any line where none comes."""
    lines: list[str] = []
    first, size, number = 1, 0, 0
    with file.open("rb") as handle:
        while line := handle.readline(LARGEST_JSON):
            number += 1
            try:
                text = line.decode("utf-8-sig").rstrip("\r\n")
            except UnicodeDecodeError as error:
                yield DataError(f"{file}, line {number}: not UTF-8 (byte {error.start}); save the file as UTF-8")
                continue
            if lines or text.strip():
                first = first if lines else number
                lines.append(text)
                size += len(text)
            if size >= DOCUMENT_CHARACTERS * (4 if text.strip() else 1):
                yield Item(f"{file}, line {first}", "text", {"text": "\n".join(lines).rstrip()})
                lines, size = [], 0
    if lines:
        yield Item(f"{file}, line {first}", "text", {"text": "\n".join(lines).rstrip()})


def converted(value: Any, where: str) -> tuple[Kind, dict[str, Any]]:
    """The kind and the fields of our record for one of a published form. Raises DataError, naming the field."""
    if not isinstance(value, dict):
        raise DataError(f"{where}: must be a JSON object, {{…}}, not a {type(value).__name__}")
    if "chosen" in value and "rejected" in value:
        return "preference", _preference(value, where)
    for name in ("conversations", "messages", "conversation"):
        if isinstance(value.get(name), list):
            turns = _with_system(_turns(value[name], f"{where}, field {name}"), value)
            return "conversation", {"conversations": turns} | ({"gt": value["gt"]} if value.get("gt") else {})
    if "instruction" in value and ("output" in value or "response" in value):
        return "conversation", {"conversations": _with_system(_alpaca(value, where), value)}
    if "text" in value:
        return "text", {"text": value["text"]}
    known = "text, conversations, messages, instruction with output or response, chosen with rejected"
    raise DataError(f"{where}: has none of the fields of a known form ({known}); it has {', '.join(map(str, value))}")


def _with_system(turns: list[dict[str, Any]], value: dict[str, Any]) -> list[dict[str, Any]]:
    """Put a record's own ``system`` text and its ``tools`` before turns that do not begin with a system turn."""
    system, tools = value.get("system") or value.get("system_prompt") or "", value.get("tools")
    if turns and turns[0]["role"] == "system":
        return [turns[0] | {"tools": tools}, *turns[1:]] if tools and "tools" not in turns[0] else turns
    if not system and not tools:
        return turns
    return [{"role": "system", "content": system} | ({"tools": tools} if tools else {}), *turns]


def _preference(value: dict[str, Any], where: str) -> dict[str, Any]:
    """Two lists of turns, or a prompt and two texts."""
    sides = {}
    for name in ("chosen", "rejected"):
        side = value[name]
        if isinstance(side, str):
            prompt = value.get("prompt", value.get("question"))
            if not isinstance(prompt, str):
                raise DataError(f"{where}, field {name}: is a text, so there must be a text called prompt as well")
            side = [{"role": "user", "content": prompt}, {"role": "assistant", "content": side}]
        sides[name] = _turns(side, f"{where}, field {name}")
    return sides | ({"kind": value["kind"]} if isinstance(value.get("kind"), str) else {})


def _alpaca(value: dict[str, Any], where: str) -> list[dict[str, Any]]:
    """Alpaca's and Magpie's single round, after the rounds of ``history``."""
    rounds = value.get("history") or []
    if not isinstance(rounds, list) or not all(isinstance(one, list) and len(one) == 2 for one in rounds):
        raise DataError(f"{where}, field history: must be a list of pairs: what was asked and what was answered")
    asked, more = value["instruction"], value.get("input") or ""
    field = "output" if "output" in value else "response"
    answer = value[field]
    if not all(isinstance(one, str) for one in (asked, more, answer)):
        raise DataError(f"{where}: instruction, input and {field} must be texts")
    roles = ("user", "assistant")
    texts = [text for one in rounds for text in one] + ["\n".join(filter(None, (asked, more))), answer]
    return [{"role": roles[index % 2], "content": text} for index, text in enumerate(texts)]


def _turns(turns: Any, where: str) -> list[dict[str, Any]]:
    if not isinstance(turns, list):
        raise DataError(f"{where}: must be a list of turns, not a {type(turns).__name__}")
    found = [_turn(turn, f"{where}[{index}]") for index, turn in enumerate(turns)]
    return found[1:] if found and found[0] == {"role": "system", "content": ""} else found


def _turn(turn: Any, where: str) -> dict[str, Any]:
    """A turn of ours from one with role and content, or with from and value."""
    if not isinstance(turn, dict):
        raise DataError(f"{where}: must be a turn, {{…}}, not a {type(turn).__name__}")
    role, content = turn.get("role", turn.get("from")), turn.get("content", turn.get("value"))
    kept = {name: turn[name] for name in _KEPT if turn.get(name)}
    if role == "function_call":  # ShareGPT's: the call as JSON
        try:
            return {"role": "assistant", "content": "", "tool_calls": [parse_json(str(content), where)]}
        except UnreadableFile as error:
            raise DataError(str(error)) from None
    if not isinstance(role, str) or role.lower() not in _ROLES:
        raise DataError(f"{where}: {role!r} is no role that is known: {', '.join(_ROLES)}, function_call")
    return {"role": _ROLES[role.lower()], "content": _words(content, where, bool(kept.get("tool_calls")))} | kept


def _words(content: Any, where: str, calls: bool) -> str:
    """A content as text: as it is, joined from OpenAI's parts, or empty beside tool calls."""
    if isinstance(content, str):
        return content
    if content is None and calls:
        return ""
    parts = content if isinstance(content, list) else [content]
    if not parts or not all(isinstance(part, dict) and isinstance(part.get("text"), str) for part in parts):
        raise DataError(f"{where}: its content is neither a text nor a list of text parts")
    return "\n".join(part["text"] for part in parts)
