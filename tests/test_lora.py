"""LoRA: the same function as PEFT, a base that is never touched, adapters that refuse another base."""

import json
from pathlib import Path

import pytest
import torch
from model_kit import random_model
from safetensors.torch import load_file, save_file
from torch import nn
from typer.testing import CliRunner

from minimind_lite.cli import app
from minimind_lite.config import ConfigError, ModelConfig, preset
from minimind_lite.evaluation.closed_book import Answer, ExactMatch
from minimind_lite.model.lora import (
    CONFIG,
    WEIGHTS,
    LoRAConfig,
    LoRAError,
    LoRALinear,
    adapter_names,
    add_adapter,
    base_digest,
    load_adapter,
    lora_layers,
    merge,
    merge_folders,
    merged,
    save_adapter,
    set_adapter,
    trainable_share,
    unmerge,
)
from minimind_lite.model.pretrained import load_pretrained, save_pretrained, write_tensors
from minimind_lite.model.transformer import Transformer
from minimind_lite.tokenizer import Tokenizer
from minimind_lite.training.callbacks import Callback
from minimind_lite.training.checkpoint import CheckpointError, latest_checkpoint
from minimind_lite.training.loop import Trainer
from minimind_lite.training.lora import LoRAOptions, run_lora
from minimind_lite.training.options import RunOptions, TrainConfig

SHAPE = ModelConfig(
    vocab_size=300, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
    intermediate_size=48, max_position_embeddings=256,
)  # fmt: skip
IDS = torch.randint(0, 300, (2, 9), generator=torch.Generator().manual_seed(0))
ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def adapted(name: str = "adapter", seed: int = 0, **config: object) -> Transformer:
    """A random model with a random adapter that has an effect."""
    model = random_model(SHAPE, seed=5).eval()
    give(model, name, seed, **config)
    return model


def give(model: Transformer, name: str, seed: int, **config: object) -> None:
    torch.manual_seed(seed)
    add_adapter(model, LoRAConfig(**({"rank": 4} | config)), name)  # type: ignore[arg-type]
    for _, layer in lora_layers(model):
        if name in layer.configs:
            nn.init.normal_(layer.lora_B[name], std=0.2)


@torch.no_grad()
def logits(model: nn.Module) -> torch.Tensor:
    found = model.eval()(IDS)
    return getattr(found, "logits", found)


def test_a_new_adapter_changes_nothing_and_freezes_the_base() -> None:
    model = random_model(SHAPE)
    before = logits(model)
    add_adapter(model, LoRAConfig(rank=4))
    assert torch.equal(logits(model), before)
    assert {name.rsplit(".", 1)[0].rsplit(".", 1)[1] for name, p in model.named_parameters() if p.requires_grad} == {
        "lora_A", "lora_B"}  # fmt: skip
    assert [name.rsplit(".", 1)[1] for name, _ in lora_layers(model)] == ALL * 2


def test_the_layer_is_the_formula_at_every_rank_and_shape() -> None:
    for rank, out in ((1, 7), (3, 5)):
        layer = LoRALinear(nn.Linear(5, out))
        layer.add("a", LoRAConfig(rank=rank, alpha=6.0))
        layer.active = "a"
        nn.init.normal_(layer.lora_B["a"])
        x = torch.randn(4, 5)
        change = (6.0 / rank) * (layer.lora_B["a"] @ layer.lora_A["a"])
        torch.testing.assert_close(layer(x), x @ (layer.weight + change).T + layer.bias)


def test_dropout_works_in_training_only() -> None:
    model = adapted(dropout=0.5)
    assert torch.equal(logits(model), logits(model))
    model.train()
    assert not torch.equal(model(IDS), model(IDS))


def test_merged_equals_unmerged_and_unmerging_gives_back_the_same_bits() -> None:
    model = adapted().double()
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    before = logits(model)
    merge(model)
    assert not torch.equal(model.model.layers[0].mlp.up_proj.weight, weights["model.layers.0.mlp.up_proj.weight"])
    torch.testing.assert_close(logits(model), before, rtol=0, atol=1e-6)
    merge(model)  # a second time changes nothing
    torch.testing.assert_close(logits(model), before, rtol=0, atol=1e-6)
    unmerge(model)
    assert all(torch.equal(tensor, weights[name]) for name, tensor in model.state_dict().items())
    assert torch.equal(logits(model), before)


