"""``python -m minimind_lite.cli``, which torchrun can start."""

from minimind_lite.cli.main import app

app(prog_name="minimind")
