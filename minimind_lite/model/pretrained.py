"""A model as a folder in the Hugging Face layout: config.json, model.safetensors, and the tokenizer's files.

transformers, vLLM and llama.cpp's converter read such a folder as it is. Nothing here is ever unpickled: a ``.bin`` or
``.pth`` file can run code when it is opened, a safetensors file cannot.
"""

import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from minimind_lite.config import ConfigError, ModelConfig, YarnScaling
from minimind_lite.model.transformer import Transformer

_SAME_NAME = (
    "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "intermediate_size",
    "head_dim", "max_position_embeddings", "rms_norm_eps", "tie_word_embeddings", "initializer_range",
    "pad_token_id", "bos_token_id", "eos_token_id",
)  # fmt: skip
_REQUIRED = {"vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"}
_FIXED = {"hidden_act": "silu", "attention_bias": False, "mlp_bias": False, "use_sliding_window": False}


class PretrainedError(ValueError):
    """A model folder that cannot be read; the message says what is wrong and the way out."""


class SavesItself(Protocol):
    """A tokenizer, as far as this module needs one."""

    def save(self, folder: Path) -> None:
        """Write its files into ``folder``."""


def save_pretrained(model: Transformer, tokenizer: SavesItself | None, folder: str | Path) -> None:
    """Write a folder that ``load_pretrained`` and transformers' ``AutoModelForCausalLM`` open.

    Each file appears whole or not at all. The tokenizer may be None, when its files are there already.
    """
    folder = Path(folder)
    description = config_to_hf(model.config) | {"dtype": str(model.model.norm.weight.dtype).removeprefix("torch.")}
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    folder.mkdir(parents=True, exist_ok=True)
    with _written_whole(folder / "model.safetensors") as part:
        save_file(weights, part, metadata={"format": "pt"})  # transformers refuses a file without the format
    with _written_whole(folder / "config.json") as part:
        part.write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
    if tokenizer is not None:
        tokenizer.save(folder)


def load_pretrained(
    folder: str | Path, device: torch.device | str = "cpu", dtype: torch.dtype | None = None
) -> Transformer:
    """Read a Llama or Qwen3 folder, ours or anyone's, strictly: every tensor must be there and fit.

    dtype None keeps the precision of the file. Raises PretrainedError or ConfigError, naming file, tensor and way out.
    """
    folder = Path(folder)
    config = _read_config(folder / "config.json")
    weights = _read_weights(folder)
    with torch.device("meta"):
        model = Transformer(config)
    _check_weights(weights, model, folder)
    model.to(dtype or weights["model.norm.weight"].dtype).to_empty(device=device)
    model.load_state_dict(weights)
    return model


def config_to_hf(config: ModelConfig) -> dict[str, Any]:
    """The content of config.json, in the words of transformers 4 (rope_theta, rope_scaling) and 5 (rope_parameters)."""
    if config.num_experts:
        raise ConfigError("saving mixture-of-experts models comes with chapter 06; until then num_experts must be 0")
    rope: dict[str, Any] = {"rope_type": "default"}
    if config.rope_scaling is not None:
        rope = {"rope_type": "yarn"} | vars(config.rope_scaling)
    return {
        "architectures": ["Qwen3ForCausalLM" if config.qk_norm else "LlamaForCausalLM"],
        "model_type": "qwen3" if config.qk_norm else "llama",
        **{name: getattr(config, name) for name in _SAME_NAME},
        **_FIXED,
        "rope_theta": config.rope_theta,
        "rope_scaling": rope if config.rope_scaling else None,
        "rope_parameters": rope | {"rope_theta": config.rope_theta},
    }


def config_from_hf(values: Mapping[str, Any]) -> ModelConfig:
    """A ModelConfig from config.json's content; what is absent takes the default of transformers' Llama or Qwen3.

    Raises ConfigError for anything that this decoder would compute differently from the model's own code.
    """
    family = values.get("model_type")
    if family not in ("llama", "qwen3"):
        raise ConfigError(f"model_type is {family!r}; this decoder can be 'llama' or 'qwen3' (dense)")
    for name, wanted in _FIXED.items():
        if values.get(name, wanted) != wanted:
            raise ConfigError(f"{name} is {values[name]!r}; this decoder computes only {name} = {wanted!r}")
    found = {name: values[name] for name in _SAME_NAME if values.get(name) is not None}
    if _REQUIRED - found.keys():
        raise ConfigError(f"{', '.join(sorted(_REQUIRED - found.keys()))} missing: a config.json must state them")
    if isinstance(found.get("eos_token_id"), list):  # Llama 3 stops at any of several; the first ends a text
        found["eos_token_id"] = found["eos_token_id"][0]
    end = found.get("eos_token_id", min(2, found["vocab_size"] - 1))
    defaults = {
        "num_key_value_heads": found["num_attention_heads"], "head_dim": 128 if family == "qwen3" else 0,
        "rms_norm_eps": 1e-6, "tie_word_embeddings": False,
        "max_position_embeddings": 32768 if family == "qwen3" else 2048,
        "pad_token_id": end, "bos_token_id": end, "eos_token_id": end,
    }  # fmt: skip
    theta, scaling = _rope_from_hf(values)
    return ModelConfig(**(defaults | found), rope_theta=theta, rope_scaling=scaling, qk_norm=family == "qwen3")


