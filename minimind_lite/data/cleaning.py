"""`minimind data clean`: stream records of any published form through named steps and write what is left, in our form.

Every step is counted and shows samples of what it rejected, because a filter that nobody looks at removes the wrong
things. The steps run in the order of STEPS, cheap ones first; the two that remember what they saw come last, so they
remember only what got that far. Memory stays flat: what those two remember lies on disk (see ``duplicates.py``).

Sources of the rules: symbols, repeated lines and lengths after Gopher (Rae et al. 2021, arXiv 2112.11446, A1.1), near
duplicates after Lee et al. 2022 (arXiv 2107.06499), overlap with exams after Brown et al. 2020 (arXiv 2005.14165, C).
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path

from minimind_lite.data.check import RUN_LENGTH, runs_of
from minimind_lite.data.duplicates import ExactDuplicates, NearDuplicates
from minimind_lite.data.formats import Item, read_items, source_files
from minimind_lite.data.records import DataError, validated
from minimind_lite.data.rings import tokens_of
from minimind_lite.data.tables import read_table
from minimind_lite.files import write_text, written_whole

STEPS = {
    "encoding": "repair line ends and invisible characters; reject what was read in the wrong encoding",
    "symbols": "reject texts of which a large share is signs and symbols",
    "length": "reject texts that are too short or too long",
    "language": "reject texts in another language than --language",
    "repeats": "reject texts of which a large share is lines or sentences said before",
    "personal": "mask e-mail addresses, phone numbers and identity numbers, or reject the text (--personal)",
    "exams": "reject texts that hold a question of the exams in --exams",
    "exact": "reject texts that were there before, but for case, width and punctuation",
    "near": "reject texts of which most was there before (MinHash, needs datasketch)",
}
FORMAT = "format"  # the first thing that is tried: whether a line can be read and turned into a record of ours
LANGUAGES = ("any", "zh", "en")
PERSONAL = ("mask", "reject")
SAMPLES = 5  # of what a step rejected
_EXCERPT = 160  # characters of a sample
_SHORTEST_QUESTION = 6  # tokens; shorter ones stand in texts that never saw an exam
_EXAM_FILES = (".csv", ".jsonl", ".parquet", ".txt")
_QUESTIONS = ("question", "query", "ctx", "sentence", "sentence_good", "goal", "text")  # columns of exams

_INVISIBLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u00ad\u200b\u2060\ufeff\ufff9-\ufffb]")
_MISREAD = re.compile(
    "\ufffd|锟斤拷|烫烫烫|Ã[\u0080-\u00bf]|â€[\u0080-\u00bf\u0153\u2018-\u2122]|ï»¿"
    "|(?:[à-ï][\u0080-\u00bf\u0152-\u0192\u02c6\u02dc\u2013-\u203a\u20ac\u2122]{2}){2}"
)
_NOISE = re.compile(
    r"[^\w\s.,;:!?'\"()\-–—…。，、；：！？“”‘’（）《》〈〉【】「」『』·%+=/*×÷<>≤≥°$€£¥&@\[\]{}]|([^\w\s])\1{9,}"
)
_LETTERS = {"zh": re.compile(r"[\u3400-\u9fff]"), "en": re.compile(r"[A-Za-z]+(?:['’][a-z]+)?")}
_OTHER_WORDS = re.compile(r"[^\W\d_A-Za-z\u3400-\u9fff]+")
_UNIT = re.compile(r"[^\n.!?。！？]+[.!?。！？]*")
_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}(?![\w-])", re.ASCII)
_PHONE = re.compile(
    r"(?<![\d.-])(?:(?:\+?86[ -]?)?1[3-9]\d[ -]?\d{4}[ -]?\d{4}|0\d{2,3}-\d{7,8}"
    r"|(?:\+?1[ -])?(?:\(\d{3}\) ?|\d{3}-)\d{3}-\d{4}|\+\d{1,3}(?:[ -]\d{2,4}){3,4})(?![\d-])",
    re.ASCII,
)
_IDENTITY = re.compile(r"(?<![\w-])(?:\d{17}[\dXx]|\d{3}-\d{2}-\d{4})(?![\w-])", re.ASCII)

_PLACE = re.compile(r".*?, (?:line|row) \d+")

Check = Callable[[Item], str | None]  # the reason to reject an item, or None; may repair the item


@dataclass(frozen=True)
class CleaningOptions:
    """What is done and how strictly. Shares are of characters, from 0 to 1.

    steps: names from STEPS, all by default. language: any, zh or en. exams: files or folders of exams. personal: mask
    or reject. min_characters, max_characters: of all texts of a record together.
    """

    steps: tuple[str, ...] = tuple(STEPS)
    language: str = "any"
    exams: tuple[Path, ...] = ()
    personal: str = "mask"
    min_characters: int = 10
    max_characters: int = 100_000
    max_symbols: float = 0.2
    max_repeats: float = 0.3
    min_language: float = 0.5  # the share of words (a Chinese character is one) in the language
    similarity: float = 0.8
    strict: bool = False  # stop at the first line that cannot be read

    def __post_init__(self) -> None:
        for name, value, known in (("language", self.language, LANGUAGES), ("personal", self.personal, PERSONAL)):
            if value not in known:
                raise DataError(f"--{name} {value}: must be one of {', '.join(known)}")
        _known(self.steps)
        if self.exams and "exams" not in self.steps:
            raise DataError("exams are given, but the step exams is left out")
        if self.min_characters > self.max_characters:
            raise DataError(f"--min-characters {self.min_characters} is more than --max-characters")

    @staticmethod
    def chosen(steps: str, skip: str) -> tuple[str, ...]:
        """The steps that two lists of names, separated by commas, leave: those of ``steps``, or all but ``skip``."""
        wanted, unwanted = (tuple(name.strip() for name in text.split(",") if name.strip()) for text in (steps, skip))
        if wanted and unwanted:
            raise DataError("give --steps or --skip, not both")
        _known((*wanted, *unwanted))
        return wanted or tuple(name for name in STEPS if name not in unwanted)


def _known(names: tuple[str, ...]) -> None:
    for name in names:
        if name not in STEPS:
            raise DataError(f"there is no step called {name!r}; the steps are: {', '.join(STEPS)}")


@dataclass
class StepReport:
    """What one step did: how many records it saw, rejected and changed, and samples of the rejected ones."""

    seen: int = 0
    rejected: int = 0
    changed: int = 0
    samples: list[dict[str, str]] = field(default_factory=list)

    def reject(self, where: str, reason: str, text: str) -> None:
        """Count a rejected record; the first SAMPLES are kept with their place, the reason and their beginning."""
        self.rejected += 1
        if len(self.samples) < SAMPLES:
            shown = text if len(text) <= _EXCERPT else text[:_EXCERPT] + "…"
            shown = shown.encode("utf-8", "backslashreplace").decode("utf-8")
            self.samples.append({"where": where, "why": reason, "text": shown})


@dataclass
class CleaningReport:
    """What was read, what each step did, and what is left; printing it gives the table."""

    sources: list[str]
    output: str
    kind: str = ""
    read: int = 0
    kept: int = 0
    characters: int = 0  # of the texts that are left
    steps: dict[str, StepReport] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [f"{'step':12}{'seen':>14}{'rejected':>12}{'changed':>12}  the first that was rejected"]
        for name, step in self.steps.items():
            first = " ".join(f"{step.samples[0]['why']}: {step.samples[0]['text']}".split()) if step.samples else ""
            first = first if len(first) <= 60 else first[:59] + "…"
            lines.append(f"{name:12}{step.seen:>14,}{step.rejected:>12,}{step.changed:>12,}  {first}".rstrip())
        lines.append(f"{self.kept:,} of {self.read:,} records are left, with {self.characters:,} characters")
        return "\n".join(lines)


def clean(sources: list[Path], output: Path, options: CleaningOptions | None = None) -> CleaningReport:
    """Clean the records of files and folders into ``output``; the report lies beside it, see ``report_path``.

    Both are written whole or not at all. Raises DataError for sources that cannot be used or hold records of different
    kinds, when nothing is left, and, with ``strict``, for the first line that cannot be read.
    """
    options = options or CleaningOptions()
    files = source_files(sources)
    if output.suffix != ".jsonl":
        raise DataError(f"{output}: what is left is written as JSON Lines, so the name must end in .jsonl")
    if output.resolve() in {file.resolve() for file in files}:
        raise DataError(f"{output}: is one of the files that are read; write to another one")
    report = CleaningReport([str(file) for file in files], str(output))
    output.parent.mkdir(parents=True, exist_ok=True)
    checks = _checks(options, output.parent)
    report.steps = {name: StepReport() for name in (FORMAT, *checks)}
    with written_whole(output) as part, part.open("w", encoding="utf-8", newline="\n") as lines:
        for item in _readable(files, report, options.strict):
            if _passes(item, checks, report):
                lines.write(json.dumps(item.record, ensure_ascii=False) + "\n")
                report.kept += 1
                report.characters += sum(map(len, item.texts))
        if not report.kept:
            raise DataError(f"{sources[0]}: nothing is left of {report.read} records, so nothing is written\n{report}")
    write_text(report_path(output), json.dumps(asdict(report), ensure_ascii=False, indent=1) + "\n")
    return report


def report_path(output: Path) -> Path:
    """Where the report on an output lies: OUT.report.json beside OUT.jsonl."""
    return output.with_suffix(".report.json")


def _readable(files: list[Path], report: CleaningReport, strict: bool) -> Iterator[Item]:
    """The records of all files; what is none is counted, and kinds that differ are refused."""
    step, first = report.steps[FORMAT], ""
    for file in files:
        for found in read_items(file):
            report.read += 1
            step.seen += 1
            if isinstance(found, DataError):
                if strict:
                    raise DataError(f"{found}. Fix the line, or run without --strict to count and drop such lines")
                place = _PLACE.match(str(found))
                step.reject(place[0] if place else str(file), str(found), "")
                continue
            report.kind, first = report.kind or found.kind, first or found.where
            if found.kind != report.kind:
                raise DataError(
                    f"{found.where}: holds a record of the kind {found.kind}, but {first} one of the kind "
                    f"{report.kind}; clean them one after the other, each into a file of its own"
                )
            yield found


def _passes(item: Item, checks: dict[str, Check], report: CleaningReport) -> bool:
    """Run an item through the steps, up to the first that rejects it."""
    changed = False
    for name, check in checks.items():
        step, before = report.steps[name], item.record
        step.seen += 1
        reason = check(item)
        if reason is not None:
            step.reject(item.where, reason, "\n".join(item.texts))
            return False
        if item.record is not before:
            step.changed += item.record != before
            changed = True
    if changed:
        try:
            _writable(item)
        except DataError as error:
            report.steps[FORMAT].reject(item.where, f"after its repair: {error}", "\n".join(item.texts))
            return False
    return True


def _writable(item: Item) -> None:
    validated(item.record, item.kind, item.where)


def _checks(options: CleaningOptions, folder: Path) -> dict[str, Check]:
    """The steps that are wanted, in the order of STEPS; those that have nothing to compare with are left out."""
    made: dict[str, Callable[[], Check]] = {
        "encoding": lambda: _encoding,
        "symbols": lambda: lambda item: _symbols(item, options.max_symbols),
        "length": lambda: lambda item: _length(item, options.min_characters, options.max_characters),
        "language": lambda: lambda item: _language(item, options.language, options.min_language),
        "repeats": lambda: lambda item: _repeats(item, options.max_repeats),
        "personal": lambda: lambda item: _personal(item, options.personal),
        "exams": lambda: _exams(options.exams),
        "exact": lambda: _exact(folder),
        "near": lambda: _near(folder, options.similarity),
    }
    idle = {"language"} if options.language == "any" else set()
    idle |= set() if options.exams else {"exams"}
    return {name: made[name]() for name in STEPS if name in options.steps and name not in idle}


def _encoding(item: Item) -> str | None:
    for text in item.texts:  # before the repair, which would take away what gives it away
        if found := _MISREAD.search(text):
            return f"read in the wrong encoding ({found[0]!a})"
    item.rewrite(lambda text: _INVISIBLE.sub("", text.replace("\r\n", "\n").replace("\r", "\n")))
    return None


def _symbols(item: Item, most: float) -> str | None:
    text = "".join(item.texts)
    noise = sum(len(hit[0]) for hit in _NOISE.finditer(text))
    share = noise / max(1, len(text) - sum(map(text.count, (" ", "\n", "\t", "\u3000"))))
    return f"{share:.0%} of it are symbols" if share > most else None


def _length(item: Item, least: int, most: int) -> str | None:
    size = sum(len(text.strip()) for text in item.texts)
    if size < least:
        return f"{size} characters, fewer than {least}"
    return f"{size} characters, more than {most}" if size > most else None


def language_share(text: str, language: str) -> float:
    """The share of a text's words that are in a language; a Chinese character counts as a word. 1 without words."""
    counts = {name: len(letters.findall(text)) for name, letters in _LETTERS.items()}
    total = sum(counts.values()) + len(_OTHER_WORDS.findall(text))
    return counts[language] / total if total else 1.0


