"""A model's weights laid out for decoding, where every step reads all of them to make a few tokens.

A decoding step multiplies each matrix by one vector, or by a handful, so its time is the time of reading the weights.
Three things shorten it: matrices that read the same input are one matrix (query, key and value; gate and up) · each
matrix is stored in the order that the processor multiplies fastest, which a short measurement finds · or it is stored
in 8 bits (``quantize="int8"``), a quarter of the bytes.

The copies serve generation only; training uses the plain modules, and the numbers are the same up to rounding. What is
not a plain linear layer (a LoRA layer, experts) is called as it is, so every model works. The price is memory: a second
copy of the weights to decode one text, a third to decode several at once, each made when first needed.
"""

import time
import warnings
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Literal, cast, get_args
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minimind_lite.generation.sampling import GenerationError
from minimind_lite.model.attention import Attention, KVCache, attend, open_empty_rows
from minimind_lite.model.layers import RMSNorm, SwiGLU
from minimind_lite.model.transformer import Block, Transformer

Quantize = Literal["int8"]
Form = Literal["plain", "transposed", "packed"]
PAYS_FROM = 1_000_000  # parameters; below, a copy costs about what it saves
LARGE = 4_000_000  # parameters; a smaller model stays in the processor's cache, in whatever order it is stored
FEW_ROWS = 64  # above this a product is limited by arithmetic, and one layout is as good as another
CLEAR_GAIN = 0.9  # another layout is worth its memory if it takes less than this share of the plain one's time
LEVELS = 63  # of an input's magnitude: with 7 bits two products fit the 16-bit sums of processors without VNNI
SAMPLES = 64  # values of each parameter that are compared to see whether the weights have changed

_MULTIPLY: dict[Form, Callable[[Tensor, Tensor], Tensor]] = {
    "plain": F.linear,
    "transposed": torch.matmul,
    "packed": lambda x, weight: torch.ops.mkldnn._linear_pointwise(x, weight, None, "none", [], ""),
}


def _stored(weight: Tensor, form: Form) -> Tensor:
    """weight (out, in) in the order that ``form`` multiplies."""
    if form == "transposed":
        return weight.t().contiguous()
    # The library oneDNN cuts the matrix into blocks that suit the processor.
    return torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), 16) if form == "packed" else weight


