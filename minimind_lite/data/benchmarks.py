"""The published benchmarks that ``minimind eval`` reads: where each comes from, its files, and what a row means.

Nothing is downloaded here: a benchmark is read from a folder, in the layout of its authors or of its page on the
Hugging Face hub. Chance is 1 / choices, question by question.

Three kinds have no authors but a layout of ours, for anybody's files: texts, answers and sums (see ``_OWN_LAYOUTS``).
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from minimind_lite.data.published import data_folder
from minimind_lite.data.reasoning import final_answer
from minimind_lite.data.records import DataError, validated
from minimind_lite.data.tables import SUFFIXES, Row, read_table
from minimind_lite.files import parse_json, repository_root

Kind = Literal["choice", "pairs", "cloze", "text", "exact", "sums"]
UNSTATED = "not stated"  # as a licence: nothing is downloaded then
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
SUBJECT_FILES = ("subject_mapping.json", "subjects.json")  # C-Eval's own, and ours: file name → [English, Chinese, …]
_SPLITS = {"train", "dev", "val", "valid", "validation", "test"}


@dataclass(frozen=True)
class Question:
    """One item. Of a minimal pair the choices are both sentences; of a cloze, the one word that is right.

    Of a text that is scored whole, the only choice is that text; of what a model answers in its own words, the expected
    answer.
    """

    id: str  # file and row
    group: str  # subject or paradigm
    text: str
    choices: tuple[str, ...]
    answer: int  # which choice is right, from 0
    passage: str = ""  # what the question is about, where there is such a text
    turns: tuple[tuple[str, str], ...] = ()  # (role, content) of the conversation that the model is to answer


@dataclass(frozen=True)
class Benchmark:
    """A benchmark and how its authors publish it."""

    name: str
    title: str
    kind: Kind
    language: Literal["zh", "en"]
    split: tuple[str, ...]  # words of which a file's name or folder has one, if it is scored; () = every file
    examples: tuple[str, ...]  # the same for the few-shot examples; () = there are none
    read: Callable[[Row], Question]
    layout: str
    licence: str
    source: str
    prompt: str = "{text}"  # before the answer, when whole answers are scored
    letters_first: bool = False  # whether letters are what is scored unless asked otherwise
    fetch: tuple[str, ...] = ()  # patterns of the files to download: those of the first that any file fits
    folder: Callable[[], Path] | None = field(default=None, compare=False)  # default: its name in the data folder

    @property
    def chance(self) -> str:
        """In words."""
        known = {"choice": "1 / choices", "pairs": "50 %", "cloze": "0", "text": "none"}
        return known.get(self.kind, "top answer")

    @property
    def repository(self) -> str:
        """Its repository on the Hugging Face hub, "" if it is not there."""
        return self.source.removeprefix("hub: ") if self.source.startswith("hub: ") else ""

    @property
    def home(self) -> Path:
        """Where it is looked for when no folder is given."""
        return self.folder() if self.folder else data_folder() / self.name


def group_of(row: Row) -> str:
    """The subject or paradigm: the file's name without the words of its split, or else the folder's."""
    for name in (row.file.stem, *(parent.name for parent in row.file.parents[:2])):
        words = [one for one in re.split(r"[_\-]", name) if one.lower() not in _SPLITS]
        words = [one for one in words if one != "of" and not one.isdigit()]  # "test-00000-of-00001"
        if words and name != "data":
            return "_".join(words)
    return ""


def _question(
    row: Row, text: str, choices: tuple[str, ...], answer: int, group: str = "", passage: str = ""
) -> Question:
    return Question(f"{row.file.name}:{row.number}", group or group_of(row), text, choices, answer, passage)


def _lettered(row: Row) -> Question:
    """C-Eval, CMMLU, ACLUE, TMMLU+: the columns question, A, B, C, D, answer, in any case."""
    choices = tuple(row.text(letter).strip() for letter in "ABCD")
    if not row.has("answer"):
        row.refuse("answer", "empty: this split is published without answers, so it cannot be scored")
    letter = row.text("answer").strip().upper()
    if letter not in ("A", "B", "C", "D"):
        row.refuse(row.named("answer"), f"{letter!r} is not one of A, B, C, D")
    return _question(row, row.text("question").strip(), choices, "ABCD".index(letter))


def _labelled(row: Row) -> Question:
    """ARC and OpenBookQA: choices with labels (A…E or 1…5), the hub's columns or the authors' nested question."""
    asked = row.value("question") if row.has("question") else row.value("question_stem")
    nested = asked if isinstance(asked, dict) else None
    text = nested.get("stem") if nested else asked
    given = nested.get("choices") if nested else row.value("choices")
    labels, texts = _labels_and_texts(given)
    if not isinstance(text, str) or not text.strip():
        row.refuse("question", "must be text, or an object with stem and choices")
    if len(texts) < 2 or not all(isinstance(one, str) and one for one in (*labels, *texts)):
        row.refuse("choices", "must be at least two choices, each with label and text")
    key = row.text("answerKey").strip()
    if key not in labels:
        row.refuse("answerKey", f"{key!r} is not one of {', '.join(labels)}")
    return _question(row, text, tuple(texts), labels.index(key))


def _labels_and_texts(given: Any) -> tuple[list[Any], list[Any]]:
    """From {"label": […], "text": […]} or [{"label": …, "text": …}, …]; empty lists for anything else."""
    if isinstance(given, dict) and isinstance(given.get("label"), list) and isinstance(given.get("text"), list):
        same = len(given["label"]) == len(given["text"])
        return (given["label"], given["text"]) if same else ([], [])
    if isinstance(given, list) and all(isinstance(one, dict) for one in given):
        return [one.get("label") for one in given], [one.get("text") for one in given]
    return [], []


def _piqa(row: Row) -> Question:
    choices = (row.text("sol1"), row.text("sol2"))
    return _question(row, row.text("goal"), choices, row.index("label", 2), group="all")


def _hellaswag(row: Row) -> Question:
    endings = row.texts("endings")
    activity, first, second = row.text("activity_label"), row.text("ctx_a"), row.text("ctx_b", empty=True)
    text = _plain_how_to(f"{activity}: {first} {second.capitalize()}")
    choices = tuple(_plain_how_to(one) for one in endings)
    return _question(row, text, choices, row.index("label", len(endings)), group="all")


def _plain_how_to(text: str) -> str:
    """Without WikiHow's marks: [title] ends a sentence, others vanish; one space for two. As lm-eval cleans it."""
    return re.sub(r"\[.*?\]", "", text.strip().replace(" [title]", ". ")).replace("  ", " ")


