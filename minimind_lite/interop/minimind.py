"""Open what the MiniMind project publishes: its ``.pth`` state dicts of every generation, and its own folders.

Four layouts, told apart by the names of their tensors. MiniMind2 and v3 name them as Hugging Face's Llama and Qwen3 do,
and so do we. V1, and MiniMind2 before 26 April 2025, name them as llama2.c does (``tok_embeddings``, ``wq``, ``w1``),
and pair neighbouring dimensions (2i, 2i + 1) in RoPE: the rows of every query and key head are put into our order.
``torch.compile`` and DistributedDataParallel leave ``_orig_mod.`` and ``module.`` in the names; they are taken out.

Shapes tell the sizes. They do not tell RoPE's base, the number of heads (without QK-norm), how many experts a token
visits or whether their weights are rescaled: a folder's config.json says so, a ``.pth`` file does not. For a file these
come from the preset whose sizes the weights have, or from the one that is named.

The published v3 mixture of experts rescales the weight of its single expert to 1, and so does what is read here. Our
preset of that name, for training from the beginning, does not; each model's config.json says which it is.
"""

import logging
import pickle
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from minimind_lite.config import PRESETS, ConfigError, ModelConfig, YarnScaling, preset
from minimind_lite.files import read_json
from minimind_lite.interop.gguf import unpermute
from minimind_lite.model.pretrained import (
    PretrainedError,
    assembled,
    check_finite,
    check_target,
    is_published,
    read_tensors,
    save_pretrained,
)
from minimind_lite.model.transformer import Transformer
from minimind_lite.settings import read_settings
from minimind_lite.tokenizer import Tokenizer

logger = logging.getLogger(__name__)

_BABY = replace(  # llama2.c's formulas with ChatGLM's tokenizer: sizes of baby-llama2-chinese's eval.py
    PRESETS["minimind-v1-small"], vocab_size=64_793, num_attention_heads=8, num_key_value_heads=8, head_dim=0,
    intermediate_size=1376, max_position_embeddings=512, bos_token_id=1, eos_token_id=2, pad_token_id=0,
)  # fmt: skip
# The published models, and those of others that have the same formulas and are published as the same kind of file.
PUBLISHED: dict[str, ModelConfig] = {
    **{name: config for name, config in PRESETS.items() if name.startswith("minimind")},
    "minimind3-moe": replace(PRESETS["minimind3-moe"], norm_topk_prob=True),
    "minimind-v1-moe": replace(
        PRESETS["minimind-v1-small"], num_experts=4, num_experts_per_tok=2, num_shared_experts=1
    ),
    "baby-llama2-92m": _BABY,
    "baby-llama2-218m": replace(
        _BABY, hidden_size=1024, num_hidden_layers=12, intermediate_size=2752, head_dim=0, max_position_embeddings=1024
    ),
}
# What weights do not tell, and a person may: the settings of -p.
UNSTATED = (
    "num_attention_heads", "rope_theta", "rms_norm_eps", "max_position_embeddings", "num_experts_per_tok",
    "norm_topk_prob", "pad_token_id", "bos_token_id", "eos_token_id",
)  # fmt: skip
_IN_CONFIG = {  # config.json's word → ours
    **{name: name for name in UNSTATED}, "router_aux_loss_coef": "router_aux_loss_coef",
    "n_heads": "num_attention_heads", "norm_eps": "rms_norm_eps", "max_seq_len": "max_position_embeddings",
    "aux_loss_alpha": "router_aux_loss_coef",
}  # fmt: skip
_OF_EXPERTS = {"num_experts_per_tok", "norm_topk_prob", "router_aux_loss_coef"}
_LLAMA2C = {
    "tok_embeddings": "model.embed_tokens", "norm": "model.norm", "output": "lm_head",
    "attention_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
    "attention.wq": "self_attn.q_proj", "attention.wk": "self_attn.k_proj", "attention.wv": "self_attn.v_proj",
    "attention.wo": "self_attn.o_proj", "feed_forward.gate": "mlp.gate",
    "w1": "gate_proj", "w2": "down_proj", "w3": "up_proj",
}  # fmt: skip
_WRAPPERS = {"_orig_mod", "module"}
_BUFFERS = re.compile(r"(^|\.)(pos_cis|freqs_cis|freqs_cos|freqs_sin|attention\.mask|inv_freq)$")


