"""The `minimind` command: thin. Each command reads its options, calls the library, and says errors in one message."""

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from .cli_tools import clean_errors, new_app
from .cli_train import Changes, train_app

app = new_app("Build, train and talk to a small language model; run the course that explains it.")
course_app = new_app("Run the chapters, see what is done, keep them in shape. Example: minimind course run --to 03")
data_app = new_app("The sample data. Example: minimind data check")
app.add_typer(course_app, name="course")
app.add_typer(train_app, name="train")
app.add_typer(data_app, name="data")

Output = Annotated[str, typer.Option("--output-dir", help="Where artifacts go; relative to the repository.")]
Profile = Annotated[str, typer.Option(help="quick, colab or full.")]


@course_app.command(epilog="Example: minimind course run --from 08 --to 10 -p total_steps=100")
@clean_errors
def run(
    profile: Profile = "quick",
    first: Annotated[str | None, typer.Option("--from", metavar="NN", help="The first chapter.")] = None,
    last: Annotated[str | None, typer.Option("--to", metavar="NN", help="The last chapter.")] = None,
    changes: Changes = None,
    output_dir: Output = "build/course/artifacts",
    force: Annotated[bool, typer.Option("--force", help="Run finished chapters again.")] = False,
) -> None:
    """Run the chapters in order; those that are finished and unchanged are skipped."""
    from minimind_lite.course.runner.command import run_and_report
    from minimind_lite.course.runner.plan import make_plan

    if not run_and_report(make_plan(profile, first, last, changes or (), output_dir), force=force):
        raise typer.Exit(1)


@course_app.command(epilog="Example: minimind course status")
@clean_errors
def status(output_dir: Output = "build/course/artifacts") -> None:
    """Say of every chapter whether it is done, stale (its inputs changed), failed or missing."""
    from minimind_lite.course.runner.command import show_status
    from minimind_lite.course.runner.plan import make_plan

    show_status(make_plan(output_dir=output_dir))


@course_app.command(epilog="Example: minimind course refresh 08 10")
@clean_errors
def refresh(
    chapters: Annotated[list[str] | None, typer.Argument(help="Numbers or names; all when none is given.")] = None,
    run: Annotated[bool, typer.Option(help="Execute them; --no-run only stamps and cleans.")] = True,
    check: Annotated[bool, typer.Option("--check", help="Change nothing; say what is wrong, exit 1.")] = False,
) -> None:
    """Execute chapters at the quick profile, clean their outputs, stamp setup cell, badge and ids, store them."""
    from minimind_lite.course.notebooks.files import chapter_paths
    from minimind_lite.course.notebooks.stamping import all_problems
    from minimind_lite.course.runner.refresh import refresh as store

    paths = chapter_paths(chapters or ())
    if not check:
        store(paths, run=run)
    wrong = all_problems(paths) if check or run else []
    for line in wrong:
        typer.secho(line, fg="red", err=True)
    if wrong:
        raise typer.Exit(1)
    typer.echo(f"{len(paths)} chapters: {'in order' if check or run else 'stamped'}")


@course_app.command(epilog="Example: minimind course exercises --check")
@clean_errors
def exercises(
    sets: Annotated[list[str] | None, typer.Argument(help="Numbers or names; all when none is given.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Change nothing; say what is wrong, exit 1.")] = False,
) -> None:
    """Make the learners' notebooks in exercises/ from the masters in solutions/."""
    from minimind_lite.course.exercises import masters as maker

    paths = maker.master_paths(sets or ())
    wrong = maker.problems(paths) if check else maker.make(paths)
    for line in wrong:
        typer.secho(line, fg="red", err=True)
    if wrong:
        raise typer.Exit(1)
    typer.echo(f"{len(paths)} sets of exercises: {'in order' if check else 'made'}")


@course_app.command(epilog="Example: minimind course progress")
@clean_errors
def progress() -> None:
    """Show which tasks of the exercises you have solved; the checks in the notebooks take note of it."""
    from minimind_lite.course.exercises.overview import show_solved

    show_solved()


