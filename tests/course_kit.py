"""Small notebooks that the tests of the course runner execute in seconds, in folders of their own."""

from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

PARAMETERS = (
    'profile = "quick"\noutput_dir = "build/course/artifacts"\nlanguage = "en"\ncount = 3\nlearning_rate = None'
)
RECORD = "chapter.record(score_before=0.25, score=0.5 * count)"


# Stands in for `course.begin` where only the runner is tested: a kernel that never imports torch starts in a second.
LIGHT = """import json, pathlib
stage = pathlib.Path(output_dir) / "{name}".partition("_")[2]
class chapter:
    def require(name):
        assert (stage.parent / name).is_dir()
    def record(**figures):
        stage.mkdir(parents=True, exist_ok=True)
        (stage / "results.json").write_text(json.dumps({{"stage": stage.name, "figures": figures}}))"""
REAL = 'from minimind_lite import course\nchapter = course.begin("{name}", profile=profile, output_dir=output_dir)'


def write_chapter(folder: Path, name: str, *work: str, parameters: str = PARAMETERS, real: bool = False) -> Path:
    """A chapter whose work is ``work``; with ``real`` it begins as every chapter does, else it only looks like one."""
    begin = (REAL if real else LIGHT).format(name=name)
    cells = [
        new_markdown_cell(f"# The chapter {name.partition('_')[2]}\n\nYou will build little."),
        new_code_cell("pass", metadata={"tags": ["setup"]}),
        new_code_cell(parameters, metadata={"tags": ["parameters"]}),
        new_code_cell(begin),
        new_markdown_cell("## Work"),
        *[new_code_cell(source) for source in work or (RECORD,)],
    ]
    path = folder / f"{name}.ipynb"
    folder.mkdir(parents=True, exist_ok=True)
    kernel = {"name": "python3", "language": "python", "display_name": "Python 3"}
    nbformat.write(new_notebook(cells=cells, metadata={"kernelspec": kernel}), path)
    return path
