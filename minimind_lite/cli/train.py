"""`minimind train …`: one command per stage; to continue a run that was stopped, run the same command again.

Every stage takes the same arguments: DATA BASE OUTPUT, and ``-p NAME=VALUE`` for the fields of TrainConfig and of the
stage's own options. Start it with torchrun to train with several processes.
"""

import inspect
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from minimind_lite.cli.common import clean_errors, model_folder, new_app

train_app = new_app("Train without the notebooks. Example: minimind train pretrain DATA TOKENIZER runs/pretrain")

Changes = Annotated[list[str] | None, typer.Option("-p", metavar="NAME=VALUE", help="Change a setting; repeatable.")]

MaxBad = Annotated[float, typer.Option(min=0, max=1, help="Share of a file's lines that may be bad; they are skipped.")]
Resume = Literal["strict", "if_unfinished", "never"]  # as in training/options.py, which would import torch

# What each stage's command does, and an example; the stages themselves are in training/registry.py.
HELP: dict[str, tuple[str, str]] = {
    "pretrain": (
        "Pretrain a new model on plain texts; BASE is a tokenizer's folder.",
        "data_samples/pretrain runs/tokenizer runs/pretrain -p preset=nano -p total_steps=300",
    ),
    "sft": (
        "Fine-tune a model on conversations.",
        "data_samples/chat runs/pretrain runs/sft -p learning_rate=1.5e-3",
    ),
    "lora": (
        "Train a LoRA adapter for a frozen model.",
        "data_samples/lora_identity.jsonl runs/sft runs/lora -p rank=4 -p learning_rate=1e-2",
    ),
    "dpo": (
        "Train a model on preference pairs (DPO).",
        "data_samples/dpo.jsonl runs/sft runs/dpo -p learning_rate=1e-3 -p beta=0.1",
    ),
    "distill": (
        "Train a small student with the model in BASE as its teacher.",
        "data_samples/chat runs/sft runs/student -p temperature=2.0 -p learning_rate=3e-3",
    ),
    "reason": (
        "Fine-tune a model on visible reasoning: think and answer blocks.",
        "data_samples/reason.jsonl runs/sft runs/reason -p block_size=256 -p learning_rate=2e-3",
    ),
    "grpo": (
        "Let a model practise on questions whose answers can be checked (GRPO and its relatives).",
        "data_samples/reason.jsonl runs/reason runs/grpo -p learning_rate=2e-4 -p objective=dapo",
    ),
    "ppo": (
        "Like grpo, but with PPO: a critic instead of groups.",
        "data_samples/reason.jsonl runs/reason runs/ppo -p learning_rate=2e-4 -p lam=0.95",
    ),
}


@train_app.command(epilog="Example: minimind train tokenizer data_samples/pretrain runs/tokenizer --vocab-size 3072")
@clean_errors
def tokenizer(
    data: Annotated[Path, typer.Argument(help='A JSON Lines file of {"text": …}, or a folder of them.')],
    output: Annotated[Path, typer.Argument(help="Where to write the tokenizer.")],
    vocab_size: Annotated[int, typer.Option(help="Entries, including special tokens and the 256 bytes.")] = 6400,
    max_bad: MaxBad = 0.05,
) -> None:
    """Train a tokenizer on the texts of DATA."""
    from minimind_lite.config import ConfigError
    from minimind_lite.data.records import DataError, read_records
    from minimind_lite.files import owned
    from minimind_lite.tokenizer import Tokenizer

    if (output / "config.json").exists():
        raise ConfigError(f"{output} holds a model, which would lose its tokenizer: name another folder")
    records, seen = read_records(data, "text", max_bad_share=max_bad), 0

    def texts() -> Iterator[str]:
        nonlocal seen
        for record in records:
            seen += bool(record.text.strip())
            yield record.text

    with owned(output):
        trained = Tokenizer.train(texts(), vocab_size)
        if not seen:
            first = f"; the first of {len(records.skipped)} bad lines: {records.skipped[0]}" if records.skipped else ""
            raise DataError(f"{data}: there is no text to learn from{first}")
        trained.save(output)
    typer.echo(f"{trained.vocab_size} entries in {output}")


