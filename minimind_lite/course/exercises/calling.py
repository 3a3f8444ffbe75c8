"""Calls a learner's function safely: on copies, with a time limit, and with every failure turned into a value."""

import copy
import ctypes
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from ..kit.language import say, say_count

IN_LINE = " (in the line "  # between an exception's message and the line of the learner's code that raised it


class Unreadable(Exception):
    """A function returned something other than plain data."""


@dataclass
class Outcome:
    """The outcome of one call."""

    value: Any = None
    error: str = ""  # the exception's class; "Timeout" if the call did not return
    text: str = ""  # the exception's message, and the line of the learner's code if it is known
    changed: tuple[str, ...] = ()  # arguments that the call changed in place


class Caller(Protocol):
    """A way to the learner's function: in this process, or in the kernel of a submission."""

    def run(self, operation: str, args: tuple[Any, ...], kwargs: dict[str, Any], seconds: float) -> Outcome:
        """Do ``operation`` (a key of OPERATIONS) with the function, and return the outcome; never raises."""


class LocalCaller:
    """Calls a function of this process, in a thread of its own, which is abandoned after the time limit."""

    def __init__(self, function: Any) -> None:
        self.function = function

    def run(self, operation: str, args: tuple[Any, ...], kwargs: dict[str, Any], seconds: float) -> Outcome:
        """See Caller."""
        box: list[Outcome] = []
        job = lambda: box.append(perform(self.function, operation, args, kwargs))  # noqa: E731  too short for a def
        work = threading.Thread(target=job, daemon=True)
        work.start()
        work.join(seconds)
        if work.is_alive():
            _stop(work)
            work.join(1.0)
            return Outcome(error="Timeout", text=say_count("{count} second", "{count} seconds", seconds))
        return box[0] if box else Outcome(error="Stopped", text=say("the call ended without a result"))


def _stop(thread: threading.Thread) -> None:
    """Raise SystemExit in the thread at its next Python instruction; a call inside C code cannot be reached."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident or 0), ctypes.py_object(SystemExit))


def perform(function: Any, operation: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Outcome:
    """Do the operation here, on copies of the arguments."""
    if function is None:  # the grader found no such name: the cell that defines it did not get that far
        return Outcome(error="NotDefined")
    if not callable(function):
        return Outcome(error="NotCallable", text=type(function).__name__)
    own_args, own_kwargs = copy.deepcopy((args, kwargs))
    try:
        value = OPERATIONS[operation](function, own_args, own_kwargs)
        pairs = [
            (say("argument {number}", number=i), a, b) for i, (a, b) in enumerate(zip(args, own_args, strict=True), 1)
        ]
        pairs += [(name, kwargs[name], own_kwargs[name]) for name in own_kwargs]
        return Outcome(_plain(value), changed=tuple(name for name, a, b in pairs if not same(a, b)))
    except BaseException as error:  # SystemExit and KeyboardInterrupt too: a learner's sys.exit() is only a mistake
        return Outcome(error=type(error).__name__, text=str(error)[:300] + _place(error))


def _call(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return function(*args, **kwargs)


def _gradients(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
    """[output, gradient of its weighted sum for each floating tensor among the arguments]; None if none flows."""
    upstream = kwargs.pop("upstream", None)
    inputs = [one.requires_grad_() for one in args if isinstance(one, Tensor) and one.is_floating_point()]
    with torch.enable_grad():
        output = function(*args, **kwargs)
        if not isinstance(output, Tensor):  # a plain number, as `item` gives it: nothing flows through that
            return [output, *[None for _ in inputs]]
        total = (output if upstream is None else output * upstream).sum()
        if not total.requires_grad:
            return [output, *[None for _ in inputs]]
        found = torch.autograd.grad(total, inputs, allow_unused=True)
    for one in inputs:
        one.requires_grad_(False)
    return [output, *found]


class _Products(TorchDispatchMode):
    """Notes every matrix product: the shape of its result, and whether it holds a NaN."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # not annotated in torch
        self.found: list[tuple[list[int], bool]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func.overloadpacket in _PRODUCTS and isinstance(result, Tensor):
            self.found.append((list(result.shape), bool(result.isnan().any())))
        return result


def _products(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
    """[output, (shape, whether a NaN is in it) of every matrix product on the way]."""
    with _Products() as watch:
        output = function(*args, **kwargs)
    return [output, watch.found]


class _Functions(TorchFunctionMode):
    """Notes the name of every function of torch that is called."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.found.add(getattr(func, "__name__", ""))
        return func(*args, **(kwargs or {}))


def _functions(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
    """[output, the names of torch's functions that are called on the way]."""
    with _Functions() as watch:
        output = function(*args, **kwargs)
    return [output, watch.found]


_PRODUCTS = {getattr(torch.ops.aten, name) for name in ("mm", "bmm", "addmm", "baddbmm", "mv", "addmv", "dot")}
OPERATIONS: dict[str, Callable[..., Any]] = {
    "call": _call, "gradients": _gradients, "products": _products, "functions": _functions,
}  # fmt: skip


def _plain(value: Any) -> Any:
    """The same value as plain data, its tensors detached from the graph. Raises Unreadable for anything else: an object
    could claim to be equal to everything."""
    if isinstance(value, Tensor):
        return value.detach().as_subclass(Tensor)
    if isinstance(value, (np.ndarray, np.generic)):
        return torch.as_tensor(value)
    if value is None or type(value) in (bool, int, float, str, bytes):
        return value
    if isinstance(value, dict):
        return {_plain(key): _plain(one) for key, one in value.items()}
    for kind in (list, tuple, set):
        if isinstance(value, kind):
            return kind(_plain(one) for one in value)
    raise Unreadable(say("it returned a {kind}; wanted are numbers, texts, tensors, or lists of them",
                         kind=type(value).__name__))  # fmt: skip


def same(a: Any, b: Any) -> bool:
    """Whether two arguments hold the same values, tensors inside them too."""
    if isinstance(a, Tensor) or isinstance(b, Tensor):
        return isinstance(a, Tensor) and isinstance(b, Tensor) and a.shape == b.shape and _equal(a, b)
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    return callable(a) or bool(a == b)  # a copied function is not equal to itself


def _equal(a: Tensor, b: Tensor) -> bool:
    return torch.equal(a.detach().nan_to_num() if a.is_floating_point() else a,
                       b.detach().nan_to_num() if b.is_floating_point() else b)  # fmt: skip


def _place(error: BaseException) -> str:
    """Where in the learner's own code the error arose, if the traceback shows it."""
    cells = ("ipykernel", "<ipython")  # the name of a notebook's cell in a traceback
    frames = [f for f in traceback.extract_tb(error.__traceback__) if any(name in f.filename for name in cells)]
    return f"{IN_LINE}`{frames[-1].line}`)" if frames and frames[-1].line else ""
