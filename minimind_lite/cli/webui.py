"""`minimind webui [MODEL…]`: a page to chat with models, or with any OpenAI-compatible server."""

import os
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from minimind_lite.cli.common import clean_errors, system_language
from minimind_lite.cli.serve import KEYS_VARIABLE, load_served, read_keys

if TYPE_CHECKING:
    from minimind_lite.serving.page.client import Endpoint

SERVER_KEY_VARIABLE = "OPENAI_API_KEY"


@clean_errors
def webui(
    folders: Annotated[list[Path] | None, typer.Argument(metavar="[MODEL…]", help="Folders or .pth files.")] = None,
    adapter: Annotated[
        list[str] | None, typer.Option(metavar="NAME=DIR", help="A LoRA adapter as a model of its own; repeatable.")
    ] = None,
    server: Annotated[
        list[str] | None,
        typer.Option(metavar="URL", help=f"An OpenAI-compatible server, with /v1; its key: {SERVER_KEY_VARIABLE}."),
    ] = None,
    host: Annotated[str, typer.Option(help="Any other address than this machine's own needs a key.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8501,
    api_key_file: Annotated[
        Path | None, typer.Option(help=f"Keys of visitors, one a line; or in the variable {KEYS_VARIABLE}, by commas.")
    ] = None,
    language: Annotated[str, typer.Option(help="The page's: en or zh; default: zh in a Chinese locale.")] = "",
    quantize: Annotated[bool, typer.Option(help="Multiply in 8 bits, on the CPU: faster, less exact.")] = False,
) -> None:
    """Chat in the browser: branches, probabilities of tokens, two models side by side; stop with Ctrl-C."""
    from minimind_lite.serving.app import create_server
    from minimind_lite.serving.guard import Keys, check_address, is_loopback
    from minimind_lite.serving.page.client import Endpoint
    from minimind_lite.serving.page.launch import free_port, run_page
    from minimind_lite.serving.page.options import PageOptions
    from minimind_lite.serving.run import RunningServer

    language = _language_of_page(language or system_language())
    if not folders and (adapter or quantize):
        raise typer.BadParameter("--adapter and --quantize are for models in folders or files: name one, MODEL")
    keys = Keys.of(read_keys(api_key_file))
    check_address(host, keys)
    endpoints = [_endpoint(url) for url in server or ()]
    port = free_port(host, port)
    with ExitStack() as stack:
        if folders:
            models = load_served(folders, adapter or [], slots=4, context=None, queue=64, quantize=quantize)
            running = stack.enter_context(RunningServer(create_server(models), port=0))
            endpoints.insert(0, Endpoint(f"{running.address}/v1"))
        shown = f"[{host}]" if ":" in host else host
        typer.echo(f"the chat page is at http://{shown}:{port} (Ctrl-C stops)")
        # A visitor from elsewhere must not use this machine to ask servers that only this machine can reach.
        run_page(PageOptions(endpoints, language, keys, other_servers=is_loopback(host)), host, port)


def _language_of_page(language: str) -> str:
    if language not in ("en", "zh"):
        raise typer.BadParameter(f"--language {language!r} must be en or zh")
    return language


def _endpoint(url: str) -> "Endpoint":
    """A server's address, with the key from the environment: never from the command line, which others can read."""
    from minimind_lite.serving.page.client import Endpoint

    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise typer.BadParameter(f"--server {url!r} must be an address such as http://127.0.0.1:8000/v1")
    return Endpoint(url.rstrip("/"), os.environ.get(SERVER_KEY_VARIABLE, ""))
