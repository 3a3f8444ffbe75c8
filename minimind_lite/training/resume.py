"""Saving a run and taking it up again, bit by bit the same on the CPU."""

import json
from dataclasses import asdict, is_dataclass
from typing import TYPE_CHECKING, Any, Literal

from accelerate.utils import send_to_device
from torch import nn

from minimind_lite.training.checkpoint import (
    CheckpointError,
    differences,
    latest_checkpoint,
    random_states,
    remove_checkpoints,
    save_checkpoint,
    set_random_states,
)
from minimind_lite.training.config import TrainConfig

if TYPE_CHECKING:
    from minimind_lite.training.loop import Trainer

Resume = Literal["strict", "if_unfinished", "never"]


def recipe_of(
    model: nn.Module, config: TrainConfig, total_steps: int, examples: int, identity: dict[str, Any]
) -> dict[str, Any]:
    """What must be the same for a run to be continued, as plain JSON."""
    shape = getattr(model, "config", None)
    recipe = {
        "config": config.recipe() | {"total_steps": total_steps},
        "model": asdict(shape) if is_dataclass(shape) and not isinstance(shape, type) else type(model).__name__,
        "data": {"examples": examples},
    }
    return json.loads(json.dumps(recipe | identity, default=str))


def save_run(trainer: "Trainer") -> None:
    """Write a checkpoint of everything that the next step depends on (the main process does)."""
    scaler = trainer.accelerator.scaler
    if trainer.accelerator.is_main_process:
        state = {
            "model": {k: v for k, v in trainer.model.state_dict().items() if k not in _frozen(trainer.model)},
            "optimizer": trainer.optimizer.state_dict(),
            "scaler": scaler.state_dict() if scaler else {},
            "loss_fn": trainer.loss_fn.state_dict() if hasattr(trainer.loss_fn, "state_dict") else {},
            "random": random_states(),
            "items": trainer.items,
            "seconds": trainer.seconds,
        }
        save_checkpoint(trainer.output_dir / "checkpoints", trainer.step, state, trainer.recipe)
    trainer.accelerator.wait_for_everyone()


def restore_run(trainer: "Trainer", resume: Resume) -> bool:
    """Take up the last checkpoint as far as ``resume`` allows (see ``train``); says whether it did."""
    folder = trainer.output_dir / "checkpoints"
    found = None if resume == "never" else latest_checkpoint(folder)
    changed = differences(found.recipe, trainer.recipe) if found else []
    if found is None or (resume == "if_unfinished" and (changed or found.step >= trainer.total_steps)):
        if trainer.accelerator.is_main_process:
            remove_checkpoints(folder)
            (trainer.output_dir / "metrics.jsonl").unlink(missing_ok=True)
        return False
    if changed:
        raise CheckpointError(
            f"{folder} holds a run with another recipe:\n  " + "\n  ".join(changed) + "\nGive the old settings to go "
            'on with it, another output folder to keep it, or resume="never" to start afresh and drop it'
        )
    trainer.model.load_state_dict(_frozen(trainer.model) | found.state["model"])
    trainer.optimizer.load_state_dict(found.state["optimizer"])
    if trainer.accelerator.scaler:
        trainer.accelerator.scaler.load_state_dict(found.state["scaler"])
    if hasattr(trainer.loss_fn, "load_state_dict"):  # one that carries something from step to step: rollouts
        trainer.loss_fn.load_state_dict(send_to_device(found.state["loss_fn"], trainer.accelerator.device))
    trainer.step, trainer.items, trainer.seconds = found.step, found.state["items"], found.state["seconds"]
    set_random_states(found.state["random"])
    return True


def _frozen(model: nn.Module) -> dict[str, Any]:
    """Weights that do not train: a LoRA run's base. The recipe says which they are, a checkpoint need not hold them."""
    return {name: parameter for name, parameter in model.named_parameters() if not parameter.requires_grad}
