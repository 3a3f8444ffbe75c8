"""Small hooks around the loop, in the manner of fastai's miniai: write the one method you need.

class StopWhenGood(Callback):
    def after_step(self, trainer):
        if trainer.row.get("eval_loss", 9) < 2:
            raise StopTraining
"""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

if TYPE_CHECKING:
    from minimind_lite.training.loop import Trainer


class StopTraining(Exception):
    """Raised by a callback after a step: the run ends in good order, with a checkpoint where there are any."""


class Callback:
    """Called by the loop. ``trainer.step`` counts finished steps, ``trainer.row`` holds this step's metrics."""

    def before_fit(self, trainer: "Trainer") -> None:
        """Once, before the first step."""

    def after_step(self, trainer: "Trainer") -> None:
        """After each step."""

    def after_fit(self, trainer: "Trainer") -> None:
        """Once, after the last step."""


class ProgressBar(Callback):
    """A tqdm bar with the newest loss, on the standard error stream."""

    def before_fit(self, trainer: "Trainer") -> None:
        self.bar = tqdm(total=trainer.total_steps, initial=trainer.step, unit="step", file=sys.stderr, mininterval=0.5)

    def after_step(self, trainer: "Trainer") -> None:
        self.bar.set_postfix(loss=f"{trainer.row['loss']:.3f}", refresh=False)
        self.bar.update()

    def after_fit(self, trainer: "Trainer") -> None:
        self.bar.close()


class MetricsFile(Callback):
    """One JSON line for each row of metrics.

    A resumed run takes up the rows until its checkpoint and drops the later ones: it is about to write them again.
    """

    def __init__(self, path: Path):
        self.path = path

    def before_fit(self, trainer: "Trainer") -> None:
        trainer.history[:] = [row for row in read_metrics(self.path) if row["step"] <= trainer.step]
        part = self.path.with_name(f".{self.path.name}.tmp")  # a kill while writing must not cost the old rows
        part.write_text("".join(map(_line, trainer.history)), encoding="utf-8", newline="\n")
        part.replace(self.path)

    def after_step(self, trainer: "Trainer") -> None:
        if trainer.logging:
            with self.path.open("a", encoding="utf-8", newline="\n") as file:
                file.write(_line(trainer.row))


def read_metrics(path: str | Path) -> list[dict[str, Any]]:
    """The rows of a metrics.jsonl; a last line that a kill cut short is passed over."""
    path, rows = Path(path), []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows


def _line(row: dict[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False) + "\n"
