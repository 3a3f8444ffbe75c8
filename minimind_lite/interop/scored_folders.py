"""From models and names of benchmarks to a written report: everything that ``minimind eval`` does."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal

import torch

from minimind_lite.data.benchmarks import Benchmark, find_benchmark
from minimind_lite.device import pick_device
from minimind_lite.evaluation.harness import Candidate, evaluate
from minimind_lite.evaluation.report import make_report, markdown, write_report
from minimind_lite.evaluation.suites import Suite, make_suites
from minimind_lite.interop.any_model import ModelPath, candidate
from minimind_lite.interop.comparison import find_model, published_scores
from minimind_lite.interop.lm_eval_engine import LmEval, version
from minimind_lite.settings import ConfigError

Engine = Literal["own", "lm-eval"]


def score_folders(
    models: Sequence[Path | str],
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
    engine: str = "own",
    run_code: bool = False,
) -> Iterator[str]:
    """Score, write the report into ``output``, and yield what there is to say: the tables, then the files.

    models: as ``interop.comparison.find_model`` takes them. named: benchmarks, as ``data.benchmarks.find_benchmark``
    takes them. engine: own, or lm-eval. The settings are those of ``evaluation.suites.make_suites``,
    ``evaluation.harness.evaluate`` and ``interop.any_model.open_model``.
    Raises what these raise, before anything is scored where the cause is known by then.
    """
    document_start, setting = _setting(engine, document_start)
    suites, sources = _suites(named, scoring, shots, limit)
    found = [find_model(one) for one in models]
    paths = [path for path, _ in found]
    candidates = _candidates(paths, document_start, run_code)
    other = _other_engine(engine, dict(zip([one.digest for one in candidates], paths, strict=True)), sources,
                          batch_size, run_code)  # fmt: skip
    with other or nullcontext():
        scores = evaluate(
            candidates, suites, output, setting=setting, batch_size=batch_size, fresh=fresh, progress=progress,
            engine=other,
        )  # fmt: skip
    report = make_report(candidates, suites, scores)
    settings = {"limit": limit, "document_start": document_start, "engine": _engine_name(engine)}
    written = write_report(report, output, _about(candidates, paths, suites, settings))
    yield markdown(report)
    if shots and (plain := [one.title for one in suites if not one.shots]):
        yield f"asked without examples, because they have none: {', '.join(dict.fromkeys(plain))}"
    yield from published_scores([known.name for _, known in found if known], [one.name for one in suites])
    yield f"every item: {output / 'items.jsonl'}; figures: {', '.join(map(str, written))}"
    if not any(path.suffix == ".png" for path in written):
        shares = any(one.chance is not None for one in report.scores)
        yield f"no picture: {'it is drawn by matplotlib, which is not installed' if shares else 'it shows shares only'}"


def _setting(engine: str, document_start: bool | None) -> tuple[bool | None, str]:
    """Whether texts get a start token, and what tells runs apart that may not share a folder."""
    if engine not in ("own", "lm-eval"):
        raise ConfigError(f"engine must be own or lm-eval, not {engine!r}")
    if engine == "own":
        return document_start, f"document start: {'as trained' if document_start is None else document_start}"
    if document_start:
        raise ConfigError("lm-eval puts no start token before a text: leave --document-start away")
    return False, f"document start: False, engine: {_engine_name(engine)}"


def _engine_name(engine: str) -> str:
    return "own" if engine == "own" else f"lm-eval {version()}"


def _suites(
    named: Sequence[str], scoring: str, shots: int, limit: int | None
) -> tuple[list[Suite], dict[str, tuple[Benchmark, Path]]]:
    """The suites of these benchmarks, and where each comes from, by its key."""
    suites: list[Suite] = []
    sources: dict[str, tuple[Benchmark, Path]] = {}
    for one in named:
        benchmark, folder = find_benchmark(one)
        made = make_suites(benchmark, folder, scoring=scoring, shots=shots if benchmark.examples else 0, limit=limit)
        suites += made
        sources |= {suite.key: (benchmark, folder) for suite in made}
    return suites, sources


def _other_engine(
    engine: str,
    paths: dict[str, ModelPath],
    sources: dict[str, tuple[Benchmark, Path]],
    batch_size: int,
    run_code: bool,
) -> LmEval | None:
    if engine == "own":
        return None
    return LmEval(paths, sources, device=str(pick_device()), batch_size=batch_size, run_code=run_code)


def _candidates(paths: Sequence[ModelPath], document_start: bool | None, run_code: bool) -> list[Candidate]:
    """Each called by its folder's name, or by its whole path if two have the same name."""
    device, names = str(pick_device()), Counter(path.name for path in paths)
    return [
        candidate(
            path.base, device, document_start, path.name if path.name and names[path.name] == 1 else str(path),
            adapter=path.adapter, run_code=run_code,
        )
        for path in paths
    ]  # fmt: skip


def _about(
    candidates: Sequence[Candidate], paths: Sequence[ModelPath], suites: Sequence[Suite], settings: dict[str, Any]
) -> dict[str, Any]:
    """How the figures came about, for results.json."""
    return {
        "models": {one.name: {"folder": path.name, "sha256": one.digest}
                   for one, path in zip(candidates, paths, strict=True)},
        "suites": {one.key: {"title": one.title, "shots": one.shots, "items": len(one.items), "sha256": one.digest}
                   for one in suites},
        "settings": {**settings, "torch": torch.__version__},
    }  # fmt: skip