def test_single_precision_weights_merge_to_a_millionth() -> None:
    model = adapted()
    layer = model.model.layers[1].mlp.down_proj
    x = torch.randn(6, 48)
    y = layer(x)
    layer.merge()
    torch.testing.assert_close(layer(x), y, rtol=1e-6, atol=3e-6)


def test_adapters_are_switched_without_reloading() -> None:
    model = random_model(SHAPE, seed=5)
    plain = logits(model)
    give(model, "one", 1)
    first = logits(model)
    give(model, "two", 2, target=r".*\.q_proj", rank=2)
    second = logits(model)
    assert adapter_names(model) == ["one", "two"]
    for name, expected in (("one", first), (None, plain), ("two", second), ("one", first)):
        set_adapter(model, name)
        assert torch.equal(logits(model), expected)
        merge(model)  # switching unmerges a merged adapter
    assert not torch.equal(first, second)
    with pytest.raises(LoRAError, match="no adapter called 'three'; it has: one, two"):
        set_adapter(model, "three")


def test_experts_are_found_too() -> None:
    model = Transformer(preset("nano-moe", vocab_size=300))
    add_adapter(model, LoRAConfig(rank=2))
    names = [name for name, _ in lora_layers(model)]
    assert any("mlp.experts.0.gate_proj" in name for name in names) and not any(name.endswith("gate") for name in names)
    model(IDS).sum().backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize("target", [LoRAConfig().target, r".*\.layers\.1\..*(q|down)_proj"])
def test_peft_loads_ours(tmp_path: Path, target: str) -> None:
    peft, transformers = pytest.importorskip("peft"), pytest.importorskip("transformers")
    model = adapted(target=target, alpha=6.0)
    save_adapter(model, tmp_path / "adapter")
    ours = logits(model)
    set_adapter(model, None)
    save_pretrained(random_model(SHAPE, seed=5), None, tmp_path / "base")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    torch.testing.assert_close(logits(theirs), logits(model), rtol=1e-4, atol=1e-5)
    theirs = peft.PeftModel.from_pretrained(theirs, tmp_path / "adapter")
    torch.testing.assert_close(logits(theirs), ours, rtol=1e-4, atol=1e-5)
    assert (ours - logits(model)).abs().max() > 0.01
    theirs = theirs.merge_and_unload()
    torch.testing.assert_close(logits(theirs), logits(merged_copy(tmp_path)), rtol=1e-4, atol=1e-5)


def merged_copy(folder: Path) -> Transformer:
    model = load_pretrained(folder / "base")
    load_adapter(model, folder / "adapter")
    return merged(model)


@pytest.mark.parametrize("target", [ALL, ["q_proj", "v_proj"], r".*\.0\..*\.(up|o)_proj"])
def test_we_load_pefts(tmp_path: Path, target: list[str] | str) -> None:
    peft, transformers = pytest.importorskip("peft"), pytest.importorskip("transformers")
    save_pretrained(random_model(SHAPE, seed=5), None, tmp_path / "base")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    torch.manual_seed(3)
    config = peft.LoraConfig(r=3, lora_alpha=12, target_modules=target, init_lora_weights=False, lora_dropout=0.1)
    theirs = peft.get_peft_model(theirs, config)
    theirs.save_pretrained(tmp_path / "adapter")
    model = load_pretrained(tmp_path / "base")
    plain = logits(model)
    load_adapter(model, tmp_path / "adapter", "theirs")
    torch.testing.assert_close(logits(model), logits(theirs), rtol=1e-4, atol=1e-5)
    assert (logits(model) - plain).abs().max() > 0.01
    save_adapter(model, tmp_path / "again", "theirs")  # and saving it again gives the same adapter
    again, original = load_file(tmp_path / "again" / WEIGHTS), load_file(tmp_path / "adapter" / WEIGHTS)
    assert again.keys() == original.keys() and all(torch.equal(again[key], original[key]) for key in again)


