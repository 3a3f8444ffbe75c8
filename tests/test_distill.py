"""White-box distillation: right values and gradients, little memory, one vocabulary, a teacher that never changes."""

import json
import math
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from training_kit import TINY, same_weights, tiny_data, tiny_model

from minimind_lite.config import ConfigError, preset
from minimind_lite.course.chapters.distill import figures
from minimind_lite.course.chapters.distill.experiments import answered_by, answers_in, documents_read
from minimind_lite.course.chapters.distill.widgets import temperature_explorer
from minimind_lite.course.kit import curves
from minimind_lite.data.documents import Document, conversation_documents
from minimind_lite.data.packing import PackedDataset
from minimind_lite.evaluation.answer_loss import AnswerLoss, answer_loss
from minimind_lite.evaluation.closed_book import Answer, ExactMatch
from minimind_lite.generation.engine import generate
from minimind_lite.model.attention import KVCache, document_mask
from minimind_lite.model.losses import kl_divergence, next_token_loss
from minimind_lite.model.pretrained import load_pretrained, save_pretrained
from minimind_lite.model.transformer import Transformer
from minimind_lite.tokenizer import Tokenizer
from minimind_lite.training.callbacks import Callback, StopTraining
from minimind_lite.training.checkpoint import CheckpointError, latest_checkpoint
from minimind_lite.training.distill import DistillLoss, DistillOptions, every_second_layer, run_distill
from minimind_lite.training.loop import train
from minimind_lite.training.options import RunOptions, TrainConfig

LARGER = replace(TINY, hidden_size=24, num_hidden_layers=2, head_dim=0)
RIGHT = ExactMatch([Answer("q", "a", "a"), Answer("q", "a", "b")])
CONFIG = TrainConfig(total_steps=6, micro_batch_size=2, learning_rate=3e-3, save_every=2, progress=False)


def larger_model(config: Any = LARGER) -> Transformer:
    torch.manual_seed(7)
    model = Transformer(config)
    for parameter in model.parameters():
        parameter.data *= 4  # strong preferences, as in a trained model
    return model


def one_batch(rows: int = 4) -> dict[str, torch.Tensor]:
    data = tiny_data()
    return {name: torch.stack([data[i][name] for i in range(rows)]) for name in data[0]}


