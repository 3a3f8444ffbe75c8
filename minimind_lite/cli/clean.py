"""`minimind data clean IN… OUT`: filter data in named steps, and turn public forms into ours."""

from pathlib import Path
from typing import Annotated

import typer

from minimind_lite.cli.common import clean_errors, finite


@clean_errors
def clean(
    paths: Annotated[list[Path] | None, typer.Argument(metavar="IN… OUT", help="Files or folders; a .jsonl.")] = None,
    steps: Annotated[str, typer.Option(help="Only these steps, separated by commas; --list shows them.")] = "",
    skip: Annotated[str, typer.Option(help="All steps but these, separated by commas.")] = "",
    language: Annotated[str, typer.Option(help="Keep only texts in it: zh, en or any.")] = "any",
    exams: Annotated[
        list[Path] | None,
        typer.Option(help="A file or folder of exams whose questions the data must not hold; repeatable."),
    ] = None,
    personal: Annotated[str, typer.Option(help="What is done with personal data: mask or reject.")] = "mask",
    min_characters: Annotated[int, typer.Option(min=0, help="Of a whole record.")] = 10,
    max_characters: Annotated[int, typer.Option(min=1, help="Of a whole record.")] = 100_000,
    similarity: Annotated[
        float, typer.Option(min=0.5, max=1, callback=finite, help="From which on a text is a near duplicate.")
    ] = 0.8,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first line that cannot be read.")] = False,
    show: Annotated[bool, typer.Option("--list", help="Show the steps.")] = False,
) -> None:
    """Clean data in named steps, each counted and with samples, and write it in our form.

    Reads JSON Lines, JSON, CSV, Parquet, .txt and .md in the forms of ShareGPT, Alpaca, messages, Magpie and MiniMind.
    The table is printed; OUT.report.json holds it with samples of what each step rejected.
    """
    from minimind_lite.data.cleaning import STEPS, CleaningOptions, report_path
    from minimind_lite.data.cleaning import clean as clean_files

    if show:
        typer.echo("\n".join(f"{name:12}{about}" for name, about in STEPS.items()))
        return
    if not paths or len(paths) < 2:
        raise typer.BadParameter("name one or more files or folders to read, and the file to write last")
    *sources, output = paths
    options = CleaningOptions(
        steps=CleaningOptions.chosen(steps, skip), language=language, exams=tuple(exams or ()), personal=personal,
        min_characters=min_characters, max_characters=max_characters, similarity=similarity, strict=strict,
    )  # fmt: skip
    typer.echo(str(clean_files(sources, output, options)))
    typer.echo(f"written: {output}, {report_path(output)}")