def _sciq(row: Row) -> Question:
    wrong = tuple(row.text(f"distractor{number}") for number in (1, 2, 3))
    choices = (*wrong, row.text("correct_answer"))
    passage = row.text("support", empty=True).lstrip()
    return _question(row, row.text("question"), choices, 3, group="all", passage=passage)


def _pair(row: Row) -> Question:
    good, bad = row.text("sentence_good"), row.text("sentence_bad")
    paradigm = next((row.text(name) for name in ("UID", "paradigm") if row.has(name)), "")
    return _question(row, "", (good, bad), 0, group=paradigm)


def _last_word(row: Row) -> Question:
    text, _, word = row.text("text").rpartition(" ")
    if not text.strip() or not word.strip():
        row.refuse("text", "must have a last word, after a space, and something before it")
    return _question(row, text, (word,), 0, group="all")


def _whole_text(row: Row) -> Question:
    return _question(row, "", (row.text("text"),), 0)


def _answered(row: Row) -> Question:
    """A question and its answer, or a conversation that ends with the answer."""
    if not row.has("conversations"):
        question = row.text("question")
        return replace(_question(row, question, (row.text("answer"),), 0), turns=(("user", question),))
    where = f"{row.file}, row {row.number}, column conversations"
    turns = validated({"conversations": row.value("conversations")}, "conversation", where).messages
    if len(turns) < 2 or turns[-1]["role"] != "assistant" or not turns[-1]["content"].strip():
        row.refuse("conversations", "must end with the assistant's answer to a question")
    asked = tuple((turn["role"], turn["content"]) for turn in turns[:-1])
    return replace(_question(row, asked[-1][1], (turns[-1]["content"],), 0), turns=asked)


def _sum(row: Row) -> Question:
    """As ``_answered``; of a tagged answer only what stands in its answer block counts."""
    found = _answered(row)
    answer = final_answer(found.choices[0])
    if not answer:
        row.refuse("answer", "must have one <answer> block with an answer in it, or no tags")
    return replace(found, choices=(answer,))


