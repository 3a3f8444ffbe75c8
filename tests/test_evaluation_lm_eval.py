"""The real lm-eval on the same files and models: the same prompts, log-likelihoods and choices, question by question.

lm-eval is not among the course's packages, but an extra of the library's; the weekly workflow installs it. By hand:

    .venv/bin/python -m pip install -c constraints.txt -e ".[lm-eval]"
    make unit TESTS=tests/test_evaluation_lm_eval.py

Its own task files are used; only where the data are is changed, and what a comment below says.
"""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from benchmarks_kit import json_lines, science, story, write_like
from model_kit import random_model
from typer.testing import CliRunner

from minimind_lite.cli import app
from minimind_lite.config import preset
from minimind_lite.data.benchmarks import BENCHMARKS
from minimind_lite.evaluation.harness import score_items
from minimind_lite.evaluation.report import METRICS
from minimind_lite.evaluation.suites import make_suites
from minimind_lite.interop.any_model import open_model
from minimind_lite.model.pretrained import save_pretrained
from minimind_lite.tokenizer import Tokenizer

lm_eval = pytest.importorskip(
    "lm_eval", reason="lm-eval is not installed; how to install it: see this file's first lines"
)
TEXTS = [
    "The cats sleep. Question: Which light is number 3? red blue green grey Answer:",
    "第1题：的颜色是____。 答案： A B",
]
TASKS = {  # benchmark → lm-eval's task file, and what is changed in it
    "ceval": ("ceval/ceval-valid_law.yaml", {}),
    "cmmlu": ("cmmlu/_default_template_yaml", {"description": "以下是单项选择题，请选出其中的正确答案。\n\n"}),
    "openbookqa": ("openbookqa/openbookqa.yaml", {}),
    "arc": ("arc/arc_easy.yaml", {}),
    "piqa": ("piqa/piqa.yaml", {}),
    "hellaswag": ("hellaswag/hellaswag.yaml", {}),
    "sciq": ("sciq/sciq.yaml", {}),
    "blimp": ("blimp/_template_yaml", {"target_delimiter": ""}),  # lm-eval's sentences begin with a space, ours do not
    "zhoblimp": ("zhoblimp/_template_yaml", {}),
    "lambada": ("lambada/lambada_openai.yaml", {}),
}
CASES = [(name, 0) for name in TASKS] + [("ceval", 3), ("cmmlu", 5), ("arc", 2), ("openbookqa", 1), ("sciq", 2)]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Any, Any]]:
    """Name → (the model as we open it, as lm-eval does); one of our own architecture, one of GPT-2's."""
    import transformers
    from lm_eval.models.huggingface import HFLM

    folder = tmp_path_factory.mktemp("models")
    tokenizer = Tokenizer.train(TEXTS * 3, vocab_size=330)
    save_pretrained(random_model(preset("pico", vocab_size=330)), tokenizer, folder / "own")
    torch.manual_seed(0)
    config = transformers.GPT2Config(vocab_size=330, n_positions=2048, n_embd=32, n_layer=2, n_head=2)
    gpt2 = transformers.GPT2LMHeadModel(config)
    with torch.no_grad():
        for parameter in gpt2.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    gpt2.save_pretrained(folder / "gpt2")
    tokenizer.save(folder / "gpt2")
    made = {}
    for name in ("own", "gpt2"):
        ours = open_model(folder / name, start_always=False)
        theirs = HFLM(
            pretrained=str(folder / name), dtype="float32", device="cpu", batch_size=16, prefix_token_id=ours.start_id
        )
        made[name] = (ours, theirs)
    return made


