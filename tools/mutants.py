"""Small mistakes to plant in a source, one at a time: an operator swapped, a constant moved, a statement left out.

A mutant is found by walking the syntax tree; what is only words (messages, logging, annotations, docstrings) is left
alone, because no test should pin it.
"""

import ast
import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass

_COMPARE: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Div, ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
}  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """One planted mistake; ``source`` is the whole module with it."""

    function: str  # the qualified name of the function or class it is in, "" at the top of the module
    line: int
    before: str
    after: str
    source: str
    name: str = ""  # the constant that is changed at the top of the module

    @property
    def key(self) -> str:
        """Names the mutant as long as its function and its line's text stay the same."""
        return f"{self.function}: {self.before} -> {self.after}"


def mutants(source: str, changes: "Changes | None" = None) -> list[Mutant]:
    """Every mutant of a module, in the order of its lines; ``changes`` says what may stand in a node's place."""
    tree = ast.parse(source)
    found = []
    for function, path, node in _places(tree):
        for after in _changes(node, CHANGES if changes is None else changes):
            changed = copy.deepcopy(tree)
            _put(changed, path, after)
            ast.fix_missing_locations(changed)
            text, name = ast.unparse(changed), "" if function else _assigned(tree.body[path[0][1] or 0])
            line = getattr(node, "lineno", 0)
            found.append(Mutant(function, line, _short(node), _described(node, after), text, name))
    return sorted(found, key=lambda one: one.line)


def _assigned(statement: ast.stmt) -> str:
    """The name that a statement gives a value to, if it does."""
    targets = getattr(statement, "targets", [getattr(statement, "target", None)])
    return next((one.id for one in targets if isinstance(one, ast.Name)), "")


def users(source: str, name: str) -> set[str]:
    """The qualified names of the functions and classes of a module in which ``name`` is read."""
    found = set()
    for function, _, node in _places(ast.parse(source)):
        if function and isinstance(node, ast.Name) and node.id == name:
            found.add(function)
    return found


Path = tuple[tuple[str, int | None], ...]
# Keywords that no test sees on a system whose encoding is UTF-8, or that guard against what a right program never does.
UNSEEN = {"strict", "encoding", "newline", "stacklevel", "bound", "frozen"}


def _places(tree: ast.Module) -> Iterator[tuple[str, Path, ast.AST]]:
    """(function, path, node) of everything that runs and is more than words."""

    def walk(node: ast.AST, path: Path, function: str) -> Iterator[tuple[str, Path, ast.AST]]:
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns", "type_params") or (name == "exc" and isinstance(node, ast.Raise)):
                continue
            children = enumerate(value) if isinstance(value, list) else [(None, value)]
            for index, child in children:
                if not isinstance(child, ast.AST) or _is_words(child):
                    continue
                inner = function
                if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                    inner = f"{function}.{child.name}".lstrip(".")
                here = (*path, (name, index))
                yield inner, here, child
                yield from walk(child, here, inner)

    return walk(tree, (), "")


def _is_words(node: ast.AST) -> bool:
    """Docstrings, f-strings, logging, imports, and keywords that are UNSEEN."""
    if isinstance(node, ast.keyword) and node.arg in UNSEEN:
        return True
    if isinstance(node, ast.JoinedStr | ast.Import | ast.ImportFrom):
        return True
    call = node.value if isinstance(node, ast.Expr) else node
    if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Name):
        return call.func.value.id in ("logger", "logging")
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _changes(node: ast.AST, changes: "Changes") -> Iterator[ast.AST]:
    for kind, change in changes.items():
        if isinstance(node, kind):
            yield from change(node)


def _compare(node: ast.Compare) -> Iterator[ast.AST]:
    if len(node.ops) == 1:
        yield ast.Compare(node.left, [_COMPARE[type(node.ops[0])]()], node.comparators)


def _binary(node: ast.BinOp) -> Iterator[ast.AST]:
    if type(node.op) in _ARITHMETIC and not isinstance(node.left, ast.JoinedStr | ast.Constant | ast.List):
        yield ast.BinOp(node.left, _ARITHMETIC[type(node.op)](), node.right)


def _boolean(node: ast.BoolOp) -> Iterator[ast.AST]:
    yield ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)


def _unary(node: ast.UnaryOp) -> Iterator[ast.AST]:
    if isinstance(node.op, ast.Not | ast.USub):
        yield node.operand


def _constant(node: ast.Constant) -> Iterator[ast.AST]:
    if isinstance(node.value, bool):
        yield ast.Constant(not node.value)
    elif isinstance(node.value, int):
        yield ast.Constant(node.value + 1)
    elif isinstance(node.value, float):
        yield ast.Constant(node.value * 2 if node.value else 1.0)


def _call(node: ast.Call) -> Iterator[ast.AST]:
    for index, keyword in enumerate(node.keywords):
        if keyword.arg and keyword.arg not in UNSEEN:
            yield ast.Call(node.func, node.args, node.keywords[:index] + node.keywords[index + 1 :])


def _statement(node: ast.Expr | ast.AugAssign | ast.Raise) -> Iterator[ast.AST]:
    if not isinstance(node, ast.Expr) or isinstance(node.value, ast.Call):
        yield ast.Pass()


def _return(node: ast.Return) -> Iterator[ast.AST]:
    if node.value is not None and not (isinstance(node.value, ast.Constant) and node.value.value is None):
        yield ast.Return(ast.Constant(None))


def _with(node: ast.With) -> Iterator[ast.AST]:
    if all(item.optional_vars is None for item in node.items):
        yield ast.If(ast.Constant(True), node.body, [])


def _function(node: ast.FunctionDef) -> Iterator[ast.AST]:
    for index, decorator in enumerate(node.decorator_list):
        if ast.unparse(decorator) in ("torch.no_grad()", "torch.inference_mode()"):
            bare = copy.copy(node)
            bare.decorator_list = node.decorator_list[:index] + node.decorator_list[index + 1 :]
            yield bare


Changes = dict[type[ast.AST] | tuple[type[ast.AST], ...], Callable[..., Iterator[ast.AST]]]
CHANGES: Changes = {
    ast.Compare: _compare, ast.BinOp: _binary, ast.BoolOp: _boolean, ast.UnaryOp: _unary, ast.Constant: _constant,
    ast.Call: _call, (ast.Expr, ast.AugAssign, ast.Raise): _statement, ast.Return: _return, ast.With: _with,
    ast.FunctionDef: _function,
}  # fmt: skip


def _put(tree: ast.AST, path: Path, node: ast.AST) -> None:
    *outer, (name, index) = path
    for step, place in outer:
        tree = getattr(tree, step) if place is None else getattr(tree, step)[place]
    if index is None:
        setattr(tree, name, node)
    else:
        getattr(tree, name)[index] = node


def _described(before: ast.AST, after: ast.AST) -> str:
    if isinstance(before, ast.Call) and isinstance(after, ast.Call) and before.func is after.func:
        dropped = {one.arg for one in before.keywords} - {one.arg for one in after.keywords}
        if dropped:
            return f"without {dropped.pop()}="
    if isinstance(before, ast.FunctionDef):
        return "without its decorator"
    if isinstance(before, ast.With):
        return "without it"
    return _short(after)


def _short(node: ast.AST) -> str:
    first, *rest = ast.unparse(node).splitlines() or [""]
    return first[:100] + (" …" if rest or len(first) > 100 else "")
