"""The house rules: imports only point down, modules and functions stay small, public functions say what they do."""

import ast
import importlib
import inspect
import io
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "minimind_lite"
FLOORS = ("config", "tokenizer", "model", "data", "generation", "training", "evaluation", "interop", "serving",
          "course", "cli_tools", "cli_train", "cli")  # fmt: skip
REFERENCES = {"transformers", "trl", "peft"}  # what tests and chapters compare with; the library stands on its own
MODULES = sorted(PACKAGE.rglob("*.py"))
MODULE_LINES, FUNCTION_LINES, LIBRARY_LINES = 200, 25, 4600


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def floor_of(module: str) -> int:
    """The floor of ``minimind_lite.model.layers`` or of the file ``model/rope.py``; -1 for the bare package."""
    parts = module.removesuffix(".py").replace("/", ".").removeprefix("minimind_lite").strip(".").split(".")
    return FLOORS.index(parts[0]) if parts[0] and parts[0] != "__init__" else -1


def imports(source: str, file: str) -> Iterator[tuple[int, str]]:
    """(line, absolute module) of every import, those inside functions and relative ones too."""
    package = ["minimind_lite", *Path(file).parts[:-1]]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            bare = module == "minimind_lite"  # "from minimind_lite import config" names a module
            yield from ((node.lineno, f"{module}.{alias.name}" if bare else module) for alias in node.names)


def upward_imports(source: str, file: str) -> list[str]:
    """Imports in ``file`` that point to a higher floor, or to the packages that are only references."""
    found = []
    for line, module in imports(source, file):
        top = module.partition(".")[0]
        if top == "minimind_lite" and floor_of(module) > floor_of(file):
            found.append(f"{file}:{line} imports {module}, which lies above it")
        if top in REFERENCES and not file.startswith("course/"):
            found.append(f"{file}:{line} imports {top}, which is only for tests and chapters")
    return found


def long_functions(source: str) -> list[str]:
    """Functions of more than FUNCTION_LINES lines, without their docstring: prose is not what makes code hard."""
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


def inherits_docstring(path: Path, name: str) -> bool:
    """Whether a method without a docstring fills in one that a base class documents."""
    module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"))
    cls, _, method = name.partition(".")
    return bool(method) and any(
        inspect.getdoc(vars(base).get(method)) for base in getattr(module, cls).__mro__[1:] if method in vars(base)
    )


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_only_point_down(path: Path) -> None:
    assert upward_imports(path.read_text(encoding="utf-8"), name_of(path)) == []


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
        ("course/run.py", "from . import state\nfrom .. import config\nimport transformers"),
        ("cli.py", "from minimind_lite.course import colab"),
    ],
)
def test_a_good_import_is_left_alone(file: str, source: str) -> None:
    assert upward_imports(source, file) == []


def test_every_module_has_a_floor() -> None:
    for path in MODULES:
        floor_of(name_of(path))  # raises ValueError for a package that no floor names


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_modules_and_functions_are_small(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert len(source.splitlines()) <= MODULE_LINES
    assert long_functions(source) == []


def test_a_long_function_is_caught() -> None:
    assert long_functions("def f():\n" + "    x = 1\n" * 25) == ["f has 26 lines"]
    assert long_functions('def f():\n    """' + "words\n" * 30 + '    """\n    x = 1\n') == []


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_public_things_have_docstrings(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert [name for name in undocumented(source) if not inherits_docstring(path, name)] == []
    assert ast.get_docstring(ast.parse(source)) or not source.strip()


def test_a_missing_docstring_is_caught() -> None:
    assert undocumented('def f(): pass\nclass A:\n    """A."""\n    def g(self): return 1\n') == ["f", "A.g"]


def code_lines(source: str) -> int:
    """Lines that hold code: no blank ones, no comments, no docstrings, which are there to be read, not to be fewer."""
    prose: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            prose |= set(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    layout = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    code = {line for one in tokens if one.type not in layout for line in range(one.start[0], one.end[0] + 1)}
    return len(code - prose)


def test_code_lines_are_counted() -> None:
    assert code_lines('"""Words."""\n\n# more\nx = (\n    1\n)\n\ndef f():\n    """A."""\n    return """\n\n"""\n') == 7


def test_the_library_stays_small_enough_to_read() -> None:
    library = [path for path in MODULES if not name_of(path).startswith("course/")]
    assert sum(code_lines(path.read_text(encoding="utf-8")) for path in library) < LIBRARY_LINES