def whole_logits(model: Transformer, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    mask = document_mask(batch["document_ids"])
    return model(batch["input_ids"], position_ids=batch["position_ids"], attention_mask=mask)


def reference_loss(
    student: torch.Tensor, teacher: torch.Tensor, targets: torch.Tensor, options: DistillOptions
) -> torch.Tensor:
    """The formula with probabilities written out, one position at a time, in float64. Logits (batch, seq, vocab)."""
    total, temperature = student.new_zeros(()), options.temperature
    for place in torch.nonzero(targets >= 0):
        row, column = place.tolist()
        s, t = student[row, column], teacher[row, column]
        p, q = (torch.exp(x / temperature) / torch.exp(x / temperature).sum() for x in (t, s))
        p, q = (p, q) if options.direction == "forward" else (q, p)
        kl = sum(a * torch.log(a / b) for a, b in zip(p, q, strict=True))
        label = -torch.log(torch.exp(s)[targets[row, column]] / torch.exp(s).sum())
        total = total + options.alpha * label + (1 - options.alpha) * temperature**2 * kl
    return total


@settings(max_examples=12, deadline=None)
@given(
    temperature=st.floats(0.3, 8),
    alpha=st.floats(0, 0.99),
    direction=st.sampled_from(["forward", "reverse"]),
    chunk_size=st.integers(1, 80),
)
def test_loss_and_gradients_equal_a_float64_reference(
    temperature: float, alpha: float, direction: str, chunk_size: int
) -> None:
    options = DistillOptions(alpha=alpha, temperature=temperature, direction=direction, chunk_size=chunk_size)
    teacher, student, batch = larger_model(), tiny_model().train(), one_batch(2)
    loss = DistillLoss(teacher, options)(student, batch)
    loss.total.backward()
    exact, exact_teacher = tiny_model().double(), larger_model().double()
    with torch.no_grad():
        wanted = whole_logits(exact_teacher, batch)
    reference = reference_loss(whole_logits(exact, batch), wanted, batch["targets"], options)
    reference.backward()
    assert loss.items == (batch["targets"] >= 0).sum()
    torch.testing.assert_close(loss.total.double(), reference, rtol=2e-5, atol=1e-5)
    for ours, theirs in zip(student.parameters(), exact.parameters(), strict=True):
        torch.testing.assert_close(ours.grad.double(), theirs.grad, rtol=2e-3, atol=2e-4)


@pytest.mark.parametrize("chunk_size", [1, 7, 16])
def test_chunks_change_neither_loss_nor_gradients(chunk_size: int) -> None:
    def run(size: int) -> tuple[torch.Tensor, list[torch.Tensor]]:
        student = tiny_model().double().train()
        loss = DistillLoss(larger_model().double(), DistillOptions(chunk_size=size))(student, one_batch())
        loss.total.backward()
        return loss.total.detach(), [parameter.grad for parameter in student.parameters()]

    whole, parts = run(10_000), run(chunk_size)
    torch.testing.assert_close(whole[0], parts[0])  # the logits are float32 by intent
    for one, other in zip(whole[1], parts[1], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=5e-6)  # sums in another order


def test_kl_equals_torch_and_is_taken_over_the_vocabulary() -> None:
    torch.manual_seed(0)
    ours, theirs = torch.randn(2, 5, 11), torch.randn(2, 5, 11)
    by_torch = torch.nn.functional.kl_div(
        (ours / 2).log_softmax(-1), (theirs / 2).log_softmax(-1), reduction="none", log_target=True
    ).sum(-1)
    torch.testing.assert_close(kl_divergence(ours, theirs, 2.0), by_torch)
    torch.testing.assert_close(kl_divergence(theirs, ours, 2.0, "reverse"), by_torch)
    assert kl_divergence(ours, ours).abs().max() < 1e-6
    # a constant added to one position's logits changes no distribution; over another axis it would
    torch.testing.assert_close(kl_divergence(ours + torch.randn(2, 5, 1), theirs, 2.0), by_torch, rtol=1e-4, atol=1e-5)


def test_untrained_positions_do_not_count() -> None:
    student, batch = tiny_model().train(), one_batch()
    loss_fn = DistillLoss(larger_model(), DistillOptions(chunk_size=8))
    few = batch["targets"].clone()
    few[1:] = -100
    first_row = {name: tensor[:1] for name, tensor in batch.items()}
    some, alone = loss_fn(student, batch | {"targets": few}), loss_fn(student, first_row)
    torch.testing.assert_close(some.total, alone.total)
    assert some.items == alone.items
    nothing = loss_fn(student, batch | {"targets": torch.full_like(few, -100)})
    assert nothing.total == 0 and nothing.items == 0


class LargestLogits(TorchDispatchMode):
    """Records the most rows of any tensor of vocabulary width; the transposed head weights do not count."""

    rows = 0
    weights = (TINY.hidden_size, LARGER.hidden_size)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, torch.Tensor) and tensor.dim() > 1 and tensor.shape[-1] == TINY.vocab_size:
                rows = tensor.numel() // TINY.vocab_size
                self.rows = max(self.rows, rows if rows not in self.weights else 0)
        return out


class SavedLogits:
    """Counts the elements of vocabulary width that autograd keeps for the backward pass."""

    def __init__(self) -> None:
        self.rows = 0

    def pack(self, tensor: torch.Tensor) -> torch.Tensor:
        if tensor.dim() == 2 and tensor.shape[-1] == TINY.vocab_size and tensor.shape[0] not in LargestLogits.weights:
            self.rows += tensor.shape[0]
        return tensor