def _language(item: Item, language: str, least: float) -> str | None:
    share = language_share("\n".join(item.texts), language)
    return f"{share:.0%} of its words are {language}" if share < least else None


def _repeats(item: Item, most: float) -> str | None:
    for text in item.texts:
        units = [unit.strip() for unit in _UNIT.findall(text) if unit.strip()]
        again = sum(len(unit) * (count - 1) for unit, count in Counter(units).items())
        share = again / max(1, sum(map(len, units)))
        if len(units) > 3 and share > most:
            return f"{share:.0%} of it was said before"
    return None


def _personal(item: Item, what: str) -> str | None:
    if not item.rewrite(masked):
        return None
    return "holds personal data" if what == "reject" else None


def masked(text: str) -> str:
    """The text with [email], [phone] and [id] in place of what looks like one.

    >>> masked("Write to ann@example.org or call 138-0013-8000.")
    'Write to [email] or call [phone].'
    """
    text = _IDENTITY.sub(lambda hit: "[id]" if _is_identity(hit[0]) else hit[0], _EMAIL.sub("[email]", text))
    return _PHONE.sub("[phone]", text)


def _is_identity(text: str) -> bool:
    """Whether a number passes the test of Chinese identity numbers (GB 11643-1999), or is grouped like a US one."""
    if "-" in text:
        return not text.startswith(("000", "666", "9"))
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    total = sum(weight * int(digit) for weight, digit in zip(weights, text, strict=False))
    try:
        date(int(text[6:10]), int(text[10:12]), int(text[12:14]))
    except ValueError:
        return False
    return "10X98765432"[total % 11] == text[-1].upper()


