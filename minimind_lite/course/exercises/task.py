"""The tools of a check: inputs drawn from a seed, guarded calls, and comparisons that name the mistake."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..kit.language import say
from ..kit.sentences import listed
from .calling import IN_LINE, Caller, Outcome


class Wrong(Exception):
    """The answer is wrong; the message says in what way and names the likely mistake."""


class NotYet(Exception):
    """The function is still the stub."""


class Task:
    """One examination of one function. Checks draw all their inputs here, because the grader draws different ones."""

    def __init__(self, caller: Caller, seed: int, seconds: float) -> None:
        self.caller, self.seconds = caller, seconds
        self.generator = torch.Generator().manual_seed(seed)
        self.last = say("nothing")  # what the last call returned, for messages

    def randn(self, *shape: int) -> Tensor:
        """Normal numbers, float32."""
        return torch.randn(*shape, generator=self.generator)

    def rand(self, *shape: int) -> Tensor:
        """Numbers from 0 to 1, float32."""
        return torch.rand(*shape, generator=self.generator)

    def randint(self, low: int, high: int, *shape: int) -> Tensor:
        """Whole numbers from low to high - 1."""
        return torch.randint(low, high, shape, generator=self.generator)

    def number(self, low: int, high: int) -> int:
        """One whole number from low to high - 1."""
        return int(self.randint(low, high, 1))

    def call(self, *args: Any, may_change: bool = False, **kwargs: Any) -> Any:
        """The function's answer. Raises NotYet for a stub, Wrong for an error, for None, for a changed argument."""
        outcome = self._run("call", args, kwargs)
        if outcome.value is None:
            raise Wrong(say("your function returned nothing: does its last line say `return …`?"))
        if outcome.changed and not may_change:
            raise Wrong(say("your function changed {names} in place (as `x *= 2` or `x[0] = 1` do): the caller still "
                            "needs it. Compute a new value instead", names=listed(outcome.changed)))  # fmt: skip
        return outcome.value

    def gradients(self, *args: Any, **kwargs: Any) -> list[Tensor | None]:
        """Gradients of the answer's sum, or of its product with ``upstream``, for each floating tensor argument."""
        return list(self._run("gradients", args, kwargs).value[1:])

    def products(self, *args: Any) -> list[tuple[list[int], bool]]:
        """(shape, whether a NaN is in it) of the result of every matrix product that the function computes."""
        return [(shape, sick) for shape, sick in self._run("products", args, {}).value[1]]

    def functions(self, *args: Any) -> set[str]:
        """The names of torch's functions that the function calls."""
        return set(self._run("functions", args, {}).value[1])

    def _run(self, operation: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Outcome:
        outcome = self.caller.run(operation, args, kwargs, self.seconds)
        if outcome.error == "NotImplementedError" and not outcome.text.partition(IN_LINE)[0]:
            raise NotYet  # with words it is torch's or NumPy's, about something that the learner's code asked for
        if outcome.error:
            raise Wrong(_explain(outcome))
        self.last = _describe(outcome.value)
        return outcome

    def that(self, condition: Any, otherwise: str) -> None:
        """A property must hold; ``otherwise`` names the likely mistake."""
        if not bool(condition):
            raise Wrong(say(otherwise))

    def equal(
        self,
        got: Any,
        expected: Any,
        otherwise: str,
        mistakes: Mapping[str, Any] | None = None,
        tolerance: float = 1e-4,
    ) -> None:
        """``got`` must be ``expected`` up to rounding; if it is what a known mistake gives, name that mistake.

        mistakes: message → the value that this mistake would give. ``otherwise`` is the message for any other value.
        """
        if close(got, expected, tolerance):
            return
        for message, value in (mistakes or {}).items():
            if close(got, value, tolerance):
                raise Wrong(say(message))
        otherwise, wanted = say(otherwise), _describe(expected)
        if isinstance(expected, Tensor) and _describe(got) != wanted:
            raise Wrong(say("{otherwise} (your function returned {got}, wanted is {wanted})", otherwise=otherwise,
                            got=_describe(got), wanted=wanted))  # fmt: skip
        raise Wrong(say("{otherwise} ({distance})", otherwise=otherwise, distance=_distance(got, expected)))

    def again(self, expected: Any, *args: Any, tolerance: float = 1e-4) -> None:
        """A call with other shapes and other constants: a number written in where an argument belongs shows here."""
        self.equal(self.call(*args), expected, "right for the first inputs, wrong for others: is a number of the "
                   "example, a size or a constant, written in where an argument belongs?",
                   tolerance=tolerance)  # fmt: skip


def close(got: Any, expected: Any, tolerance: float = 1e-4) -> bool:
    """Whether two values agree: numbers and tensors up to rounding, whatever their precision; the rest exactly."""
    if isinstance(got, (str, bytes, dict, set)) or isinstance(expected, (str, bytes, dict, set)):
        return bool(type(got) is type(expected) and got == expected)
    try:
        a, b = (torch.as_tensor(one).detach().double().cpu() for one in (got, expected))
    except (TypeError, ValueError, RuntimeError):
        return bool(got == expected)
    if a.shape != b.shape:
        return False
    scale = b[b.isfinite()].abs().max().item() if b.isfinite().any() else 1.0
    return torch.allclose(a, b, rtol=tolerance, atol=tolerance * min(max(scale, 1e-2), 1.0), equal_nan=True)


def _distance(got: Any, expected: Any) -> str:
    try:
        gap = (torch.as_tensor(got).double() - torch.as_tensor(expected).double()).abs()
    except (TypeError, ValueError, RuntimeError):
        return say("your function returned {got}, wanted is {wanted}", got=_short(got), wanted=_short(expected))
    if gap.numel() == 1:
        return say("your function returned {got}, wanted is {wanted}", got=_short(got), wanted=_short(expected))
    return say("the largest difference is {gap}", gap=f"{gap.max().item():.3g}")


def _short(value: Any) -> str:
    text = f"{value.item():.6g}" if isinstance(value, Tensor) and value.numel() == 1 else repr(value)
    return text if len(text) <= 80 else text[:77] + "…"


def _describe(value: Any) -> str:
    """A tensor by its shape, anything else by its class."""
    if isinstance(value, Tensor):
        return say("a tensor of shape {shape}", shape=tuple(value.shape))
    return say("a {kind}", kind=type(value).__name__)


def _explain(outcome: Outcome) -> str:
    """A helpful message for a failed call."""
    if outcome.error == "Timeout":
        return say("your function was still running after {time}: a loop without an end? "
                   "If the next cell hangs, restart the kernel", time=outcome.text)  # fmt: skip
    if outcome.error == "RecursionError":
        return say("your function calls itself without an end: which case returns without a further call?")
    if outcome.error == "NotDefined":
        return say("there is no function to check: the cell that defines it was not run, or it stopped with an error, "
                   "which is then the one to correct")  # fmt: skip
    if outcome.error == "NotCallable":
        return say("the check wants the function itself, without brackets behind its name; it got a {kind}",
                   kind=outcome.text)  # fmt: skip
    if outcome.error == "Unreadable":
        return say("your function's answer cannot be read: {reason}", reason=outcome.text)
    text, found, line = outcome.text.partition(IN_LINE)
    if found:
        text = say("{text} (in the line {line})", text=text, line=line.removesuffix(")"))
    return say("your function stopped with {error}: {text}", error=outcome.error, text=text)
