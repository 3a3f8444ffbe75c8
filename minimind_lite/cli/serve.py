"""`minimind serve MODEL…`: an OpenAI-compatible server for models."""

import logging
import os
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from minimind_lite.cli.common import clean_errors

if TYPE_CHECKING:
    from minimind_lite.serving.models import ServedModel

KEYS_VARIABLE = "MINIMIND_API_KEYS"


@clean_errors
def serve(
    folders: Annotated[list[Path], typer.Argument(metavar="MODEL…", help="Folders or MiniMind .pth files.")],
    adapter: Annotated[
        list[str] | None, typer.Option(metavar="NAME=DIR", help="A LoRA adapter as a model of its own; repeatable.")
    ] = None,
    host: Annotated[str, typer.Option(help="Any other address than this machine's own needs a key.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8000,
    api_key_file: Annotated[
        Path | None, typer.Option(help=f"API keys, one a line; or in the variable {KEYS_VARIABLE}, by commas.")
    ] = None,
    slots: Annotated[int, typer.Option(min=1, help="Answers that are made at the same time, for each model.")] = 16,
    context: Annotated[int | None, typer.Option(min=2, help="Tokens of prompt and answer together.")] = None,
    queue: Annotated[int, typer.Option(min=1, help="Requests that may wait for a slot, for each model.")] = 256,
    max_requests: Annotated[int, typer.Option(min=1, help="Requests that may be open at the same time.")] = 256,
    max_body: Annotated[int, typer.Option(min=1, help="Bytes of a request.")] = 2_000_000,
    max_seconds: Annotated[float, typer.Option(min=0.1, help="Until an answer has to be complete.")] = 600.0,
    grace: Annotated[float, typer.Option(min=0, help="Seconds that open answers get when it is stopped.")] = 30.0,
    cors_origin: Annotated[
        list[str] | None, typer.Option(help="Web pages of this origin may ask; repeatable. Default: none may.")
    ] = None,
    quantize: Annotated[bool, typer.Option(help="Multiply in 8 bits, on the CPU: faster, less exact.")] = False,
) -> None:
    """Serve models to any OpenAI client: chats, completions, embeddings; stop with Ctrl-C."""
    from minimind_lite.serving.app import create_server
    from minimind_lite.serving.guard import Keys, Limits, check_address
    from minimind_lite.serving.run import RunningServer

    keys = Keys.of(read_keys(api_key_file))
    check_address(host, keys)
    limits = Limits(body_bytes=max_body, requests=max_requests, seconds=max_seconds)
    models = load_served(folders, adapter or [], slots=slots, context=context, queue=queue, quantize=quantize)
    running = RunningServer(
        create_server(models, keys=keys, limits=limits, cors_origins=cors_origin or ()), host=host, port=port
    )  # fmt: skip
    _log_to_stderr()
    stopping = _stop_signals()
    running.start()
    typer.echo(f"serving {', '.join(model.name for model in models)} at {running.address}/v1 (Ctrl-C stops)")
    _wait(stopping)
    cut = running.stop(grace)
    typer.echo(f"stopped; {cut} answers were cut off" if cut else "stopped; every answer was finished")


def _stop_signals() -> threading.Event:
    """What Ctrl-C and SIGTERM set from now on."""
    stopping = threading.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda number, frame: stopping.set())
    return stopping


def _wait(stopping: threading.Event) -> None:
    """Return at the first signal; a second Ctrl-C then ends the process at once."""
    while not stopping.wait(0.5):  # a wait without an end would not let Windows see Ctrl-C
        pass
    typer.echo("stopping: open answers are finished, new requests are refused")
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def load_served(
    folders: list[Path], adapters: list[str], *, slots: int, context: int | None, queue: int, quantize: bool
) -> "list[ServedModel]":
    """The models of a command line; adapters are written NAME=DIR."""
    from minimind_lite.device import pick_device
    from minimind_lite.serving.models import load_models

    named = {}
    for pair in adapters:
        name, equals, folder = pair.partition("=")
        if not equals or not name or not folder:
            raise typer.BadParameter(f"--adapter {pair!r} must look like NAME=DIR")
        named[name] = Path(folder)
    return load_models(
        folders, named, device="cpu" if quantize else str(pick_device()), slots=slots, max_length=context,
        max_queue=queue, quantize="int8" if quantize else None,
    )  # fmt: skip


def read_keys(file: Path | None) -> list[str]:
    """The keys of a file, or of the environment: never of the command line, which other users can read.

    Raises UnreadableFile for a file without a key: the server would be open, and its owner would think it closed.
    """
    if file is not None:
        from minimind_lite.files import UnreadableFile

        try:
            text = file.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            raise UnreadableFile(f"{file}: not UTF-8 (byte {error.start}), so it is no file of keys") from None
        if not text.strip():
            raise UnreadableFile(f"{file}: holds no key: write one a line, or leave --api-key-file out")
        return [line.strip() for line in text.splitlines() if line.strip()]
    return [key.strip() for key in os.environ.get(KEYS_VARIABLE, "").split(",") if key.strip()]


def _log_to_stderr() -> None:
    """One line for each request: method, route, status, seconds; never a header, a query or a text."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("minimind_lite.serving").setLevel(logging.INFO)
