"""`minimind`: the commands that do not need Jupyter, and the groups `train`, `data`, `export` and `course`."""

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from minimind_lite.cli.clean import clean
from minimind_lite.cli.common import clean_errors, model_folder, nearest_hub, new_app
from minimind_lite.cli.course import course_app, grade
from minimind_lite.cli.evaluate import EvalCommand, evaluate
from minimind_lite.cli.formats import export_app, import_model
from minimind_lite.cli.serve import serve
from minimind_lite.cli.train import train_app
from minimind_lite.cli.webui import webui

app = new_app("Build, train and talk to a small language model; run the course that explains it.")
data_app = new_app("Check and clean data, rebuild the samples, download published files. Example: minimind data check")
app.add_typer(course_app, name="course")
app.add_typer(train_app, name="train")
app.add_typer(data_app, name="data")
app.add_typer(export_app, name="export")
app.command("import", epilog="Example: minimind import out/full_sft_512.pth runs/minimind2")(import_model)
app.command(
    "eval", cls=EvalCommand, epilog="Example: minimind eval build/course/artifacts/sft --suite samples samples-sums"
)(evaluate)
data_app.command(epilog="Example: minimind data clean raw.jsonl books/ clean.jsonl --language zh")(clean)
app.command(epilog="Example: minimind serve build/course/artifacts/sft --port 8000")(serve)
app.command(epilog="Example: minimind webui build/course/artifacts/sft build/course/artifacts/dpo")(webui)
app.command(epilog="Example: minimind grade submissions/*.ipynb --timeout 120 --output grades")(grade)


@app.command(epilog="Example: minimind chat build/course/artifacts/sft --temperature 0")
@clean_errors
def chat(
    folder: Annotated[Path, typer.Argument(help="A trained model's folder, or a MiniMind .pth file.")],
    adapter: Annotated[Path | None, typer.Option(help="Folder of a LoRA adapter trained on this model.")] = None,
    system: Annotated[str | None, typer.Option(help="A system turn to start with.")] = None,
    temperature: Annotated[float, typer.Option(min=0, help="0 always picks the most likely token.")] = 0.7,
    top_p: Annotated[float, typer.Option(min=0, max=1, help="Nucleus sampling; 1 is off.")] = 0.9,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Maximum length of an answer, in tokens.")] = 256,
    quantize: Annotated[bool, typer.Option(help="Multiply in 8 bits, on the CPU: faster, less exact.")] = False,
) -> None:
    """Chat with a model in the terminal."""
    from minimind_lite.device import pick_device
    from minimind_lite.generation.chat import run_chat
    from minimind_lite.generation.sampling import SamplingConfig

    with model_folder(folder) as opened:
        run_chat(
            opened, device="cpu" if quantize else str(pick_device()), adapter=adapter, system=system,
            sampling=SamplingConfig(temperature=temperature, top_p=top_p), max_new_tokens=max_new_tokens,
            quantize="int8" if quantize else None,
        )  # fmt: skip


@app.command(epilog="Example: minimind merge runs/sft runs/lora runs/merged")
@clean_errors
def merge(
    base: Annotated[Path, typer.Argument(help="The folder of the model that the adapter was trained on.")],
    adapter: Annotated[Path, typer.Argument(help="The folder of the LoRA adapter.")],
    output: Annotated[Path, typer.Argument(help="Where to write the merged model.")],
) -> None:
    """Merge a LoRA adapter into its base: the result is an ordinary model folder that needs no adapter."""
    from minimind_lite.model.lora import merge_folders

    with model_folder(base) as opened:
        merge_folders(opened, adapter, output)
    typer.echo(f"merged: {output}")


