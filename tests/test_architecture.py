"""The house rules: imports only point down and never in a circle, functions are short, public things are documented."""

import ast
import importlib
import inspect
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "minimind_lite"
# From the ground up. A module may import from its own floor and from those below it.
FLOORS = (
    "files", "device", "settings", "config", "tokenizer", "model", "data", "generation", "evaluation", "training",
    "interop", "serving", "course.kit", "course.chapters", "course", "course.notebooks", "course.exercises",
    "course.chapters.checks", "course.capstones", "course.runner", "cli",
)  # fmt: skip
REFERENCES = {"transformers", "trl", "peft"}  # what tests and chapters compare with; the library does not need them
READS_FOREIGN_MODELS = {
    ("interop/foreign.py", "transformers"),  # other people's architectures, where installed
    ("model/modeling_minimind_moe.py", "transformers"),  # goes out with a model, for transformers; nothing imports it
}
FUNCTION_LINES = 40
MODULES = sorted(PACKAGE.rglob("*.py"))
SOURCES = {path.relative_to(PACKAGE).as_posix(): path.read_text(encoding="utf-8") for path in MODULES}


def parts_of(module: str) -> tuple[str, ...]:
    """``minimind_lite.model.moe``, or the file ``model/moe.py``, as ("model", "moe"); () for the bare package."""
    dotted = module.removesuffix(".py").replace("/", ".").removeprefix("minimind_lite").strip(".")
    return tuple(part for part in dotted.split(".") if part and part != "__init__")


def floor_of(module: str) -> int:
    """The number of a module's or a file's floor; -1 for the bare package. Raises ValueError if no floor has it."""
    parts = parts_of(module)
    if not parts:
        return -1
    if parts[0] != "course":
        return FLOORS.index(parts[0])
    if parts[1:2] == ("chapters",) and parts[3:4] == ("checks",):
        return FLOORS.index("course.chapters.checks")
    return FLOORS.index(".".join(parts[:2]))


def imports(source: str, file: str) -> Iterator[tuple[int, str]]:
    """(line, absolute module) of every import, those inside functions and relative ones too.

    ``from package import name`` yields ``package.name`` if that is a module of ours, else ``package``.
    """
    package = ["minimind_lite", *Path(file).parts[:-1]]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                yield node.lineno, f"{module}.{alias.name}" if names_a_module(module, alias.name) else module


def names_a_module(package: str, name: str) -> bool:
    """Whether ``name`` in ``from package import name`` is a module of ours rather than something in the package."""
    if package.partition(".")[0] != "minimind_lite":
        return False
    return package == "minimind_lite" or file_of(f"{package}.{name}", SOURCES) is not None


def file_of(module: str, files: Mapping[str, str]) -> str | None:
    """The file of a dotted module of ours: "model/rope.py", or "model/__init__.py" for the package; else None."""
    if module.partition(".")[0] != "minimind_lite":
        return None
    path = "/".join(parts_of(module))
    candidates = (f"{path}.py", f"{path}/__init__.py") if path else ("__init__.py",)
    return next((one for one in candidates if one in files), None)


def upward_imports(source: str, file: str) -> list[str]:
    """Imports in ``file`` that point to a higher floor, or to packages that are only references."""
    found = []
    for line, module in imports(source, file):
        top = module.partition(".")[0]
        if top == "minimind_lite" and floor_of(module) > floor_of(file):
            found.append(f"{file}:{line} imports {module}, which is on a higher floor")
        if top in REFERENCES and not file.startswith("course/") and (file, top) not in READS_FOREIGN_MODELS:
            found.append(f"{file}:{line} imports {top}, which is only for tests and chapters")
    return found


def chapter_of(module: str) -> str | None:
    """The chapter whose folder a module is in: "moe" for ``course/chapters/moe/figures.py``."""
    parts = parts_of(module)
    return parts[2] if parts[:2] == ("course", "chapters") and len(parts) > 2 else None


def imports_across_chapters(source: str, file: str) -> list[str]:
    """Imports from a chapter's folder: only the chapter itself may have them, everything else finds it."""
    return [
        f"{file}:{line} imports {module}; what two chapters share belongs in course/kit"
        for line, module in imports(source, file)
        if module.startswith("minimind_lite.") and chapter_of(module) not in (None, chapter_of(file))
    ]


