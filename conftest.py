"""How tests are divided when several processes share them (`make unit WORKERS=2`).

One process runs a whole file, since its tests share what its fixtures made. Chapters hand files on to one another in
build/smoke, so they stay together, and so do the solutions, which note what is solved. A test that must not run beside
tests of another file names a group of its own: ``pytestmark = pytest.mark.xdist_group("grading")``.
"""

import pytest


@pytest.hookimpl(tryfirst=True)  # xdist reads the groups in the same hook
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Give every item without a group its file's; a notebook that of its folder."""
    if not config.pluginmanager.hasplugin("xdist"):
        return
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            path = item.path.relative_to(config.rootpath)
            item.add_marker(pytest.mark.xdist_group(path.parts[0] if path.suffix == ".ipynb" else path.stem))
