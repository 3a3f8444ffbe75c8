"""`minimind course …` and `minimind grade`: the part of the command that needs Jupyter."""

from pathlib import Path
from typing import Annotated

import typer

from minimind_lite.cli.common import clean_errors, finite, new_app, system_language
from minimind_lite.cli.train import Changes

course_app = new_app("Run the chapters, see your progress, keep them current. Example: minimind course run --to 03")

Output = Annotated[str, typer.Option("--output-dir", help="Where artifacts go; relative to the repository.")]
Language = Annotated[str, typer.Option(metavar="en|zh", help="The edition: English or Chinese.")]
Spoken = Annotated[
    str, typer.Option("--language", metavar="en|zh", help="The edition; default: Chinese in a Chinese locale.")
]
Profile = Annotated[str, typer.Option(help="quick, colab or full.")]


def _stop_at(problems: list[str]) -> None:
    """Print what is wrong and exit 1; do nothing if nothing is."""
    for line in problems:
        typer.secho(line, fg="red", err=True)
    if problems:
        raise typer.Exit(1)


@course_app.command(epilog="Example: minimind course run --from 08 --to 10 -p total_steps=100")
@clean_errors
def run(
    profile: Profile = "quick",
    first: Annotated[str | None, typer.Option("--from", metavar="NN", help="The first chapter.")] = None,
    last: Annotated[str | None, typer.Option("--to", metavar="NN", help="The last chapter.")] = None,
    changes: Changes = None,
    output_dir: Output = "build/course/artifacts",
    language: Spoken = "",
    force: Annotated[bool, typer.Option("--force", help="Rerun finished chapters.")] = False,
    max_steps: Annotated[
        int, typer.Option(min=0, help="Rehearse: at most N steps a stage, artifacts in build/rehearsal.", metavar="N")
    ] = 0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only print the plan: stages, files, time, memory.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Start the profile full even without a GPU.")] = False,
    jobs: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Chapters at a time; default: 2 at quick where there are two cores."),
    ] = None,
) -> None:
    """Run the chapters, each after those that it needs; those that are finished and unchanged are skipped."""
    from minimind_lite.course.kit.bounds import at_most
    from minimind_lite.course.runner.command import check_gpu, run_and_report, show_plan
    from minimind_lite.course.runner.plan import make_plan
    from minimind_lite.course.runner.schedule import default_jobs

    with at_most(max_steps):
        plan = make_plan(
            profile, first, last, changes or (), output_dir,
            language=language or system_language(), jobs=jobs or default_jobs(profile),
        )  # fmt: skip
        if dry_run:
            show_plan(plan)
            return
        check_gpu(plan, yes=yes)
        if not run_and_report(plan, force=force):
            raise typer.Exit(1)


@course_app.command(epilog="Example: minimind course costs --rent 'RTX 3090=0.35' --rent H100=2.5")
@clean_errors
def costs(
    rent: Annotated[list[str] | None, typer.Option(metavar="CARD=DOLLARS", help="Rent an hour; repeatable.")] = None,
    mfu: Annotated[float, typer.Option(help="Share of a card's peak that training reaches.")] = 0.4,
    output: Annotated[Path | None, typer.Option(help="Also write the figures to this JSON file.")] = None,
) -> None:
    """Show what pretraining, SFT and DPO at the profile full take and cost, card by card."""
    from minimind_lite.course.runner import costs as table

    found = table.costs(table.parse_rents(rent or []), mfu)
    if output:
        table.write_costs(found, output)
    typer.echo(table.as_markdown(found))


@course_app.command(epilog="Example: minimind course status")
@clean_errors
def status(output_dir: Output = "build/course/artifacts", language: Spoken = "") -> None:
    """Show whether each chapter is done, stale (its inputs changed), failed or missing, and what a run would take."""
    from minimind_lite.course.runner.command import show_status
    from minimind_lite.course.runner.plan import make_plan
    from minimind_lite.course.runner.schedule import default_jobs

    jobs = default_jobs("quick")
    show_status(make_plan(output_dir=output_dir, language=language or system_language(), jobs=jobs))


@course_app.command(epilog="Example: minimind course refresh 08 10")
@clean_errors
def refresh(
    chapters: Annotated[list[str] | None, typer.Argument(help="Numbers or names; default: all.")] = None,
    run: Annotated[bool, typer.Option(help="Execute them; --no-run only stamps and cleans.")] = True,
    check: Annotated[bool, typer.Option("--check", help="Change nothing; report what is wrong and exit 1.")] = False,
    adopt: Annotated[
        bool, typer.Option("--adopt", help="Run nothing; mark unmarked outputs as made by the code as it is now.")
    ] = False,
    language: Language = "en",
) -> None:
    """Execute chapters with the quick profile, clean their outputs, stamp setup cell, badge and ids, and save them."""
    from minimind_lite.course.notebooks.files import chapters_in
    from minimind_lite.course.notebooks.stamping import adopt_outputs, all_problems
    from minimind_lite.course.runner.refresh import refresh as execute_and_store

    paths = chapters_in(language, chapters or ())
    if adopt:
        typer.echo(f"{adopt_outputs(paths)} cells marked")
        return
    if not check:
        execute_and_store(paths, run=run)
    _stop_at(all_problems(paths) if check or run else [])
    typer.echo(f"{len(paths)} chapters: {'in order' if check or run else 'stamped'}")