def load_minimind(
    path: str | Path,
    preset: str | None = None,
    changes: Mapping[str, Any] | None = None,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype | None = torch.float32,
) -> Transformer:
    """The model of a MiniMind ``.pth`` file or folder; only tensors are unpickled, never code.

    preset: whose heads, RoPE base and experts per token a ``.pth`` file has; None = those of the published model with
    the same sizes, which is logged. changes: any of UNSTATED, by name. dtype: published files are often float16, which
    is for storing and not for training; None keeps the file's.
    Raises PretrainedError or ConfigError, naming the file and what to do.
    """
    path = Path(path)
    weights = _renamed(path, _read_weights(path))
    config = _config(path, weights, preset, changes or {})
    if _is_llama2c(weights):
        weights = {_new_name(name): tensor for name, tensor in weights.items()}
        heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
        for name, tensor in weights.items():
            if ".self_attn." in name and (count := heads.get(name.split(".")[-2])):
                weights[name] = unpermute(tensor, count)
    return assembled(config, weights, path, device, dtype)


def tokenizer_beside(path: str | Path, tokenizer: str | Path | None = None) -> Tokenizer:
    """The tokenizer in the folder ``tokenizer``, or else in the model's folder or the one its file lies in.

    Raises PretrainedError if there is none.
    """
    path = Path(path)
    folder = Path(tokenizer) if tokenizer is not None else path if path.is_dir() else path.parent
    if not (folder / "tokenizer.json").is_file():
        raise PretrainedError(
            f"{path}: there is no tokenizer.json in {folder}. Copy the model's tokenizer.json and "
            "tokenizer_config.json there, or name their folder with: minimind import … --tokenizer FOLDER"
        )
    return Tokenizer.load(folder)


def import_minimind(
    path: str | Path,
    output: str | Path,
    preset: str | None = None,
    changes: Mapping[str, str] | None = None,
    tokenizer: str | Path | None = None,
) -> Transformer:
    """Write a published model as a folder of ours, with its tokenizer and its own chat template, and return it.

    changes: as texts from the command line; see ``load_minimind``. Raises PretrainedError or ConfigError.
    """
    if Path(output).resolve() == Path(path).resolve():
        raise PretrainedError(f"{output} is the model itself and would be overwritten: use another folder")
    if not Path(path).exists():
        raise PretrainedError(f"{path}: there is no such file or folder")
    check_target(Path(output))
    unknown = sorted(set(changes or {}) - set(UNSTATED))
    if unknown:
        raise ConfigError(f"-p {unknown[0]}: the weights tell that; what can be said is {', '.join(UNSTATED)}")
    own = tokenizer_beside(path, tokenizer)
    model = load_minimind(path, preset, read_settings(changes or {}, ModelConfig))
    if own.vocab_size > model.config.vocab_size:
        raise PretrainedError(
            f"{path} has {model.config.vocab_size} tokens, and its tokenizer {own.vocab_size}: it belongs to another "
            "model. Name the right one's folder with: minimind import … --tokenizer FOLDER"
        )
    save_pretrained(model, own, output)
    return model


@contextmanager
def as_folder(path: str | Path) -> Iterator[Path]:
    """``path`` itself, or, for a published model, a folder of ours with the same model, which is gone afterwards.

    The folder's files depend on the model alone, so that a training run on it can be continued.
    """
    if not is_published(path):
        yield Path(path)
        return
    with tempfile.TemporaryDirectory(prefix="minimind-") as folder:
        import_minimind(path, folder)
        yield Path(folder)


