"""Write the catalogues of the words that the course's code shows, in course/locale.

    python tools/catalogue.py            take over new messages, drop those that are gone, compile
    python tools/catalogue.py --check    change nothing; say what is not up to date or not translated, and exit 1

A message is what stands in ``say("…")`` or ``say_count("…", "…", n)``, a label or a name in a ``labels.py``, a label
that is only its own name, the name of a figure that a chapter records, a sentence of a check, or a claim of a chapter,
``chapter.claim("…", …)``. The translations themselves are edited in course.po, by hand or with any gettext editor.
"""

import argparse
import ast
import io
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TypeGuard

from babel.messages import Catalog
from babel.messages.catalog import Message as BabelMessage
from babel.messages.mofile import read_mo, write_mo
from babel.messages.pofile import read_po, write_po

from minimind_lite.course.kit.labels import every_label, every_name
from minimind_lite.course.kit.language import DOMAIN, LANGUAGES, LOCALE
from minimind_lite.course.kit.paths import stage_of
from minimind_lite.course.notebooks import files as notebooks
from minimind_lite.course.runner.page import figure_rows
from minimind_lite.files import read_json, repository_root

COURSE = repository_root() / "minimind_lite" / "course"
PLACEHOLDER = re.compile(r"\{(\w*)\}")
Text = str | tuple[str, str]  # a pair: what is said of one, and of many
Message = tuple[Text, str | None, str]  # the text, the label's key if it is one, the file that holds it


def sources() -> list[Path]:
    """The modules whose words a learner may see."""
    return sorted(COURSE.rglob("*.py"))


def messages() -> Iterator[Message]:
    """Every message of the course, file by file."""
    for path in sources():
        name, text = path.relative_to(COURSE.parent).as_posix(), path.read_text(encoding="utf-8")
        yield from ((one, None, name) for one in said(text))
        yield from ((both, None, name) for both in counted(text))
        if path.name == "checks.py":
            yield from ((one, None, name) for one in check_messages(text))
    for path in notebooks.chapter_paths():
        yield from ((one, None, f"notebooks/{path.name}") for one in chapter_claims(path))
    yield from ((one, "name", "course/labels") for one in sorted(every_name()))
    labels = every_label()
    for key, words in labels.items():
        yield words, key, "course/labels"
    yield from ((key.replace("_", " "), key, "course/labels") for key in sorted(bare_labels() - labels.keys()))
    own = figure_names() - labels.keys() - bare_labels()
    yield from ((key.replace("_", " "), key, "course/runner/page.py") for key in sorted(own))


def said(source: str) -> Iterator[str]:
    """The messages that a module gives to ``say``, both of ``say("…" if condition else "…")``."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "say" and node.args:
            first = node.args[0]
            chosen = (first.body, first.orelse) if isinstance(first, ast.IfExp) else (first,)
            yield from (str(one.value) for one in chosen if isinstance(one, ast.Constant))


def is_count(node: ast.AST) -> TypeGuard[ast.Call]:
    """Whether it is a call of ``say_count``."""
    return isinstance(node, ast.Call) and ast.unparse(node.func) == "say_count"


def counted(source: str) -> Iterator[tuple[str, str]]:
    """The messages that a module gives to ``say_count``: of one, and of many."""
    for node in ast.walk(ast.parse(source)):
        if is_count(node):
            one, many = (ast.literal_eval(argument) for argument in node.args[:2])
            yield one, many


def claimed(source: str) -> Iterator[str]:
    """The sentences that a code cell gives to ``chapter.claim``. An f-string has none that a catalogue could hold."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "chapter.claim":
            yield from (str(one.value) for one in node.args[:1] if isinstance(one, ast.Constant))


def chapter_claims(path: Path) -> Iterator[str]:
    """What a chapter claims of its own run, in the order of its cells."""
    for cell in notebooks.read(path).cells:
        if cell.cell_type == "code" and "chapter.claim(" in cell.source:
            yield from claimed(cell.source)


def bare_labels() -> set[str]:
    """Keys that code gives to ``label``; those that no ``labels.py`` has are shown as their own name."""
    paths = (*sources(), *notebooks.chapter_paths())
    texts = [path.read_text(encoding="utf-8").replace('\\"', '"') for path in paths]
    return {key for text in texts for key in re.findall(r"""\b(?:label|slider)\([\"'](\w+)[\"']""", text)}


def figure_names() -> set[str]:
    """What the course's page calls the figures of the chapters: those that a cell names, and those of the recorded run.

    Some are made while a chapter runs, one a source; only the recorded run has these.
    """
    recorded = read_json(repository_root() / "benchmarks" / "results" / "course.json")["figures"]
    names = set()
    for path in notebooks.chapter_paths():
        start = f"{stage_of(path.stem)}."
        found = {one.removeprefix(start) for one in recorded if one.startswith(start)}
        cells = [cell.source for cell in notebooks.read(path).cells if cell.cell_type == "code"]
        found |= {name for source in cells if "chapter.record(" in source for name in named_figures(source)}
        names |= {name for name, _, _ in figure_rows(dict.fromkeys(found, 0))}
    stages = {stage_of(path.stem) for path in notebooks.chapter_paths()}
    return names | {one for one in recorded if "." in one and one.partition(".")[0] not in stages}


