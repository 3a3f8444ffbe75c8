"""Let lm-eval score the same questions: `minimind eval --engine lm-eval`.

lm-eval (EleutherAI's lm-evaluation-harness) is what published scores are made with. It runs here with its own task
files, its own prompts and its own forward passes; only where the data lie is changed: each question is written out in
the columns of the Hugging Face hub, which is what its tasks read. What it finds becomes the same table and picture.

For C-Eval, and for everything in English, its prompts are ours to the letter. For CMMLU and ACLUE it names each of
their subjects in a sentence of its own, so scores there differ a little. For TMMLU+, the sample exams, and subjects
that it does not know, its task for CMMLU is introduced by our sentence.
"""

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from minimind_lite.data.benchmarks import LETTERS, Benchmark, Question, read_with_rows, subject_names
from minimind_lite.data.tables import Row
from minimind_lite.evaluation.harness import Candidate, ScoredItem
from minimind_lite.evaluation.suites import Item, Suite, introduction
from minimind_lite.interop.any_model import ModelPath, as_plain_folder
from minimind_lite.settings import ConfigError

INSTALL = 'pip install "minimind-lite[lm-eval]"'
Columns = Callable[[Question, Row], dict[str, Any]]


@dataclass(frozen=True)
class TaskFile:
    """lm-eval's task for a suite. file: within its tasks; "{group}" stands for a subject's name."""

    file: str
    columns: Columns
    changes: Mapping[str, Any] = field(default_factory=dict)  # to what the file says
    template: str = ""  # the file for subjects that have none of their own
    introduced: bool = False  # our sentence about the subject is put first, as always for such subjects


def _lettered(question: Question, row: Row) -> dict[str, Any]:
    named = dict(zip("ABCD", question.choices, strict=True))
    lower = {"question": question.text, "answer": LETTERS[question.answer]}
    return named | lower | {name.capitalize(): value for name, value in lower.items()}


def _labelled(question: Question, row: Row) -> dict[str, Any]:
    labels = list(LETTERS[: len(question.choices)])
    choices = {"text": list(question.choices), "label": labels}
    texts = {"question": question.text, "question_stem": question.text}
    return texts | {"choices": choices, "answerKey": labels[question.answer]}


def _as_read(question: Question, row: Row) -> dict[str, Any]:
    """The row itself; a label that is now a number and now its digits becomes text."""
    return {name: str(value) if name == "label" else value for name, value in row.values.items()}


def _numbered(question: Question, row: Row) -> dict[str, Any]:
    return dict(row.values) | {"label": question.answer}


_CMMLU = "cmmlu/_default_template_yaml"
TASKS = {  # suite → lm-eval's task
    "samples/letter": TaskFile(_CMMLU, _lettered, introduced=True),
    "ceval/letter": TaskFile("ceval/ceval-valid_{group}.yaml", _lettered, {}, "ceval/_default_ceval_yaml"),
    "cmmlu/letter": TaskFile("cmmlu/cmmlu_{group}.yaml", _lettered, {}, _CMMLU),
    "aclue/letter": TaskFile("aclue/aclue_{group}.yaml", _lettered, {}, "aclue/_default_template_yaml"),
    "tmmluplus/letter": TaskFile(_CMMLU, _lettered, introduced=True),
    "openbookqa/answer": TaskFile("openbookqa/openbookqa.yaml", _labelled),
    "arc/answer": TaskFile("arc/arc_easy.yaml", _labelled),
    "piqa/answer": TaskFile("piqa/piqa.yaml", _numbered),
    "hellaswag/answer": TaskFile("hellaswag/hellaswag.yaml", _as_read),
    "sciq/answer": TaskFile("sciq/sciq.yaml", _as_read),
    # lm-eval puts a space before BLiMP's sentences, which changes their first token; the authors' have none.
    "blimp/pairs": TaskFile("blimp/_template_yaml", _as_read, {"target_delimiter": ""}),
    "zhoblimp/pairs": TaskFile("zhoblimp/_template_yaml", _as_read),
    "samples-en/pairs": TaskFile("blimp/_template_yaml", _as_read, {"target_delimiter": ""}),
    "samples-zh/pairs": TaskFile("zhoblimp/_template_yaml", _as_read),
    "lambada/cloze": TaskFile("lambada/lambada_openai.yaml", _as_read),
}


