"""Snapshots of a model on its way: how good was it after a tenth of its training?

Checkpoints are for continuing and hold the optimizer too, so a run keeps only its newest ones. Milestones are plain
model folders, at steps that double: most of what is learned is learned early.
"""

import shutil
from pathlib import Path

from minimind_lite.model.pretrained import save_pretrained
from minimind_lite.training.callbacks import Callback, RunState

FOLDER = "milestones"


class Milestones(Callback):
    """Saves the model before the first step, after the last, and at a half, a quarter, … of the steps.

    folder: emptied when a run begins from its first step. halvings: how often the number of steps is halved.
    """

    def __init__(self, folder: Path, halvings: int = 4) -> None:
        self.folder, self.halvings = folder, halvings

    def before_fit(self, state: RunState) -> None:
        self.steps = milestone_steps(state.total_steps, self.halvings)
        if state.step == 0:
            shutil.rmtree(self.folder, ignore_errors=True)
            self._save(state)

    def after_step(self, state: RunState) -> None:
        if state.step in self.steps:
            self._save(state)

    def _save(self, state: RunState) -> None:
        save_pretrained(state.model, None, self.folder / f"step-{state.step:08d}-items-{state.items}")  # type: ignore[arg-type]


def milestone_steps(total_steps: int, halvings: int) -> list[int]:
    """The steps after which a model is saved.

    >>> milestone_steps(1000, 3)
    [125, 250, 500, 1000]
    """
    return sorted({total_steps >> power for power in range(halvings + 1)} - {0})


def milestones(folder: Path) -> list[tuple[int, int, Path]]:
    """(step, tokens trained on, model folder) of each snapshot in ``folder``, first to last; none if there are none."""
    found = (path for path in sorted(folder.glob("step-*-items-*")))
    return [(int(path.name.split("-")[1]), int(path.name.split("-")[3]), path) for path in found]
