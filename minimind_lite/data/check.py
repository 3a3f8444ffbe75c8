"""Check a data folder: every record valid, no held-out item in the training data, every file as the manifest states.

``X_heldout.jsonl`` is held out from ``X.jsonl`` and ``X_….jsonl``, the folder ``X_heldout/`` from the folder ``X/``;
the ``train``, ``dev``, ``val`` and ``test`` questions of exams are held out from each other. Rings of fact questions
have rules of their own (rings.py). Where ``X.jsonl`` and ``X_heldout.jsonl`` hold preferences, the controls of
``controls.py`` try to tell them by what they should not show.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

from minimind_lite.data.benchmarks import BENCHMARKS
from minimind_lite.data.controls import MOST, Control, preference_controls
from minimind_lite.data.exams import read_exam
from minimind_lite.data.records import DataError, Kind, check_plain, read_records
from minimind_lite.data.rings import check_rings, tokens_of
from minimind_lite.data.tables import read_table
from minimind_lite.files import UnreadableFile, parse_json, read_json, sha256_of

MANIFEST = "MANIFEST.json"
_KINDS: dict[str, Kind] = {
    "text": "text", "conversations": "conversation", "chosen": "preference", "sentence_good": "minimal_pair",
}  # fmt: skip
_LONGEST_QUESTION = 100_000  # bytes of a first line that are looked at
_BUILDER = "builder"  # the folder with what the samples are made from
_CACHES = {"__pycache__", ".ruff_cache"}
RUN_LENGTH, NEAR_SHARE = 13, 0.3  # see ``compare``
Items = list[list[str]]  # an item is a list of parts: one text, or everything a user says in a conversation
_SPLIT = re.compile(r"(?:^|[/_])(train|dev|val|test)(?=[/_.]|$)")


@dataclass(frozen=True)
class FileReport:
    """What one file holds. ``items`` are its texts, questions or prompts, each as a list of parts.

    A record whose text is cut at markers (see ``RecordReader``) gives several items. There are none in a folder that
    holds nothing out: files of gigabytes are read without being kept.
    """

    name: str  # path inside the folder, with forward slashes
    kind: str
    size: int  # bytes
    chinese: float  # share of the letters' bytes that are Chinese
    records: int  # valid lines, or questions
    cuts: str  # how many records were cut, and into how many pieces; "" if none was
    items: Items = field(repr=False)


@dataclass(frozen=True)
class Overlap:
    """A training split against its held-out split: how many held-out items there are, and how many are not new."""

    train: str
    heldout: str
    items: int
    exact: int  # the same after normalisation
    near: int  # many 13-token runs in common
    copies: tuple[str, ...]  # the items that are not new


@dataclass
class Report:
    """The result of ``check_folder``; printing it gives the tables. ``ok`` decides the exit status."""

    folder: Path
    files: list[FileReport] = field(default_factory=list)
    overlaps: list[Overlap] = field(default_factory=list)
    controls: dict[str, list[Control]] = field(default_factory=dict)  # by the held-out file
    problems: list[str] = field(default_factory=list)
    total_bytes: int = 0

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    def __str__(self) -> str:
        lines = [f"{'file':42}{'kind':>13}{'records':>12}{'bytes':>16}{'Chinese':>9}"]
        for file in self.files:
            lines.append(f"{file.name:42}{file.kind:>13}{file.records:>12,}{file.size:>16,}{file.chinese:>9.0%}")
        lines.append(f"{'everything in ' + self.folder.name:42}{'':25}{self.total_bytes:>16,}")
        lines += [f"{file.name}: {file.cuts}" for file in self.files if file.cuts]
        lines += ["", f"{'held out':30}{'against':30}{'items':>7}{'same':>6}{'near':>6}"]
        for overlap in self.overlaps:
            names = f"{overlap.heldout:30}{overlap.train:30}"
            lines.append(f"{names}{overlap.items:>7,}{overlap.exact:>6}{overlap.near:>6}")
        for name, controls in self.controls.items():
            lines += ["", f"{name}: right on held-out pairs, by seeing nothing else than"]
            lines += [f"  {one}" for one in controls]
            if not all(one.judged for one in controls):
                lines.append("  (shown, not judged: the pairs name no kind)")
        lines += ["", *(f"WRONG: {problem}" for problem in self.problems)]
        lines.append("everything is in order" if self.ok else f"{len(self.problems)} things are wrong")
        return "\n".join(lines)


def check_folder(path: str | Path) -> Report:
    """Validate every JSON Lines and CSV file under ``path`` (those in a ``builder`` folder are not data).

    Raises DataError if the folder holds no data at all; every other problem goes into the report.
    """
    folder = Path(path)
    if folder.is_file():
        raise DataError(f"{folder}: is a file; give the folder that holds it")
    found = [file for suffix in ("*.jsonl", "*.csv") for file in folder.rglob(suffix)]
    paths = [file.relative_to(folder) for file in found]
    names = sorted(path.as_posix() for path in paths if _BUILDER not in path.parts[:-1])
    if not names:
        raise DataError(
            f"{folder}: no .jsonl or .csv file here; check the path, or build the samples: minimind data build"
        )
    report = Report(folder)
    report.total_bytes = sum(file.stat().st_size for file in folder.rglob("*") if _is_data(file, folder))
    compared = any("_heldout" in name for name in names)
    report.files = [_read(folder, name, report.problems, compared) for name in names]
    report.overlaps = [compare(*pair) for pair in _pairs(report.files)]
    report.problems += [
        f"{overlap.heldout}: {len(overlap.copies)} of {overlap.items} items are also in {overlap.train}; "
        f"remove them from one of the two. The first: {overlap.copies[0]!r}"
        for overlap in report.overlaps
        if overlap.copies
    ]
    report.problems += check_rings(folder)
    _check_preferences(report)
    _check_manifest(report)
    return report


def _check_preferences(report: Report) -> None:
    """Run the controls on every pair of preference files X.jsonl and X_heldout.jsonl."""
    names = {file.name for file in report.files if file.kind == "preference" and file.records}
    for heldout in sorted(names):
        train = heldout.replace("_heldout", "")
        if heldout == train or train not in names:
            continue
        controls = report.controls[heldout] = preference_controls(report.folder / train, report.folder / heldout)
        report.problems += [
            f"{heldout}: a classifier that sees only the {one.name} is right on {one.right:.0%} of the pairs, over the "
            f"limit of {MOST:.0%}; give chosen and rejected answers the same endings and lengths"
            for one in controls
            if one.judged and not one.passed
        ]


def _read(folder: Path, name: str, problems: list[str], keep: bool) -> FileReport:
    path = folder / name
    kind, items, records, cuts, letters = "unknown", Items(), 0, "", Counter[str]()
    try:
        check_plain(path)
        if path.suffix == ".csv" or _holds_questions(path):
            kind = "exam"
            items = _exam_items(path)
            records = len(items)
            letters.update(_letters(items))
        else:
            found = kind = _kind_of(path)
            if found == "conversation" and _holds_answers(path):
                found = "reasoning"  # the stage that reads such a file skips what is not well-formed
            reader = read_records(path, found, max_bad_share=1)
            for record in reader:
                parts = _parts(record.model_dump(exclude_none=True))
                letters.update(_letters([parts]))
                items += [parts] if keep else []
            records, cuts = reader.records, reader.cuts() if reader.cut else ""
            problems += [str(error) for error in reader.skipped]
            if reader.reasons.total() > len(reader.skipped):
                problems.append(f"{path}: {reader.reasons.total() - len(reader.skipped)} more bad lines")
    except (DataError, UnicodeDecodeError) as error:
        problems.append(str(error))
    size = path.stat().st_size if path.is_file() else 0
    return FileReport(name, kind, size, letters["chinese"] / max(1, letters.total()), records, cuts, items)


def _holds_questions(path: Path) -> bool:
    """Whether JSON Lines hold an exam as OpenBookQA's authors write it."""
    with path.open("rb") as lines:
        return b'"answerKey"' in lines.readline(_LONGEST_QUESTION)