_OWN_LAYOUTS = {
    "text": "*.jsonl or *.csv with a column text, a document a row; or *.txt, a document a line",
    "exact": "*.jsonl or *.csv with the columns question and answer; or *.jsonl with conversations, the answer last",
}
_QUESTION = "Question: {text}\nAnswer:"
_CHINESE = "{text}\n答案："
_LANGUAGES: tuple[Literal["zh", "en"], ...] = ("zh", "en")
_NC = "CC BY-NC-SA 4.0"


def _own(name: str, title: str, kind: Kind, read: Callable[[Row], Question], sample: str = "") -> Benchmark:
    """A benchmark in a layout of ours. sample: where it lies in data_samples; "" = in a folder of the user's.

    It has a folder of its own, so that no other folder is taken for it by what its files look like.
    """
    layout = _OWN_LAYOUTS["text" if kind == "text" else "exact"]
    return Benchmark(
        name, title, kind, "zh", (), (), read, layout, "Apache-2.0" if sample else "yours",
        f"data_samples/{sample}" if sample else f"your own files: {name}=FOLDER",
        folder=lambda: repository_root() / "data_samples" / sample if sample else data_folder() / name,
    )  # fmt: skip


BENCHMARKS = {
    one.name: one
    for one in (
        Benchmark(
            "samples", "the course's sample exams", "choice", "zh", ("test",), ("dev",), _lettered,
            "ceval/{dev,test}/*.csv, cmmlu/{dev,test}/*.csv", "Apache-2.0", "data_samples/exam in this repository",
            _CHINESE, True, folder=lambda: repository_root() / "data_samples" / "exam",
        ),
        *(
            Benchmark(
                f"samples-{language}", f"the course's pairs ({language})", "pairs", language, (language,), (), _pair,
                f"{language}.jsonl: sentence_good, sentence_bad, UID", "Apache-2.0",
                "data_samples/language in this repository",
                folder=lambda: repository_root() / "data_samples" / "language",
            )
            for language in _LANGUAGES
        ),
        Benchmark(
            "ceval", "C-Eval (arXiv 2305.08322)", "choice", "zh", ("val",), ("dev",), _lettered,
            "{dev,val}/SUBJECT_{dev,val}.csv: id,question,A,B,C,D,answer,explanation", _NC, "hub: ceval/ceval-exam",
            _CHINESE, True, ("ceval-exam.zip", "*/*-of-*.parquet"),
        ),
        Benchmark(
            "cmmlu", "CMMLU (arXiv 2306.09212)", "choice", "zh", ("test",), ("dev",), _lettered,
            "{dev,test}/SUBJECT.csv: (number),Question,A,B,C,D,Answer", _NC, "hub: haonan-li/cmmlu", _CHINESE, True,
            ("cmmlu*.zip", "*/*.csv", "*/*-of-*.parquet"),
        ),
        Benchmark(
            "aclue", "ACLUE (arXiv 2310.09550)", "choice", "zh", ("test",), ("dev",), _lettered,
            "{dev,test}/TASK.csv: (number),Question,A,B,C,D,Answer", _NC, "hub: tyouisen/aclue", _CHINESE, True,
            ("aclue*.zip", "*/*.csv", "*/*-of-*.parquet"),
        ),
        Benchmark(
            "tmmluplus", "TMMLU+ (arXiv 2403.01858)", "choice", "zh", ("test",), ("dev", "train"), _lettered,
            "data/SUBJECT_{dev,test}.csv: question,A,B,C,D,answer", "MIT", "hub: ikala/tmmluplus", _CHINESE, True,
            ("data/*.csv", "*/*-of-*.parquet"),
        ),
        Benchmark(
            "openbookqa", "OpenBookQA (arXiv 1809.02789)", "choice", "en", ("test",), ("train",), _labelled,
            "main/{train,test}*: question_stem, choices, answerKey; or the authors' JSON Lines", "Apache-2.0",
            "hub: allenai/openbookqa", fetch=("main/*.parquet",),
        ),
        Benchmark(
            "arc", "ARC (arXiv 1803.05457)", "choice", "en", ("test",), ("train",), _labelled,
            "ARC-{Easy,Challenge}/*{train,test}*: question, choices, answerKey; or the authors' JSON Lines",
            "CC BY-SA 4.0", "hub: allenai/ai2_arc", _QUESTION, fetch=("ARC-*/*.parquet",),
        ),
        Benchmark(
            "piqa", "PIQA (arXiv 1911.11641)", "choice", "en", ("valid", "validation", "val"), ("train",), _piqa,
            "{train,valid}.jsonl: goal, sol1, sol2, with {train,valid}-labels.lst; or a column label",
            "AFL 3.0", "hub: baber/piqa", _QUESTION, fetch=("*.parquet", "*.jsonl", "*.json"),
        ),
        Benchmark(
            "hellaswag", "HellaSwag (arXiv 1905.07830)", "choice", "en", ("val", "validation"), ("train",), _hellaswag,
            "hellaswag_{train,val}.jsonl: activity_label, ctx_a, ctx_b, endings, label", "MIT",
            "hub: Rowan/hellaswag", fetch=("data/*.parquet", "*.parquet", "*.jsonl"),
        ),
        Benchmark(
            "sciq", "SciQ (arXiv 1707.06209)", "choice", "en", ("test",), ("train",), _sciq,
            "{train,test}.json: question, distractor1–3, correct_answer, support", "CC BY-NC 3.0",
            "hub: allenai/sciq", "{passage}\n" + _QUESTION, fetch=("data/*.parquet", "*.parquet"),
        ),
        Benchmark(
            "blimp", "BLiMP (arXiv 1912.00582)", "pairs", "en", (), (), _pair,
            "data/PARADIGM.jsonl: sentence_good, sentence_bad, UID", "CC BY 4.0", "hub: nyu-mll/blimp",
            fetch=("*/*.parquet", "*.jsonl"),
        ),
        Benchmark(
            "zhoblimp", "ZhoBLiMP (arXiv 2411.06096)", "pairs", "zh", (), (), _pair,
            "PARADIGM.jsonl: sentence_good, sentence_bad, paradigm", UNSTATED, "hub: Junrui1202/zhoblimp",
        ),
        Benchmark(
            "lambada", "LAMBADA (arXiv 1606.06031)", "cloze", "en", ("test",), (), _last_word,
            "lambada_test.jsonl: text; or one passage a line in lambada_test.txt", "CC BY 4.0",
            "hub: EleutherAI/lambada_openai", fetch=("data/lambada_test.jsonl", "data/lambada_test_en.jsonl"),
        ),
        _own("samples-text", "the course's held-out texts", "text", _whole_text, "pretrain_heldout"),
        _own("samples-near", "the course's facts, near wording", "exact", _answered, "facts_rings/near"),
        _own("samples-far", "the course's facts, far frames", "exact", _answered, "facts_rings/far"),
        _own("samples-sums", "the course's held-out sums", "sums", _sum, "reason_heldout.jsonl"),
        _own("text", "your texts: bits per byte", "text", _whole_text),
        _own("answers", "your questions: exact match", "exact", _answered),
        _own("sums", "your sums: pass@1", "sums", _sum),
    )
}  # fmt: skip


