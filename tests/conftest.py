"""What pytest prints at the end: how many planted mistakes each check of the exercises has caught.

Whatever language this machine speaks, the commands speak English in the tests.
"""

import os

import pytest

os.environ["LC_ALL"] = "C.UTF-8"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    from checks_kit import CAUGHT, table

    if CAUGHT:
        terminalreporter.section("checks of the exercises: mistakes planted and caught")
        for line in table():
            terminalreporter.write_line(line)