def data(name: str, folder: Path) -> tuple[Path, dict[str, str]]:
    """Files that both read, and where lm-eval finds its splits."""
    root = write_like(name, folder)
    if name in ("openbookqa", "hellaswag", "piqa"):  # the columns of the hub, with one type each
        for file in sorted(root.rglob("*.*")):
            file.unlink()
        rows: list[dict[str, Any]] = [story(at) | {"label": str(at % 4)} for at in range(20)]
        if name == "openbookqa":
            rows = [{"question_stem": one.pop("question"), **one} for one in (science(at, False) for at in range(20))]
        if name == "piqa":
            rows = [
                {"goal": f"Open jar {at}", "sol1": "Turn the lid.", "sol2": "Eat it.", "label": at % 2}
                for at in range(20)
            ]
        for split in ("train", "test" if name == "openbookqa" else "validation"):
            (root / f"{split}.jsonl").write_text(json_lines(rows), encoding="utf-8")
    root = root / "ARC-Easy" if name == "arc" else root
    files = [one for one in sorted(root.rglob("*.*")) if one.suffix in (".csv", ".json", ".jsonl")]
    names = {"dev": "dev", "val_": "val", "_val": "val", "validation": "validation", "train": "train", "test": "test"}
    found = {}
    for file in files:
        for word, split in names.items():
            if word in file.relative_to(root).as_posix().lower():
                found[split] = str(file)
    return root, found or {"train": str(files[0])}


def task_of(name: str, splits: dict[str, str]) -> Any:
    """lm-eval's own task, reading the same files."""
    from lm_eval.api.task import ConfigurableTask
    from lm_eval.tasks._yaml_loader import load_yaml

    path, changes = TASKS[name]
    config = load_yaml(Path(lm_eval.__file__).parent / "tasks" / path)
    for unused in ("tag", "group", "dataset_name"):
        config.pop(unused, None)
    kept = {key: value for key, value in config.items() if not key.endswith("_split") or value in splits}
    kept |= {"task": name, "dataset_path": "csv" if splits[next(iter(splits))].endswith("csv") else "json",
             "dataset_kwargs": {"data_files": splits}, "fewshot_config": {"sampler": "first_n"}, **changes}  # fmt: skip
    return ConfigurableTask(config=kept)


@pytest.mark.parametrize("model", ["own", "gpt2"])
@pytest.mark.parametrize(("name", "shots"), CASES)
def test_question_by_question(
    name: str, shots: int, model: str, models: dict[str, tuple[Any, Any]], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    ours, theirs = models[model]
    folder, splits = data(name, tmp_path)
    task = task_of(name, splits)
    task.set_config(key="num_fewshot", value=shots)
    done = lm_eval.evaluate(lm=theirs, task_dict={name: task}, bootstrap_iters=0, log_samples=True)
    samples = sorted(done["samples"][name], key=lambda one: one["doc_id"])
    (suite,) = make_suites(BENCHMARKS[name], folder, shots=shots)
    assert len(samples) == len(suite.items) > 9
    metrics = METRICS[suite.scoring]
    for sample, item, scored in zip(samples, suite.items, score_items(ours, suite.items), strict=True):
        asked = [tuple(one) for one in sample["arguments"]]
        assert [tuple(one) for one in item.requests] == asked, json.dumps(asked[0], ensure_ascii=False)
        for one, (logprob, greedy), said in zip(
            sample["filtered_resps"], zip(scored.logprobs, scored.greedy, strict=True), asked, strict=True
        ):
            assert one[0] == pytest.approx(logprob, abs=1e-4), said
            assert bool(one[1]) == greedy
        assert sample["acc"] == metrics["accuracy"](scored)
        if suite.scoring == "answer":
            assert sample["acc_norm"] == metrics["accuracy per character"](scored)


ENGINE = [
    ("samples", "letter", 2), ("ceval", "letter", 3), ("cmmlu", "letter", 0), ("aclue", "letter", 0),
    ("tmmluplus", "letter", 1), ("openbookqa", "answer", 1), ("arc", "answer", 2), ("piqa", "answer", 0),
    ("hellaswag", "answer", 0), ("sciq", "answer", 2), ("blimp", "pairs", 0), ("zhoblimp", "pairs", 0),
    ("samples-zh", "pairs", 0), ("samples-en", "pairs", 0), ("lambada", "cloze", 0),
]  # fmt: skip


def engine_run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["eval", *map(str, arguments)], env={"COLUMNS": "200"})
    return result.exit_code, result.output


