"""The sizes at which a chapter runs: quick, colab, full, and the smoke size of the tests.

A chapter's ``settings.py`` holds ``SETTINGS`` (what ``by_profile`` returns), ``MINUTES``, ``BUILDS`` for the README,
``ARTIFACT`` if a later chapter needs a file of its own, ``DATA``, the roles of the published files that it reads at the
profile full, and ``ALONE = True`` if it measures speed. A notebook reads ``course.begin(...).settings`` and holds
no sizes itself.
"""

import ast
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from minimind_lite.settings import read_settings, settable, with_changes

from .bounds import bounded, step_bound
from .discovery import chapter_part
from .errors import CourseError
from .language import say
from .settings import Settings

PROFILES = ("quick", "colab", "full")
RESULTS = "results.json"  # what every chapter leaves behind


class Minutes(NamedTuple):
    """How long a chapter takes. quick: measured on 2 CPU cores; colab (one T4), full (one 24 GB card): estimates."""

    quick: float
    colab: float
    full: float


def by_profile(
    quick: Any,
    *,
    colab: Mapping[str, Any] | None = None,
    full: Mapping[str, Any] | None = None,
    smoke: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The settings ``quick`` at every size: each of the others is given as what differs from quick."""
    others = {"colab": colab, "full": full, "smoke": smoke}
    return {"quick": quick} | {name: replace(quick, **(different or {})) for name, different in others.items()}


def is_smoke() -> bool:
    """Whether the tests asked for the size that takes seconds (``MINIMIND_SMOKE=1``)."""
    return os.environ.get("MINIMIND_SMOKE") == "1"


def check_profile(profile: str) -> str:
    """Return ``profile``, or raise CourseError with the list of profiles."""
    if profile not in PROFILES:
        raise CourseError(say("no profile is called {name}; there are: {known}",
                              name=repr(profile), known=", ".join(PROFILES)))  # fmt: skip
    return profile


def settings_for(chapter: str, profile: str, changes: Mapping[str, Any] | None = None) -> Any:
    """A chapter's settings at this profile (in the tests: at smoke size), with those ``changes`` that are not None.

    No stage is longer than ``bounds.step_bound`` allows, whatever the changes say.
    Raises CourseError for an unknown profile or name, ConfigError for a value of the wrong type.
    """
    check_profile(profile)
    sizes = _from_settings(chapter, "SETTINGS", {})
    settings = sizes.get("smoke" if is_smoke() else profile, Settings())
    known, changes = settable(settings), changes or {}
    if unknown := sorted(set(changes) - set(known)):  # as with_changes says it, in the language of the chapter
        raise CourseError(say("{chapter} has no setting called {unknown}; it has: {known}", chapter=chapter,
                              unknown=", ".join(unknown), known=", ".join(known)))  # fmt: skip
    settings = with_changes(settings, changes, chapter)
    return bounded(settings, step_bound()) if step_bound() else settings


def read_parameters(chapter: str, profile: str, texts: Mapping[str, str]) -> dict[str, Any]:
    """A chapter's parameters from the command line, as the types of its settings; "None" takes the profile's value.

    Raises ConfigError for a value that the settings refuse. What is no setting is read as papermill would read it.
    """
    settings = settings_for(chapter, profile)
    own = settable(settings)
    read = read_settings({n: text for n, text in texts.items() if n in own and text != "None"}, type(settings))
    with_changes(settings, read, chapter)
    return {name: read[name] if name in read else _guessed(text) for name, text in texts.items()}


def _guessed(text: str) -> Any:
    try:
        value = ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return text
    return value if value is None or isinstance(value, bool | int | float) else text


def expected_minutes(chapter: str, profile: str) -> float | None:
    """How long the chapter takes at this profile; None if its settings do not say."""
    minutes = _from_settings(chapter, "MINUTES", None)
    return None if minutes is None else getattr(minutes, check_profile(profile))


def artifact_of(chapter: str) -> str:
    """The file in the chapter's output folder that later chapters need."""
    return str(_from_settings(chapter, "ARTIFACT", RESULTS))


def published_data(chapter: str) -> tuple[str, ...]:
    """The roles (see ``data_files.FULL_DATA``) of the published files that the chapter reads at the profile full."""
    return tuple(_from_settings(chapter, "DATA", ()))


def runs_alone(chapter: str) -> bool:
    """Whether the chapter measures speed, so that none may run beside it."""
    return bool(_from_settings(chapter, "ALONE", False))


def _from_settings(chapter: str, name: str, default: Any) -> Any:
    return getattr(chapter_part(chapter, "settings"), name, default)
