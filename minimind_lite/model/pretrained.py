"""A model as a folder in the Hugging Face layout: config.json, model.safetensors, and the tokenizer's files.

config.json describes a ModelConfig in the words of transformers; transformers and vLLM read such a folder as it is.
Nothing here is ever unpickled: a ``.bin`` or ``.pth`` file can run code when it is opened, a safetensors file cannot.
"""

import json
import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from minimind_lite.config import ConfigError, ModelConfig, YarnScaling
from minimind_lite.files import write_text, written_whole
from minimind_lite.model.transformer import Transformer

logger = logging.getLogger(__name__)

_SAME_NAME = (
    "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "intermediate_size",
    "head_dim", "max_position_embeddings", "rms_norm_eps", "tie_word_embeddings", "initializer_range",
    "pad_token_id", "bos_token_id", "eos_token_id",
)  # fmt: skip
_REQUIRED = {"vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"}
_EXPERTS = ("num_experts", "num_experts_per_tok", "norm_topk_prob", "router_aux_loss_coef", "router_balance_per")
_OWN = ("qk_norm", "num_shared_experts")  # for experts that transformers has no class for
_EXPERTS_EVERYWHERE: dict[str, Any] = {"decoder_sparse_step": 1, "mlp_only_layers": []}
OWN_CLASS = "minimind_moe"  # the model_type of those
OWN_CLASS_NOTE = (
    "experts with a shared one, or without QK-norm, have no class in transformers: minimind_lite reads this folder"
)
_ARCHITECTURES = {
    "llama": "LlamaForCausalLM", "qwen3": "Qwen3ForCausalLM", "qwen3_moe": "Qwen3MoeForCausalLM",
    OWN_CLASS: "MiniMindMoeForCausalLM",
}  # fmt: skip
_FIXED = {"hidden_act": "silu", "attention_bias": False, "mlp_bias": False, "use_sliding_window": False}


class PretrainedError(ValueError):
    """A model folder that cannot be read; the message says what is wrong and what to do."""


class SavesItself(Protocol):
    """What this module needs of a tokenizer."""

    def save(self, folder: Path) -> None:
        """Write its files into ``folder``."""


def save_pretrained(model: Transformer, tokenizer: SavesItself | None, folder: str | Path) -> None:
    """Write a folder that ``load_pretrained`` and transformers' ``AutoModelForCausalLM`` can open.

    Each file is written whole or not at all. The tokenizer may be None if its files are already there.
    """
    folder = Path(folder)
    description = config_to_hf(model.config) | {"dtype": str(model.model.norm.weight.dtype).removeprefix("torch.")}
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    with written_whole(folder / "model.safetensors") as part:
        save_file(weights, part, metadata={"format": "pt"})  # transformers refuses a file without the format
    write_text(folder / "config.json", json.dumps(description, indent=2) + "\n")
    if tokenizer is not None:
        tokenizer.save(folder)


def load_pretrained(
    folder: str | Path, device: torch.device | str = "cpu", dtype: torch.dtype | None = None
) -> Transformer:
    """Read a Llama, Qwen3 or Qwen3-MoE folder, ours or anyone's, strictly: every tensor must be there and fit.

    dtype None keeps the precision of the file. Experts that transformers has no class for are read too, with a warning.
    Raises PretrainedError or ConfigError, naming the file or tensor and saying what to do.
    """
    folder = Path(folder)
    config = _read_config(folder / "config.json")
    if config_to_hf(config)["model_type"] == OWN_CLASS:
        logger.warning("%s: %s; transformers, vLLM and the like do not", folder, OWN_CLASS_NOTE)
    weights = _read_weights(folder)
    with torch.device("meta"):
        model = Transformer(config)
    _check_weights(weights, model, folder)
    model.to(dtype or weights["model.norm.weight"].dtype).to_empty(device=device)
    model.load_state_dict(weights)
    return model


