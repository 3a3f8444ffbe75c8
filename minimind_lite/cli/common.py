"""What all `minimind` commands share: how they are created and how they report errors."""

import locale
import math
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from importlib.metadata import PackageNotFoundError, requires
from itertools import pairwise
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from minimind_lite.files import NO_SPACE, as_utf8, is_full

INTERRUPTED = (
    "\ninterrupted. Files are written whole or not at all; train, eval and data download go on from what they saved "
    "when the same command is given again"
)
SERVER_PACKAGES = ("fastapi", "starlette", "uvicorn", "prometheus_client")


class _Group(TyperGroup):
    """Refuses an empty argument: an empty path would mean the current folder."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        for before, argument in pairwise(["", *args]):
            if not argument and not before.startswith("-"):  # an option's value may be empty
                ctx.fail("an argument is empty; was a variable of the shell not set?")
        return super().parse_args(ctx, args)


def new_app(help_text: str) -> typer.Typer:
    """A group of commands that shows its help when called without arguments."""
    return typer.Typer(
        no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=help_text, callback=_use_utf8,
        cls=_Group,
    )  # fmt: skip


def _use_utf8() -> None:
    for stream in (sys.stdout, sys.stderr):
        as_utf8(stream)


def system_language() -> str:
    """ "zh" where the system's locale is Chinese, else "en": the first of LC_ALL, LC_MESSAGES and LANG that is set.

    Where none is, as on Windows, the system is asked; it may answer "Chinese (Simplified)_China".
    """
    chosen = next((one for one in map(os.environ.get, ("LC_ALL", "LC_MESSAGES", "LANG")) if one), "")
    return "zh" if (chosen or locale.getlocale()[0] or "").lower().startswith(("zh", "chinese")) else "en"


def nearest_hub() -> str:
    """The hub that ``download`` asks where none is named: ModelScope where the system speaks Chinese."""
    return {"zh": "modelscope", "en": "huggingface"}[system_language()]


@contextmanager
def model_folder(path: Path) -> Iterator[Path]:
    """A model's folder: ``path``, or, if that is a published MiniMind model, one that lasts as long as the command."""
    from minimind_lite.interop.minimind import as_folder

    with as_folder(path) as folder:
        yield folder


def finite(value: float) -> float:
    """The callback of an option with a range: NaN would pass every comparison with its ends."""
    if not math.isfinite(value):
        raise typer.BadParameter(f"{value} is not a finite number")
    return value


def clean_errors(command: Callable[..., Any]) -> Callable[..., Any]:
    """Print an error the library raised on purpose as a single message and exit 1; a bug keeps its traceback."""

    @wraps(command)
    def wrapped(*args: Any, **options: Any) -> Any:
        try:
            return command(*args, **options)
        except KeyboardInterrupt:
            typer.secho(INTERRUPTED, err=True)
            raise typer.Exit(130) from None
        except ModuleNotFoundError as error:
            package = (error.name or "").partition(".")[0]
            if package in ("", "minimind_lite"):
                raise
            typer.secho(
                f"error: this command needs the package {package}: {_how_to_install(package)}", fg="red", err=True
            )
            raise typer.Exit(1) from None
        except Exception as error:
            if not _on_purpose(error):
                raise
            if os.environ.get("RANK", "0") == "0":  # torchrun's number of this process: one message is enough
                typer.secho(f"error: {_in_words(error)}", fg="red", err=True)
            raise typer.Exit(1) from None

    return wrapped


def _in_words(error: Exception) -> str:
    """The message of an error; what the system says about a file begins with the file, as our own messages do."""
    if type(error).__module__ == "builtins" and isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror[0].lower()}{error.strerror[1:]}"
    if isinstance(error, OSError) and is_full(error):  # the system does not say which file: one that was already open
        return NO_SPACE
    return str(error)


def _how_to_install(package: str) -> str:
    """What brings a package (an importable name) that is missing."""
    try:
        wanted = requires("minimind-lite") or []
    except PackageNotFoundError:  # the package is on the path, but was never installed
        wanted = []
    lines = [line for line in wanted if re.split(r"[^\w.-]", line)[0].replace("-", "_") == package]
    if package in SERVER_PACKAGES or any(re.search("extra == .serve", line) for line in lines):
        return "install what the server needs with: pip install 'minimind-lite[serve]'"
    if package == "streamlit":
        return "install what the chat page needs with: pip install 'minimind-lite[webui]'"
    if any(re.search("extra == .course", line) for line in lines):
        return "install the course's packages, in the repository, with: pip install -e '.[course]'"
    return f"install it with: pip install {package}"


def _on_purpose(error: Exception) -> bool:
    """Whether the error is one of our classes, a file that cannot be read, or a value our own code rejected."""
    if type(error).__module__.startswith("minimind_lite") or isinstance(error, OSError):
        return True
    place = Path(traceback.extract_tb(error.__traceback__)[-1].filename)
    return isinstance(error, ValueError) and place.is_relative_to(Path(__file__).parents[1])
