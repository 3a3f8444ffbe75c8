"""Tables as benchmarks publish them, CSV, JSON, JSON Lines, plain text and Parquet, read row by row.

A row knows its file and its number, so whatever does not fit is refused with file, row and column.
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from minimind_lite.data.records import DataError, check_plain
from minimind_lite.files import LARGEST_JSON, UnreadableFile, parse_json

SUFFIXES = (".csv", ".jsonl", ".json", ".txt", ".parquet")  # where a split exists in several forms, the first is read


@dataclass(frozen=True)
class Row:
    """One row. number: of the line in JSON Lines and text; elsewhere from 1, in CSV from 2, after the header."""

    file: Path
    number: int
    values: dict[str, Any]

    def refuse(self, column: str, why: str) -> NoReturn:
        """Raise DataError with file, row and column."""
        raise DataError(f"{self.file}, row {self.number}, column {column}: {why}")

    def named(self, column: str) -> str:
        """How the file spells a column's name; upper and lower case are the same."""
        return next((name for name in self.values if name.strip().lower() == column.lower()), column)

    def has(self, column: str) -> bool:
        """Whether there is such a column, with a value."""
        return self.values.get(self.named(column)) not in (None, "")

    def value(self, column: str) -> Any:
        """The value of a column. Raises DataError if there is none."""
        name = self.named(column)
        if name not in self.values:
            known = ", ".join(one or "(no name)" for one in self.values)
            self.refuse(column, f"there is no such column; the file has {known}")
        return self.values[name]

    def text(self, column: str, empty: bool = False) -> str:
        """The text of a column as it stands. Raises DataError for anything else; for blank text, unless ``empty``."""
        value = self.value(column)
        if not isinstance(value, str):
            self.refuse(column, f"must be text, not {_shown(value)}")
        if not empty and not value.strip():
            self.refuse(column, "empty")
        return value

    def texts(self, column: str) -> tuple[str, ...]:
        """A column that holds two texts or more."""
        value = self.value(column)
        if not isinstance(value, list) or len(value) < 2 or not all(isinstance(one, str) and one for one in value):
            self.refuse(column, f"must be a list of at least two texts, not {_shown(value)}")
        return tuple(value)

    def index(self, column: str, below: int) -> int:
        """A column that holds a whole number from 0, as a number or as its digits."""
        value = self.value(column)
        if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit() and len(value) < 10:
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < below:
            self.refuse(column, f"must be a number from 0 to {below - 1}, not {_shown(value)}")
        return value


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"


def read_table(file: Path) -> Iterator[Row]:
    """The rows of a file; its suffix says how it is read.

    Raises DataError, naming the file and the row; ModuleNotFoundError for Parquet without pyarrow.
    """
    check_plain(file)
    try:
        yield from _READERS[file.suffix.lower()](file)
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: not UTF-8 (byte {error.start}); save the file as UTF-8") from None
    except (csv.Error, UnreadableFile) as error:
        raise DataError(f"{file}: not CSV: {error}" if isinstance(error, csv.Error) else str(error)) from None


def _read_csv(file: Path) -> Iterator[Row]:
    with file.open(encoding="utf-8-sig", newline="") as handle:
        rows = csv.reader(handle, strict=True)
        header = next(rows, None)
        if header is None:
            raise DataError(f"{file}: empty")
        for number, cells in enumerate((cells for cells in rows if cells), start=2):
            if len(cells) != len(header):
                raise DataError(f"{file}, row {number}: has {len(cells)} cells, the header {len(header)}")
            yield Row(file, number, dict(zip(header, cells, strict=True)))


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    with file.open(encoding="utf-8-sig", newline="\n") as handle:
        for number, line in enumerate(handle, start=1):
            if line.strip():
                yield number, line.rstrip("\r\n")


def _read_json_lines(file: Path) -> Iterator[Row]:
    for number, line in _lines(file):
        yield _object(file, number, parse_json(line, f"{file}, row {number}"))


def _object(file: Path, number: int, value: Any) -> Row:
    if not isinstance(value, dict):
        raise DataError(f"{file}, row {number}: must be a JSON object, not {_shown(value)}")
    return Row(file, number, value)


def _read_json(file: Path) -> Iterator[Row]:
    """An array of objects; some authors call JSON Lines .json as well."""
    with file.open("rb") as handle:
        first = handle.read(100).lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
    if first != b"[":
        yield from _read_json_lines(file)
        return
    if file.stat().st_size > LARGEST_JSON:
        raise DataError(f"{file}: larger than {LARGEST_JSON // 2**20} MiB; write it as JSON Lines")
    for number, value in enumerate(parse_json(file.read_bytes(), str(file)), start=1):
        yield _object(file, number, value)


def _read_text(file: Path) -> Iterator[Row]:
    for number, line in _lines(file):
        yield Row(file, number, {"text": line})


def _read_parquet(file: Path) -> Iterator[Row]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ModuleNotFoundError as error:
        raise DataError(
            f"{file}: Parquet is read by pyarrow, which is not installed: pip install pyarrow, or use the same data as "
            "CSV or JSON Lines"
        ) from error
    try:
        with pyarrow.parquet.ParquetFile(file) as opened:
            number = 0
            for batch in opened.iter_batches():
                for values in batch.to_pylist():
                    number += 1
                    yield Row(file, number, values)
    except pyarrow.ArrowException as error:
        raise DataError(f"{file}: not Parquet: {error}") from None


_READERS = {
    ".csv": _read_csv, ".jsonl": _read_json_lines, ".json": _read_json, ".txt": _read_text, ".parquet": _read_parquet,
}  # fmt: skip