def named_figures(source: str) -> Iterator[str]:
    """The names of the figures that a code cell gives to ``chapter.record``."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "chapter.record":
            yield from (one.arg for one in node.keywords if one.arg)


def check_messages(source: str) -> Iterator[str]:
    """The plain sentences of a module of checks: titles, and whatever is said of an answer."""
    tree = ast.parse(source)
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    prose = {ast.get_docstring(node, clean=False) for node in ast.walk(tree) if isinstance(node, documented)}
    parts = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    parts |= {id(part) for node in ast.walk(tree) if is_count(node) for part in node.args[:2]}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and any("check(" in ast.unparse(one) for one in node.decorator_list):
            yield (ast.get_docstring(node) or "").partition("\n")[0]
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts:
            words = re.findall(r"[A-Za-z]{2,}", node.value)
            if node.value not in prose and len(words) > 2 and " " in node.value and "\0" not in node.value:
                yield node.value


def fresh(language: str) -> Catalog:
    """The stored catalogue with the messages that the code has now."""
    template = Catalog(fuzzy=False)
    for text, key, name in messages():
        template.add(text, context=key, locations=[(name, None)], auto_comments=[])
    path = LOCALE / language / "LC_MESSAGES" / f"{DOMAIN}.po"
    catalogue = read_po(io.BytesIO(path.read_bytes()), locale=language) if path.is_file() else Catalog(locale=language)
    catalogue.update(template, no_fuzzy_matching=True)
    catalogue.obsolete.clear()
    return catalogue


def as_po(catalogue: Catalog) -> bytes:
    """The catalogue as it is stored: sorted, without dates, which would differ with every run."""
    made = io.BytesIO()
    write_po(made, catalogue, width=110, sort_output=True, omit_header=True)
    fields = ("Content-Type: text/plain; charset=utf-8", "Plural-Forms: nplurals=1; plural=0;")
    header = 'msgid ""\nmsgstr ""\n' + "".join(f'"{one}\\n"\n' for one in fields)
    return header.encode() + b"\n" + made.getvalue().lstrip()


def as_mo(po: bytes, language: str) -> bytes:
    """The compiled form, which gettext reads."""
    made = io.BytesIO()
    write_mo(made, read_po(io.BytesIO(po), locale=language))
    return made.getvalue()


def files(language: str) -> dict[Path, bytes]:
    """What has to stand in the catalogue's two files."""
    folder, po = LOCALE / language / "LC_MESSAGES", as_po(fresh(language))
    return {folder / f"{DOMAIN}.po": po, folder / f"{DOMAIN}.mo": as_mo(po, language)}


def words_in(path: Path, content: bytes) -> dict[tuple[str, tuple[str, ...]], tuple[str, ...]]:
    """(key, message) → translation, of either file: the rest of it depends on the version of Babel."""
    read = read_mo if path.suffix == ".mo" else read_po
    return {(one.context or "", forms(one.id)): forms(one.string) for one in read(io.BytesIO(content)) if one.id}


def forms(text: str | list[str] | tuple[str, ...] | None) -> tuple[str, ...]:
    """A message or a translation in each of its forms: one, unless it counts something."""
    return (text or "",) if isinstance(text, str | None) else tuple(text)


def is_translated(message: BabelMessage) -> bool:
    """Whether every form that the language has is written."""
    return all(forms(message.string))


def is_current(path: Path, content: bytes) -> bool:
    """Whether the stored file says what it would say if it were written now."""
    return path.is_file() and words_in(path, path.read_bytes()) == words_in(path, content)


def other_placeholders(catalogue: Catalog) -> list[str]:
    """Messages whose forms, or whose translations, do not all have the same named values."""
    return [
        f"{one.id!r}: its translation has other placeholders, {one.string!r}"
        for one in catalogue
        if one.id and is_translated(one)
        and len({frozenset(PLACEHOLDER.findall(text)) for text in (*forms(one.id), *forms(one.string))}) > 1
    ]  # fmt: skip


def other_plurals(catalogue: Catalog) -> list[str]:
    """Translations with more or fewer forms than the language has."""
    return [
        f"{one.id!r}: its translation has {len(forms(one.string))} forms, not {catalogue.num_plurals}"
        for one in catalogue
        if one.id and one.pluralizable and len(forms(one.string)) != catalogue.num_plurals
    ]


def main() -> int:
    """Write or check every catalogue; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check, wrong = parser.parse_args().check, []
    for language in LANGUAGES[1:]:
        for path, content in files(language).items():
            if check and not is_current(path, content):
                wrong.append(f"{path.name} of {language} is not up to date: python tools/catalogue.py")
            elif not check:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
        catalogue = fresh(language)
        wrong += other_placeholders(catalogue) + other_plurals(catalogue)
        every = [one for one in catalogue if one.id]
        print(f"{language}: {sum(map(is_translated, every))} of {len(every)} messages are translated")
    print("\n".join(wrong))
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