def import_circles(files: Mapping[str, str]) -> list[list[str]]:
    """Groups of files that import one another in a circle, directly or through others; TYPE_CHECKING imports count."""
    graph = {
        file: {target for _, module in imports(source, file) if (target := file_of(module, files))} - {file}
        for file, source in files.items()
    }
    reached = {file: reachable(graph, file) for file in graph}
    circles = {frozenset(other for other in reached[file] if file in reached[other]) for file in graph}
    return sorted(sorted(circle) for circle in circles if circle)


def reachable(graph: Mapping[str, set[str]], start: str) -> set[str]:
    """All files that ``start`` imports, directly or through others; ``start`` itself if there is a way back to it."""
    found: set[str] = set()
    waiting = list(graph[start])
    while waiting:
        one = waiting.pop()
        if one not in found:
            found.add(one)
            waiting += graph[one]
    return found


def long_functions(source: str) -> list[str]:
    """Functions of more than FUNCTION_LINES lines, docstring not counted: prose is not what makes code hard to read."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0]
            documented = ast.get_docstring(node) is not None
            prose = (first.end_lineno or 0) - first.lineno + 1 if documented else 0
            lines = (node.end_lineno or 0) - node.lineno + 1 - prose
            if lines > FUNCTION_LINES:
                found.append(f"{node.name} has {lines} lines")
    return found


def undocumented(source: str) -> list[str]:
    """Public functions, classes and methods at the top of a module (or of a public class) without a docstring."""

    def look(body: list[ast.stmt], prefix: str = "") -> Iterator[str]:
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                if ast.get_docstring(node) is None:
                    yield prefix + node.name
                if isinstance(node, ast.ClassDef):
                    yield from look(node.body, f"{node.name}.")

    return list(look(ast.parse(source).body))


def untyped(source: str) -> list[str]:
    """Functions and methods with a parameter or a return value that has no type; lambdas are left alone."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            listed = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs, node.args.vararg, node.args.kwarg]
            bare = [one for one in listed if one and one.annotation is None and one.arg not in ("self", "cls")]
            if bare or (node.returns is None and node.name != "__init__"):
                found.append(node.name)
    return found


def inherits_docstring(path: Path, name: str) -> bool:
    """Whether a method without a docstring overrides one that a base class documents."""
    module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"))
    cls, _, method = name.partition(".")
    return bool(method) and any(
        inspect.getdoc(vars(base).get(method)) for base in getattr(module, cls).__mro__[1:] if method in vars(base)
    )


@pytest.mark.parametrize("file", SOURCES)
def test_imports_only_point_down(file: str) -> None:
    assert upward_imports(SOURCES[file], file) == []


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("model/rope.py", "from minimind_lite.training.loop import train"),
        ("model/rope.py", "def f():\n    from minimind_lite.data import packing"),
        ("model/rope.py", "from ..generation import engine"),
        ("generation/engine.py", "from minimind_lite.training import grpo"),
        ("config.py", "from minimind_lite import tokenizer"),
        ("config.py", "import minimind_lite.model.layers"),
        ("generation/engine.py", "from minimind_lite import course"),
        ("model/transformer.py", "from transformers import LlamaForCausalLM"),
        ("training/loop.py", "import peft"),
        ("interop/any_model.py", "import peft"),
        ("interop/gguf.py", "import transformers"),
        ("course/kit/style.py", "from .. import begin"),
        ("course/kit/labels.py", "from ..chapters.moe.labels import LABELS"),
        ("course/chapters/moe/figures.py", "from ...runner.page import shown"),
        ("course/chapters/moe/figures.py", "from ...exercises.core import check"),
        ("course/__init__.py", "from .notebooks import colab"),
        ("course/notebooks/stamping.py", "from ..exercises.core import every_check"),
        ("course/exercises/core.py", "from ..chapters.moe import checks"),
        ("course/exercises/masters.py", "from ..runner import plan"),
        ("course/runner/plan.py", "from minimind_lite.cli import app"),
    ],
)
def test_a_planted_upward_import_is_caught(file: str, source: str) -> None:
    assert len(upward_imports(source, file)) == 1