def _read_weights(path: Path) -> dict[str, Any]:
    if path.is_file():
        return _unpickled(path)
    if not path.is_dir():
        raise PretrainedError(f"{path}: there is no such file or folder")
    whole = sorted(path.glob("model*.safetensors"))
    weights: dict[str, Any] = {}
    for file in whole:
        weights |= read_tensors(file)[0]
    for file in [] if whole else sorted(path.glob("pytorch_model*.bin")):
        weights |= _unpickled(file)
    if not weights:
        raise PretrainedError(f"{path}: there is neither model.safetensors nor pytorch_model.bin: copy it there")
    return weights


def _unpickled(path: Path) -> dict[str, Any]:
    """What a pickle of tensors holds; a pickle of anything else is refused before it can run."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise PretrainedError(
            f"{path} is no state dict, or holds more than tensors, which is not opened: save model.state_dict() alone"
        ) from error
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, AttributeError, TypeError, IndexError) as error:
        raise PretrainedError(f"{path} is damaged or cut short ({str(error)[:100]}); copy it again") from error
    for wrapper in ("model", "state_dict"):  # a training checkpoint keeps the weights beside the optimizer's state
        if isinstance(state, dict) and isinstance(state.get(wrapper), dict):
            state = state[wrapper]
    if not isinstance(state, dict) or not state:
        raise PretrainedError(f"{path} holds {type(state).__name__}, not the tensors of a model by their names")
    return state


def _renamed(path: Path, state: Mapping[str, Any]) -> dict[str, Tensor]:
    """The weights alone, without the wrappers' names and the buffers that can be computed."""
    weights: dict[str, Tensor] = {}
    for name, tensor in state.items():
        plain = ".".join(part for part in str(name).split(".") if part not in _WRAPPERS)
        if _BUFFERS.search(plain):
            continue
        if not isinstance(tensor, Tensor) or plain in weights:
            what = "twice" if plain in weights else f"as {type(tensor).__name__}, not as a tensor"
            raise PretrainedError(f"{path} holds {plain} {what}: it is no model's state dict")
        weights[plain] = tensor
    check_finite(path, weights)
    return weights


def _is_llama2c(weights: Mapping[str, Tensor]) -> bool:
    return "tok_embeddings.weight" in weights


def _new_name(name: str) -> str:
    """Our name for llama2.c's: ``layers.0.feed_forward.w1.weight`` → ``model.layers.0.mlp.gate_proj.weight``."""
    layer = re.match(r"layers\.\d+\.", name)
    rest = name[layer.end() :] if layer else name
    for theirs, ours in _LLAMA2C.items():
        rest = re.sub(rf"(^|\.){re.escape(theirs)}(?=\.weight$)", rf"\g<1>{ours}", rest)
    rest = re.sub(r"shared_experts\.(?=\D)", "shared_experts.0.", rest)  # there was one, without a number
    rest = rest.replace("feed_forward.", "mlp.")
    return (f"model.{layer[0]}" if layer else "") + rest


def _config(path: Path, weights: dict[str, Tensor], preset: str | None, changes: Mapping[str, Any]) -> ModelConfig:
    names = {_new_name(name): tensor for name, tensor in weights.items()} if _is_llama2c(weights) else weights
    stated: dict[str, Any] = {}
    if preset is not None:
        base = _named(preset)
    elif path.is_dir():
        base, stated = _folder_config(path, names)
    else:
        base = _recognised(path, names)
    try:
        return _sized(base, {**stated, **changes}, names)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def _named(name: str) -> ModelConfig:
    return PUBLISHED.get(name) or preset(name)


def _folder_config(path: Path, weights: Mapping[str, Tensor]) -> tuple[ModelConfig, dict[str, Any]]:
    """The preset of a folder's generation, for what its config.json leaves out, and what that states."""
    values = read_json(path / "config.json")
    stated = {ours: values[theirs] for theirs, ours in _IN_CONFIG.items() if values.get(theirs) is not None}
    first_generation = "dim" in values and "rope_theta" not in values
    routed = any(".mlp.experts." in name for name in weights)
    if not routed:  # the settings of experts are written for dense models too
        stated = {name: value for name, value in stated.items() if name not in _OF_EXPERTS}
    family = "minimind3" if "model.layers.0.self_attn.q_norm.weight" in weights else "minimind2"
    base = PUBLISHED["minimind-v1-small" if first_generation else f"{family}-moe" if routed else family]
    if values.get("inference_rope_scaling"):
        base = replace(base, rope_scaling=YarnScaling())
    return base, stated