@pytest.mark.parametrize("chunk_size", [4, 18])
def test_the_logits_are_never_all_in_memory_at_once(chunk_size: int) -> None:
    student, batch = tiny_model().train(), one_batch()
    trained = int((batch["targets"] >= 0).sum())
    assert trained > 2 * 18
    loss_fn, saved = DistillLoss(larger_model(), DistillOptions(chunk_size=chunk_size)), SavedLogits()
    with LargestLogits() as seen:
        with torch.autograd.graph.saved_tensors_hooks(saved.pack, lambda tensor: tensor):
            total = loss_fn(student, batch).total
        kept = saved.rows
        total.backward()
    assert seen.rows == chunk_size, "no tensor of logits is larger than a chunk, forward or backward"
    assert kept == 0, "and none is kept from the forward pass for the backward pass"
    with LargestLogits() as seen:
        DistillLoss(larger_model(), DistillOptions(chunk_size=10_000))(student, batch).total.backward()
    assert seen.rows == trained, "the counter sees whole logits where they are made"
    with torch.autograd.graph.saved_tensors_hooks(saved.pack, lambda tensor: tensor):
        next_token_loss(student, batch)
        assert saved.rows == 0, "nor does the loss on labels keep any"
        F.cross_entropy(student(batch["input_ids"]).flatten(0, 1), batch["targets"].flatten())
    assert saved.rows >= trained, "the counter sees those that are kept, too"


def test_the_teacher_stays_as_it_is_and_out_of_the_checkpoints(tmp_path: Path) -> None:
    teacher, before = larger_model().train(), larger_model()
    loss_fn = DistillLoss(teacher, DistillOptions())
    assert not teacher.training
    student = tiny_model()
    train(student, tiny_data(), CONFIG, tmp_path, loss_fn=loss_fn)
    assert same_weights(teacher, before) and all(parameter.grad is None for parameter in teacher.parameters())
    found = latest_checkpoint(tmp_path / "checkpoints")
    assert found is not None and found.state["model"].keys() == student.state_dict().keys()
    assert sum(len(group["params"]) for group in found.state["optimizer"]["param_groups"]) == len(
        list(student.parameters())
    )


def test_held_out_losses_and_the_control_are_plain_cross_entropy() -> None:
    student, batch = tiny_model(), one_batch()
    plain, _ = next_token_loss(student, batch)
    loss_fn = DistillLoss(larger_model(), DistillOptions(alpha=0.3))
    assert torch.equal(loss_fn(student.eval(), batch).total, plain)
    control = DistillLoss(larger_model(), DistillOptions(alpha=1.0))
    assert torch.equal(control(student.train(), batch).total, plain)
    assert loss_fn(student.train(), batch).total != plain


@pytest.mark.parametrize(
    "wrong", [{"alpha": 1.5}, {"alpha": -0.1}, {"temperature": 0.0}, {"chunk_size": 0}, {"direction": "sideways"}]
)
def test_impossible_options_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        DistillOptions(**wrong)


def chats(path: Path, count: int = 16) -> Path:
    turns = [
        [{"role": "user", "content": f"question {n}?"}, {"role": "assistant", "content": f"答案 {n}: Ishmael."}]
        for n in range(count)
    ]
    path.write_text("".join(json.dumps({"conversations": one}) + "\n" for one in turns), encoding="utf-8")
    return path


@pytest.fixture
def tokenizer() -> Tokenizer:
    return Tokenizer.train(["Call me Ishmael. 答案是问题。"] * 5, vocab_size=290)


@pytest.fixture
def teacher(tmp_path: Path, tokenizer: Tokenizer) -> Path:
    torch.manual_seed(3)
    save_pretrained(
        Transformer(preset("pico", vocab_size=290, hidden_size=32, num_hidden_layers=3)), tokenizer, tmp_path / "t"
    )
    return tmp_path / "t"


class StopAt(Callback):
    def __init__(self, step: int) -> None:
        self.step = step

    def after_step(self, trainer: Any) -> None:
        if trainer.step == self.step:
            raise StopTraining


