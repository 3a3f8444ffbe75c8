"""Preference training: TRL's numbers, a stored reference, pairs emptied by a cut, bad files, interruptions."""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from training_kit import same_weights

from minimind_lite.config import ConfigError, preset
from minimind_lite.course.chapters.dpo import figures, widgets
from minimind_lite.course.chapters.dpo.experiments import (
    SampledAnswers,
    chosen_likelier,
    closing_sentences,
    kl_to_reference,
    pair_accuracy,
    run_reference,
    sample_answers,
    trl_loss,
    trl_trainer,
    write_endings,
)
from minimind_lite.data.documents import marks
from minimind_lite.data.preferences import answer_document, read_pairs
from minimind_lite.data.records import DataError, read_records
from minimind_lite.model.losses import preference_loss
from minimind_lite.model.pretrained import load_pretrained, save_pretrained
from minimind_lite.model.transformer import Transformer
from minimind_lite.tokenizer import Tokenizer
from minimind_lite.training import dpo
from minimind_lite.training.callbacks import Callback
from minimind_lite.training.checkpoint import CheckpointError, latest_checkpoint
from minimind_lite.training.dpo import DPOOptions, collate_pairs, dpo_loss, reference_logprobs, run_dpo
from minimind_lite.training.loop import Trainer
from minimind_lite.training.options import RunOptions, TrainConfig
from minimind_lite.training.sft import SFTOptions

CONFIG = TrainConfig(total_steps=6, micro_batch_size=2, learning_rate=3e-3, save_every=2, log_every=1, progress=False)


def ask(question: str, answer: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


def pair(question: str, chosen: str, rejected: str) -> dict[str, Any]:
    return {"chosen": ask(question, chosen), "rejected": ask(question, rejected)}


PAIRS = [pair(f"what is {n}?", f"it is {n}. ask again!", f"{n}, {'you should know. ' * (n % 3)}") for n in range(9)]


def write(path: Path, records: list[Any]) -> Path:
    lines = [one if isinstance(one, str) else json.dumps(one, ensure_ascii=False) for one in records]
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    tokenizer = Tokenizer.train(["it is what it is. you should know. ask again!"] * 5, vocab_size=330)
    torch.manual_seed(0)
    model = Transformer(preset("pico", vocab_size=tokenizer.vocab_size))
    for parameter in model.parameters():
        parameter.data *= 3  # strong preferences, as in a trained model
    save_pretrained(model, tokenizer, folder)
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write(tmp_path / "pairs.jsonl", PAIRS)


@pytest.fixture(scope="module")
def trainer(base: Path) -> Any:
    """TRL's own trainer around the same weights; its loss is then computed on our pairs."""
    pytest.importorskip("trl")
    return trl_trainer(base)


@pytest.mark.parametrize("beta", [0.1, 0.5])
@pytest.mark.parametrize("loss_type", ["sigmoid", "sigmoid_norm", "ipo"])
def test_loss_and_rewards_are_trls(base: Path, data: Path, trainer: Any, loss_type: Any, beta: float) -> None:
    model, tokenizer = load_pretrained(base), Tokenizer.load(base)
    pairs = read_pairs(data, tokenizer, 200).pairs
    reference = reference_logprobs(model, pairs) + 4 * torch.randn(len(pairs), 2)  # as if from a different model
    batch, options = collate_pairs(list(zip(pairs, reference, strict=True))), DPOOptions(beta=beta, loss_type=loss_type)
    ours = dpo_loss(model, batch, options)
    theirs, metrics = trl_loss(trainer, pairs, reference, beta, loss_type)
    torch.testing.assert_close(ours.total / ours.items, theirs, rtol=1e-5, atol=1e-5)
    assert len(ours.extras) == 6
    for name, value in ours.extras.items():
        assert float(value) / len(pairs) == pytest.approx(metrics[name], rel=1e-5, abs=1e-5)

    trainer.model.zero_grad()
    theirs.backward()
    (ours.total / ours.items).backward()
    gradients = dict(trainer.model.named_parameters())
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name].grad, rtol=1e-3, atol=1e-5)


def test_the_losses_are_their_formulas_in_float64() -> None:
    policy, reference = torch.randn(2, 7, 2, dtype=torch.float64)
    lengths = torch.randint(1, 20, (7, 2))
    summed = (policy - reference).numpy()
    mean = summed / lengths.numpy()
    for name, margin in (("sigmoid", summed), ("sigmoid_norm", mean)):
        wanted = np.log1p(np.exp(-0.3 * (margin[:, 0] - margin[:, 1])))
        np.testing.assert_allclose(preference_loss(policy, reference, lengths, 0.3, name), wanted, rtol=1e-12)  # type: ignore[arg-type]
    wanted = (mean[:, 0] - mean[:, 1] - 1 / 0.6) ** 2
    np.testing.assert_allclose(preference_loss(policy, reference, lengths, 0.3, "ipo"), wanted, rtol=1e-12)