@pytest.mark.parametrize(
    "bad", [{"rank": 0}, {"alpha": 0.0}, {"dropout": 1.0}, {"target": "("}, {"replay_share": 1.0}],
)  # fmt: skip
def test_impossible_settings_are_refused(bad: dict) -> None:
    with pytest.raises(ConfigError, match=next(iter(bad))):
        LoRAOptions(**bad)


def test_a_pattern_that_matches_nothing_lists_the_names() -> None:
    model = random_model(SHAPE)
    with pytest.raises(LoRAError, match=r"matches 'q_proj'; the names are: .*model\.layers\.\*\.self_attn\.q_proj"):
        add_adapter(model, LoRAConfig(target="q_proj"))
    with pytest.raises(LoRAError, match=r"rank 17 is above the smaller side of .*k_proj, \(16, 32\)"):
        add_adapter(model, LoRAConfig(rank=17))
    assert not list(lora_layers(model)) and all(p.requires_grad for p in model.parameters())
    add_adapter(model, LoRAConfig(rank=2), "taken")
    for name, words in (("taken", "already"), ("a.b", "letters")):
        with pytest.raises(LoRAError, match=words):
            add_adapter(model, LoRAConfig(rank=2), name)


def test_an_adapter_for_another_base_is_refused_and_the_model_left_alone(tmp_path: Path) -> None:
    save_adapter(adapted(), tmp_path)
    wider = random_model(ModelConfig(**(vars(SHAPE) | {"intermediate_size": 64})))
    shallower = random_model(ModelConfig(**(vars(SHAPE) | {"num_hidden_layers": 1})))
    other = random_model(SHAPE, seed=6)
    for model, words in (
        (wider, r"mlp\.up_proj\.lora_B is \(48, 4\); rank 4 on this model asks for \(64, 4\)"),
        (shallower, r"no linear layer model\.layers\.1\."),
        (other, "SHA-256 [0-9a-f]{12}…, and these have [0-9a-f]{12}…"),
    ):
        before = logits(model)
        with pytest.raises(LoRAError, match=words):
            load_adapter(model, tmp_path)
        assert not list(lora_layers(model)) and torch.equal(logits(model), before)
    load_adapter(other, tmp_path, check_base=False)
    assert adapter_names(other) == ["adapter"]


def test_the_digest_is_of_the_base_whatever_is_on_it() -> None:
    model = random_model(SHAPE, seed=5)
    digest = base_digest(model)
    give(model, "one", 1)
    assert base_digest(model) == digest
    merge(model)
    assert base_digest(model) == digest
    assert base_digest(random_model(SHAPE, seed=6)) != digest


def test_a_broken_adapter_is_named(tmp_path: Path) -> None:
    save_adapter(adapted(), tmp_path)
    model, weights = random_model(SHAPE, seed=5), load_file(tmp_path / WEIGHTS)
    config = json.loads((tmp_path / CONFIG).read_text(encoding="utf-8"))

    def refused(words: str) -> None:
        with pytest.raises(LoRAError, match=words):
            load_adapter(model, tmp_path)
        assert not list(lora_layers(model))

    bad = [({"use_dora": True}, "use_dora"), ({"r": 5}, "rank 5"), ({"r": 0}, "rank must")]
    bad += [({"peft_type": "LOHA"}, "LOHA"), ({"rank_pattern": {"q_proj": 2}}, "rank_pattern")]  # type: ignore[list-item]
    for change, words in bad:
        (tmp_path / CONFIG).write_text(json.dumps(config | change), encoding="utf-8")
        refused(words)
    (tmp_path / CONFIG).write_text("{", encoding="utf-8")
    refused("does not describe")
    (tmp_path / CONFIG).write_text(json.dumps(config), encoding="utf-8")
    first = next(iter(weights))
    save_file({name: one for name, one in weights.items() if name != first}, tmp_path / WEIGHTS)
    refused("is missing")
    save_file(weights | {"surprise": weights[first].clone()}, tmp_path / WEIGHTS)
    refused("not LoRA matrices: surprise")
    (tmp_path / WEIGHTS).write_bytes(b"x" * 9)
    refused("damaged")
    (tmp_path / WEIGHTS).unlink()
    refused(f"{WEIGHTS} does not exist")


