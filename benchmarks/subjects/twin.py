"""transformers' Llama with the weights of one of our models."""

from typing import Any

from minimind_lite.model.pretrained import config_to_hf
from minimind_lite.model.transformer import Transformer


def twin_of(model: Transformer) -> Any:
    """A LlamaForCausalLM in fp32 that computes what ``model`` computes and never ends a text by itself."""
    from transformers import LlamaConfig, LlamaForCausalLM

    twin = LlamaForCausalLM(LlamaConfig(**config_to_hf(model.config))).eval()
    twin.load_state_dict(model.state_dict(), strict=False)
    twin.tie_weights()
    twin.generation_config.eos_token_id = None
    twin.generation_config.pad_token_id = 0
    return twin
