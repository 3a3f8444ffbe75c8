"""`minimind train …`: one command a stage; a run that was stopped goes on when the same command is given again."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from .cli_tools import clean_errors, new_app

train_app = new_app("Train without the notebooks. Example: minimind train pretrain DATA TOKENIZER runs/pretrain")

Changes = Annotated[list[str] | None, typer.Option("-p", metavar="NAME=VALUE", help="Change a setting; repeatable.")]
BlockSize = Annotated[int, typer.Option(help="Tokens in one packed row.")]
EvalData = Annotated[Path | None, typer.Option(help="Held-out data of the same kind.")]
Strict = Annotated[bool, typer.Option("--strict", help="Stop at the first bad line.")]
Base = Annotated[Path, typer.Argument(help="The folder of the model to start from.")]
Output = Annotated[Path, typer.Argument(help="Where the result goes.")]
Conversations = Annotated[Path, typer.Argument(help='JSON Lines of {"conversations": …}, or a folder of them.')]

# Stages after SFT: training/NAME.py holds run_NAME and the class of its own options, which -p reaches too.
STAGES: dict[str, tuple[str, str, str]] = {  # name: (options, what the command does, an example)
    "lora": (
        "LoRAOptions",
        "Train a LoRA adapter for a frozen model.",
        "minimind train lora data_samples/lora_identity.jsonl runs/sft runs/lora -p rank=4 -p learning_rate=1e-2",
    ),
    "grpo": (
        "GRPOOptions",
        "Let a model practise on questions whose answers can be checked (GRPO and its relatives).",
        "minimind train grpo data_samples/reason.jsonl runs/reason runs/grpo -p learning_rate=2e-4 -p objective=dapo",
    ),
    "ppo": (
        "PPOOptions",
        "As grpo, by PPO: a critic instead of groups.",
        "minimind train ppo data_samples/reason.jsonl runs/reason runs/ppo -p learning_rate=2e-4 -p lam=0.95",
    ),
    "dpo": (
        "DPOOptions",
        "Train a model on preference pairs (DPO).",
        "minimind train dpo data_samples/dpo.jsonl runs/sft runs/dpo -p learning_rate=1e-3 -p beta=0.1",
    ),
    "distill": (
        "DistillOptions",
        "Train a small student with the model in BASE as its teacher.",
        "minimind train distill data_samples/sft.jsonl runs/sft runs/student -p temperature=2.0 -p learning_rate=3e-3",
    ),
    "reason": (
        "ReasonOptions",
        "Fine-tune a model on visible reasoning: think and answer blocks.",
        "minimind train reason data_samples/reason.jsonl runs/sft runs/reason -p block_size=256 -p learning_rate=2e-3",
    ),
}


@train_app.command(epilog="Example: minimind train tokenizer data_samples/pretrain runs/tokenizer --vocab-size 3072")
@clean_errors
def tokenizer(data: Path, output: Path, vocab_size: int = 6400) -> None:
    """Train a tokenizer on the texts of DATA."""
    from minimind_lite.data.records import read_records
    from minimind_lite.tokenizer import Tokenizer

    trained = Tokenizer.train((record.text for record in read_records(data, "text")), vocab_size)
    trained.save(output)
    typer.echo(f"{trained.vocab_size} entries in {output}")


@train_app.command(
    epilog="Example: minimind train pretrain data_samples/pretrain runs/tokenizer runs/pretrain -p total_steps=300"
)
@clean_errors
def pretrain(
    data: Annotated[Path, typer.Argument(help='JSON Lines of {"text": …}, or a folder of them.')],
    tokenizer_folder: Annotated[Path, typer.Argument(metavar="TOKENIZER", help="A tokenizer's folder.")],
    output: Annotated[Path, typer.Argument(help="Where the model goes.")],
    preset: Annotated[str, typer.Option(help="A name from config.PRESETS.")] = "nano",
    block_size: BlockSize = 512,
    eval_data: EvalData = None,
    strict: Strict = False,
    changes: Changes = None,
) -> None:
    """Pretrain a new model. A run that was stopped goes on where it was. Settings for -p: those of TrainConfig."""
    from minimind_lite import config
    from minimind_lite.course.command import train_config
    from minimind_lite.tokenizer import Tokenizer
    from minimind_lite.training.pretrain import run_pretrain

    words = Tokenizer.load(tokenizer_folder)
    shape = config.preset(preset, vocab_size=words.vocab_size)
    options = {"block_size": block_size, "eval_data": eval_data, "strict": strict}
    run_pretrain(data, words, output, shape, train_config(changes), **options)  # type: ignore[arg-type]
    typer.echo(f"trained: {output}")


@train_app.command(
    epilog="Example: minimind train sft data_samples/sft.jsonl runs/pretrain runs/sft -p learning_rate=1.5e-3"
)
@clean_errors
def sft(
    data: Conversations,
    base: Base,
    output: Output,
    block_size: BlockSize = 512,
    eval_data: EvalData = None,
    strict: Strict = False,
    changes: Changes = None,
) -> None:
    """Fine-tune a model on conversations. A run that was stopped goes on. Settings for -p: those of TrainConfig."""
    from minimind_lite.course.command import train_config
    from minimind_lite.training.sft import run_sft

    run_sft(data, base, output, train_config(changes), block_size=block_size, eval_data=eval_data, strict=strict)
    typer.echo(f"trained: {output}")


def _stage_command(stage: str, options_name: str, words: str) -> Callable[..., None]:
    """The command of a stage after SFT: they all read data and a model's folder, and leave a folder."""

    def command(
        data: Annotated[Path, typer.Argument(help="JSON Lines, or a folder of them.")],
        base: Base,
        output: Output,
        eval_data: EvalData = None,
        strict: Strict = False,
        changes: Changes = None,
    ) -> None:
        from minimind_lite.course.command import stage_config

        module = import_module(f"minimind_lite.training.{stage}")
        config, options = stage_config(changes, getattr(module, options_name))
        getattr(module, f"run_{stage}")(data, base, output, config, options, eval_data=eval_data, strict=strict)
        typer.echo(f"trained: {output}")

    command.__doc__ = f"{words} A run that was stopped goes on. Settings for -p: TrainConfig's and {options_name}'s."
    return clean_errors(command)


for _name, (_options, _words, _example) in STAGES.items():
    train_app.command(name=_name, epilog=f"Example: {_example}")(_stage_command(_name, _options, _words))
