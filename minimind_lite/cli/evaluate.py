"""`minimind eval MODEL…`: score models on benchmarks, and say how certain each score is."""

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from minimind_lite.cli.common import clean_errors


class EvalCommand(TyperCommand):
    """One ``--suite`` may name several: `minimind eval MODEL --suite samples blimp`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # click's context, which some typers bring along
        """Read the words of the command line, with ``--suite`` before each name that follows it."""
        return super().parse_args(ctx, with_every_suite(args))


def with_every_suite(args: list[str]) -> list[str]:
    """``--suite A B`` as ``--suite A --suite B``; not where the option comes before any model, as B is one then."""
    if not args or args[0].startswith("-"):
        return args
    spread: list[str] = []
    option = ""  # the last one
    for word in args:
        if word.startswith("-"):
            option = word
        elif option == "--suite" and spread[-1] != option:
            spread.append(option)
        spread.append(word)
    return spread


@clean_errors
def evaluate(
    models: Annotated[
        list[str] | None, typer.Argument(metavar="MODEL…", help="Folders, .pth, .gguf, BASE+ADAPTER, or listed names.")
    ] = None,
    suite: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME|FOLDER…", help="Benchmarks, NAME=FOLDER, or their folders; after the models."),
    ] = None,
    shots: Annotated[int, typer.Option(min=0, help="Examples shown before each question, where there are any.")] = 0,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many questions of each benchmark.")] = None,
    scoring: Annotated[str, typer.Option(help="letter, answer, both, or default: as is usual for it.")] = "default",
    engine: Annotated[str, typer.Option(help="own, or lm-eval: its prompts and passes, on the same files.")] = "own",
    output: Annotated[Path, typer.Option(help="A folder; the same one again continues.")] = Path("build/eval"),
    batch_size: Annotated[int, typer.Option(min=1, help="Rows of a forward pass.")] = 32,
    document_start: Annotated[
        bool | None,
        typer.Option(help="Begin every text with the start token; default: as the model was trained."),
    ] = None,
    run_code: Annotated[bool, typer.Option("--run-code", help="Run a model's own Python files.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Discard what OUTPUT holds.")] = False,
    show: Annotated[
        bool, typer.Option("--list", help="Show benchmarks and published models, and what is here.")
    ] = False,
) -> None:
    """Score models on choices, pairs, cloze, texts, answers and sums, item by item, with n, chance and intervals."""
    from minimind_lite.data.benchmarks import benchmark_table
    from minimind_lite.interop.comparison import comparison_table

    if show:
        typer.echo(f"{benchmark_table()}\n\n{comparison_table()}")
        return
    if not models:
        raise typer.BadParameter("name one or more model folders; --list shows the benchmarks")
    from minimind_lite.interop.scored_folders import score_folders

    for line in score_folders(
        models, suite or ["samples"], output, shots=shots, limit=limit, scoring=scoring, batch_size=batch_size,
        document_start=document_start, fresh=fresh, engine=engine, run_code=run_code,
    ):  # fmt: skip
        typer.echo(line)