def test_a_student_is_trained_and_a_stopped_run_continues(tmp_path: Path, teacher: Path) -> None:
    data, options = chats(tmp_path / "chat.jsonl"), DistillOptions(block_size=48, chunk_size=16)
    whole = run_distill(data, teacher, tmp_path / "whole", CONFIG, options, run=RunOptions(eval_data=data))
    row = whole.training.history[-1]
    assert row["loss"] == pytest.approx(0.5 * row["cross_entropy"] + 0.5 * 1.5**2 * row["kl"], rel=1e-4)
    assert row["eval_loss"] > 0
    run_distill(data, teacher, tmp_path / "cut", CONFIG, options, run=RunOptions(eval_data=data, callbacks=[StopAt(3)]))
    rest = run_distill(data, teacher, tmp_path / "cut", CONFIG, options, run=RunOptions(eval_data=data))
    assert rest.training.resumed_from == 3 and same_weights(whole.model, rest.model)
    assert same_weights(load_pretrained(tmp_path / "cut"), rest.model)
    with pytest.raises(CheckpointError, match="temperature"):
        run_distill(data, teacher, tmp_path / "cut", CONFIG, replace(options, temperature=3.0))
    run_distill(data, teacher, tmp_path / "cut", CONFIG, replace(options, chunk_size=8))  # smaller chunks: the same run


def test_another_teacher_is_another_recipe(tmp_path: Path, teacher: Path, tokenizer: Tokenizer) -> None:
    data, options = chats(tmp_path / "chat.jsonl"), DistillOptions(block_size=48)
    run_distill(data, teacher, tmp_path / "out", CONFIG, options)
    torch.manual_seed(4)
    save_pretrained(Transformer(preset("pico", vocab_size=290)), tokenizer, teacher)
    with pytest.raises(CheckpointError, match="teacher: "):
        run_distill(data, teacher, tmp_path / "out", CONFIG, options)


def test_a_student_with_another_vocabulary_is_refused(tmp_path: Path, teacher: Path) -> None:
    data = chats(tmp_path / "chat.jsonl")
    for name, size, words in (("other-size", 280, "Call me"), ("same-size", 290, "Moby-Dick; or, The Whale. ")):
        torch.manual_seed(0)
        own = Tokenizer.train([words * 9] * 5, vocab_size=size)
        save_pretrained(Transformer(preset("pico", vocab_size=size)), own, tmp_path / name)
        options = DistillOptions(student=str(tmp_path / name), block_size=48)
        with pytest.raises(ConfigError, match="another vocabulary than its teacher"):
            run_distill(data, teacher, tmp_path / "out", CONFIG, options)
    with pytest.raises(ConfigError, match="neither a folder nor one of half, minimind2-small"):
        run_distill(data, teacher, tmp_path / "out", CONFIG, DistillOptions(student="nobody"))
    assert not (tmp_path / "out").exists()


def test_half_of_a_teacher_is_every_second_layer(tmp_path: Path, tokenizer: Tokenizer) -> None:
    torch.manual_seed(2)
    teacher = Transformer(preset("pico", vocab_size=290, num_hidden_layers=3)).requires_grad_(False)
    half = every_second_layer(teacher)
    assert half.config.num_hidden_layers == 2 and all(parameter.requires_grad for parameter in half.parameters())
    for mine, theirs in zip(half.model.layers, (teacher.model.layers[0], teacher.model.layers[2]), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(mine.parameters(), theirs.parameters(), strict=True))
    save_pretrained(half, tokenizer, tmp_path / "half")
    again = load_pretrained(tmp_path / "half")
    ids = torch.tensor([[5, 6, 7, 8]])
    torch.testing.assert_close(half(ids), again(ids))
    cache = KVCache(half.config, 1, 8)
    steps = [half(ids[:, at : at + 1], cache=cache) for at in range(4)]
    torch.testing.assert_close(torch.cat(steps, dim=1), again(ids), rtol=1e-4, atol=1e-5)
    half.model.norm.weight.data.zero_()
    assert teacher.model.norm.weight.all(), "a copy, not the teacher's own weights"


def test_a_preset_starts_fresh_from_the_seed(tmp_path: Path, teacher: Path) -> None:
    data, options = chats(tmp_path / "chat.jsonl"), DistillOptions(student="pico", block_size=48)
    runs = [run_distill(data, teacher, tmp_path / name, CONFIG, options).model for name in "ab"]
    assert same_weights(*runs) and runs[0].config.hidden_size == 64 and runs[0].config.vocab_size == 290


