"""What is taken out of an executed notebook before it is stored: timings, paths, widget views, progress bars."""

import platform
import re
import sys
from pathlib import Path
from typing import Any

from minimind_lite.files import repository_root

from .files import MADE_BY, RENDERS

KEPT_CELL_METADATA = {"tags", "jupyter", "slideshow", MADE_BY, RENDERS}
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
NOTEBOOK_METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python", "file_extension": ".py", "mimetype": "text/x-python"},
}
LOCAL_PATH = re.compile(r"(?<![\w.:/])(?:/(?:home|Users|root|tmp|work|workspace|private|mnt|var)/|[A-Z]:\\)[\w.\\/-]*")
_PROGRESS_BAR = re.compile(r"^.*\d+%\|.*\|.*$|^.*\d+(it|batch|step)s? \[\d\d:\d\d.*$", re.MULTILINE)
_ADDRESS = re.compile(r"\b0x[0-9a-f]{6,16}\b")
_CELL_FILE = re.compile(r"\S*ipykernel_\d+[\\/]\d+\.py")


def clean(notebook: Any) -> Any:
    """The same notebook, changed in place so that it holds only what every machine would write."""
    notebook.metadata = type(notebook.metadata)(NOTEBOOK_METADATA)
    notebook.cells = [cell for cell in notebook.cells if "injected-parameters" not in cell.metadata.get("tags", [])]
    count = 0
    for cell in notebook.cells:
        cell.metadata = type(cell.metadata)({k: v for k, v in cell.metadata.items() if v and k in KEPT_CELL_METADATA})
        if cell.cell_type == "code":
            cell.outputs = clean_outputs(cell.outputs)
            if cell.execution_count is not None:
                count += 1
                cell.execution_count = count
                for output in cell.outputs:
                    if "execution_count" in output:
                        output.execution_count = count
    return notebook


def clean_outputs(outputs: list[Any]) -> list[Any]:
    """Outputs without widget views (dead without a kernel) and progress bars, with paths and addresses replaced."""
    kept: list[Any] = []
    for output in outputs:
        if output.output_type == "stream":
            output.text = clean_text(_settle_carriage_returns(output.text))
            if not output.text.strip():
                continue
            if kept and kept[-1].output_type == "stream" and kept[-1].name == output.name:
                kept[-1].text += output.text
                continue
        elif output.output_type == "error":
            output.traceback = [clean_text(line) for line in output.traceback]
            output.evalue = clean_text(output.evalue)
        elif WIDGET_VIEW in output.data:
            continue
        else:
            output.metadata = type(output.metadata)(_alternative_text(output.metadata))
            for kind, text in output.data.items():
                if kind.startswith("text/") or kind == "image/svg+xml":
                    output.data[kind] = clean_text(text)
        kept.append(output)
    return kept


def _alternative_text(metadata: Any) -> dict[str, Any]:
    """Of an output's metadata, what a picture says to those who cannot see it: the rest depends on the machine."""
    described = {kind: one for kind, one in metadata.items() if isinstance(one, dict) and "alt" in one}
    return {kind: {"alt": clean_text(one["alt"])} for kind, one in described.items()}


def clean_text(text: str) -> str:
    """``text`` without what only this machine would write."""
    text = _CELL_FILE.sub("cell", _ADDRESS.sub("0x…", text))
    text = re.sub(r"\S*[\\/]site-packages[\\/]", "site-packages/", text)
    for folder in (repository_root(), Path(sys.prefix), Path.home()):
        text = text.replace(f"{folder}/", "").replace(f"{folder}\\", "").replace(str(folder), ".")
    text = LOCAL_PATH.sub("…", text)
    name = platform.node()
    if len(name) >= 6 and re.search(r"[\d.-]", name):  # a name such as "python" would hit ordinary words
        text = re.sub(rf"\b{re.escape(name)}\b", "this-machine", text)
    return text


def _settle_carriage_returns(text: str) -> str:
    """What a terminal would show in the end: each line from its last carriage return on, without progress bars."""
    lines = [line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n")]
    return "\n".join(line for line in lines if not _PROGRESS_BAR.match(line))
