"""The one error that the course raises on purpose."""

from minimind_lite.config import ConfigError


class CourseError(ConfigError):
    """A chapter cannot run as asked; the message says why, and what to do about it."""