def _exams(paths: tuple[Path, ...]) -> Check:
    """A check for whole questions of up to RUN_LENGTH tokens, and for any such run of longer ones."""
    runs: dict[int, set[str]] = {}
    for path in paths:
        for file in source_files([path]):
            if file.suffix.lower() not in _EXAM_FILES and path.is_dir():
                continue  # a folder of exams may hold a description as well
            for tokens in map(tokens_of, _questions(file)):
                length = min(len(tokens), RUN_LENGTH)
                if length >= _SHORTEST_QUESTION:
                    runs.setdefault(length, set()).update(runs_of(tokens, length))
    if not runs:
        raise DataError(f"{paths[0]}: holds no question of at least {_SHORTEST_QUESTION} words or Chinese characters")

    def check(item: Item) -> str | None:
        for tokens in map(tokens_of, item.texts):
            for length, known in runs.items():
                found = next((run for run in runs_of(tokens, length) if run in known), None)
                if found is not None:
                    return f"holds an exam's words: {found}"
        return None

    return check


def _questions(file: Path) -> Iterator[str]:
    """What an exam's file asks: its column of questions, or everything that a user says in its conversations."""
    for row in read_table(file):
        column = next((name for name in _QUESTIONS if row.has(name)), None)
        if column is not None:
            yield str(row.value(column))
        for turn in row.values.get("conversations") or ():
            if isinstance(turn, dict) and turn.get("role") == "user":
                yield str(turn.get("content"))


def _compared(item: Item) -> str:
    """The tokens of a record, its texts set apart; of one without words the texts as they are."""
    tokens = [tokens_of(text) for text in item.texts]
    return " / ".join(map(" ".join, tokens)) if any(tokens) else "\n".join(item.texts)


def _exact(folder: Path) -> Check:
    remembered = ExactDuplicates(folder)
    return lambda item: "the same text was there before" if remembered.seen(_compared(item)) else None


def _near(folder: Path, similarity: float) -> Check:
    remembered = NearDuplicates(folder, similarity)

    def check(item: Item) -> str | None:
        share = remembered.similar(_compared(item).replace(" ", ""))
        return f"{share:.0%} like a text that was there before" if share else None

    return check