def _how_to_get(benchmark: Benchmark) -> str:
    if benchmark.fetch and benchmark.licence != UNSTATED:
        return f"bring it with: minimind data download {benchmark.name}"
    return "put it there"


def files_of(folder: Path, words: tuple[str, ...]) -> list[Path]:
    """The tables in a folder whose own name, or a folder's within it, has one of the words of a split; () = all.

    Where a split is there in several forms, those of the first suffix in SUFFIXES. Sorted by path.
    """
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        parts = {word.lower() for part in (*inside.parts[:-1], path.stem) for word in re.split(r"[_\-.]", part)}
        suffix = path.suffix.lower()
        hidden = any(part.startswith(".") for part in inside.parts)
        if suffix in SUFFIXES and not hidden and path.name not in SUBJECT_FILES and (not words or parts & set(words)):
            found.setdefault(suffix, []).append(path)
    return next((found[suffix] for suffix in SUFFIXES if suffix in found), [])


def read_questions(benchmark: Benchmark, folder: Path, examples: bool = False) -> list[Question]:
    """The questions of the split that is scored, or of the one that examples are taken from.

    Raises DataError, naming file, row and column, or the folder in which no file of that split was found.
    """
    return [question for question, _ in read_with_rows(benchmark, folder, examples)]


def read_with_rows(benchmark: Benchmark, folder: Path, examples: bool = False) -> list[tuple[Question, Row]]:
    """As ``read_questions``, each question with the row that it was read from."""
    if not folder.exists():
        raise DataError(
            f"{folder}: there is no such folder. {benchmark.title} is published at {benchmark.source} "
            f"(licence: {benchmark.licence}); {_how_to_get(benchmark)}; or name its folder: {benchmark.name}=FOLDER"
        )
    words = benchmark.examples if examples else benchmark.split
    files = files_of(folder, words) if folder.is_dir() else [folder]
    if not files:
        wanted = f"with {' or '.join(words)} in its name " if words else ""
        raise DataError(f"{folder}: no file {wanted}was found; {benchmark.title} comes as {benchmark.layout}")
    found = [
        (replace(benchmark.read(row), id=f"{_inside(file, folder)}:{row.number}"), row)
        for file in files
        for row in _rows(file)
    ]
    if not found:
        raise DataError(f"{files[0]}: holds no question")
    return found