def test_only_the_last_answer_counts(base: Path) -> None:
    tokenizer = Tokenizer.load(base)
    turns = [*ask("what?", "it is."), *ask("why?", "you should know.")]
    document = answer_document([{"role": "system", "content": "short"}, *turns], tokenizer)
    assert tokenizer.decode(document.ids[document.loss_mask == 1].tolist()) == "you should know.<|im_end|>"


def test_it_starts_at_ln_2_and_learns(tmp_path: Path, base: Path, data: Path) -> None:
    result = run_dpo(data, base, tmp_path / "out", CONFIG, run=RunOptions(eval_data=data))
    first, last = result.training.history[0], result.training.history[-1]
    assert first["loss"] == pytest.approx(np.log(2), abs=1e-4) and last["loss"] < 0.6 and last["eval_loss"] < 0.6
    assert first["rewards/margins"] == pytest.approx(0, abs=1e-3) and last["rewards/margins"] > 0.2
    assert same_weights(result.model, load_pretrained(tmp_path / "out"))
    assert len(result.data) == len(PAIRS) and result.training.items == 6 * 2 - 1  # the last step of an epoch is short


def test_it_starts_at_ln_2_in_half_precision_too(tmp_path: Path, base: Path, data: Path) -> None:
    """The reference is measured in the precision that the policy is trained in, so the two agree bit for bit."""
    half = TrainConfig(total_steps=1, micro_batch_size=4, precision="bf16", device="cpu", progress=False)
    history = run_dpo(data, base, tmp_path / "out", half).training.history
    assert history[0]["loss"] == pytest.approx(np.log(2), abs=1e-6)