@pytest.mark.parametrize(
    ("file", "source"),
    [
        (
            "model/rope.py",
            "from .attention import Attention\nfrom minimind_lite.config import ModelConfig\nimport torch",
        ),
        (
            "course/runner/run.py",
            "from . import state\nfrom .. import hello\nfrom ... import config\nimport transformers",
        ),
        ("course/chapters/moe/checks.py", "from ...exercises.core import check\nfrom ...kit.labels import label"),
        ("course/notebooks/colab.py", "from .. import hello"),
        ("cli/course.py", "from .common import new_app\nfrom ..course.runner import plan"),
    ],
)
def test_a_good_import_is_left_alone(file: str, source: str) -> None:
    assert upward_imports(source, file) == []


@pytest.mark.parametrize("file", SOURCES)
def test_every_module_has_a_floor(file: str) -> None:
    floor_of(file)


@pytest.mark.parametrize("file", ["notes/ideas.py", "course/figures/moe.py", "course/labels.py"])
def test_a_module_without_a_floor_is_caught(file: str) -> None:
    with pytest.raises(ValueError):
        floor_of(file)


@pytest.mark.parametrize("file", SOURCES)
def test_chapters_do_not_import_from_one_another(file: str) -> None:
    assert imports_across_chapters(SOURCES[file], file) == []


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("course/chapters/ppo/figures.py", "from ..grpo.figures import curves"),
        ("course/chapters/ppo/figures.py", "from ..grpo import figures"),
        ("course/chapters/ppo/widgets.py", "def f():\n    import minimind_lite.course.chapters.grpo.widgets"),
        ("course/runner/page.py", "from ..chapters.moe.labels import LABELS"),
    ],
)
def test_a_planted_import_from_another_chapter_is_caught(file: str, source: str) -> None:
    assert len(imports_across_chapters(source, file)) == 1


def test_nothing_is_imported_in_a_circle() -> None:
    assert import_circles(SOURCES) == []


LAZY = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .loop import Trainer"


@pytest.mark.parametrize(
    "files",
    [
        {"a.py": "from minimind_lite import b", "b.py": "import minimind_lite.a"},
        {
            "data/a.py": "from . import b",
            "data/b.py": "from .c import x",
            "data/c.py": "def f():\n    from .a import y",
        },
        {"training/loop.py": "from .resume import Resume", "training/resume.py": LAZY},
        {"course/__init__.py": "from .kit.paths import shown", "course/kit/paths.py": "from .. import begin"},
    ],
)
def test_a_planted_circle_is_caught(files: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "SOURCES", files)
    assert import_circles(files) == [sorted(files)]


def test_what_leads_to_a_circle_is_not_in_it() -> None:
    files = {"a.py": "import minimind_lite.b", "b.py": "import minimind_lite.c", "c.py": "import minimind_lite.b"}
    assert import_circles(files) == [["b.py", "c.py"]]


@pytest.mark.parametrize("file", SOURCES)
def test_functions_are_short(file: str) -> None:
    assert long_functions(SOURCES[file]) == []


def test_a_long_function_is_caught() -> None:
    assert long_functions("def f():\n" + "    x = 1\n" * 40) == ["f has 41 lines"]
    assert long_functions('def f():\n    """' + "words\n" * 50 + '    """\n    x = 1\n') == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_public_things_have_docstrings(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert [name for name in undocumented(source) if not inherits_docstring(path, name)] == []
    assert ast.get_docstring(ast.parse(source)) or not source.strip()


def test_a_missing_docstring_is_caught() -> None:
    assert undocumented('def f(): pass\nclass A:\n    """A."""\n    def g(self): return 1\n') == ["f", "A.g"]


@pytest.mark.parametrize("file", SOURCES)
def test_everything_has_types(file: str) -> None:
    assert untyped(SOURCES[file]) == []


def test_a_missing_type_is_caught() -> None:
    assert untyped("def f(a: int, *more) -> None: ...\ndef g(a: int): ...\ndef h(self) -> int: ...\n") == ["f", "g"]


def test_modules_are_loaded_by_name_in_two_places_only() -> None:
    """What an import statement does not show, the rules above cannot see: discovery, and the grader's functions."""
    dynamic = {file for file, source in SOURCES.items() if "import_module(" in source}
    assert dynamic == {"course/kit/discovery.py", "course/exercises/codec.py"}
