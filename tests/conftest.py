"""What pytest prints at the end: how many planted mistakes each check of the exercises has caught.

Whatever language this machine speaks, the commands speak English in the tests.
"""

import os
from typing import Any

import pytest

os.environ["LC_ALL"] = "C.UTF-8"
FROM_OTHERS: list[str] = []  # the table's lines, where other processes run the tests


def lines() -> list[str]:
    from checks_kit import CAUGHT, table

    return table() if CAUGHT else FROM_OTHERS


def pytest_sessionfinish(session: pytest.Session) -> None:
    """One of several processes: hand the table over."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["caught"] = lines()


@pytest.hookimpl(optionalhook=True)  # xdist's
def pytest_testnodedown(node: Any) -> None:
    """Take over what another process counted."""
    FROM_OTHERS.extend(getattr(node, "workeroutput", {}).get("caught", []))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if found := lines():
        terminalreporter.section("checks of the exercises: mistakes planted and caught")
        for line in found:
            terminalreporter.write_line(line)