@lru_cache(maxsize=256)
def fastest_form(outputs: int, inputs: int, rows: int, threads: int) -> Form:
    """The layout in which this machine multiplies an (outputs, inputs) matrix by ``rows`` vectors the fastest.

    Measured once per process and shape, in some tens of milliseconds. Which one wins cannot be told from the shape
    alone: on one AVX2 machine transposing gained 1.7 × on the widening matrices and lost 1.5 × on the narrowing ones.
    threads is torch's number of threads: the answer may depend on it.
    """
    copies = max(2, 4_000_000 // (outputs * inputs))  # more than the cache holds, as in a model
    x = torch.ones(rows, inputs)
    forms: list[Form] = ["plain", "transposed"]
    if rows > 1 and torch.backends.mkldnn.is_available():
        forms.append("packed")
    weights = {form: [_stored(torch.ones(outputs, inputs), form) for _ in range(copies)] for form in forms}
    best = dict.fromkeys(forms, float("inf"))
    for _ in range(5):
        for form in forms:
            begun = time.perf_counter()
            for weight in weights[form]:
                _MULTIPLY[form](x, weight)
            best[form] = min(best[form], time.perf_counter() - begun)
    winner = min(forms, key=best.__getitem__)
    return winner if best[winner] < CLEAR_GAIN * best["plain"] else "plain"


class Matrix:
    """Matrices that read the same input, as one: (outputs, inputs) in the layout that is fastest for each use."""

    def __init__(self, *weights: Tensor, measured: bool = True) -> None:
        self.weights, self.measured = weights, measured  # not measured: always the plain layout
        self.shape = (sum(len(weight) for weight in weights), weights[0].shape[1])
        self.stored: dict[Form, Tensor] = {}

    def __call__(self, x: Tensor) -> Tensor:
        """x: (..., inputs) → (..., outputs)."""
        rows = x.numel() // x.shape[-1]
        form: Form = "plain"
        if self.measured:
            form = fastest_form(*self.shape, 16 if 1 < rows <= FEW_ROWS else 1, torch.get_num_threads())
        if form not in self.stored:
            whole = torch.cat(self.weights) if len(self.weights) > 1 else self.weights[0]
            self.stored[form] = _stored(whole, form)
        return _MULTIPLY[form](x, self.stored[form])


class Int8Matrix:
    """Matrices that read the same input, as one of 8-bit whole numbers.

    Each output has its own scale: its largest weight is ±127. Each input vector is scaled and rounded as well, to
    ±LEVELS, so the products are sums of whole numbers: exact, whatever else is in the batch. Source: Dettmers et al.
    2022 (LLM.int8(), arXiv 2208.07339), section 2.1, vector-wise, without its exception for outliers.
    """

    def __init__(self, *weights: Tensor) -> None:
        whole = torch.cat(weights).float()
        scales = (whole.abs().amax(dim=1) / 127).clamp(min=1e-12).double()
        with warnings.catch_warnings():  # torch deprecates the type, but has no other fast 8-bit kernel for AVX2
            warnings.filterwarnings("ignore", message="torch.quantize_per_tensor", category=UserWarning)
            rounded = torch.quantize_per_channel(
                whole, scales, torch.zeros(len(whole), dtype=torch.long), 0, torch.qint8
            )
            self.packed = torch.ops.quantized.linear_prepack(rounded, None)

    def __call__(self, x: Tensor) -> Tensor:
        """x: (..., inputs) float32 → (..., outputs) float32."""
        largest = x.abs().amax(dim=-1, keepdim=True).clamp(min=1e-12)
        multiply = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32
        y: Tensor = multiply(x / largest, 1 / LEVELS, LEVELS + 1, self.packed)
        return y * largest


def has_int8() -> bool:
    """Whether this build of torch has the kernel."""
    return torch.backends.quantized.engine in ("x86", "fbgemm", "onednn")


Maker = Callable[..., Matrix | Int8Matrix]  # from weights (outputs, inputs)


def _joined(layers: Sequence[nn.Module], make: Maker) -> Callable[[Tensor], Tensor]:
    """One product for layers that read the same input; what is not a plain linear layer is called as it is."""
    if all(type(layer) is nn.Linear and layer.bias is None for layer in layers):
        return make(*(layer.weight.detach() for layer in layers))  # type: ignore[operator]
    return lambda x: torch.cat([layer(x) for layer in layers], dim=-1)


class _Norm:
    """RMSNorm as one call."""

    def __init__(self, norm: RMSNorm) -> None:
        self.shape, self.weight, self.eps = tuple(norm.weight.shape), norm.weight.detach(), norm.eps

    def __call__(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.shape, self.weight, self.eps)


class _LaidOutBlock:
    """What ``model.transformer.Block`` computes."""

    def __init__(self, block: Block, make: Maker) -> None:
        attention, self.mlp = block.self_attn, block.mlp
        self.layer_index, self.head_dim = attention.layer_index, attention.head_dim
        self.before_attention, self.before_mlp = _Norm(block.input_layernorm), _Norm(block.post_attention_layernorm)
        self.queries = attention.q_proj.out_features // self.head_dim
        self.key_values = attention.k_proj.out_features // self.head_dim
        self.qkv = _joined((attention.q_proj, attention.k_proj, attention.v_proj), make)
        self.output = _joined((attention.o_proj,), make)
        norms = (attention.q_norm, attention.k_norm)
        self.head_norms = [_Norm(norm) for norm in norms if isinstance(norm, RMSNorm)]  # two, or none
        self.dense = isinstance(self.mlp, SwiGLU)
        if isinstance(self.mlp, SwiGLU):
            self.gate_up = _joined((self.mlp.gate_proj, self.mlp.up_proj), make)
            self.down = _joined((self.mlp.down_proj,), make)

    def __call__(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor | None, cache: KVCache) -> Tensor:
        x = x + self.attention(self.before_attention(x), cos, sin, mask, cache)
        inside = self.before_mlp(x)
        if not self.dense:
            y: Tensor = x + self.mlp(inside)
            return y
        gate, up = self.gate_up(inside).chunk(2, dim=-1)
        return x + self.down(F.silu(gate) * up)

    def attention(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor | None, cache: KVCache) -> Tensor:
        """cos, sin: (batch or 1, seq, 1, head_dim), as ``_angles`` makes them."""
        heads = self.qkv(x).unflatten(-1, (-1, self.head_dim))  # (batch, seq, heads + 2 · kv_heads, head_dim)
        turning, values = heads.tensor_split((self.queries + self.key_values,), dim=2)
        if self.head_norms:
            parts = turning.tensor_split((self.queries,), dim=2)
            turning = torch.cat([norm(part) for norm, part in zip(self.head_norms, parts, strict=True)], dim=2)
        turned = turning * cos + turning.roll(self.head_dim // 2, dims=-1) * sin
        queries, keys = turned.transpose(1, 2).tensor_split((self.queries,), dim=1)
        keys, values = cache.update(self.layer_index, keys, values.transpose(1, 2))
        mixed = attend(queries, keys, values, mask)  # (batch, heads, seq, head_dim)
        return self.output(mixed.transpose(1, 2).flatten(2))


class LaidOut:
    """The two methods of Transformer that decoding calls, on weights laid out for it; always with a cache."""

    def __init__(self, model: Transformer, quantize: Quantize | None = None) -> None:
        make: Maker = Int8Matrix if quantize == "int8" else partial(Matrix, measured=_size(model) >= LARGE)
        self.rope = model.rope
        self.embedding = model.model.embed_tokens.weight.detach()
        self.blocks = [_LaidOutBlock(cast(Block, block), make) for block in model.model.layers]
        self.norm = _Norm(model.model.norm)
        self.head = make(self.embedding if model.lm_head is None else model.lm_head.weight.detach())
        self.seen = _seen(model)

    def hidden_states(
        self,
        input_ids: Tensor,
        *,
        cache: KVCache,
        position_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
    ) -> Tensor:
        """As ``Transformer.hidden_states``."""
        if attention_mask is not None and input_ids.shape[1] > 1:  # a single new token may look at itself
            attention_mask = open_empty_rows(attention_mask)
        if position_ids is None:
            cos, sin = self.rope.slice(cache.length, input_ids.shape[1], input_ids.device)
            cos, sin = cos[None, :, None], sin[None, :, None]
        else:
            cos, sin = (angles.transpose(1, 2) for angles in self.rope.at(position_ids))
        cos, sin = torch.cat((cos, cos), dim=-1), torch.cat((-sin, sin), dim=-1)
        x = F.embedding(input_ids, self.embedding)
        for block in self.blocks:
            x = block(x, cos, sin, attention_mask, cache)
        return self.norm(x)

    def logits(self, hidden: Tensor) -> Tensor:
        """(..., hidden_size) → (..., vocab_size)."""
        return self.head(hidden)


Stepper = Transformer | LaidOut
_KEPT: WeakKeyDictionary[Transformer, dict[Quantize | None, LaidOut]] = WeakKeyDictionary()


def _seen(model: Transformer) -> tuple[list[tuple[int, int]], Tensor]:
    """What tells these weights from others: where each parameter is, how many values it has, and some of them.

    Version counters would not do: fused AdamW and whatever writes to ``.data`` leave them as they are.
    """
    weights = [parameter.detach().view(-1) for parameter in model.parameters()]
    samples = torch.cat([weight[:: max(1, len(weight) // SAMPLES)] for weight in weights])
    return [(weight.data_ptr(), len(weight)) for weight in weights], samples


def stepper(model: Transformer, quantize: Quantize | None = None) -> Stepper:
    """What decodes fastest with ``model``'s weights as they are now: the model itself, or a laid-out copy.

    Copies are kept as long as the model is, and made anew when its weights have changed. The model itself decodes if
    it is small, is being trained (its weights are about to change, and a continued run must draw the very same
    tokens), is not in fp32 on the CPU, or is of a class of its own. Raises GenerationError if int8 was asked for where
    there is none.
    """
    if quantize is not None:
        _check_quantize(model, quantize)
    elif not _pays(model):
        return model
    kept = _KEPT.setdefault(model, {})
    places, samples = _seen(model)
    copy = kept.get(quantize)
    if copy is None or copy.seen[0] != places or not torch.equal(copy.seen[1], samples):
        kept[quantize] = copy = LaidOut(model, quantize)
    return copy


def _size(model: Transformer) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def _plain_fp32(model: Transformer) -> bool:
    weight = model.model.embed_tokens.weight
    return weight.device.type == "cpu" and all(one.dtype == torch.float32 for one in model.parameters())


def _pays(model: Transformer) -> bool:
    blocks = model.model.layers
    known = type(model) is Transformer and all(
        type(one) is Block and type(one.self_attn) is Attention for one in blocks
    )
    return known and _size(model) >= PAYS_FROM and not model.training and _plain_fp32(model)


def _check_quantize(model: Transformer, quantize: str) -> None:
    if quantize not in get_args(Quantize):
        raise GenerationError(f"quantize must be None or one of {', '.join(get_args(Quantize))}, not {quantize!r}")
    if not _plain_fp32(model):
        raise GenerationError("int8 starts from float32 weights on the CPU: load the model with device='cpu', float32")
    if not has_int8():
        raise GenerationError("this build of torch has no 8-bit kernel for this processor: leave quantize out")