def _recognised(path: Path, weights: Mapping[str, Tensor]) -> ModelConfig:
    """The published model with exactly these sizes. Raises PretrainedError if there is none."""
    for name, config in PUBLISHED.items():
        try:
            fits = _sized(config, {}, weights) == config
        except ConfigError:
            continue
        if fits:
            logger.warning("%s has the sizes of %s: its heads, RoPE base and experts per token are taken", path, name)
            return config
    embedding = weights.get("model.embed_tokens.weight")
    shape = "no token embeddings (an adapter?)" if embedding is None else f"embeddings of {tuple(embedding.shape)}"
    raise PretrainedError(
        f"{path}: no published model has its sizes ({shape}), and weights do not say how many heads they are for or "
        f"how RoPE turns. Name the preset they were made with: minimind import … --preset NAME, one of "
        f"{', '.join(PUBLISHED)}"
    )


def _sized(base: ModelConfig, given: Mapping[str, Any], weights: Mapping[str, Tensor]) -> ModelConfig:
    """``base`` with the settings of ``given`` and the sizes of these weights, which the settings may not contradict."""
    inner = {name.removeprefix("model.layers."): tensor for name, tensor in weights.items() if "layers." in name}
    try:
        embedding = weights["model.embed_tokens.weight"]
        queries, keys = (len(inner[f"0.self_attn.{part}_proj.weight"]) for part in "qk")
        inside = next(len(tensor) for name, tensor in inner.items() if name.endswith("gate_proj.weight"))
    except (KeyError, StopIteration) as error:
        raise ConfigError(f"its names are no MiniMind model's ({str(error) or 'no gate_proj'} is missing)") from error
    head_dim = _head_dim(given.get("num_attention_heads", base.num_attention_heads), queries, inner)
    experts, shared = (len({name.split(".")[3] for name in inner if name.startswith(f"0.mlp.{kind}.")})
                       for kind in ("experts", "shared_experts"))  # fmt: skip
    visited = given.get("num_experts_per_tok", base.num_experts_per_tok)
    if experts and not visited:
        raise ConfigError("it has experts: say how many a token visits with minimind import … -p num_experts_per_tok=K")
    head = weights.get("lm_head.weight")
    sizes = {
        "vocab_size": embedding.shape[0], "hidden_size": embedding.shape[1], "head_dim": head_dim,
        "num_hidden_layers": len({name.split(".")[0] for name in inner}), "intermediate_size": inside,
        "num_attention_heads": queries // head_dim, "num_key_value_heads": max(keys // head_dim, 1),
        "qk_norm": "0.self_attn.q_norm.weight" in inner,
        "tie_word_embeddings": head is None or torch.equal(head, embedding),
        "num_experts": experts, "num_shared_experts": shared, "num_experts_per_tok": visited if experts else 0,
    }  # fmt: skip
    for name in given.keys() & sizes.keys():
        if given[name] != sizes[name]:
            raise ConfigError(f"{name} is {given[name]}, and the weights are for {sizes[name]}")
    return replace(base, **(dict(given) | sizes))


def _head_dim(heads: object, queries: int, inner: Mapping[str, Tensor]) -> int:
    """The width of one head: QK-norm's weight has it; else the rows of queries are shared by so many heads."""
    if "0.self_attn.q_norm.weight" in inner:
        return len(inner["0.self_attn.q_norm.weight"])
    if type(heads) is not int or heads < 1 or queries % heads:
        raise ConfigError(
            f"{queries} rows of queries are not for {heads} heads: say how many with "
            "minimind import … -p num_attention_heads=N"
        )
    return queries // heads
