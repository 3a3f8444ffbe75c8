"""What we write we can read: models of every family and precision, adapters, tokenizers, GGUF with our template;
tensors, token stores, metrics, checkpoints and the course's own files with whatever they may hold.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from model_kit import YARN, random_model
from test_gguf import write

from minimind_lite.config import PRESETS, ModelConfig, preset
from minimind_lite.course.exercises import solved
from minimind_lite.course.runner import state as course_state
from minimind_lite.data.documents import Document, TokenStore
from minimind_lite.interop.gguf import load_gguf
from minimind_lite.model.lora import LoRAConfig, add_adapter, load_adapter, merged, save_adapter
from minimind_lite.model.pretrained import load_pretrained, read_tensors, save_pretrained, write_tensors
from minimind_lite.tokenizer import Tokenizer, jinja_template
from minimind_lite.training.callbacks import MetricsFile, RunState, read_metrics
from minimind_lite.training.checkpoint import latest_checkpoint, save_checkpoint

TEXTS = ["The whale swam under the ship. 床前明月光，疑是地上霜。"] * 10
SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "intermediate_size": 48, "vocab_size": 320}
IDS = torch.arange(3, 60)[None]


def small(name: str, **changes: object) -> ModelConfig:
    """A preset's family at a size for tests."""
    return preset(name, **SMALL, **changes)


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("changes", [{}, {"tie_word_embeddings": False}, {"rope_scaling": YARN}], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_a_model(tmp_path: Path, name: str, changes: dict[str, object], dtype: torch.dtype) -> None:
    model = random_model(small(name, **changes)).to(dtype).eval()
    save_pretrained(model, None, tmp_path)
    loaded = load_pretrained(tmp_path).eval()
    assert loaded.config == model.config
    assert all(torch.equal(loaded.state_dict()[key], value) for key, value in model.state_dict().items())


@pytest.mark.parametrize("name", PRESETS)
def test_an_adapter_and_the_merged_model(tmp_path: Path, name: str) -> None:
    model = random_model(small(name)).eval()
    save_pretrained(model, None, tmp_path / "base")
    add_adapter(model, LoRAConfig(rank=2, alpha=3.5))
    for key, parameter in model.named_parameters():
        if ".lora_B" in key:
            torch.nn.init.normal_(parameter, std=0.1)
    save_adapter(model, tmp_path / "adapter")
    loaded = load_pretrained(tmp_path / "base").eval()
    load_adapter(loaded, tmp_path / "adapter")
    with torch.no_grad():
        wanted = model(IDS)
        assert torch.equal(loaded(IDS), wanted)
        save_pretrained(merged(model), None, tmp_path / "merged")
        torch.testing.assert_close(load_pretrained(tmp_path / "merged").eval()(IDS), wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("system", [None, "", "Be brief.\n简短。"])
def test_a_tokenizer_and_its_template_in_a_gguf_file(tmp_path: Path, system: str | None) -> None:
    tokenizer = Tokenizer.train(TEXTS, 320, default_system=system)
    tokenizer.save(tmp_path)
    loaded = Tokenizer.load(tmp_path)
    assert (loaded.fingerprint, loaded.default_system) == (tokenizer.fingerprint, system)
    model = random_model(small("nano", rope_theta=1e4))
    file = write(tmp_path / "a.gguf", model, tokenizer, template=jinja_template(system))
    assert load_gguf(file)[1].default_system == system


# No lone surrogates: they are no text, and UTF-8 cannot hold them.
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
NUMBER = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False)  # NaN is not equal to itself; it has its own test
PLAIN = st.recursive(st.none() | st.booleans() | NUMBER | TEXT, lambda inner: st.lists(inner, max_size=3), max_leaves=6)
DTYPES = (
    torch.float32,
    torch.float64,
    torch.bfloat16,
    torch.float16,
    torch.int64,
    torch.int32,
    torch.uint8,
    torch.bool,
)


@contextmanager
def folder() -> Iterator[Path]:
    """A folder for one example: a fixture would be shared by all of them."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@st.composite
def tensors(draw: st.DrawFn) -> torch.Tensor:
    shape = draw(st.lists(st.integers(0, 4), max_size=3))
    return torch.randint(0, 100, shape, generator=torch.Generator().manual_seed(1)).to(draw(st.sampled_from(DTYPES)))


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and torch.equal(a, b)


@settings(deadline=None, max_examples=60)
@given(st.dictionaries(TEXT.filter(lambda name: name != "__metadata__"), tensors(), max_size=4),
       st.dictionaries(TEXT.map("x{}".format), TEXT, max_size=3))  # fmt: skip
def test_tensors_of_any_kind(given_tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
    with folder() as here:
        write_tensors(here / "a.safetensors", given_tensors, metadata)
        found, said = read_tensors(here / "a.safetensors")
    assert found.keys() == given_tensors.keys()
    assert all(same(found[name], given_tensors[name]) for name in found)
    assert metadata.items() <= said.items()


@settings(deadline=None, max_examples=60)
@given(st.lists(st.lists(st.integers(0, 65_535), max_size=9), min_size=1, max_size=6), st.booleans(), st.randoms())
def test_documents_of_any_kind(lengths: list[list[int]], masked: bool, random: Any) -> None:
    documents = [
        Document(np.array(ids, dtype=np.int64),
                 np.array([random.randint(0, 1) for _ in ids], dtype=np.uint8) if masked else None)
        for ids in lengths
    ]  # fmt: skip
    with folder() as here:
        TokenStore.write(here / "a.tokens", documents, "f" * 64)
        store = TokenStore.open(here / "a.tokens", "f" * 64)
        assert len(store) == len(documents)
        for one, other in zip((store[number] for number in range(len(store))), documents, strict=True):
            assert one.ids.tolist() == other.ids.tolist()
            assert (one.loss_mask is None) == (other.loss_mask is None)
            assert one.loss_mask is None or one.loss_mask.tolist() == other.loss_mask.tolist()
        del store


@settings(deadline=None, max_examples=60)
@given(st.lists(st.dictionaries(TEXT.filter(lambda name: name != "step"), PLAIN, max_size=3), max_size=5))
def test_metrics_with_any_values(rows: list[dict[str, Any]]) -> None:
    numbered = [{"step": number, **row} for number, row in enumerate(rows, start=1)]
    with folder() as here:
        written = MetricsFile(here / "metrics.jsonl")
        state = RunState(model=torch.nn.Linear(1, 1))
        written.before_fit(state)
        for row in numbered:
            state.step, state.row, state.logging = row["step"], row, True
            written.after_step(state)
        assert read_metrics(here / "metrics.jsonl") == numbered
        MetricsFile(here / "metrics.jsonl").before_fit(state)  # as a run that goes on does
        assert state.history == numbered == read_metrics(here / "metrics.jsonl")


def test_metrics_that_are_no_numbers_are_kept_as_such(tmp_path: Path) -> None:
    state = RunState(model=torch.nn.Linear(1, 1))
    written = MetricsFile(tmp_path / "metrics.jsonl")
    written.before_fit(state)
    state.step, state.row, state.logging = 1, {"step": 1, "loss": float("nan"), "high": float("inf")}, True
    written.after_step(state)
    [row] = read_metrics(tmp_path / "metrics.jsonl")
    assert row["loss"] != row["loss"] and row["high"] == float("inf")


@settings(deadline=None, max_examples=30)
@given(st.dictionaries(TEXT, tensors() | PLAIN, max_size=4), st.dictionaries(TEXT, PLAIN, max_size=3),
       st.integers(0, 10**8 - 1))  # fmt: skip
def test_a_checkpoint_of_any_state(given_state: dict[str, Any], recipe: dict[str, Any], step: int) -> None:
    with folder() as here:
        save_checkpoint(here, step, given_state, recipe)
        found = latest_checkpoint(here)
    assert found is not None
    assert (found.step, found.recipe, found.state.keys()) == (step, recipe, given_state.keys())
    for name, value in given_state.items():
        assert same(found.state[name], value) if isinstance(value, torch.Tensor) else found.state[name] == value


LAST_RUN = st.builds(course_state.LastRun, status=TEXT, seconds=st.floats(0, 1e6), inputs=TEXT, profile=TEXT,
                     parameters=st.dictionaries(TEXT, PLAIN, max_size=2))  # fmt: skip


@settings(deadline=None, max_examples=30)
@given(st.dictionaries(TEXT, LAST_RUN, max_size=3), st.dictionaries(TEXT, TEXT, max_size=4))
def test_the_files_of_the_course(last_runs: dict[str, course_state.LastRun], tasks: dict[str, str]) -> None:
    with folder() as here, pytest.MonkeyPatch.context() as patch:
        course_state.save(here / "state.json", last_runs)
        assert course_state.load(here / "state.json") == last_runs
        patch.setenv("MINIMIND_PROGRESS", str(here / "progress.json"))
        for task, digest in tasks.items():
            solved.note_solved(task, digest)
        assert solved.solved_tasks() == tasks
