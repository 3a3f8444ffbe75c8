"""The training settings of `minimind train`, with what ``-p NAME=VALUE`` changed."""

from collections.abc import Sequence
from typing import Any

from minimind_lite.training.config import TrainConfig

from .kit.changes import changed, parse_parameters
from .kit.errors import CourseError


def train_config(changes: Sequence[str] | None) -> Any:
    """TrainConfig with the changes."""
    return changed(TrainConfig(save_every=200), parse_parameters(changes or ()), "TrainConfig")


def stage_config(changes: Sequence[str] | None, options: type[Any]) -> tuple[Any, Any]:
    """The changes sorted into the training settings and the stage's own options: (TrainConfig, options).

    Raises CourseError for a name that neither has.
    """
    given, own = parse_parameters(changes or ()), options.__dataclass_fields__
    known = TrainConfig.__dataclass_fields__.keys() | own.keys()
    if given.keys() - known:
        names = ", ".join(sorted(given.keys() - known))
        raise CourseError(f"no setting is called {names}; there are: {', '.join(sorted(known))}")
    config = {name: value for name, value in given.items() if name not in own}
    mine = {name: value for name, value in given.items() if name in own}
    return changed(TrainConfig(save_every=200), config, "TrainConfig"), changed(options(), mine, options.__name__)
