"""How tests are divided when several processes share them (`make unit WORKERS=2`): by file, as fixtures are.

Chapters hand files on to one another in build/smoke, so they stay together, but for those of ALONE, whose cells read
nothing of others; so do the solutions, which note what is solved. TOGETHER names test files that must not run beside
each other. What takes longest begins first, so that no process is left with it when the others have nothing to do.

xdist's own `--dist loadgroup` writes the group into a test's name, which does nothing in pytest 9.
"""

from pathlib import PurePosixPath
from typing import Any

import pytest

TOGETHER = {
    "tests/test_grade.py": "grading",  # two graders at once could choose the same user for their kernels
    "tests/test_grade_attacks.py": "grading",
}
ALONE = ("02_rmsnorm", "03_rope", "04_attention", "05_swiglu", "07_transformer", "07b_cleaning", "18_scale")
# Minutes to half a minute each, the longest first. The rest is short enough to come in any order.
LONGEST = (
    "notebooks", "grading", "solutions", "tests/test_full_path.py", "tests/test_serving_guard.py",
    "tests/test_checks_planted.py", "tests/test_language.py", "tests/test_webui.py", "tests/test_scale.py",
    "tests/test_bench.py", "tests/test_processes.py", "tests/test_course_run.py", "tests/test_base_install.py",
    "tests/test_cli.py", "tests/test_course_jobs.py", "tests/test_exercises.py",
)  # fmt: skip


def group_of(nodeid: str) -> str:
    """What runs in one process, in its order: a file of tests, a folder of notebooks, or a group of TOGETHER."""
    path = PurePosixPath(nodeid.partition("::")[0].replace("\\", "/"))
    folder = path.parts[0]
    if folder == "notebooks" and path.stem in ALONE:
        return path.stem  # both editions, which write into the same folder
    return folder if folder in ("notebooks", "solutions") else TOGETHER.get(str(path), str(path))


def begins_before(group: str, tests: int) -> tuple[int, int]:
    """The key by which groups are sorted: those of LONGEST in their order, then those with the most tests."""
    return LONGEST.index(group) if group in LONGEST else len(LONGEST), -tests


@pytest.hookimpl(optionalhook=True)  # xdist's
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """xdist's division by file, with these groups."""
    from xdist.scheduler import LoadFileScheduling

    class Grouped(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group_of(nodeid)

        def _assign_work_unit(self, node: Any) -> None:
            """Called whenever a process can take another group: the queue gives its first."""
            for group in sorted(self.workqueue, key=lambda one: begins_before(one, len(self.workqueue[one]))):
                self.workqueue.move_to_end(group)
            super()._assign_work_unit(node)

    return Grouped(config, log) if config.getvalue("dist") == "loadfile" else None
