"""The `minimind` command: thin. Each command reads its options, calls the library, and says errors in one message."""

from minimind_lite.cli.main import app

__all__ = ["app"]
