"""From folders of models and names of benchmarks to a written report: everything that ``minimind eval`` does."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from minimind_lite.data.benchmarks import find_benchmark
from minimind_lite.device import pick_device
from minimind_lite.evaluation.harness import Candidate, evaluate
from minimind_lite.evaluation.report import make_report, markdown, write_report
from minimind_lite.evaluation.suites import Suite, make_suites
from minimind_lite.interop.any_model import candidate


def score_folders(
    models: Sequence[Path],
    named: Sequence[str],
    output: Path,
    *,
    shots: int = 0,
    limit: int | None = None,
    scoring: str = "default",
    batch_size: int = 32,
    document_start: bool | None = None,
    fresh: bool = False,
    progress: bool = True,
) -> Iterator[str]:
    """Score, write the report into ``output``, and yield what there is to say: the tables, then the files.

    named: benchmarks, as ``data.benchmarks.find_benchmark`` takes them. The settings are those of
    ``evaluation.suites.make_suites``, ``evaluation.harness.evaluate`` and ``interop.any_model.open_model``.
    Raises what these raise, before anything is scored where the cause is known by then.
    """
    suites: list[Suite] = []
    for one in named:
        benchmark, folder = find_benchmark(one)
        suites += make_suites(benchmark, folder, scoring=scoring, shots=shots, limit=limit)
    candidates = _candidates(models, document_start)
    setting = f"document start: {'as trained' if document_start is None else document_start}"
    found = evaluate(
        candidates, suites, output, setting=setting, batch_size=batch_size, fresh=fresh, progress=progress
    )  # fmt: skip
    report = make_report(candidates, suites, found)
    about = {
        "models": {one.name: {"folder": path.name, "sha256": one.digest}
                   for one, path in zip(candidates, models, strict=True)},
        "suites": {one.key: {"title": one.title, "shots": one.shots, "items": len(one.items), "sha256": one.digest}
                   for one in suites},
        "settings": {"limit": limit, "document_start": document_start, "torch": torch.__version__},
    }  # fmt: skip
    written = write_report(report, output, about)
    yield markdown(report)
    yield f"every item: {output / 'items.jsonl'}; figures: {', '.join(map(str, written))}"
    if not any(path.suffix == ".png" for path in written):
        yield "no picture: it is drawn by matplotlib, which is not installed"


def _candidates(models: Sequence[Path], document_start: bool | None) -> list[Candidate]:
    """Each called by its folder's name, or by its whole path if two have the same name."""
    device, names = str(pick_device()), Counter(path.name for path in models)
    return [
        candidate(path, device, document_start, path.name if path.name and names[path.name] == 1 else str(path))
        for path in models
    ]