def _exam_items(path: Path) -> Items:
    """Every question with its choices, in whatever order they came."""
    asked: list[tuple[str, tuple[str, ...]]]
    if path.suffix == ".csv":
        asked = [(row.question, row.choices) for row in read_exam(path)]
    else:
        questions = (BENCHMARKS["openbookqa"].read(row) for row in read_table(path))
        asked = [(question.text, question.choices) for question in questions]
    return [[" ".join((text, *sorted(choices)))] for text, choices in asked]


def _letters(items: Items) -> dict[str, int]:
    """Bytes of Chinese and of Latin letters."""
    text = "".join(part for item in items for part in item)
    chinese, latin = (sum(map(len, re.findall(letters, text))) for letters in (r"[\u4e00-\u9fff]+", r"[A-Za-z]+"))
    return {"chinese": 3 * chinese, "latin": latin}


def _is_data(file: Path, folder: Path) -> bool:
    """Whether a file counts towards the folder's size: not what the samples are built from, and no cache."""
    return file.is_file() and not (_CACHES | {_BUILDER}) & set(file.relative_to(folder).parts)


def _holds_answers(path: Path) -> bool:
    with path.open("rb") as lines:
        return any(b"</answer>" in line for line in lines)


def _kind_of(path: Path) -> Kind:
    with path.open("rb") as lines:
        first = next((line for line in lines if line.strip()), b"")
    if not first:
        raise DataError(f"{path}: holds no record: the file is empty")
    try:
        record = parse_json(first, f"{path}, line 1")
    except UnreadableFile as error:
        raise DataError(str(error)) from None
    keys = record if isinstance(record, dict) else {}
    for key, kind in _KINDS.items():
        if key in keys:
            return kind
    raise DataError(f"{path}, line 1: has none of the fields {', '.join(_KINDS)}, so the format is unknown")


