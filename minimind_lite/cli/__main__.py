"""Run the command as ``python -m minimind_lite.cli``, the form that torchrun can start."""

from minimind_lite.cli.main import app

app(prog_name="minimind")