# Training

CONFIG_OF_RUN = TrainConfig(total_steps=6, micro_batch_size=2, learning_rate=1e-2, save_every=2, progress=False)


def conversations(path: Path, count: int = 12, word: str = "question") -> Path:
    turns = [[{"role": "user", "content": f"{word} {n}?"}, {"role": "assistant", "content": f"答案{n}。"}]
             for n in range(count)]  # fmt: skip
    path.write_text(
        "".join(json.dumps({"conversations": one}, ensure_ascii=False) + "\n" for one in turns), encoding="utf-8"
    )
    return path


@pytest.fixture
def base(tmp_path: Path) -> Path:
    save_pretrained(
        random_model(SHAPE, seed=5), Tokenizer.train(["question 答案 0123456789。?"] * 9, 300), tmp_path / "b"
    )
    return tmp_path / "b"


class Interrupt(Callback):
    def after_step(self, trainer: Trainer) -> None:
        if trainer.step == 5:
            raise KeyboardInterrupt


def test_a_run_trains_the_adapter_only_and_resumes_bit_by_bit(tmp_path: Path, base: Path) -> None:
    data, options = conversations(tmp_path / "chat.jsonl"), LoRAOptions(rank=2, dropout=0.2, block_size=48)
    whole = run_lora(data, base, tmp_path / "whole", CONFIG_OF_RUN, options, run=RunOptions(eval_data=data))
    with pytest.raises(KeyboardInterrupt):
        run_lora(
            data,
            base,
            tmp_path / "cut",
            CONFIG_OF_RUN,
            options,
            run=RunOptions(eval_data=data, callbacks=[Interrupt()]),
        )
    resumed = run_lora(data, base, tmp_path / "cut", CONFIG_OF_RUN, options, run=RunOptions(eval_data=data))
    assert resumed.training.resumed_from == 4
    first, second = (load_file(tmp_path / name / WEIGHTS) for name in ("whole", "cut"))
    assert all(torch.equal(matrix, second[name]) for name, matrix in first.items())
    before, after = load_pretrained(base).state_dict(), whole.model.state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())
    assert all(layer.lora_B["adapter"].abs().max() > 0 for _, layer in lora_layers(whole.model))
    assert whole.training.history[-1]["loss"] < whole.training.history[0]["loss"]
    checkpoint = latest_checkpoint(tmp_path / "whole" / "checkpoints")
    assert checkpoint and all(".lora_" in name for name in checkpoint.state["model"])
    assert 0 < trainable_share(whole.model) < 0.2


def test_another_base_or_rank_is_another_recipe(tmp_path: Path, base: Path) -> None:
    data = conversations(tmp_path / "chat.jsonl")
    run_lora(data, base, tmp_path / "out", CONFIG_OF_RUN, LoRAOptions(rank=2, block_size=48))
    with pytest.raises(CheckpointError, match=r"lora\.rank: 2 then, 3 now"):
        run_lora(data, base, tmp_path / "out", CONFIG_OF_RUN, LoRAOptions(rank=3, block_size=48))
    save_pretrained(random_model(SHAPE, seed=6), None, base)
    with pytest.raises(CheckpointError, match="base: "):
        run_lora(data, base, tmp_path / "out", CONFIG_OF_RUN, LoRAOptions(rank=2, block_size=48))