def test_a_student_may_come_from_a_folder(tmp_path: Path, teacher: Path) -> None:
    data, few = chats(tmp_path / "chat.jsonl"), replace(CONFIG, total_steps=1, learning_rate=1e-9)
    first = run_distill(data, teacher, tmp_path / "first", CONFIG, DistillOptions(block_size=48))
    options = DistillOptions(student=str(tmp_path / "first"), block_size=48, direction="reverse")
    second = run_distill(data, teacher, tmp_path / "second", few, options)
    assert asdict(second.model.config) == asdict(first.model.config)
    for old, new in zip(first.model.parameters(), second.model.parameters(), strict=True):
        torch.testing.assert_close(old, new, rtol=0, atol=1e-6)


EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "num_shared_experts": 1}


def test_a_teacher_with_experts_teaches_a_dense_student(tmp_path: Path, tokenizer: Tokenizer) -> None:
    torch.manual_seed(5)
    experts = Transformer(preset("pico", vocab_size=290, **EXPERTS))
    save_pretrained(experts, tokenizer, tmp_path / "moe")
    data, config = chats(tmp_path / "chat.jsonl"), replace(CONFIG, total_steps=60, micro_batch_size=8)
    options = DistillOptions(student="pico", alpha=0.0, temperature=1.0, block_size=48)
    result = run_distill(data, tmp_path / "moe", tmp_path / "dense", config, options)
    assert result.model.config.num_experts == 0
    first, last = (result.training.history[at] for at in (0, -1))
    assert last["kl"] < 0.7 * first["kl"] and last["loss"] == pytest.approx(last["kl"])


def test_a_student_with_experts_keeps_them_in_balance() -> None:
    student, batch = larger_model(replace(TINY, **EXPERTS)).train(), one_batch()
    options = DistillOptions(alpha=0.5, temperature=1.0)
    loss = DistillLoss(larger_model(), options)(student, batch)
    plain = 0.5 * loss.extras["cross_entropy"] + 0.5 * loss.extras["kl"]
    balance = next_token_loss(student, batch)[2]["balance_loss"]
    torch.testing.assert_close(loss.total - plain, student.config.router_aux_loss_coef * balance, rtol=1e-3, atol=1e-3)


def test_answer_loss_equals_the_packed_loss_and_counts_a_pair(tmp_path: Path, tokenizer: Tokenizer) -> None:
    torch.manual_seed(1)
    model = Transformer(preset("pico", vocab_size=290))
    lines = chats(tmp_path / "chat.jsonl", 9).read_text(encoding="utf-8").splitlines()
    turns = [json.loads(line)["conversations"] for line in lines]
    measured = answer_loss(model, tokenizer, turns, batch_size=4)
    one = tokenizer.render(turns[3])
    ids = torch.tensor([one.ids])
    targets = ids[:, 1:].masked_fill(torch.tensor([one.loss_mask])[:, 1:] == 0, -100)
    total, count = model.loss(ids[:, :-1], targets)
    assert float(measured.nats[3]) == pytest.approx(total.item(), rel=1e-5) and measured.tokens[3] == count
    with pytest.raises(ValueError, match="no conversation"):
        answer_loss(model, tokenizer, [])


def test_the_interval_of_what_is_saved_holds_the_truth_19_times_in_20() -> None:
    random, inside = np.random.default_rng(0), 0
    for _ in range(400):
        tokens = torch.from_numpy(random.integers(3, 30, 200).astype("float64"))
        hard = torch.from_numpy(random.gamma(2.0, 1.0, 200))  # shared by both models, so it must cancel
        gain = torch.from_numpy(random.normal(0.3, 0.5, 200))
        saved, low, high = AnswerLoss(tokens * hard, tokens).saved(AnswerLoss(tokens * (hard + gain), tokens))
        assert low < saved < high < saved + 0.2
        inside += low <= 0.3 <= high
    assert 0.91 <= inside / 400 <= 0.98


def test_two_conversations_have_an_interval_and_one_has_none() -> None:
    tokens = torch.tensor([10.0, 30.0])
    saved, low, high = AnswerLoss(tokens, tokens).saved(AnswerLoss(tokens * torch.tensor([2.0, 1.0]), tokens))
    # differences 10 and 0 on 40 tokens: 0.25 saved; beyond their share 7.5 and -7.5, whose deviation is 7.5 √2
    assert saved == 0.25
    assert (saved - low, high - saved) == (pytest.approx(1.96 * 7.5 * 2**0.5 * 2**0.5 / 40),) * 2
    one = AnswerLoss(tokens[:1], tokens[:1])
    assert one.saved(AnswerLoss(tokens[:1] * 2, tokens[:1])) == (1.0, -math.inf, math.inf)


