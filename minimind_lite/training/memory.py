"""How much memory training takes, from the model's shape alone: weights, gradients, optimizer, activations.

The first three are exact. Activations are what the forward pass keeps for the backward pass, counted matrix by matrix
from the code of ``model/``; a test compares the sum with the tensors that autograd really saves.
"""

from dataclasses import dataclass

from minimind_lite.config import ModelConfig, count_parameters

_FULL, _HALF = 4, 2  # bytes of a value in fp32, and in bf16 or fp16
_UNSEEN = 0.1  # what a GPU needs besides: kernels, workspaces, gaps between blocks; a share of all the rest


@dataclass(frozen=True)
class Memory:
    """Bytes that training takes, by what they are for."""

    weights: int
    gradients: int
    optimizer: int
    activations: int  # of one micro-batch

    @property
    def fixed(self) -> int:
        """What does not depend on the micro-batch."""
        return self.weights + self.gradients + self.optimizer

    @property
    def total(self) -> int:
        """All of it, and a tenth for what nobody counts."""
        return round((self.fixed + self.activations) * (1 + _UNSEEN))


def training_memory(
    config: ModelConfig, micro_batch_size: int, block_size: int, *, half: bool = False, trainable: int | None = None
) -> Memory:
    """The memory of one training step: (4 + 4 + 8) bytes a parameter, and the activations of one micro-batch.

    half: autocast to bf16 or fp16; the weights, their gradients and AdamW's two averages stay in fp32. trainable: the
    parameters that learn, if not all do (LoRA): only they have gradients and averages.

    >>> small = training_memory(ModelConfig(), micro_batch_size=32, block_size=512, half=True)  # MiniMind2-Small
    >>> small.weights, small.optimizer  # 25,829,888 parameters, 4 and 8 bytes each
    (103319552, 206639104)
    """
    parameters = count_parameters(config)
    learning = parameters if trainable is None else trainable
    tokens, narrow = micro_batch_size * block_size, _HALF if half else _FULL
    at_the_peak = tokens * config.vocab_size * (_FULL + narrow)  # the backward pass begins with the logits' gradient
    copies = _HALF * parameters if half else 0  # autocast keeps the weights it has cast
    activations = saved_for_backward(config, micro_batch_size, block_size, half=half) + at_the_peak + copies
    return Memory(_FULL * parameters, _FULL * learning, 2 * _FULL * learning, activations)


def saved_for_backward(config: ModelConfig, micro_batch_size: int, block_size: int, *, half: bool = False) -> int:
    """Bytes that the forward pass of a packed micro-batch keeps for the backward pass, weights not counted.

    A norm keeps its input and the normed vector, in fp32. What it gives is kept by the matrices that read it: once if
    nothing is cast, and cast anew for each of them (query, key, value; gate, up) under autocast.
    """
    d, v, narrow = config.hidden_size, config.vocab_size, _HALF if half else _FULL
    norm = 2 * _FULL * d
    blocks = config.num_hidden_layers * (_attention(config, narrow, block_size) + _mlp(config, narrow) + 2 * norm)
    return micro_batch_size * block_size * (blocks + norm + narrow * d + _FULL * v)  # the head: log-probabilities


def _attention(config: ModelConfig, narrow: int, block_size: int) -> int:
    """Bytes a position in attention: what is read, q, k, v, what comes out (in two orders), its log-sum, the mask."""
    q, kv = (heads * config.head_dim for heads in (config.num_attention_heads, config.num_key_value_heads))
    read = config.hidden_size * (3 if narrow < _FULL else 1)
    of_heads = 2 * _FULL * (q + kv) if config.qk_norm else 0
    return narrow * (read + 3 * q + 2 * kv + block_size) + of_heads + _FULL * config.num_attention_heads


def _mlp(config: ModelConfig, narrow: int) -> int:
    """Bytes a position in the MLP: what is read, gate, silu(gate), up and their product, for each expert visited."""
    read = config.hidden_size * (2 if narrow < _FULL else 1)
    if not config.num_experts:
        return narrow * (read + 4 * config.intermediate_size)
    visited = config.num_experts_per_tok + config.num_shared_experts
    # The router's scores, and each expert's answer before it is weighted.
    return visited * (narrow * (read + 4 * config.intermediate_size) + _FULL * config.hidden_size) + (
        3 * _FULL * config.num_experts
    )
