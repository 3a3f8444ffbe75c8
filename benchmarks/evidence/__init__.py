"""One module per stage: ``measure(run)`` trains it at the quick profile with one seed, then tests held-out items."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minimind_lite.course.kit.profiles import settings_for
from minimind_lite.training.options import Resume

Measured = tuple[dict[str, float], list[dict[str, Any]]]  # figures by name, and the rows of metrics.jsonl for the band


@dataclass(frozen=True)
class Run:
    """One seed's run of all stages."""

    seed: int
    work: Path  # holds one folder per stage and seed, and tokenizer/
    resume: Resume

    def folder(self, stage: str) -> Path:
        """The folder of ``stage`` for this seed, which it writes and later stages read."""
        return self.work / f"{stage}-{self.seed}"

    def settings(self, stage: str) -> Any:
        """The stage's quick settings with this seed."""
        return settings_for(stage, "quick", {"seed": self.seed})