def test_a_run_reads_the_documents_of_its_first_blocks() -> None:
    data, read = tiny_data(), []

    def remember(model: Any, batch: dict[str, torch.Tensor]) -> Any:
        read.extend(batch["input_ids"].flatten().tolist())
        return next_token_loss(model, batch)

    documents = [Document(np.full(len(one), number % 40), one.loss_mask) for number, one in enumerate(data.documents)]  # type: ignore[arg-type]
    numbered = PackedDataset(documents[:40], 24)
    config = replace(CONFIG, total_steps=3, gradient_accumulation_steps=2, save_every=0)
    with tempfile.TemporaryDirectory() as folder:
        train(tiny_model(), numbered, config, folder, loss_fn=remember, resume="never")
    found = documents_read(numbered, config)
    assert len(found) == len(set(found)) < 40 and set(found) - {0} == set(read) - {0}  # 0 is padding too
    assert sorted(documents_read(numbered, replace(config, total_steps=1000))) == list(range(40))


def test_the_answers_are_where_the_mask_is_set() -> None:
    mask = np.asarray([0, 1, 1, 0, 0, 1], dtype=np.uint8)
    assert answers_in(Document(np.arange(6), mask)) == [(1, 3), (5, 6)]
    assert answers_in(Document(np.arange(6))) == []


def test_a_teacher_writes_every_answer_anew_and_nothing_else(tokenizer: Tokenizer) -> None:
    turns = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]
    longer = [*turns, {"role": "user", "content": "and you"}, {"role": "assistant", "content": "well, thank you"}]
    documents = list(conversation_documents([longer, turns], tokenizer, 512))
    model = Transformer(preset("pico", vocab_size=290, hidden_size=32)).eval()
    one, other = answered_by(model, tokenizer, documents, max_new_tokens=7, max_length=512, batch_size=2)
    for document, written in ((documents[0], one), (documents[1], other)):
        ids, mask = document.ids.tolist(), written.loss_mask
        assert mask is not None and len(mask) == len(written)
        spans = zip(answers_in(document), answers_in(written), strict=True)
        for (start, _), (begin, end) in spans:
            said = generate(model, tokenizer, [ids[:start]], max_new_tokens=7)[0].ids
            assert written.ids[begin:end].tolist() == said  # after the file's own history, not the teacher's
        kept = [ids[i] for i in range(len(ids)) if not document.loss_mask[i]]  # type: ignore[index]
        assert written.ids[mask == 0].tolist() == kept
    assert [len(x) for x in answered_by(model, tokenizer, documents, max_new_tokens=7, max_length=20)] == [
        20,
        len(other.ids[:20]),
    ]


def test_the_pictures_and_the_interactive_of_chapter_13(tmp_path: Path) -> None:
    history = [{"step": 1, "loss": 3.0}, {"step": 2, "loss": 2.5, "eval_loss": 2.0}]
    drawn = [
        figures.temperatures(torch.randn(50), [0.5, 2.0]),
        figures.fits(torch.arange(9.0), torch.rand(9), {"forward": torch.rand(9), "reverse": torch.rand(9)}),
        curves.held_out({"student": history, "labels_only": history}),
        figures.three_ways({"student": 0.4, "labels_only": 0.6}, dict.fromkeys(("student", "labels_only"), RIGHT)),
        figures.gradients({"with_t_squared": [1.0, 1.0], "without_t_squared": [1.0, 0.25]}, [1.0, 2.0]),
    ]
    for number, figure in enumerate(drawn):
        figure.savefig(tmp_path / f"{number}.png")
    page = figures.softened(["<b>", "巴黎"], [2.0, 1.0], 1.0, "巴黎").data
    assert "&lt;b&gt;" in page and "73.1%" in page and "26.9%" in page
    explorer = temperature_explorer({"here": (["a", "b"], [1.0, 0.0], "a")})
    place, temperature = explorer.children[:2]
    assert place.value == "here" and temperature.value == 1.0
    temperature.value = 8.0