def _inside(file: Path, folder: Path) -> str:
    return file.name if file == folder else file.relative_to(folder).as_posix()


def _rows(file: Path) -> Iterator[Row]:
    """A file's rows; PIQA's authors keep the labels in a file beside it, one a line."""
    labels = file.with_name(f"{file.stem}-labels.lst")
    if not labels.is_file():
        yield from read_table(file)
        return
    known, rows = labels.read_text(encoding="utf-8").split(), list(read_table(file))
    if len(known) != len(rows):
        raise DataError(f"{labels}: has {len(known)} labels, and {file.name} {len(rows)} rows")
    for row, label in zip(rows, known, strict=True):
        yield Row(row.file, row.number, row.values | {"label": label})


def subject_names(folder: Path) -> dict[str, str]:
    """Chinese names of subjects, where the folder has a list of them: file name → name."""
    for file in (folder / name for name in SUBJECT_FILES):
        if file.is_file():
            known = parse_json(file.read_bytes(), str(file))
            if not isinstance(known, dict) or not all(isinstance(one, list) and len(one) > 1 for one in known.values()):
                raise DataError(f'{file}: must be an object such as {{"law": ["Law", "法学", "Social Science"]}}')
            return {name: str(names[1]) for name, names in known.items()}
    return {}


def find_benchmark(named: str) -> tuple[Benchmark, Path]:
    """The benchmark and its folder from NAME, NAME=FOLDER, or a FOLDER that is recognised by its name or its files.

    Raises DataError, which lists the names, for a folder that none or several fit.
    """
    name, given, folder = named.partition("=")
    if name in BENCHMARKS:
        return BENCHMARKS[name], Path(folder) if given else BENCHMARKS[name].home
    path = Path(named)
    if given or not path.is_dir():
        raise DataError(f"{named}: neither a folder nor one of {', '.join(BENCHMARKS)}")
    if path.name.lower() in BENCHMARKS:
        return BENCHMARKS[path.name.lower()], path
    fitting = [one for one in BENCHMARKS.values() if one.folder is None and _fits(one, path)]
    if len(fitting) == 1:
        return fitting[0], path
    if not fitting:
        raise DataError(
            f"{path}: no benchmark was recognised here; say which it is with NAME={path}, of {', '.join(BENCHMARKS)}"
        )
    raise DataError(f"{path}: could be {', '.join(one.name for one in fitting)}; say which: {fitting[0].name}={path}")


def _fits(benchmark: Benchmark, folder: Path) -> bool:
    """Whether the first row of the split's first file can be read as this benchmark's."""
    try:
        first = next(iter(_rows(files_of(folder, benchmark.split)[0])))
        benchmark.read(first)
    except (DataError, IndexError, StopIteration):
        return False
    return True


def benchmark_table() -> str:
    """Every benchmark: what it is, which split is scored, chance, whether it is here, licence and source."""
    lines = [f"{'name':12}{'what':33}{'split':7}{'chance':13}{'here':6}{'licence':18}source"]
    for one in BENCHMARKS.values():
        here = "yes" if one.home.exists() else "no"
        split = one.split[0] if one.split else "all"
        lines.append(f"{one.name:12}{one.title:33}{split:7}{one.chance:13}{here:6}{one.licence:18}{one.source}")
    return "\n".join([*lines, "", f"looked for in: {data_folder()}/NAME, or where NAME=FOLDER says"])
