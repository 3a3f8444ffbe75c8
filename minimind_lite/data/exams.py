"""Multiple-choice exams in the file formats of C-Eval and CMMLU.

C-Eval (Huang et al. 2023, arXiv 2305.08322):  id,question,A,B,C,D,answer,explanation
CMMLU (Li et al. 2023, arXiv 2306.09212):      ,Question,A,B,C,D,Answer      (the first column is a row number)
A test split without answers is valid: its questions have ``answer=None``.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

from minimind_lite.data.records import DataError, data_files

LETTERS = ("A", "B", "C", "D")


@dataclass(frozen=True)
class ExamQuestion:
    """One four-way question; ``answer`` is a letter, or None if the file withholds it."""

    subject: str
    question: str
    choices: tuple[str, str, str, str]
    answer: str | None
    explanation: str = ""


def read_exam(path: str | Path) -> list[ExamQuestion]:
    """The questions of a CSV file, or of every CSV file in a folder; the subject is the file's name.

    Raises DataError, naming file, row and column.
    """
    return [question for file in data_files(path, "*.csv") for question in _read_file(file)]


def _read_file(file: Path) -> list[ExamQuestion]:
    try:
        with file.open(encoding="utf-8-sig", newline="") as handle:
            return _read_rows(file, csv.DictReader(handle))
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: not UTF-8 (byte {error.start}); save the file as UTF-8") from None
    except csv.Error as error:
        raise DataError(f"{file}: not CSV: {error}") from None


def _read_rows(file: Path, rows: "csv.DictReader[str]") -> list[ExamQuestion]:
    subject = file.stem
    for split in ("_dev", "_val", "_test"):
        subject = subject.removesuffix(split)
    columns = {(name or "").strip().lower(): name for name in rows.fieldnames or []}
    missing = [name for name in ("question", "a", "b", "c", "d") if name not in columns]
    if missing:
        raise DataError(f"{file}, line 1: no column {', '.join(missing)}; an exam has question, A, B, C, D, answer")
    return [_question(file, number, row, columns, subject) for number, row in enumerate(rows, start=2)]


def _question(file: Path, line: int, row: dict[str, str], columns: dict[str, str], subject: str) -> ExamQuestion:
    def cell(name: str) -> str:
        value = row.get(columns.get(name, name))
        return value.strip() if isinstance(value, str) else ""

    for name in ("question", "a", "b", "c", "d"):
        if not cell(name):
            raise DataError(f"{file}, line {line}, column {columns[name]}: empty")
    answer = cell("answer").upper()
    if answer and answer not in LETTERS:
        raise DataError(f"{file}, line {line}, column {columns['answer']}: {answer!r} is not one of A, B, C, D")
    choices = (cell("a"), cell("b"), cell("c"), cell("d"))
    return ExamQuestion(subject, cell("question"), choices, answer or None, cell("explanation"))