def test_a_pair_cut_to_nothing_is_dropped_counted_and_logged(
    tmp_path: Path, base: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tokenizer = Tokenizer.load(base)
    same_start = pair(
        "what is it?", "it is it is it is it is it is it is this", "it is it is it is it is it is it is that"
    )
    limit = len(tokenizer.render(ask("what is it?", "it is it is it")).ids)
    long = pair("long " * 60, "never seen.", "nor this.")
    path = write(tmp_path / "pairs.jsonl", [PAIRS[0], long, same_start])
    with caplog.at_level(logging.WARNING):
        found = read_pairs(path, tokenizer, limit)
    assert (len(found.pairs), found.truncated, found.dropped) == (1, 3, 2)
    assert read_pairs(path, tokenizer, 1000).truncated == 0
    assert "; 2 of them had nothing left to compare and were dropped" in caplog.text
    with pytest.raises(DataError, match=r"pairs\.jsonl: all 3 pairs were cut to nothing at 6 tokens: raise block_size"):
        run_dpo(path, base, tmp_path / "out", CONFIG, DPOOptions(block_size=5))


@pytest.mark.parametrize(
    ("lines", "strict", "words"),
    [
        ([], False, r"pairs\.jsonl: no preference pair found: the file is empty"),
        (["\n"], False, r"no preference pair found: the file is empty"),
        (['{"chosen": '], False, r"none of its lines is valid; the first error: .*line 1, column 1: not JSON"),
        ([PAIRS[0], {"chosen": PAIRS[0]["chosen"]}], True, r"pairs\.jsonl, line 2, field rejected: .*Fix the line"),
        ([PAIRS[0], PAIRS[1] | {"rejected": PAIRS[1]["chosen"]}], True, r"line 2.*the pair expresses no preference"),
        ([PAIRS[0], PAIRS[1] | {"rejected": PAIRS[2]["chosen"]}], True, r"line 2.*must share every turn but the last"),
        ([{side: ask("a", "b") + ask(side, "d")[:1] for side in ("chosen", "rejected")}], True, r"line 1.*assistant's"),
    ],
)  # fmt: skip
def test_a_bad_file_is_named_and_costs_no_checkpoint(
    tmp_path: Path, base: Path, data: Path, lines: list[Any], strict: bool, words: str
) -> None:
    run_dpo(data, base, tmp_path / "out", CONFIG)
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    write(data, lines)
    with pytest.raises(DataError, match=words):
        run_dpo(data, base, tmp_path / "out", CONFIG, run=RunOptions(strict=strict))
    assert before == {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}


def test_bad_lines_are_skipped_without_strict(tmp_path: Path, base: Path) -> None:
    path = write(tmp_path / "pairs.jsonl", [*PAIRS, {"chosen": []}, "{"])
    assert len(read_pairs(path, Tokenizer.load(base), 200).pairs) == len(PAIRS)


class Interrupt(Callback):
    def after_step(self, trainer: Trainer) -> None:
        if trainer.step == 5:
            raise KeyboardInterrupt


def test_an_interrupted_run_ends_the_same_and_measures_the_reference_once(
    tmp_path: Path, base: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def counted(*arguments: Any) -> torch.Tensor:
        calls.append(arguments)
        return reference_logprobs(*arguments)

    monkeypatch.setattr(dpo, "reference_logprobs", counted)
    whole = run_dpo(data, base, tmp_path / "whole", CONFIG)
    assert len(calls) == 1
    with pytest.raises(KeyboardInterrupt):
        run_dpo(data, base, tmp_path / "cut", CONFIG, run=RunOptions(callbacks=[Interrupt()]))
    resumed = run_dpo(data, base, tmp_path / "cut", CONFIG)
    assert len(calls) == 2, "resuming reads the stored reference"
    assert resumed.training.resumed_from == 4 and same_weights(whole.model, resumed.model)
    assert whole.training.history[-1]["loss"] == resumed.training.history[-1]["loss"]
    assert (tmp_path / "whole/model.safetensors").read_bytes() == (tmp_path / "cut/model.safetensors").read_bytes()


@pytest.mark.parametrize("change", ["base", "data", "limit", "damage", "one bit", "nothing"])
def test_a_stale_reference_is_computed_again(
    tmp_path: Path, base: Path, data: Path, change: str, caplog: pytest.LogCaptureFixture
) -> None:
    folder, other, options = tmp_path / "out", tmp_path / "other", DPOOptions()
    run_dpo(data, base, folder, CONFIG)
    stored = folder / "reference-train.safetensors"
    if change == "base":
        tokenizer, model = Tokenizer.load(base), load_pretrained(base)
        model.model.norm.weight.data *= 1.5
        save_pretrained(model, tokenizer, other)
        base = other
    elif change == "data":
        write(data, PAIRS[1:])
    elif change == "limit":
        options = DPOOptions(block_size=30)
    elif change == "damage":
        stored.write_bytes(stored.read_bytes()[:-3])
    elif change == "one bit":
        content = stored.read_bytes()
        stored.write_bytes(content[:-2] + bytes([content[-2] ^ 1]) + content[-1:])
    with caplog.at_level(logging.WARNING):
        result = run_dpo(data, base, folder, CONFIG, options, run=RunOptions(resume="never"))
    assert ("is computed again" in caplog.text) is (change != "nothing")
    assert result.training.history[0]["loss"] == pytest.approx(np.log(2), abs=1e-4)
    fresh = reference_logprobs(load_pretrained(base), [one for one, _ in result.data])
    torch.testing.assert_close(torch.stack([one for _, one in result.data]), fresh, rtol=1e-5, atol=1e-4)


def test_other_settings_are_another_recipe(tmp_path: Path, base: Path, data: Path) -> None:
    run_dpo(data, base, tmp_path / "out", CONFIG)
    with pytest.raises(CheckpointError, match=r"dpo\.beta: 0\.1 then, 0\.5 now"):
        run_dpo(data, base, tmp_path / "out", CONFIG, DPOOptions(beta=0.5))
    assert latest_checkpoint(tmp_path / "out" / "checkpoints") is not None
    with pytest.raises(ConfigError, match="is the folder that the run starts from: use another one"):
        run_dpo(data, base, base, CONFIG)


@pytest.mark.parametrize("wrong", [{"beta": 0.0}, {"loss_type": "hinge"}, {"block_size": 0}])
def test_impossible_options_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        DPOOptions(**wrong)


def test_a_reference_is_made_of_both_endings(tmp_path: Path, base: Path, data: Path) -> None:
    assert write_endings(data, tmp_path / "endings.jsonl") == 2 * len(PAIRS)
    turns = [record.messages for record in read_records(tmp_path / "endings.jsonl", "conversation")]
    assert turns[:2] == [PAIRS[0]["chosen"], PAIRS[0]["rejected"]]
    chats = write(tmp_path / "chats.jsonl", [{"conversations": ask(f"{n}?", "yes.")} for n in range(7)])
    result = run_reference(data, chats, base, tmp_path / "ref", CONFIG, SFTOptions(block_size=64))
    assert len(list(read_records(tmp_path / "ref" / "mixture", "conversation"))) == 2 * 2 * len(PAIRS) + 7
    assert (tmp_path / "ref" / "model.safetensors").is_file() and result.training.steps == 6


def test_accuracy_counts_the_preferred_answers(base: Path, data: Path) -> None:
    model, tokenizer = load_pretrained(base), Tokenizer.load(base)
    pairs = read_pairs(data, tokenizer, 200).pairs
    own = reference_logprobs(model, pairs)
    wanted = sum((own[:, 0] > own[:, 1]).tolist()) / len(pairs)
    found = pair_accuracy(model, pairs, own)
    assert (found.summed, found.reward) == (pytest.approx(wanted), 0.5), "the reference itself prefers nothing"
    worse_chosen = own - torch.tensor([1.0, 0.0])  # the model prefers every chosen answer more than this reference does
    assert pair_accuracy(model, pairs, worse_chosen).reward == 1.0


def test_the_likelier_answers_are_counted_apart_where_the_rejected_one_is_shorter() -> None:
    scores = torch.tensor([[-3.0, -2.0], [-3.0, -4.0], [-9.0, -2.0], [-1.0, -2.0], [-2.0, -2.0]])
    lengths = torch.tensor([[5, 2], [5, 2], [5, 2], [2, 5], [3, 3]])
    assert chosen_likelier(scores, lengths) == (pytest.approx(1 / 3), 0.5)


def test_closing_sentences_are_those_that_many_answers_share() -> None:
    answers = [
        "是12。有问题随时来问。",
        "不是。有问题随时来问。",
        "It is 3.5. Ask again!",
        "No. Ask again! ",
        "Yes.",
        "",
    ]
    assert set(closing_sentences(answers, at_least=2)) == {"有问题随时来问。", "Ask again!"}


def test_the_share_in_the_preferred_style_counts_endings() -> None:
    said = SampledAnswers(["It is 4. Ask again! ", "Ask again! It is 4.", "4", "4. Bye! Ask again!"], [])
    assert said.share_ending(["Ask again!", "Bye!"]) == 0.5
    assert said.share_ending_once(["Ask again!", "Bye!"]) == 0.25


def test_kl_is_the_exact_divergence_at_each_token(base: Path, data: Path) -> None:
    model, tokenizer = load_pretrained(base), Tokenizer.load(base)
    pairs = read_pairs(data, tokenizer, 200).pairs
    samples = sample_answers(model, tokenizer, pairs, max_new_tokens=5, seed=3)
    assert samples.texts == sample_answers(model, tokenizer, pairs, max_new_tokens=5, seed=3).texts
    assert kl_to_reference(model, model, samples) == (pytest.approx(0, abs=1e-6), pytest.approx(0, abs=1e-6))
    other = load_pretrained(base)
    other.model.norm.weight.data *= 0.7
    by_hand, tokens = 0.0, 0
    with torch.no_grad():
        for document in samples.documents:
            ids = torch.tensor(document.ids[None], dtype=torch.int64)
            p, q = model(ids)[0].double().log_softmax(-1), other(ids)[0].double().log_softmax(-1)
            for place in np.flatnonzero(marks(document)):
                by_hand += float(sum(p[place - 1].exp() * (p[place - 1] - q[place - 1])))
                tokens += 1
    whole, single = kl_to_reference(model, other, samples, batch_size=4)
    assert whole == pytest.approx(by_hand / len(pairs), rel=1e-4) and single == pytest.approx(
        by_hand / tokens, rel=1e-4
    )


def test_the_pictures_and_the_explorer_draw(tmp_path: Path) -> None:
    history = [{"step": n, "logps/chosen": -30.0 - n, "logps/rejected": -40.0 - 3 * n} for n in range(1, 9)]
    for number, figure in enumerate(
        [figures.margin([0.1, 0.5], 2.0), figures.logprobs(history),
         figures.kl({0.05: (3.0, 0.9, 0.5), 0.5: (1.0, 0.4, 0.6)}), figures.lines({"lr": history}, "logps/chosen")]
    ):  # fmt: skip
        figure.savefig(tmp_path / f"{number}.png")
        assert (tmp_path / f"{number}.png").stat().st_size < 60_000
    shown = figures.answers(["q<"], {"before": ["no"], "after": ["yes. Ask!"]}, ["Ask!"]).data
    assert "✓ yes. Ask!" in shown and "q&lt;" in shown
    explorer = widgets.margin_explorer()
    explorer.children[0].value = 0.5
    explorer.update()