@course_app.command(epilog="Example: minimind course badges --repository my-class/minimind-lite")
@clean_errors
def badges(
    repository: Annotated[str, typer.Option(metavar="OWNER/NAME", help="The public repository.")],
    ref: Annotated[str | None, typer.Option(help="The branch or tag to open; as before when it is left out.")] = None,
) -> None:
    """Write another repository's address into pyproject.toml, and from there into every badge and setup cell."""
    from minimind_lite.course.notebooks import colab
    from minimind_lite.course.notebooks.files import chapter_paths
    from minimind_lite.course.notebooks.stamping import stamp_chapters

    colab.change_repository(repository, ref)
    stamp_chapters(chapter_paths())
    typer.echo(f"badges and setup cells now point to {colab.repository_url()}, ref {colab.repository_ref()}")


@app.command(epilog="Example: minimind chat build/course/artifacts/sft --temperature 0")
@clean_errors
def chat(
    folder: Annotated[Path, typer.Argument(help="A trained model's folder.")],
    adapter: Annotated[Path | None, typer.Option(help="A LoRA adapter's folder, trained on this model.")] = None,
    system: Annotated[str | None, typer.Option(help="A system turn to begin with.")] = None,
    temperature: Annotated[float, typer.Option(help="0 always takes the likeliest token.")] = 0.7,
    top_p: Annotated[float, typer.Option(help="Nucleus sampling; 1 is off.")] = 0.9,
    max_new_tokens: Annotated[int, typer.Option(help="An answer's longest length.")] = 256,
) -> None:
    """Talk to a model on the terminal."""
    from minimind_lite.course import pick_device
    from minimind_lite.generation.chat import run_chat
    from minimind_lite.generation.sampling import SamplingConfig

    sampling = SamplingConfig(temperature=temperature, top_p=top_p)
    options = {"adapter": adapter, "system": system, "sampling": sampling, "max_new_tokens": max_new_tokens}
    run_chat(folder, device=str(pick_device()), **options)  # type: ignore[arg-type]


@app.command(epilog="Example: minimind merge runs/sft runs/lora runs/merged")
@clean_errors
def merge(
    base: Annotated[Path, typer.Argument(help="The folder of the model that the adapter was trained on.")],
    adapter: Annotated[Path, typer.Argument(help="The folder of the LoRA adapter.")],
    output: Annotated[Path, typer.Argument(help="Where the merged model goes.")],
) -> None:
    """Write a LoRA adapter into its base: an ordinary model folder, which needs no adapter any more."""
    from minimind_lite.model.lora_files import merge_folders

    merge_folders(base, adapter, output)
    typer.echo(f"merged: {output}")


@app.command(epilog="Example: minimind grade submissions/*.ipynb --timeout 120 --output grades")
@clean_errors
def grade(
    files: Annotated[list[Path], typer.Argument(metavar="FILE…", help="Learners' notebooks.")],
    timeout: Annotated[float, typer.Option(help="Seconds a submission may take in all.")] = 300.0,
    output: Annotated[Path, typer.Option(help="Folder for grades.csv and grades.json.")] = Path("build/grades"),
) -> None:
    """Run each submission in a fresh kernel, check its tasks from outside, write CSV and JSON for an instructor."""
    from minimind_lite.course.exercises.grading.report import grade_files

    for line in grade_files(files, timeout=timeout, output=output):
        typer.echo(line)


@data_app.command(epilog="Example: minimind data check data_samples")
@clean_errors
def check(folder: Annotated[Path | None, typer.Argument(help="Default: the course's data_samples.")] = None) -> None:
    """Validate every file of a data folder; report counts, sizes, languages, and overlap between splits."""
    from minimind_lite.course.kit.paths import repository_root
    from minimind_lite.data.check import check_folder

    report = check_folder(folder or repository_root() / "data_samples")
    typer.echo(str(report))
    raise typer.Exit(0 if report.ok else 1)


@data_app.command(epilog="Example: minimind data build")
@clean_errors
def build() -> None:
    """Build data_samples again from its sources, byte for byte."""
    from minimind_lite.course.kit.paths import repository_root

    script = repository_root() / "data_samples" / "builder" / "build.py"
    raise typer.Exit(subprocess.run([sys.executable, str(script)], check=False).returncode)
