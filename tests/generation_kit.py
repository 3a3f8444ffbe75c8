"""What the generation tests share: a tokenizer of bare bytes, small random models, and their transformers twins."""

from dataclasses import replace
from typing import Any

import torch

from minimind_lite.config import ModelConfig, preset
from minimind_lite.model.pretrained import config_to_hf
from minimind_lite.model.transformer import Transformer


class ByteTokenizer:
    """One token per byte and two end tokens, so characters and stop strings are cut at every place."""

    vocab_size, eos_id, end_of_text_id = 258, 256, 257

    def token_bytes(self, token: int) -> bytes:
        return bytes([token]) if token < 256 else b"<end>"

    def encode(self, text: str) -> list[int]:
        return list(text.encode())


TOKENIZER: Any = ByteTokenizer()


def small_model(seed: int = 0, **changes: Any) -> Transformer:
    """A random model whose distribution is not flat: its weights have three times the usual spread."""
    torch.manual_seed(seed)
    config = replace(preset("pico", vocab_size=258, eos_token_id=256, pad_token_id=257), **changes)
    model = Transformer(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(3)
    return model


def scripted_model(script: str | bytes | list[int]) -> Transformer:
    """A model that says ``script`` and then <end>, whatever it is asked: the token after step i is script[i]."""
    tokens = list(script.encode() if isinstance(script, str) else script)

    class Scripted(Transformer):
        def logits(self, hidden: torch.Tensor) -> torch.Tensor:
            token = tokens[self.said] if self.said < len(tokens) else TOKENIZER.eos_id
            self.said += 1
            scores = torch.full((*hidden.shape[:-1], TOKENIZER.vocab_size), -30.0)
            scores[..., token] = 30.0
            return scores

    model = Scripted(preset("pico", vocab_size=258))
    model.said = 0
    return model


def transformers_twin(model: Transformer) -> Any:
    """The same weights in transformers' own class."""
    from transformers import AutoModelForCausalLM, LlamaConfig, Qwen3Config

    config: ModelConfig = model.config
    made = (Qwen3Config if config.qk_norm else LlamaConfig)(**config_to_hf(config))
    twin = AutoModelForCausalLM.from_config(made)
    twin.load_state_dict(model.state_dict(), strict=not config.tie_word_embeddings)
    twin.tie_weights()
    return twin.eval()