@app.command(epilog="Example: minimind bench train --against transformers --size small --rounds 3")
@clean_errors
def bench(
    subject: Annotated[
        str, typer.Argument(help="train, align, attention, generate, serve, moe, data, start or all.")
    ] = "all",
    against: Annotated[
        list[str] | None,
        typer.Option(metavar="PEER", help="Compare with this one only: transformers, original …; repeatable."),
    ] = None,
    size: Annotated[str, typer.Option(help="pico (does it run?), nano, or small, the 26M model.")] = "nano",
    rounds: Annotated[int, typer.Option(min=1, help="How often every arm is measured.")] = 5,
    seconds: Annotated[
        float | None,
        typer.Option(min=0, help="Begin no more rounds of a comparison after these."),
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="One measures CPU time, more wall time.")] = 1,
    output: Annotated[
        Path | None, typer.Option(help="A JSON file; by default one per subject in benchmarks/results/bench/.")
    ] = None,
) -> None:
    """Measure the speed of this library beside its peers, in one run, on the CPU."""
    from minimind_lite.files import repository_root

    options = [f"--against={one}" for one in against or ()]
    options += [f"--{name}={value}" for name, value in (("seconds", seconds), ("output", output)) if value is not None]
    options += ["--size", size, "--rounds", str(rounds), "--threads", str(threads)]
    script = repository_root() / "benchmarks" / "bench.py"
    command = [sys.executable, str(script), subject, *options]
    raise typer.Exit(subprocess.run(command, check=False).returncode)  # noqa: S603  our script


@data_app.command(epilog="Example: minimind data check data_samples")
@clean_errors
def check(folder: Annotated[Path | None, typer.Argument(help="Default: the course's data_samples.")] = None) -> None:
    """Validate every file in a data folder; report counts, sizes, languages, and overlap between splits."""
    from minimind_lite.data.check import check_folder
    from minimind_lite.files import repository_root

    report = check_folder(folder or repository_root() / "data_samples")
    typer.echo(str(report))
    raise typer.Exit(0 if report.ok else 1)


@data_app.command(epilog="Example: minimind data build")
@clean_errors
def build() -> None:
    """Rebuild data_samples from its sources, byte for byte."""
    from minimind_lite.files import repository_root

    script = repository_root() / "data_samples" / "builder" / "build.py"
    raise typer.Exit(subprocess.run([sys.executable, str(script)], check=False).returncode)  # noqa: S603  our script


@data_app.command(epilog="Example: minimind data download pretrain_hq.jsonl ceval arc")
@clean_errors
def download(
    names: Annotated[
        list[str] | None, typer.Argument(help="Published files, or benchmarks: ceval, arc …; --list shows them.")
    ] = None,
    source: Annotated[
        str,
        typer.Option(help="huggingface or modelscope; default: huggingface, for files in a Chinese locale modelscope."),
    ] = "",
    into: Annotated[Path | None, typer.Option(help="A folder; default: data in the repository.")] = None,
    revision: Annotated[str, typer.Option(help="A branch or commit of the repository; default: the newest.")] = "",
    show: Annotated[bool, typer.Option("--list", help="Show what there is, and what is here.")] = False,
) -> None:
    """Download MiniMind's data and benchmarks; a download that was cut continues when the command is given again."""
    from minimind_lite.data.benchmark_files import download_benchmarks, downloadable
    from minimind_lite.data.download import download_all
    from minimind_lite.data.published import data_folder, published_files, published_table

    folder = into or data_folder()
    if show:
        typer.echo(f"{published_table(folder)}\nbenchmarks: {', '.join(downloadable())} (minimind eval --list)")
        return
    if not names:
        raise typer.BadParameter("name one or more files; --list shows them")
    benchmarks = [name for name in names if name in downloadable()]
    files = [name for name in names if name not in benchmarks]
    published_files(files)  # an unknown name is refused before anything is fetched
    if benchmarks:
        for line in download_benchmarks(benchmarks, folder, source=source or "huggingface", revision=revision):
            typer.echo(line)
    source = source or nearest_hub()
    for line in download_all(files, folder, source=source, revision=revision) if files else ():
        typer.echo(line)