def config_to_hf(config: ModelConfig) -> dict[str, Any]:
    """The content of config.json, in the words of transformers 4 (rope_theta, rope_scaling) and 5 (rope_parameters)."""
    rope: dict[str, Any] = {"rope_type": "default"}
    if config.rope_scaling is not None:
        rope = {"rope_type": "yarn"} | vars(config.rope_scaling)
    return {
        "architectures": [_ARCHITECTURES[_family(config)]],
        "model_type": _family(config),
        **{name: getattr(config, name) for name in _SAME_NAME},
        **_FIXED,
        "rope_theta": config.rope_theta,
        "rope_scaling": rope if config.rope_scaling else None,
        "rope_parameters": rope | {"rope_theta": config.rope_theta},
        **_experts_to_hf(config),
    }


def _family(config: ModelConfig) -> str:
    if not config.num_experts:
        return "qwen3" if config.qk_norm else "llama"
    return "qwen3_moe" if config.qk_norm and not config.num_shared_experts else OWN_CLASS


def _experts_to_hf(config: ModelConfig) -> dict[str, Any]:
    if not config.num_experts:
        return {}
    described = {name: getattr(config, name) for name in _EXPERTS} | _EXPERTS_EVERYWHERE
    described["moe_intermediate_size"] = config.intermediate_size  # transformers' intermediate_size is of dense layers
    if _family(config) == OWN_CLASS:
        described |= {name: getattr(config, name) for name in _OWN} | {"note": OWN_CLASS_NOTE}
    return described


def config_from_hf(values: Mapping[str, Any]) -> ModelConfig:
    """A ModelConfig from config.json's content; missing values take the defaults of transformers' Llama or Qwen3.

    Raises ConfigError for anything that this decoder would compute differently from the model's own code.
    """
    family = values.get("model_type")
    if family not in _ARCHITECTURES:
        raise ConfigError(f"model_type is {family!r}; this decoder supports {', '.join(_ARCHITECTURES)}")
    experts = _experts_from_hf(values)
    for name, wanted in (_FIXED | (_EXPERTS_EVERYWHERE if experts else {})).items():
        if values.get(name, wanted) != wanted:
            raise ConfigError(f"{name} is {values[name]!r}; this decoder computes only {name} = {wanted!r}")
    found = {name: values[name] for name in _SAME_NAME if values.get(name) is not None}
    if _REQUIRED - found.keys():
        raise ConfigError(f"{', '.join(sorted(_REQUIRED - found.keys()))} missing: a config.json must state them")
    if experts:
        found["intermediate_size"] = values.get("moe_intermediate_size", 768)
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
    qk_norm = {"qk_norm": family in ("qwen3", "qwen3_moe")}
    return ModelConfig(**(defaults | found | qk_norm | experts), rope_theta=theta, rope_scaling=scaling)


def _experts_from_hf(values: Mapping[str, Any]) -> dict[str, Any]:
    if values["model_type"] not in ("qwen3_moe", OWN_CLASS):
        return {}
    defaults = {"num_experts": values.get("num_local_experts", 128), "num_experts_per_tok": 8, "norm_topk_prob": False,
                "router_aux_loss_coef": 0.001, "router_balance_per": "batch"}  # fmt: skip
    found = {name: values[name] for name in (*_EXPERTS, *_OWN) if values.get(name) is not None}
    return defaults | found


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


def _read_config(path: Path) -> ModelConfig:
    if not path.is_file():
        raise PretrainedError(f"{path} does not exist: a model folder holds config.json and model.safetensors")
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
        raise PretrainedError(f"{whole} does not exist. {reason or 'Was the model saved to another folder?'}")
    weights: dict[str, Tensor] = {}
    for path in files:
        try:
            weights |= load_file(path)
        except SafetensorError as error:
            raise PretrainedError(f"{path} is damaged or cut short ({error}); copy or save it again") from error
    return weights


def _check_weights(weights: dict[str, Tensor], model: Transformer, folder: Path) -> None:
    """Drop what older writers add, then reject, by name, whatever does not fit the config."""
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
            f"q_norm and k_norm only in qwen3):\n  {shown}\nconfig.json and model.safetensors must belong together."
        )
