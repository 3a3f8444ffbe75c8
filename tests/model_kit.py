"""What the model tests share: the same model in transformers' own class, random weights, the simplest cache."""

from typing import Any

import torch
from torch import Tensor

from minimind_lite.config import ModelConfig, YarnScaling
from minimind_lite.model.pretrained import config_to_hf
from minimind_lite.model.transformer import Transformer

YARN = YarnScaling(
    original_max_position_embeddings=64
)  # far shorter than the published 2048, so that tests reach past it


def random_model(config: ModelConfig, seed: int = 0) -> Transformer:
    """A model in which every parameter, norms included, is random and large enough to matter."""
    torch.manual_seed(seed)
    model = Transformer(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


def twin(model: Transformer) -> Any:
    """The same weights, copied by name, in transformers' LlamaForCausalLM or Qwen3ForCausalLM."""
    from transformers import LlamaConfig, LlamaForCausalLM, Qwen3Config, Qwen3ForCausalLM

    made_of = (Qwen3Config, Qwen3ForCausalLM) if model.config.qk_norm else (LlamaConfig, LlamaForCausalLM)
    other = made_of[1](made_of[0](**config_to_hf(model.config)))
    missing, unexpected = other.load_state_dict(model.state_dict(), strict=False)
    assert not unexpected
    assert missing == (["lm_head.weight"] if model.config.tie_word_embeddings else [])
    other.tie_weights()
    return other.eval()


class GrowingCache:
    """Keys and values appended by concatenation: slow, and too simple to be wrong."""

    def __init__(self) -> None:
        self.layers: dict[int, tuple[Tensor, Tensor]] = {}
        self.length = 0

    def update(self, layer_index: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        if layer_index in self.layers:
            old_keys, old_values = self.layers[layer_index]
            keys, values = torch.cat((old_keys, keys), dim=2), torch.cat((old_values, values), dim=2)
        self.layers[layer_index] = (keys, values)
        return keys, values

    def step(self, model: Transformer, input_ids: Tensor, **arguments: Any) -> Tensor:
        logits = model(input_ids, cache=self, **arguments)
        self.length += input_ids.shape[1]
        return logits
