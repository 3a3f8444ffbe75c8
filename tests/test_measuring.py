"""Measuring builds no graph and leaves no trace: the model's mode and the random numbers are as before."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from training_kit import tiny_data

from minimind_lite.config import preset
from minimind_lite.data.documents import Document
from minimind_lite.data.preferences import Pair
from minimind_lite.evaluation.answer_loss import answer_loss
from minimind_lite.evaluation.perplexity import bits_per_byte
from minimind_lite.evaluation.routing import routing_loads
from minimind_lite.generation.engine import generate
from minimind_lite.model.transformer import Transformer
from minimind_lite.tokenizer import Tokenizer
from minimind_lite.training.dpo import reference_logprobs
from minimind_lite.training.loop import Trainer
from minimind_lite.training.options import TrainConfig

TOKENIZER = Tokenizer.train(["the whale, the white whale. 床前明月光,疑是地上霜。"] * 20, vocab_size=320)
TALK = [[{"role": "user", "content": "the whale?"}, {"role": "assistant", "content": "the white whale"}]]


def pairs() -> list[Pair]:
    first, second = (Document(torch.arange(8).numpy() + offset) for offset in (0, 9))
    return [Pair(first, second)]


def evaluate(model: Transformer, folder: Path) -> None:
    config = TrainConfig(total_steps=1, progress=False)
    Trainer(model, tiny_data(), config, folder, eval_data=tiny_data(9)).evaluate()


MEASURES: dict[str, Callable[[Transformer, Path], object]] = {
    "answer_loss": lambda model, _: answer_loss(model, TOKENIZER, TALK),
    "bits_per_byte": lambda model, _: bits_per_byte(model, TOKENIZER, ["the white whale"]),
    "routing_loads": lambda model, _: routing_loads(model, tiny_data(9)),
    "generate": lambda model, _: generate(model, TOKENIZER, [[3, 4]], max_new_tokens=3),
    "reference_logprobs": lambda model, _: reference_logprobs(model, pairs()),
    "Trainer.evaluate": evaluate,
}


@pytest.mark.parametrize("name", MEASURES)
def test_no_graph_is_built_and_the_random_numbers_are_as_before(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Transformer(preset("pico-moe", vocab_size=TOKENIZER.vocab_size))
    seen: list[bool] = []
    model.model.norm.register_forward_pre_hook(lambda *_: seen.append(torch.is_grad_enabled()))
    state = torch.get_rng_state()
    MEASURES[name](model, tmp_path)
    assert seen and not any(seen)
    assert torch.is_grad_enabled()
    if name != "generate":  # which draws its seed when none is given
        assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", ["answer_loss", "bits_per_byte", "reference_logprobs"])
def test_the_model_measures_as_it_serves_and_goes_on_as_it_was(name: str, training: bool, tmp_path: Path) -> None:
    model = Transformer(preset("pico", vocab_size=TOKENIZER.vocab_size)).train(training)
    modes: list[bool] = []
    model.model.norm.register_forward_pre_hook(lambda module, _: modes.append(module.training))
    MEASURES[name](model, tmp_path)
    assert modes and not any(modes)
    assert model.training is training