class LmEval:
    """The engine: called with a candidate, a suite and the items that are missing, it yields them scored.

    paths: of the candidates, by their digest. sources: the benchmark and the folder of every suite, by its key.
    Use it as a context manager: models that transformers cannot read as they lie are converted for that long.
    Raises ConfigError for a suite that lm-eval has no task for, and without lm-eval.
    """

    def __init__(
        self,
        paths: Mapping[str, ModelPath],
        sources: Mapping[str, tuple[Benchmark, Path]],
        *,
        device: str = "cpu",
        batch_size: int = 32,
        run_code: bool = False,
    ) -> None:
        version()
        unknown = [key for key in sources if key not in TASKS]
        if unknown:
            raise ConfigError(f"lm-eval has no task for {unknown[0]}; it has one for {', '.join(TASKS)}")
        self._paths, self._sources, self._device, self._batch_size = paths, sources, device, batch_size
        self._run_code = run_code
        self._model: tuple[str, Any] | None = None
        self._kept = ExitStack()

    def __enter__(self) -> "LmEval":
        return self

    def __exit__(self, *_: object) -> None:
        self._kept.close()

    def __call__(self, candidate: Candidate, suite: Suite, missing: Sequence[Item]) -> Iterator[ScoredItem]:
        """Task by task: one for each subject where there are subjects, else one for all."""
        model, (benchmark, folder) = self._loaded(candidate), self._sources[suite.key]
        wanted = {item.id: item for item in missing}
        asked = [pair for pair in read_with_rows(benchmark, folder) if pair[0].id in wanted]
        shown = read_with_rows(benchmark, folder, examples=True) if suite.shots else []
        names = subject_names(folder)
        by_subject = suite.scoring == "letter" or suite.shots > 0
        for group in dict.fromkeys(question.group if by_subject else "" for question, _ in asked):
            rows, examples = (
                [pair for pair in pairs if not by_subject or pair[0].group == group] for pairs in (asked, shown)
            )
            items = [wanted[question.id] for question, _ in rows]
            sentence = introduction(names.get(group)) if suite.scoring == "letter" else ""
            yield from run_task(model, suite, group, sentence, rows, examples, items)

    def _loaded(self, candidate: Candidate) -> Any:
        from lm_eval.models.huggingface import HFLM

        if self._model is None or self._model[0] != candidate.digest:
            self._model = None  # the last one goes before the next one comes
            path = self._paths[candidate.digest]
            folder = self._kept.enter_context(as_plain_folder(path))
            model = HFLM(
                pretrained=str(folder), dtype="float32", device=self._device, batch_size=self._batch_size,
                trust_remote_code=self._run_code or folder != path.base, prefix_token_id=_start_id(candidate),
            )  # fmt: skip
            self._model = (candidate.digest, model)
        return self._model[1]


def version() -> str:
    """lm-eval's version. Raises ConfigError, which says how to install it."""
    try:
        import lm_eval
    except ModuleNotFoundError as error:
        raise ConfigError(f"--engine lm-eval needs the package lm-eval; install it with: {INSTALL}") from error
    found: str = lm_eval.__version__
    return found


def _start_id(candidate: Candidate) -> int:
    """The token that stands for an empty context, as our own engine takes it; the model is let go of at once."""
    return candidate.load().start_id


def run_task(
    model: Any,
    suite: Suite,
    group: str,
    sentence: str,
    rows: Sequence[tuple[Question, Row]],
    examples: Sequence[tuple[Question, Row]],
    items: Sequence[Item],
) -> list[ScoredItem]:
    """Run lm-eval's task of a suite on these rows, which are those of ``items``.

    model: lm-eval's HFLM. sentence: what introduces a subject that lm-eval does not know.
    """
    import lm_eval

    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    with TemporaryDirectory(prefix="minimind-") as folder:
        task = _task(suite, group, sentence, rows, examples, Path(folder))
        done = lm_eval.evaluate(lm=model, task_dict={suite.name: task}, bootstrap_iters=0, log_samples=True)
    samples = sorted(done["samples"][suite.name], key=lambda one: int(one["doc_id"]))
    return [_scored(model, sample, item) for sample, item in zip(samples, items, strict=True)]


def _task(
    suite: Suite,
    group: str,
    sentence: str,
    rows: Sequence[tuple[Question, Row]],
    examples: Sequence[tuple[Question, Row]],
    home: Path,
) -> Any:
    """lm-eval's own task, reading the rows from ``home``."""
    import lm_eval
    from lm_eval.api.task import ConfigurableTask
    from lm_eval.tasks._yaml_loader import load_yaml

    ours, tasks = TASKS[suite.key], Path(lm_eval.__file__).parent / "tasks"
    own = tasks / ours.file.format(group=group)
    changes = dict(ours.changes)
    if ours.introduced or not own.is_file():
        changes["description"] = sentence
    config = load_yaml(own if own.is_file() else tasks / ours.template)
    files = {"asked": rows, "shown": examples} if examples else {"asked": rows}
    for name, pairs in files.items():
        lines = (json.dumps(ours.columns(*pair), ensure_ascii=False) + "\n" for pair in pairs)
        (home / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
    kept = {name: value for name, value in config.items()
            if name not in ("tag", "group", "dataset_name") and not name.endswith("_split")}  # fmt: skip
    kept |= {
        "task": suite.name, "dataset_path": "json", "test_split": "asked", "num_fewshot": suite.shots,
        "dataset_kwargs": {
            "data_files": {name: str(home / f"{name}.jsonl") for name in files}, "cache_dir": str(home / "cache")
        },
        **({"fewshot_split": "shown", "fewshot_config": {"sampler": "first_n"}} if examples else {}), **changes,
    }  # fmt: skip
    return ConfigurableTask(config=kept)


def _scored(model: Any, sample: Mapping[str, Any], item: Item) -> ScoredItem:
    """What lm-eval says of one question, in our words."""
    found = [(float(one[0]), bool(one[1])) for one in sample["filtered_resps"]]
    lengths = [_lengths(model, str(asked[0]), str(asked[1])) for asked in sample["arguments"]]
    if not len(found) == len(lengths) == len(item.choices):
        raise ConfigError(f"{item.id}: lm-eval scored {len(found)} choices, and there are {len(item.choices)}")
    return ScoredItem(
        item.id, item.group, item.answer, [logprob for logprob, _ in found], [after for _, after in lengths],
        [len(one) for one in item.choices], [len(one.encode("utf-8")) for one in item.choices],
        [greedy for _, greedy in found], max(max(0, sum(both) - 1 - model.max_length) for both in lengths),
    )  # fmt: skip


def _lengths(model: Any, context: str, continuation: str) -> tuple[int, int]:
    """Tokens of the context and of the continuation, as lm-eval cuts them."""
    if not context:
        return 1, len(model.tok_encode(continuation, add_special_tokens=False))
    before, after = model._encode_pair(context, continuation)
    return len(before), len(after)
