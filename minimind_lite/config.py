"""What a model looks like: one frozen dataclass, and the named presets.

Field names are Hugging Face's, so a config here and a `config.json` there say the same thing in the same words.
A setting that cannot work is rejected at once, not an hour later when a shape does not fit.
"""

from dataclasses import dataclass, replace
from typing import Any, Literal

from minimind_lite.settings import Checked, Count, Natural, NotNegative, Positive
from minimind_lite.settings import ConfigError as ConfigError

BalancePer = Literal["sequence", "batch"]


@dataclass(frozen=True)
class YarnScaling(Checked):
    """YaRN: stretch RoPE to longer texts without training (Peng et al. 2023, arXiv 2309.00071)."""

    factor: Positive = 16.0  # how many times longer than the original length
    original_max_position_embeddings: Count = 2048  # the length the model was trained at
    beta_fast: Positive = 32.0  # dimensions that turn more often than this over the original length stay as they are
    beta_slow: Positive = 1.0  # dimensions that turn less often than this are slowed down by the whole factor
    attention_factor: Positive = 1.0  # multiplies cos and sin; the paper proposes 0.1·ln(factor) + 1, MiniMind keeps 1


@dataclass(frozen=True)
class ModelConfig(Checked):
    """Shape and constants of a decoder-only transformer.

    The three kinds of attention in one picture, for 4 query heads::

        MHA  num_key_value_heads = 4    q q q q      GQA  = 2    q q q q      MQA  = 1    q q q q
                                        │ │ │ │                  └┬┘ └┬┘                  └─┴┬┴─┘
                                        k k k k                   k   k                      k
    """

    vocab_size: Count = 6400  # rows of the embedding; a tokenizer may use fewer, never more
    hidden_size: Count = 512  # width of the residual stream
    num_hidden_layers: Count = 8  # how many blocks
    num_attention_heads: Count = 8  # query heads
    num_key_value_heads: Count = 2  # key/value heads; each serves heads / kv_heads query heads
    intermediate_size: Count = 1408  # width inside SwiGLU
    head_dim: Natural = 0  # width of one head; 0 means hidden_size / num_attention_heads
    max_position_embeddings: Count = 32768  # longest context, prompt and answer together; RoPE's table grows as needed
    rms_norm_eps: Positive = 1e-5  # keeps RMSNorm from dividing by zero
    rope_theta: Positive = 1e6  # RoPE's base: the larger it is, the slower the slow dimensions turn
    rope_scaling: YarnScaling | None = None  # YaRN, for inference on longer texts
    qk_norm: bool = False  # RMSNorm on every query and key head (Qwen3, MiniMind v3)
    tie_word_embeddings: bool = True  # one matrix embeds the input tokens and scores the output tokens
    initializer_range: NotNegative = 0.02  # standard deviation of the initial weights
    num_experts: Natural = 0  # routed experts in each MLP, each intermediate_size wide; 0 means a dense MLP
    num_experts_per_tok: Natural = 0  # experts a token is sent to (top-k)
    num_shared_experts: Natural = 0  # experts that every token visits
    norm_topk_prob: bool = True  # rescale the chosen experts' weights to sum to 1
    router_aux_loss_coef: NotNegative = 0.1  # how much the balance loss of each MoE layer counts in training
    router_balance_per: BalancePer = "sequence"  # where loads should be equal: in each sequence, or over a batch
    pad_token_id: Natural = 0  # <|endoftext|>
    bos_token_id: Natural = 1  # <|im_start|>
    eos_token_id: Natural = 2  # <|im_end|>

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.head_dim == 0:
            if self.hidden_size % self.num_attention_heads:
                raise ConfigError(
                    f"hidden_size {self.hidden_size} is not divisible by num_attention_heads "
                    f"{self.num_attention_heads}; give head_dim, or a hidden_size that is a multiple of the heads"
                )
            object.__setattr__(self, "head_dim", self.hidden_size // self.num_attention_heads)
        self._check_attention()
        self._check_tokens()
        self._check_experts()

    def _check_attention(self) -> None:
        if self.num_attention_heads % self.num_key_value_heads:
            raise ConfigError(
                f"num_attention_heads {self.num_attention_heads} is not divisible by num_key_value_heads "
                f"{self.num_key_value_heads}: each key/value head serves an equal group of query heads"
            )
        if self.head_dim % 2:
            raise ConfigError(f"head_dim {self.head_dim} is odd: RoPE turns pairs of dimensions, so it must be even")

    def _check_tokens(self) -> None:
        for name in ("pad_token_id", "bos_token_id", "eos_token_id"):
            if getattr(self, name) >= self.vocab_size:
                raise ConfigError(
                    f"{name} {getattr(self, name)} is outside the vocabulary: ids run 0..{self.vocab_size - 1}"
                )

    def _check_experts(self) -> None:
        if self.num_experts == 0:
            if self.num_experts_per_tok or self.num_shared_experts:
                raise ConfigError("num_experts is 0 (a dense MLP), so the other expert settings must be 0 too")
        elif not 1 <= self.num_experts_per_tok <= self.num_experts:
            raise ConfigError(
                f"num_experts_per_tok {self.num_experts_per_tok} must lie between 1 and num_experts {self.num_experts}"
            )


def default_intermediate_size(hidden_size: int, ratio: float = 8 / 3) -> int:
    """SwiGLU's width: ``ratio · hidden_size`` rounded up to a multiple of 64 (v3 uses ratio = π).

    >>> default_intermediate_size(512), default_intermediate_size(768, 3.14159265)
    (1408, 2432)
    """
    return 64 * -int(-(ratio * hidden_size) // 64)


def count_parameters(config: ModelConfig) -> int:
    """Exact number of parameters, tied embeddings counted once, from the config alone.

    Chapter 07 derives each line; the tests compare it with models that are actually built.
    """
    d, kv = config.hidden_size, config.num_key_value_heads * config.head_dim
    attention = 2 * d * config.num_attention_heads * config.head_dim + 2 * d * kv
    qk_norms = 2 * config.head_dim if config.qk_norm else 0
    mlp = 3 * d * config.intermediate_size
    if config.num_experts:
        mlp = mlp * (config.num_experts + config.num_shared_experts) + d * config.num_experts  # experts and router
    block = attention + qk_norms + mlp + 2 * d  # two RMSNorms
    embeddings = config.vocab_size * d * (1 if config.tie_word_embeddings else 2)
    return embeddings + config.num_hidden_layers * block + d  # plus the final norm


def count_active_parameters(config: ModelConfig) -> int:
    """The parameters used for one token: all but the routed experts it is not sent to."""
    expert = config.num_hidden_layers * 3 * config.hidden_size * config.intermediate_size
    return count_parameters(config) - (config.num_experts - config.num_experts_per_tok) * expert


def dense_twin(config: ModelConfig) -> ModelConfig:
    """The dense model with the same cost per token, routers aside: its MLP is as wide as the experts a token visits."""
    visited = config.num_experts_per_tok + config.num_shared_experts
    width = (visited or 1) * config.intermediate_size
    return replace(config, num_experts=0, num_experts_per_tok=0, num_shared_experts=0, intermediate_size=width)


_MINIMIND2 = ModelConfig()
_MINIMIND3 = ModelConfig(
    hidden_size=768, num_hidden_layers=8, num_attention_heads=8, num_key_value_heads=4,
    intermediate_size=2432, rms_norm_eps=1e-6, qk_norm=True,
)  # fmt: skip
_MINIMIND_V1 = replace(_MINIMIND2, num_attention_heads=16, num_key_value_heads=8, head_dim=0, rope_theta=1e4)
_NANO = ModelConfig(
    hidden_size=128, num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=2,
    intermediate_size=384, max_position_embeddings=2048,
)  # fmt: skip
_NANO_MOE = replace(  # costs as much per token as nano
    _NANO, intermediate_size=192, rms_norm_eps=1e-6, qk_norm=True, num_experts=8, num_experts_per_tok=2,
    router_aux_loss_coef=0.05, router_balance_per="batch",
)  # fmt: skip

PRESETS: dict[str, ModelConfig] = {
    "minimind2-small": _MINIMIND2,
    "minimind2": replace(_MINIMIND2, hidden_size=768, num_hidden_layers=16, intermediate_size=2048, head_dim=0),
    "minimind2-moe": replace(_MINIMIND2, hidden_size=640, intermediate_size=1728, head_dim=0, num_experts=4,
                             num_experts_per_tok=2, num_shared_experts=1),
    "minimind3": _MINIMIND3,
    "minimind3-moe": replace(
        _MINIMIND3, num_experts=4, num_experts_per_tok=1, router_aux_loss_coef=5e-4, router_balance_per="batch",
        norm_topk_prob=False,  # a single weight rescaled to 1 would teach the router nothing
    ),
    "minimind-v1-small": _MINIMIND_V1,
    "minimind-v1": replace(_MINIMIND_V1, hidden_size=768, num_hidden_layers=16, intermediate_size=2048, head_dim=0),
    "nano": _NANO,  # what the quick profile trains
    "pico": replace(_NANO, hidden_size=64, num_hidden_layers=2, intermediate_size=192, head_dim=0),  # tests and toys
    "nano-moe": _NANO_MOE,
    "pico-moe": replace(_NANO_MOE, hidden_size=64, num_hidden_layers=2, intermediate_size=64, head_dim=0,
                        num_shared_experts=1, router_aux_loss_coef=0.01),
}  # fmt: skip


def preset(name: str, **changes: Any) -> ModelConfig:
    """The named preset, with fields changed: ``preset("nano", vocab_size=3072)``.

    Raises ConfigError for an unknown name (with the list of names), an unknown field, or an impossible value.
    """
    if name not in PRESETS:
        raise ConfigError(f"there is no preset called {name!r}; the presets are: {', '.join(PRESETS)}")
    unknown = set(changes) - set(ModelConfig.__dataclass_fields__)
    if unknown:
        fields = ", ".join(ModelConfig.__dataclass_fields__)
        raise ConfigError(f"ModelConfig has no field {', '.join(sorted(unknown))}; it has: {fields}")
    if {"hidden_size", "num_attention_heads"} & set(changes):
        changes.setdefault("head_dim", 0)  # recomputed from the new sizes
    return replace(PRESETS[name], **changes)