@course_app.command(epilog="Example: minimind course exercises --check")
@clean_errors
def exercises(
    sets: Annotated[list[str] | None, typer.Argument(help="Numbers or names; default: all.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Change nothing; report what is wrong and exit 1.")] = False,
) -> None:
    """Generate the learners' notebooks in exercises/ from the masters in solutions/."""
    from minimind_lite.course.exercises import masters as maker

    paths = maker.with_editions(maker.master_paths(sets or ()))
    _stop_at(maker.problems(paths) if check else maker.make(paths))
    typer.echo(f"{len(paths)} sets of exercises: {'in order' if check else 'made'}")


@course_app.command(epilog="Example: minimind course translate --start 04")
@clean_errors
def translate(
    start: Annotated[
        list[str] | None, typer.Option(metavar="NN", help="Lay out a notebook, or bring it in line with the English.")
    ] = None,
    done: Annotated[
        list[str] | None, typer.Option(metavar="NN", help="Mark the cells written since as rendered.")
    ] = None,
    cell: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="With --done: mark this cell, stale ones too; repeatable.")
    ] = None,
    export: Annotated[
        list[str] | None, typer.Option(metavar="NN", help="Write its cells to build/translate/, to be edited as text.")
    ] = None,
    take: Annotated[
        list[str] | None, typer.Option("--import", metavar="NN", help="Read that text back, and mark what changed.")
    ] = None,
    exercises: Annotated[
        bool, typer.Option("--exercises", help="Of a number, take the exercises' master, not the chapter.")
    ] = False,
    status: Annotated[bool, typer.Option("--status", help="Show how much of each notebook is translated.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Name all that is out of step and exit 1.")] = False,
) -> None:
    """Keep the Chinese edition in step with the English one; without an option, --check."""
    from minimind_lite.course.notebooks import translated

    folder = "solutions" if exercises else "notebooks"
    lines = translated.change(start or (), done or (), cell or (), folder)
    for line in [*lines, *translated.exchange(export or (), take or (), folder)]:
        typer.echo(line)
    if status:
        typer.echo("\n".join(translated.status_lines()))
    if check or not (start or done or export or take or status):
        _stop_at(translated.all_problems())
        typer.echo(translated.summary())


@course_app.command(epilog="Example: minimind course syllabus --weeks 8")
@clean_errors
def syllabus(
    weeks: Annotated[int, typer.Option(min=1, help="How many weeks there are.")] = 12,
    write: Annotated[bool, typer.Option("--write", help="Renew the section in CONTRIBUTING.md instead.")] = False,
) -> None:
    """Print a plan for a class: chapters, exercises and capstones week by week, with their minutes."""
    from minimind_lite.course.runner import syllabus as plan

    if write:
        plan.write()
    typer.echo("CONTRIBUTING.md: the syllabus is as the chapters are now" if write
               else plan.as_markdown(weeks, plan.lessons()))  # fmt: skip


@course_app.command(epilog="Example: minimind course progress")
@clean_errors
def progress() -> None:
    """Show which exercise tasks you have solved, as recorded by the checks in the notebooks."""
    from minimind_lite.course.exercises.overview import show_solved

    show_solved()


@course_app.command(epilog="Example: minimind course badges --repository my-class/minimind-lite")
@clean_errors
def badges(
    repository: Annotated[str, typer.Option(metavar="OWNER/NAME", help="The public repository.")],
    ref: Annotated[str | None, typer.Option(help="The branch or tag to open; unchanged by default.")] = None,
) -> None:
    """Write another repository's address into pyproject.toml, and from there into every badge and setup cell."""
    from minimind_lite.course.exercises import masters
    from minimind_lite.course.kit.language import LANGUAGES
    from minimind_lite.course.notebooks import colab
    from minimind_lite.course.notebooks.files import chapters_in
    from minimind_lite.course.notebooks.stamping import stamp_chapters

    colab.change_repository(repository, ref)
    stamp_chapters([path for language in LANGUAGES for path in chapters_in(language)])
    masters.make(masters.with_editions(masters.master_paths()))
    typer.echo(f"badges and setup cells now point to {colab.repository_url()}, ref {colab.repository_ref()}")


@clean_errors
def grade(
    files: Annotated[list[Path], typer.Argument(metavar="FILE…", help="Learners' notebooks, or folders of them.")],
    timeout: Annotated[
        float, typer.Option(min=1, callback=finite, help="Time limit for each submission, in seconds.")
    ] = 300.0,
    output: Annotated[Path, typer.Option(help="Folder for grades.csv and grades.json.")] = Path("build/grades"),
    isolation: Annotated[
        str, typer.Option(help="Where submissions run: bubblewrap, user, none, or auto, the strongest that works.")
    ] = "auto",
) -> None:
    """Run each submission in a fresh kernel, check its tasks from outside, and write the grades as CSV and JSON."""
    from minimind_lite.course.exercises.grading.report import grade_files

    for line in grade_files(files, timeout=timeout, output=output, isolation=isolation):
        typer.echo(line)
