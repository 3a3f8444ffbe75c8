"""The `minimind` command: thin. Each command reads its options, calls the library, and says errors in one message."""

import sys
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any

import typer

app = typer.Typer(
    no_args_is_help=True, add_completion=False, rich_markup_mode="markdown", pretty_exceptions_enable=False,
)  # fmt: skip
course_app = typer.Typer(no_args_is_help=True, help="Run the chapters, see what is done, keep them in shape.")
app.add_typer(course_app, name="course")


@app.callback()
def encoding() -> None:
    """Build, train and talk to a small language model; run the course that explains it."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8")  # Windows consoles default to a code page without Chinese


def clean_errors(command: Callable[..., Any]) -> Callable[..., Any]:
    """Print an error of ours as one message and exit 1; anything else keeps its traceback, for it is a bug."""

    @wraps(command)
    def wrapped(*args: Any, **options: Any) -> Any:
        try:
            return command(*args, **options)
        except (ValueError, OSError) as error:
            if not type(error).__module__.startswith("minimind_lite") and not isinstance(error, OSError):
                raise
            typer.secho(f"error: {error}", fg="red", err=True)
            raise typer.Exit(1) from None

    return wrapped


@course_app.command(epilog="Example: minimind course refresh 08 10")
@clean_errors
def refresh(
    chapters: Annotated[list[str] | None, typer.Argument(help="Numbers or names; all when none is given.")] = None,
    run: Annotated[bool, typer.Option(help="Execute them; --no-run only stamps and cleans.")] = True,
    check: Annotated[bool, typer.Option("--check", help="Change nothing; say what is wrong, exit 1.")] = False,
) -> None:
    """Execute chapters at the quick profile, clean their outputs, stamp setup cell, badge and ids, store them."""
    from minimind_lite.course import refresh as maker
    from minimind_lite.course.notebooks import chapter_paths

    paths = chapter_paths(chapters or ())
    if not check:
        maker.refresh(paths, run=run)
    wrong = maker.check(paths) if check or run else []
    for line in wrong:
        typer.secho(line, fg="red", err=True)
    if wrong:
        raise typer.Exit(1)
    typer.echo(f"{len(paths)} chapters: {'in order' if check or run else 'stamped'}")
