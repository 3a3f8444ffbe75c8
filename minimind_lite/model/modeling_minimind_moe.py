"""MiniMind's mixture of experts for transformers: written beside a model whose experts no class of transformers has.

``AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True)`` opens such a folder with this file, so it needs
nothing but torch and transformers. Attention, norms and the head are transformers' own Llama (Qwen3's attention where
the model has QK-norm); only the MLP of each layer is replaced. The library itself never imports this file.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.models.llama.modeling_llama import LlamaModel
from transformers.models.qwen3.modeling_qwen3 import Qwen3Attention


class MiniMindMoeConfig(LlamaConfig):
    """Llama's settings, and those of the experts, in the words of config.json."""

    model_type = "minimind_moe"

    def __init__(
        self,
        num_experts: int = 4,
        num_experts_per_tok: int = 2,
        num_shared_experts: int = 0,
        norm_topk_prob: bool = True,
        qk_norm: bool = False,
        moe_intermediate_size: int = 1728,
        router_aux_loss_coef: float = 0.1,
        router_balance_per: str = "sequence",
        **others: Any,
    ) -> None:
        self.num_experts = num_experts
        self.num_experts_per_tok = num_experts_per_tok
        self.num_shared_experts = num_shared_experts
        self.norm_topk_prob = norm_topk_prob
        self.qk_norm = qk_norm
        self.moe_intermediate_size = moe_intermediate_size
        self.router_aux_loss_coef = router_aux_loss_coef
        self.router_balance_per = router_balance_per
        super().__init__(**others)
        self.sliding_window = None
        self.layer_types = ["full_attention"] * self.num_hidden_layers


class MiniMindExpert(nn.Module):
    """``down(silu(gate(x)) · up(x))``."""

    def __init__(self, config: MiniMindMoeConfig) -> None:
        super().__init__()
        width, inner = config.hidden_size, config.moe_intermediate_size
        self.gate_proj = nn.Linear(width, inner, bias=False)
        self.up_proj = nn.Linear(width, inner, bias=False)
        self.down_proj = nn.Linear(inner, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))
        return y


class MiniMindExperts(nn.Module):
    """The chosen experts of each token, weighted by its router, and the shared ones, unweighted."""

    def __init__(self, config: MiniMindMoeConfig) -> None:
        super().__init__()
        self.chosen, self.rescaled = config.num_experts_per_tok, config.norm_topk_prob
        self.gate = nn.Linear(config.hidden_size, config.num_experts, bias=False)
        self.experts = nn.ModuleList(MiniMindExpert(config) for _ in range(config.num_experts))
        self.shared_experts = nn.ModuleList(MiniMindExpert(config) for _ in range(config.num_shared_experts))

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.reshape(-1, x.shape[-1])
        weights, chosen = self.gate(tokens).softmax(dim=-1, dtype=torch.float32).topk(self.chosen, dim=-1)
        if self.rescaled:  # a single weight becomes 1; its gradient is kept, or the router would never learn
            total = weights.sum(dim=-1, keepdim=True)
            weights = weights / (total.detach() if self.chosen == 1 else total)
        mixed = torch.zeros_like(tokens, dtype=torch.float32)
        for number, expert in enumerate(self.experts):
            rows, places = (chosen == number).nonzero(as_tuple=True)
            mixed = mixed.index_add(0, rows, weights[rows, places, None] * expert(tokens[rows]))
        for expert in self.shared_experts:
            mixed = mixed + expert(tokens)
        return mixed.to(x.dtype).view(x.shape)


class MiniMindMoeModel(LlamaModel):
    """Llama's decoder with experts for MLPs."""

    config_class = MiniMindMoeConfig

    def __init__(self, config: MiniMindMoeConfig) -> None:
        super().__init__(config)
        for index, layer in enumerate(self.layers):
            layer.mlp = MiniMindExperts(config)
            if config.qk_norm:
                layer.self_attn = Qwen3Attention(config, index)  # type: ignore[arg-type]  # it reads fields by name
        self.post_init()  # type: ignore[no-untyped-call]


class MiniMindMoeForCausalLM(LlamaForCausalLM):
    """The decoder with its head; generation, caches and losses are transformers' own. No balance loss is added."""

    config_class = MiniMindMoeConfig

    def __init__(self, config: MiniMindMoeConfig) -> None:
        super().__init__(config)
        self.model = MiniMindMoeModel(config)
        self.post_init()  # type: ignore[no-untyped-call]