def _explained(settings: Any) -> Iterator[str]:
    """One line per setting that -p can change: name, default, and the comment beside it in the source."""
    from minimind_lite.settings import settable

    comments = {
        hit[1]: hit[2]
        for cls in type(settings).__mro__[:-1]
        for hit in re.finditer(r"^    (\w+): .*?  # (.+)$", inspect.getsource(cls), re.MULTILINE)
    }
    for name in settable(settings):
        yield f"  {name + '=' + str(getattr(settings, name)):36} {comments.get(name, '')}".rstrip()


@train_app.command(epilog="Example: minimind train settings lora")
@clean_errors
def settings(stage: Annotated[str, typer.Argument(help=f"One of {', '.join(HELP)}.")]) -> None:
    """List what -p NAME=VALUE can change in a stage, with defaults."""
    from minimind_lite.config import ConfigError
    from minimind_lite.training.registry import STAGES

    if stage not in STAGES:
        raise ConfigError(f"there is no stage called {stage!r}; the stages are: {', '.join(STAGES)}")
    typer.echo(f"The settings of {stage}:")
    typer.echo("\n".join(_explained(STAGES[stage].options())))
    typer.echo("The settings of every training run:")
    typer.echo("\n".join(_explained(loop_defaults())))


def loop_defaults() -> Any:
    """What the command line trains with if nothing is changed: TrainConfig, with checkpoints."""
    from minimind_lite.training.options import TrainConfig

    return TrainConfig(save_every=200)


def stage_settings(pairs: Sequence[str], options: type[Any]) -> tuple[Any, Any]:
    """Sort ``NAME=VALUE`` pairs into the loop's settings and the stage's own: (TrainConfig, options).

    Raises ConfigError for a name that neither has, or a value that its field refuses.
    """
    from minimind_lite.settings import ConfigError, parse_settings, read_settings, settable, with_changes

    given, own = parse_settings(pairs), settable(options)
    known = {*settable(loop_defaults()), *own}
    if given.keys() - known:
        names = ", ".join(sorted(given.keys() - known))
        raise ConfigError(f"there is no setting called {names}; the settings are: {', '.join(sorted(known))}")
    empty = [name for name, value in given.items() if value == "None"]
    if empty:
        raise ConfigError(f"-p {empty[0]}=None means nothing here: give a value, or leave the setting out")
    of_loop = read_settings({n: v for n, v in given.items() if n not in own}, type(loop_defaults()))
    of_stage = read_settings({n: v for n, v in given.items() if n in own}, options)
    return with_changes(loop_defaults(), of_loop), with_changes(options(), of_stage)


AUTOMATIC = "micro_batch_size=auto"


def _configured(changes: Sequence[str], options: type[Any], base: Path) -> tuple[Any, Any]:
    """``stage_settings``, with the micro-batch chosen by what fits if ``changes`` ask for that."""
    from minimind_lite.config import ConfigError
    from minimind_lite.model.pretrained import PretrainedError, instead_of_model
    from minimind_lite.settings import parse_settings

    parse_settings(changes)  # whether one is given twice, "auto" included
    config, own = stage_settings([pair for pair in changes if pair != AUTOMATIC], options)
    if AUTOMATIC in changes and not hasattr(own, "block_size"):
        raise ConfigError(f"-p {AUTOMATIC} is for stages that train on packed rows: give a number of questions here")
    if not hasattr(options, "preset") and (there := instead_of_model(base)):  # pretraining's base is a tokenizer
        raise PretrainedError(there)
    return (_fitted(config, own, base) if AUTOMATIC in changes else config), own


