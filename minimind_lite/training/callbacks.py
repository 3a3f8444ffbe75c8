"""Small hooks around the loop, in the style of fastai's miniai: write the one method you need.

class StopWhenGood(Callback):
    def after_step(self, state):
        if state.row.get("eval_loss", 9) < 2:
            raise StopTraining
"""

import json
import logging
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn
from tqdm import tqdm

from minimind_lite.files import UnreadableFile, parse_json, write_text

logger = logging.getLogger(__name__)


@dataclass(kw_only=True)
class RunState:
    """The state of a run. A callback gets the loop's Trainer, which is a RunState with more fields."""

    model: nn.Module
    total_steps: int = 0  # optimizer steps of the whole run
    step: int = 0  # how many of them are done
    items: int = 0  # what the loss function has counted so far: trained tokens, or pairs
    seconds: float = 0.0  # wall time of the steps
    row: dict[str, Any] = field(default_factory=dict)  # the metrics of the last step
    history: list[dict[str, Any]] = field(default_factory=list)  # the rows that were logged
    logging: bool = False  # whether the last step's row was logged


class StopTraining(Exception):
    """Raised by a callback after a step: the run ends cleanly, with a checkpoint if it saves any."""


class Callback:
    """Called by the loop with its state."""

    def before_fit(self, state: RunState) -> None:
        """Once, before the first step."""

    def after_step(self, state: RunState) -> None:
        """After each step."""

    def after_fit(self, state: RunState) -> None:
        """Once, after the last step."""


class ProgressBar(Callback):
    """A tqdm bar with the newest loss, on standard error."""

    def before_fit(self, state: RunState) -> None:
        self.bar = tqdm(total=state.total_steps, initial=state.step, unit="step", file=sys.stderr, mininterval=0.5)

    def after_step(self, state: RunState) -> None:
        self.bar.set_postfix(loss=f"{state.row['loss']:.3f}", refresh=False)
        self.bar.update()

    def after_fit(self, state: RunState) -> None:
        self.bar.close()


class MetricsFile(Callback):
    """One JSON line for each row of metrics.

    A resumed run keeps the rows up to its checkpoint and drops the later ones: it is about to write them again.
    """

    def __init__(self, path: Path):
        self.path = path

    def before_fit(self, state: RunState) -> None:
        state.history[:] = [row for row in read_metrics(self.path) if row["step"] <= state.step]
        write_text(self.path, "".join(map(_line, state.history)))

    def after_step(self, state: RunState) -> None:
        if state.logging:
            with self.path.open("a", encoding="utf-8", newline="\n") as file:
                file.write(_line(state.row))


def read_metrics(path: str | Path) -> list[dict[str, Any]]:
    """The rows of a metrics.jsonl; a line that is no row with a step (cut short by a kill, damaged) is skipped."""
    path, rows, bad = Path(path), [], []
    lines = path.read_bytes().splitlines() if path.is_file() else []
    for number, line in enumerate(lines, start=1):
        try:
            row = parse_json(line, f"{path}, line {number}")
            if not isinstance(row, dict) or not isinstance(row.get("step"), int):
                raise UnreadableFile(f"{path}, line {number}: not a row of metrics with a step")
            rows.append(row)
        except UnreadableFile as error:
            bad.append(error)
    if bad:
        logger.warning("skipped %d damaged lines of metrics; the first: %s", len(bad), bad[0])
    return rows


def _line(row: dict[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False) + "\n"