def items(folder: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / "items.jsonl").read_text("utf-8").splitlines()]
    return sorted(lines, key=lambda one: (one["suite"], one["model"], one["item"]))


def t5(folder: Path) -> Path:
    import transformers

    torch.manual_seed(0)
    sizes = {"vocab_size": 330, "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4}
    model = transformers.T5ForConditionalGeneration(transformers.T5Config(**sizes, decoder_start_token_id=0))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    model.save_pretrained(folder / "t5")
    backend = Tokenizer.train(TEXTS * 3, vocab_size=330)
    backend.save(folder / "t5")
    return folder / "t5"


def test_the_engine_finds_what_ours_finds(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Every suite it has a task for, both scorings, a decoder and an encoder-decoder: item by item."""
    tokenizer = Tokenizer.train(TEXTS * 3, vocab_size=330)
    save_pretrained(random_model(preset("pico", vocab_size=330)), tokenizer, tmp_path / "own")
    found = {}
    for name, scoring, shots in ENGINE:
        suite = name if name.startswith("samples") else f"{name}={write_like(name, tmp_path / 'data')}"
        common = (tmp_path / "own", t5(tmp_path), "--suite", suite, "--scoring", scoring if shots else "default",
                  "--shots", shots, "--limit", 12, "--no-document-start")  # fmt: skip
        for engine in ("own", "lm-eval"):
            output = tmp_path / f"{name}-{engine}"
            code, said = engine_run(*common, "--engine", engine, "--output", output)
            assert code == 0, said
            found[engine] = items(output)
        assert len(found["own"]) == len(found["lm-eval"]) == 24
        for ours, theirs in zip(found["own"], found["lm-eval"], strict=True):
            assert theirs.pop("logprobs") == pytest.approx(ours.pop("logprobs"), abs=1e-4), (name, ours["item"])
            assert theirs == ours


def test_a_killed_run_of_the_engine_goes_on_and_engines_do_not_mix(tmp_path: Path) -> None:
    tokenizer = Tokenizer.train(TEXTS * 3, vocab_size=330)
    save_pretrained(random_model(preset("pico", vocab_size=330)), tokenizer, tmp_path / "own")
    command = (tmp_path / "own", "--suite", "samples-en", "--limit", 9, "--output", tmp_path / "out")
    assert engine_run(*command, "--engine", "lm-eval")[0] == 0
    whole, path = items(tmp_path / "out"), tmp_path / "out" / "items.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:4]) + b'{"model"')
    assert engine_run(*command, "--engine", "lm-eval")[0] == 0
    for one, other in zip(whole, items(tmp_path / "out"), strict=True):
        assert one.pop("logprobs") == pytest.approx(other.pop("logprobs"), abs=1e-4) and one == other
    code, said = engine_run(*command)
    assert code == 1 and "scored with 'document start: False, engine: lm-eval 0." in said
    results = json.loads((tmp_path / "out" / "results.json").read_text("utf-8"))
    assert results["settings"]["engine"] == f"lm-eval {lm_eval.__version__}"
    code, said = engine_run(*command, "--engine", "lm-eval", "--suite", "arc", "--scoring", "letter", "--fresh")
    assert code == 1 and "error: " in said


def test_a_suite_without_a_task_is_refused(tmp_path: Path) -> None:
    save_pretrained(
        random_model(preset("pico", vocab_size=330)), Tokenizer.train(TEXTS * 3, vocab_size=330), tmp_path / "own"
    )
    arc = write_like("arc", tmp_path)
    code, said = engine_run(tmp_path / "own", "--suite", f"arc={arc}", "--scoring", "letter", "--engine", "lm-eval",
                            "--output", tmp_path / "out")  # fmt: skip
    assert code == 1 and "lm-eval has no task for arc/letter" in said.replace("\n", "")
    assert not (tmp_path / "out").exists() and "lm_eval" in sys.modules
