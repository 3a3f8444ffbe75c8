"""`minimind import` and `minimind export`: models of others in, ours out in other formats."""

from pathlib import Path
from typing import Annotated

import typer

from minimind_lite.cli.common import clean_errors, new_app

export_app = new_app("Write a model in another format. Example: minimind export gguf runs/sft sft.gguf --type q8_0")


@clean_errors
def import_model(
    model: Annotated[Path, typer.Argument(help="A MiniMind .pth file, or a folder of model_type minimind.")],
    output: Annotated[Path, typer.Argument(help="Where to write it as a folder of ours.")],
    preset: Annotated[str | None, typer.Option(help="The preset that a .pth file was made with.")] = None,
    tokenizer: Annotated[Path | None, typer.Option(help="Its tokenizer's folder; default: beside it.")] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("-p", metavar="NAME=VALUE", help="What weights do not say: rope_theta …; repeatable."),
    ] = None,
) -> None:
    """Read weights that the MiniMind project published, of any generation, and write them as a folder of ours."""
    from minimind_lite.interop.minimind import import_minimind
    from minimind_lite.settings import parse_settings

    made = import_minimind(model, output, preset, parse_settings(changes or ()), tokenizer)
    typer.echo(f"{sum(one.numel() for one in made.parameters()):,} parameters in {output}")
