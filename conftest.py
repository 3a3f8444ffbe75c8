"""How tests are divided when several processes share them (`make unit WORKERS=2`): by file, as fixtures are.

Chapters hand files on to one another in build/smoke, so they stay together, and so do the solutions, which note what is
solved. TOGETHER names test files that must not run beside each other.

xdist's own `--dist loadgroup` writes the group into a test's name, which does nothing in pytest 9.
"""

from typing import Any

import pytest

TOGETHER = {
    "tests/test_grade.py": "grading",  # two graders at once could choose the same user for their kernels
    "tests/test_grade_attacks.py": "grading",
}


def group_of(nodeid: str) -> str:
    """What runs in one process, in its order: a file of tests, a folder of notebooks, or a group of TOGETHER."""
    path = nodeid.partition("::")[0].replace("\\", "/")
    folder = path.partition("/")[0]
    return folder if folder in ("notebooks", "solutions") else TOGETHER.get(path, path)


@pytest.hookimpl(optionalhook=True)  # xdist's
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """xdist's division by file, with these groups."""
    from xdist.scheduler import LoadFileScheduling

    class Grouped(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group_of(nodeid)

    return Grouped(config, log) if config.getvalue("dist") == "loadfile" else None