@pytest.mark.parametrize(("share", "micro", "accumulation"), [(0.0, 2, 1), (0.5, 2, 1), (0.8, 2, 1), (0.5, 1, 2)])
def test_replay_has_its_share_of_the_tokens(
    tmp_path: Path, base: Path, share: float, micro: int, accumulation: int
) -> None:
    own, old = conversations(tmp_path / "own.jsonl", 8), conversations(tmp_path / "old.jsonl", 300, "old")
    config = TrainConfig(
        total_steps=8, micro_batch_size=micro, gradient_accumulation_steps=accumulation, progress=False
    )
    options = LoRAOptions(rank=1, block_size=96, replay=str(old), replay_share=share)
    documents = run_lora(own, base, tmp_path / "out", config, options).data.documents
    tokens, words = [0, 0], Tokenizer.load(base)
    for one in documents:
        tokens["old" in words.decode(one.ids.tolist())] += len(one)
    assert tokens[1] / sum(tokens) == pytest.approx(share, abs=0.1)
    assert sum(tokens) == pytest.approx(8 * 2 * 96, rel=0.3)  # as long as the run


def test_a_formula_at_the_end_is_counted() -> None:
    given = ["Rest. See a doctor.", "See a doctor. Rest.", "Drink.\n", "octor."]
    asked = ExactMatch([Answer("q", "Drink. See a doctor.", one) for one in given])
    assert asked.share_ending(len("See a doctor.")) == 0.25 and asked.share == 0


def test_the_commands_train_merge_and_chat(tmp_path: Path, base: Path) -> None:
    data = conversations(tmp_path / "chat.jsonl")

    def minimind(*arguments: object, **more: str) -> str:
        result = CliRunner().invoke(app, [str(one) for one in arguments], env={"COLUMNS": "200"}, **more)
        return f"{result.exit_code} {result.output}"

    small = [x for one in ("total_steps=2", "progress=False", "rank=2", "block_size=48") for x in ("-p", one)]
    assert minimind("train", "lora", data, base, tmp_path / "out", *small).startswith("0 trained")
    assert minimind("merge", base, tmp_path / "out", tmp_path / "merged").startswith("0 merged")
    model = load_pretrained(base)
    load_adapter(model, tmp_path / "out")
    torch.testing.assert_close(logits(load_pretrained(tmp_path / "merged")), logits(model), rtol=1e-4, atol=1e-5)
    talk = ("chat", base, "--adapter", tmp_path / "out", "--max-new-tokens", "2", "--temperature", "0")
    assert minimind(*talk, input="question 1?\n/quit\n").startswith("0")
    assert "the base or the adapter itself" in minimind("merge", base, tmp_path / "out", base).replace("\n", "")
    with pytest.raises(LoRAError, match="another base"):
        save_pretrained(random_model(SHAPE, seed=6), None, base)
        merge_folders(base, tmp_path / "out", tmp_path / "merged2")


def test_an_adapter_is_described_as_peft_describes_it(tmp_path: Path) -> None:
    model = adapted()
    save_adapter(model, tmp_path)
    described = json.loads((tmp_path / CONFIG).read_text(encoding="utf-8"))
    ours = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": None, "inference_mode": True,
            "init_lora_weights": True}  # fmt: skip
    assert described.items() >= ours.items()
    assert described["target_modules"] == [path for path, _ in lora_layers(model)]


@pytest.mark.parametrize("widened", [True, False])  # as training writes it now, and as it did before
def test_an_adapter_fits_a_half_precision_base_as_it_is_stored(tmp_path: Path, widened: bool) -> None:
    trained, stored = adapted(), random_model(SHAPE, seed=5).to(torch.bfloat16)
    trained.load_state_dict(stored.state_dict(), strict=False)  # what training reads: the same numbers, in float32
    save_adapter(trained, tmp_path)
    metadata = {"base_sha256": base_digest(stored, widened=widened), "lora_alpha": repr(16.0)}
    assert widened is (metadata["base_sha256"] == base_digest(trained))
    write_tensors(tmp_path / WEIGHTS, load_file(tmp_path / WEIGHTS), metadata)
    load_adapter(stored, tmp_path)
    with pytest.raises(LoRAError, match="for another base"):
        load_adapter(random_model(SHAPE, seed=6).to(torch.bfloat16), tmp_path)