def _fitted(config: Any, options: Any, base: Path) -> Any:
    """``config`` with the largest micro-batch that fits into the GPU's free memory; as it is without a GPU."""
    import torch

    from minimind_lite.config import preset
    from minimind_lite.files import read_json
    from minimind_lite.model.pretrained import config_from_hf
    from minimind_lite.tokenizer import Tokenizer
    from minimind_lite.training.micro_batch import fitted

    if not torch.cuda.is_available() or config.device not in ("auto", "cuda"):
        return config
    if hasattr(options, "preset"):  # pretraining: BASE is only a tokenizer
        model = preset(options.preset, vocab_size=Tokenizer.load(base).vocab_size)
    else:
        model = config_from_hf(read_json(base / "config.json"))
    free, _ = torch.cuda.mem_get_info()
    length = options.block_size * (2 if hasattr(options, "beta") else 1)  # a preference pair is two rows
    chosen = fitted(config, model, length, free, half=config.precision != "fp32")
    typer.echo(f"micro_batch_size={chosen.micro_batch_size}, gradient_accumulation_steps="
               f"{chosen.gradient_accumulation_steps}: the most that fits into {free / 1e9:.1f} GB")  # fmt: skip
    return chosen


@contextmanager
def _opened(name: str, base: Path, changes: Sequence[str]) -> Iterator[tuple[Path, Any, Any]]:
    """BASE and a stage's settings; a published model in either is a folder of ours while this is open."""
    from minimind_lite.config import PRESETS
    from minimind_lite.training.distill import DistillOptions
    from minimind_lite.training.registry import STAGES

    with ExitStack() as stack:
        if name != "pretrain":  # whose base is a tokenizer alone
            base = stack.enter_context(model_folder(base))
        config, options = _configured(changes, STAGES[name].options, base)
        if isinstance(options, DistillOptions) and options.student not in ("half", *PRESETS):
            options = replace(options, student=str(stack.enter_context(model_folder(Path(options.student)))))
        yield base, config, options


class NothingLearned(RuntimeError):
    """A run that came to its end without a single thing to learn from."""


def _stage_command(name: str) -> Callable[..., None]:
    def command(
        data: Annotated[Path, typer.Argument(help="A JSON Lines file, or a folder of them.")],
        base: Annotated[Path, typer.Argument(help="Folder of the model or tokenizer to start from.")],
        output: Annotated[Path, typer.Argument(help="Where to write the result.")],
        eval_data: Annotated[Path | None, typer.Option(help="Held-out data of the same kind.")] = None,
        strict: Annotated[bool, typer.Option("--strict", help="Stop at the first bad line.")] = False,
        max_bad: MaxBad = 0.05,
        resume: Annotated[Resume, typer.Option(help="What to do with an earlier run in OUTPUT.")] = "strict",
        changes: Changes = None,
        estimate: Annotated[
            bool, typer.Option("--estimate", help="Only measure a few steps: time, memory, disk.")
        ] = False,
    ) -> None:
        import torch

        from minimind_lite.training.estimate import measure_run
        from minimind_lite.training.loop import processes
        from minimind_lite.training.options import RunOptions
        from minimind_lite.training.registry import STAGES

        stage = STAGES[name]
        run = RunOptions(eval_data, strict=strict, max_bad_share=max_bad, resume=resume)
        with _opened(name, base, changes or ()) as (opened, config, options):
            if estimate:
                typer.echo(measure_run(stage.run, data, opened, config, options, run))
                return
            result = stage.run(data, opened, output, config, options, run)
        rank, ranks = processes()
        if rank == 0 and not result.training.nothing_learned:
            typer.echo(f"trained: {output}")
        if ranks > 1:
            torch.distributed.barrier()
            torch.distributed.destroy_process_group()
        if result.training.nothing_learned:
            raise NothingLearned(f"{data}: {result.training.nothing_learned}")

    command.__doc__ = f"{HELP[name][0]} Rerun to continue after a stop. For -p see: minimind train settings {name}"
    return clean_errors(command)


for _name, (_, _example) in HELP.items():
    train_app.command(name=_name, epilog=f"Example: minimind train {_name} {_example}")(_stage_command(_name))
