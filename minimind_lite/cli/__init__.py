"""The `minimind` command. Each subcommand reads its options, calls the library, and reports errors in one message."""

from minimind_lite.cli.main import app

__all__ = ["app"]
