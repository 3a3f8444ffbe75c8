"""`minimind import` and `minimind export`: models of others in, ours out in other formats."""

from pathlib import Path
from typing import Annotated

import typer

from minimind_lite.cli.common import clean_errors, model_folder, new_app

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


@export_app.callback()
def _formats() -> None:
    """Keeps `gguf` a name of its own while it is the only format."""


@export_app.command("gguf", epilog="Example: minimind export gguf runs/sft sft.gguf --type q8_0")
@clean_errors
def export_to_gguf(
    model: Annotated[Path, typer.Argument(help="A trained model's folder, or a MiniMind .pth file.")],
    output: Annotated[Path, typer.Argument(help="The file to write; a Modelfile for Ollama is written beside it.")],
    kind: Annotated[str, typer.Option("--type", help="f32, f16 or q8_0: how matrices are stored.")] = "q8_0",
) -> None:
    """Write a model as one file for llama.cpp, Ollama, LM Studio and the like."""
    from minimind_lite.interop.gguf_export import export_folder

    with model_folder(model) as folder:
        for path in export_folder(folder, output, kind):
            typer.echo(f"{path} ({path.stat().st_size / 1e6:,.1f} MB)")
