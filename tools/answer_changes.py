"""Mistakes that learners make, for ``mutants``: a term left out, an axis or a place off by one, max for min, max for
mean, two arguments in the wrong order, a step forgotten.
"""

import ast
from collections.abc import Callable, Iterator
from itertools import chain

from tools.mutants import CHANGES, Changes

_TWINS = (
    ("min", "max"), ("minimum", "maximum"), ("amin", "amax"), ("argmin", "argmax"), ("any", "all"), ("sum", "mean"),
    ("cos", "sin"), ("triu", "tril"), ("floor", "ceil"), ("exp", "log"), ("std", "var"), ("softmax", "log_softmax"),
    ("sqrt", "rsqrt"), ("zeros", "ones"), ("zeros_like", "ones_like"), ("append", "extend"), ("ge", "gt"),
    ("sigmoid", "tanh"), ("silu", "relu"), ("cumsum", "cumprod"), ("repeat", "repeat_interleave"),
)  # fmt: skip
TWINS = dict(_TWINS) | {second: first for first, second in _TWINS}
MODULES = {"torch", "math", "F", "nn", "re", "json", "random", "itertools", "np"}  # torch.exp(x) is no method of x


def _term(node: ast.BinOp) -> Iterator[ast.AST]:
    """Only one side of it, or the sides the wrong way round where that makes a difference."""
    if isinstance(node.left, ast.JoinedStr):
        return
    yield node.left
    yield node.right
    if isinstance(node.op, ast.Sub | ast.Div | ast.MatMult):
        yield ast.BinOp(node.right, node.op, node.left)


def _less(node: ast.Constant) -> Iterator[ast.AST]:
    if isinstance(node.value, int) and not isinstance(node.value, bool):
        yield ast.Constant(node.value - 1)


def _bounds(node: ast.Slice) -> Iterator[ast.AST]:
    """One place too many, one too few, or the bound forgotten."""
    if node.lower is not None:
        yield ast.Slice(None, node.upper, node.step)
        yield ast.Slice(_plus_one(node.lower), node.upper, node.step)
    if node.upper is not None:
        yield ast.Slice(node.lower, None, node.step)
        yield ast.Slice(node.lower, _plus_one(node.upper), node.step)


def _plus_one(node: ast.expr) -> ast.expr:
    return ast.BinOp(node, ast.Add(), ast.Constant(1))


def _calling(node: ast.Call) -> Iterator[ast.AST]:
    """The method left out, its twin instead of it, two arguments exchanged, a range that is longer by one."""
    if isinstance(node.func, ast.Attribute):
        owner = node.func.value
        if not (isinstance(owner, ast.Name) and owner.id in MODULES):
            yield owner
        if node.func.attr in TWINS:
            yield ast.Call(ast.Attribute(owner, TWINS[node.func.attr], ast.Load()), node.args, node.keywords)
    elif isinstance(node.func, ast.Name):
        if node.func.id in TWINS:
            yield ast.Call(ast.Name(TWINS[node.func.id], ast.Load()), node.args, node.keywords)
        if node.func.id == "range":
            yield ast.Call(node.func, [*node.args[:-1], _plus_one(node.args[-1])], node.keywords)
        elif len(node.args) == 1:
            yield node.args[0]
    if len(node.args) == 2 and ast.dump(node.args[0]) != ast.dump(node.args[1]):
        yield ast.Call(node.func, node.args[::-1], node.keywords)


def _step(node: ast.Assign) -> Iterator[ast.AST]:
    """A value made from its older self: left as it was."""
    names = {one.id for one in ast.walk(node.value) if isinstance(one, ast.Name)}
    if any(isinstance(one, ast.Name) and one.id in names for one in node.targets):
        yield ast.Pass()


def _branch(node: ast.If | ast.IfExp) -> Iterator[ast.AST]:
    """Always, or never."""
    for always in (True, False):
        yield type(node)(ast.Constant(always), node.body, node.orelse)  # type: ignore[arg-type]  # each its own


def _chained(*changes: Callable[..., Iterator[ast.AST]]) -> Callable[..., Iterator[ast.AST]]:
    return lambda node: chain.from_iterable(change(node) for change in changes)


_MORE: Changes = {
    ast.BinOp: _term, ast.Constant: _less, ast.Slice: _bounds, ast.Call: _calling, ast.Assign: _step,
    (ast.If, ast.IfExp): _branch,
}  # fmt: skip
ANSWER_CHANGES = CHANGES | {
    kind: _chained(CHANGES[kind], more) if kind in CHANGES else more for kind, more in _MORE.items()
}