def _rope_from_hf(values: Mapping[str, Any]) -> tuple[float, YarnScaling | None]:
    rope = dict(values.get("rope_parameters") or values.get("rope_scaling") or {})
    rope = {name: value for name, value in rope.items() if value is not None}
    theta = float(rope.pop("rope_theta", None) or values.get("rope_theta") or 10000.0)
    old_word, new_word = rope.pop("type", "default"), rope.pop("rope_type", None)
    kind = new_word or old_word
    if rope.pop("partial_rotary_factor", 1.0) == 1.0:
        if kind == "default":
            return theta, None
        if kind == "yarn" and "factor" in rope and rope.keys() <= set(YarnScaling.__dataclass_fields__):
            rope.setdefault("attention_factor", 0.1 * math.log(rope["factor"]) + 1)
            rope.setdefault("original_max_position_embeddings", values.get("max_position_embeddings", 2048))
            return theta, YarnScaling(**rope)
    raise ConfigError(
        f"RoPE of type {kind!r} with {', '.join(sorted(rope)) or 'a partial_rotary_factor'}; this decoder knows "
        f"'default' and 'yarn' with {', '.join(YarnScaling.__dataclass_fields__)}, on the whole head"
    )


@contextmanager
def _written_whole(path: Path) -> Iterator[Path]:
    """Yield a name beside ``path`` to write to; on leaving, its content is on the disk and takes ``path``'s name."""
    part = path.with_name(path.name + ".part")
    try:
        yield part
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _read_config(path: Path) -> ModelConfig:
    if not path.is_file():
        raise PretrainedError(f"{path} is not there: a model folder holds config.json and model.safetensors")
    try:
        return config_from_hf(json.loads(path.read_text(encoding="utf-8")))
    except json.JSONDecodeError as error:
        raise PretrainedError(f"{path}, line {error.lineno}: not JSON ({error.msg}); write the folder again") from error
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def _read_weights(folder: Path) -> dict[str, Tensor]:
    whole = folder / "model.safetensors"
    files = [whole] if whole.is_file() else sorted(folder.glob("model-*-of-*.safetensors"))
    if not files:
        pickled = next((path.name for pattern in ("*.bin", "*.pth", "*.pt") for path in folder.glob(pattern)), None)
        reason = f"{pickled} is a pickle, which can run code when opened; convert it to safetensors" if pickled else ""
        raise PretrainedError(f"{whole} is not there. {reason or 'Was the model saved to another folder?'}")
    weights: dict[str, Tensor] = {}
    for path in files:
        try:
            weights |= load_file(path)
        except SafetensorError as error:
            raise PretrainedError(f"{path} is damaged or cut short ({error}); copy or save it again") from error
    return weights


def _check_weights(weights: dict[str, Tensor], model: Transformer, folder: Path) -> None:
    """Drop what older writers add; then refuse, by name, whatever does not fit the config."""
    for name in [name for name in weights if name.endswith("rotary_emb.inv_freq")]:
        del weights[name]  # a buffer of transformers before 4.32; the config says the same
    head, embedding = weights.get("lm_head.weight"), weights.get("model.embed_tokens.weight")
    if model.lm_head is None and head is not None and embedding is not None and torch.equal(head, embedding):
        del weights["lm_head.weight"]  # a tied matrix, written twice
    expected = {name: tensor.shape for name, tensor in model.state_dict().items()}
    problems = [f"missing: {name}" for name in expected if name not in weights]
    problems += [f"unexpected: {name}" for name in weights if name not in expected]
    for name in expected.keys() & weights.keys():
        if expected[name] != weights[name].shape:
            problems.append(f"{name} is {tuple(weights[name].shape)}, config.json asks for {tuple(expected[name])}")
    if problems:
        shown = "\n  ".join(sorted(problems)[:8] + ([f"and {len(problems) - 8} more"] if len(problems) > 8 else []))
        raise PretrainedError(
            f"{folder}: the weights do not fit config.json (lm_head.weight exists only with untied embeddings, "
            f"q_norm and k_norm only in qwen3):\n  {shown}\nconfig.json and model.safetensors must be the same model's."
        )