def _parts(record: dict[str, Any]) -> list[str]:
    """What splits must not share: the whole text, or everything the user says."""
    if "text" in record:
        return [record["text"]]
    if "sentence_good" in record:
        return [record["sentence_good"], record["sentence_bad"]]
    turns = record.get("conversations") or record["chosen"]
    return [turn["content"] for turn in turns if turn["role"] == "user"]


def _pairs(files: list[FileReport]) -> Iterator[tuple[str, Items, str, Items]]:
    groups: dict[str, list[FileReport]] = {}
    for file in files:
        split = _SPLIT.search(file.name) if file.kind == "exam" else None
        name = f"{file.name.split('/')[0]} {split[1]}" if split else file.name.split("/")[0]
        groups.setdefault(name, []).append(file)
    for name, group in groups.items():
        base = name.replace("_heldout", "").removesuffix(".jsonl")
        for train in groups if "_heldout" in name else ():
            if "_heldout" not in train and re.fullmatch(f"{re.escape(base)}(_.*)?", train.removesuffix(".jsonl")):
                yield train, _items(groups[train]), name, _items(group)
    exams = [name for name in groups if name.endswith((" train", " dev", " val", " test"))]
    for first, second in combinations(exams, 2):
        yield first, _items(groups[first]), second, _items(groups[second])


def _items(files: list[FileReport]) -> Items:
    return [item for file in files for item in file.items]


def _check_manifest(report: Report) -> None:
    path = report.folder / MANIFEST
    if not path.exists():
        return  # not the sample data
    try:
        manifest = read_json(path)
        entries = {name: (entry["sha256"], int(entry["records"])) for name, entry in manifest["files"].items()}
        limits = {name: int(manifest["limits"][name]) for name in ("file_bytes", "total_bytes")}
    except (UnreadableFile, OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        report.problems.append(f"{path} is not the manifest of sample data ({error}); rebuild it: minimind data build")
        return
    wrong = [
        f"{name}: {'the file is missing' if name in entries else f'it is not in {MANIFEST}'}"
        for name in sorted(set(entries) ^ {file.name for file in report.files})
    ]
    for file in (file for file in report.files if file.name in entries):
        digest, records = entries[file.name]
        if sha256_of(report.folder / file.name) != digest:
            wrong.append(f"{file.name}: its SHA-256 differs from the one in {MANIFEST}")
        if file.records != records:
            wrong.append(f"{file.name}: {file.records} records, but {MANIFEST} states {records}")
        if file.size > limits["file_bytes"]:
            wrong.append(f"{file.name}: {file.size:,} bytes; the limit for a file is {limits['file_bytes']:,}")
    if report.total_bytes > limits["total_bytes"]:
        wrong.append(f"{report.total_bytes:,} bytes in all; the limit for the folder is {limits['total_bytes']:,}")
    report.problems += [f"{problem}; rebuild the samples: minimind data build" for problem in wrong]


def compare(train: str, train_items: Items, heldout: str, heldout_items: Items) -> Overlap:
    """Look for the items of ``heldout`` in ``train`` (the names are only for the report).

    A held-out score is only as good as its split, so two kinds of copies count. An exact copy is the same after
    normalisation (case, width, punctuation and spaces are ignored): each of its parts occurs in training, as a part of
    any item. A near copy shares NEAR_SHARE or more of its runs of RUN_LENGTH tokens with the training split (Brown et
    al. 2020, arXiv 2005.14165, appendix C). A token is a Latin word, a number, an arithmetic sign or one Chinese
    character.
    """
    items = [([tokens_of(part) for part in item], " / ".join(item)) for item in heldout_items]
    wanted = {run for item, _ in items for part in item for run in runs_of(part)}
    seen_parts, seen_runs = set[str](), set[str]()
    for part in (tokens_of(part) for item in train_items for part in item):
        seen_parts.add(" ".join(part))
        seen_runs.update(run for run in runs_of(part) if run in wanted)
    exact, near = list[str](), list[str]()
    for item, text in items:
        runs = [run for part in item for run in runs_of(part)]
        if all(" ".join(part) in seen_parts for part in item):
            exact.append(text)
        elif runs and sum(run in seen_runs for run in runs) >= NEAR_SHARE * len(runs):
            near.append(text)
    return Overlap(train, heldout, len(items), len(exact), len(near), (*exact, *near))


def runs_of(words: list[str], length: int = RUN_LENGTH) -> list[str]:
    """All runs of ``length`` neighbouring tokens."""
    return [" ".join(words[start : start + length]) for start in range(len(words) - length + 1)]
