"""A model as a folder in the Hugging Face layout: config.json, model.safetensors, and the tokenizer's files.

config.json describes a ModelConfig in the words of transformers, which reads such a folder as it is.
Nothing here is ever unpickled: a ``.bin`` or ``.pth`` file can run code when it is opened, a safetensors file cannot.

What is written here can be checked when it is read: the safetensors file carries a digest of every tensor, and a folder
whose files were only partly replaced (the program was killed in between) says so. Folders of others have no digests.
"""

import hashlib
import json
import logging
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from minimind_lite.config import ConfigError, ModelConfig, YarnScaling
from minimind_lite.files import UnreadableFile, parse_json, read_json, sha256_of, write_text, written_whole
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
REMOTE_CODE = "modeling_minimind_moe"  # the module that transformers opens them with
OWN_CLASS_NOTE = (
    "experts with a shared one, or without QK-norm, have no class in transformers: it opens this folder with "
    f"trust_remote_code=True, by {REMOTE_CODE}.py beside the weights"
)
_ARCHITECTURES = {
    "llama": "LlamaForCausalLM", "qwen3": "Qwen3ForCausalLM", "qwen3_moe": "Qwen3MoeForCausalLM",
    OWN_CLASS: "MiniMindMoeForCausalLM",
}  # fmt: skip
# What transformers' own config classes take for a missing field, where that differs from the common defaults below.
_DEFAULTS: dict[str, dict[str, Any]] = {
    "llama": {"max_position_embeddings": 2048, "bos_token_id": 1, "eos_token_id": 2},
    "qwen3": {"max_position_embeddings": 32768, "num_key_value_heads": 32, "head_dim": 128},
    "qwen3_moe": {"max_position_embeddings": 32768, "num_key_value_heads": 4},
    OWN_CLASS: {"max_position_embeddings": 2048},
}
PUBLISHED_TYPE = "minimind"  # the model_type of the folders that the MiniMind project publishes
PICKLES = (".pth", ".pt", ".bin")
_LARGEST = 2**31 - 1  # of any size or token id in a config.json; products of two still fit into 64 bits
DIGESTS = "tensor_sha256"  # the key in a safetensors file's metadata: JSON, tensor name → hex digest
INCOMPLETE = ".incomplete"  # exists while the files of a folder are being replaced, and after a kill in between
_FIXED = {"hidden_act": "silu", "attention_bias": False, "mlp_bias": False, "use_sliding_window": False}


class PretrainedError(ValueError):
    """A model folder that cannot be read; the message says what is wrong and what to do."""


class SavesItself(Protocol):
    """What this module needs of a tokenizer."""

    def save(self, folder: Path) -> None:
        """Write its files into ``folder``."""


def save_pretrained(model: Transformer, tokenizer: SavesItself | None, folder: str | Path) -> None:
    """Write a folder that ``load_pretrained`` and transformers' ``AutoModelForCausalLM`` can open.

    Each file is written whole or not at all. The tokenizer may be None if its files are already there. If the program
    is killed after the first file was replaced and before the last, ``load_pretrained`` refuses the folder instead of
    reading a mixture. Raises PretrainedError for a model with LoRA adapters: a folder holds a plain model.
    """
    if any(".lora_" in name for name in model.state_dict()):
        raise PretrainedError(
            "the model holds LoRA adapters, and a model folder has no place for them: save the adapter alone with "
            "save_adapter(model, folder), or write it into the weights for good with save_pretrained(merged(model), …)"
        )
    folder = Path(folder)
    description = config_to_hf(model.config) | {"dtype": str(model.model.norm.weight.dtype).removeprefix("torch.")}
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    with _replaced_together(folder):
        write_tensors(folder / "model.safetensors", weights, {})
        write_text(folder / "config.json", json.dumps(description, indent=2) + "\n")
        if description["model_type"] == OWN_CLASS:
            code = Path(__file__).with_name(f"{REMOTE_CODE}.py").read_text(encoding="utf-8")
            write_text(folder / f"{REMOTE_CODE}.py", code)
        if tokenizer is not None:
            tokenizer.save(folder)


def instead_of_model(path: Path) -> str:
    """What ``path`` is, where a model's folder was expected, and what to do; "" if nothing is known."""
    if not path.exists():
        return f"there is no folder {path}: give the folder of a trained model"
    if path.is_file():
        return f"{path} is a file: give the folder of a trained model, with config.json and model.safetensors"
    if (path / "adapter_config.json").is_file() and not (path / "config.json").is_file():
        return (
            f"{path} is a LoRA adapter and no model: give the model that it was trained on, and name it as the "
            f"adapter; or make one model of both with: minimind merge BASE {path} OUTPUT"
        )
    return ""


def check_target(folder: Path) -> None:
    """Raise PretrainedError rather than write a model over the result of a training run, which could not go on."""
    if (folder / "checkpoints").is_dir():
        raise PretrainedError(f"{folder} holds a training run, whose result would be lost: use another folder")


def is_published(path: str | Path) -> bool:
    """Whether ``interop.minimind`` reads it: a pickled state dict, or a folder of model_type ``minimind``."""
    path = Path(path)
    if path.is_file():
        return path.suffix in PICKLES
    try:
        return read_json(path / "config.json").get("model_type") == PUBLISHED_TYPE
    except (OSError, UnreadableFile):
        return False


@contextmanager
def _replaced_together(folder: Path) -> Iterator[None]:
    """Mark ``folder`` as incomplete while its files are replaced; an error before the first leaves it unmarked."""
    weights, marker = folder / "model.safetensors", folder / INCOMPLETE
    before = weights.stat().st_ino if weights.exists() else None
    write_text(marker, "The files of this model are being replaced, or the program was killed while they were.\n")
    try:
        yield
    except BaseException:
        if (weights.stat().st_ino if weights.exists() else None) == before:
            marker.unlink()
        raise
    marker.unlink()


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file with a digest of every tensor in its metadata; equal tensors give equal bytes.

    The library writes the metadata in a random order, so its header is written again, sorted: the file's own SHA-256
    tells a resumed run that its base is the same.
    """
    digests = json.dumps({name: tensor_digest(name, tensor) for name, tensor in sorted(tensors.items())})
    with written_whole(path) as part:  # transformers refuses a file without the format
        save_file(dict(tensors), part, metadata={**metadata, "format": "pt", DIGESTS: digests})
        with part.open("rb+") as file:
            size = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(size))
            header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
            text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode().ljust(size)
            if len(text) != size:
                raise RuntimeError(f"{path}: the header of safetensors has another form than expected")
            file.seek(8)
            file.write(text)


def tensor_digest(name: str, tensor: Tensor) -> str:
    """Hex SHA-256 over a tensor's name, type, shape and bytes."""
    digest = hashlib.sha256(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
    digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def read_tensors(path: Path, check_values: bool = True) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and the metadata of a safetensors file.

    check_values: compare every tensor with its digest, if the file has digests (ours do), and refuse NaN and infinity.
    Raises PretrainedError, naming the file and the tensor.
    """
    try:
        with safe_open(path, "pt") as file:
            metadata: dict[str, str] = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  it is not a dict
    except (SafetensorError, ValueError, TypeError, RuntimeError, OverflowError, MemoryError) as error:
        raise PretrainedError(f"{path} is damaged or cut short ({error}); copy or save it again") from error
    if check_values:
        _check_digests(path, tensors, metadata.get(DIGESTS))
        check_finite(path, tensors)
    return tensors, metadata


def _check_digests(path: Path, tensors: Mapping[str, Tensor], stated: str | None) -> None:
    if stated is None:
        return
    try:
        digests = parse_json(stated, f"{path}: {DIGESTS} in its metadata")
    except UnreadableFile as error:
        raise PretrainedError(f"{error}; copy or save it again") from error
    if not isinstance(digests, dict) or digests.keys() != tensors.keys():
        raise PretrainedError(f"{path}: its digests are not those of its tensors: it was changed; save it again")
    for name, tensor in tensors.items():
        if tensor_digest(name, tensor) != digests[name]:
            raise PretrainedError(
                f"{path}: {name} is not what was saved: its bytes have changed since. Copy or save the file again "
                "(in Python, check_values=False reads it all the same)"
            )


def check_finite(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Raise PretrainedError, naming the file and the tensor, for weights that are NaN or infinite."""
    for name, tensor in tensors.items():
        if not tensor.is_floating_point() or tensor.element_size() < 2:
            continue  # refused later, by its type
        broken = int((~tensor.isfinite()).sum())
        if broken:
            raise PretrainedError(
                f"{path}: {broken:,} of the {tensor.numel():,} numbers in {name} are NaN or infinite: training "
                "diverged before it was saved. Use an earlier checkpoint (in Python, check_values=False reads it all "
                "the same)"
            )


def load_pretrained(
    folder: str | Path,
    device: torch.device | str = "cpu",
    dtype: torch.dtype | None = None,
    *,
    check_values: bool = True,
) -> Transformer:
    """Read a Llama, Qwen3 or Qwen3-MoE folder, ours or anyone's, strictly: every tensor must be there and fit.

    dtype None keeps the precision of the file. Experts that transformers has no class for are read too, with a warning.
    check_values: see ``read_tensors``; False is for looking at a model that diverged.
    Raises PretrainedError or ConfigError, naming the file or tensor and saying what to do.
    """
    folder = Path(folder)
    if (folder / INCOMPLETE).exists():
        raise PretrainedError(
            f"{folder}: the program was killed while it replaced this model's files, so they may not belong together; "
            f"save the model again. If another program is writing them now, wait for it ({INCOMPLETE} marks this)"
        )
    config = _read_config(folder / "config.json")
    if config_to_hf(config)["model_type"] == OWN_CLASS:
        logger.warning("%s: %s", folder, OWN_CLASS_NOTE)
    return assembled(config, _read_weights(folder, check_values), folder, device, dtype)


def assembled(
    config: ModelConfig,
    weights: dict[str, Tensor],
    source: Path,
    device: torch.device | str = "cpu",
    dtype: torch.dtype | None = None,
) -> Transformer:
    """The model that ``config`` describes with these weights; every tensor must be there and fit.

    source: where they come from, for messages. dtype None keeps their precision. What older writers added and a tied
    head written twice are taken out of ``weights``. Raises PretrainedError.
    """
    _check_sizes(config, weights, source)
    with torch.device("meta"):
        model = Transformer(config)
    _check_weights(weights, model, source)
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
        classes = {"AutoConfig": "MiniMindMoeConfig", "AutoModelForCausalLM": "MiniMindMoeForCausalLM"}
        described |= {name: getattr(config, name) for name in _OWN} | {"note": OWN_CLASS_NOTE}
        described["auto_map"] = {auto: f"{REMOTE_CODE}.{name}" for auto, name in classes.items()}
    return described


def config_from_hf(values: Mapping[str, Any]) -> ModelConfig:
    """A ModelConfig from config.json's content; missing values take the defaults of transformers' Llama or Qwen3.

    Raises ConfigError for anything that this decoder would compute differently from the model's own code, for a value
    of the wrong type or size, and for experts of our own kind that are not described in full: nobody has defaults for
    them.
    """
    family = values.get("model_type")
    if not isinstance(family, str) or family not in _ARCHITECTURES:
        raise ConfigError(f"model_type is {_shown(family)}; this decoder supports {', '.join(_ARCHITECTURES)}")
    experts = _experts_from_hf(values)
    for name, wanted in (_FIXED | (_EXPERTS_EVERYWHERE if experts else {})).items():
        if values.get(name, wanted) != wanted:
            raise ConfigError(f"{name} is {_shown(values[name])}; this decoder computes only {name} = {wanted!r}")
    found = {name: _typed(values, name) for name in _SAME_NAME if values.get(name) is not None}
    if experts:
        found["intermediate_size"] = _typed(values, "moe_intermediate_size", 768)
    if _REQUIRED - found.keys():
        raise ConfigError(f"{', '.join(sorted(_REQUIRED - found.keys()))} missing: a config.json must state them")
    defaults = {
        "num_key_value_heads": found["num_attention_heads"], "rms_norm_eps": 1e-6, "tie_word_embeddings": False,
        "max_position_embeddings": _DEFAULTS[family]["max_position_embeddings"],
        **{name: value for name, value in _DEFAULTS[family].items() if name not in values},
    }  # fmt: skip
    known = defaults | found
    end = known.get("eos_token_id", min(2, known["vocab_size"] - 1))
    ids = {name: known.get(name, end) for name in ("pad_token_id", "bos_token_id", "eos_token_id")}
    theta, scaling = _rope_from_hf(values)
    qk_norm = {"qk_norm": family in ("qwen3", "qwen3_moe")}
    return ModelConfig(**(known | ids | qk_norm | experts), rope_theta=theta, rope_scaling=scaling)


def _shown(value: object) -> str:
    """A value of a foreign file for a message, at a length that can be read."""
    text = repr(value) if not isinstance(value, int) or -_LARGEST <= value <= _LARGEST else "an integer of many digits"
    return text if len(text) <= 60 else f"{text[:60]}…"


def _typed(values: Mapping[str, Any], name: str, default: Any = None) -> Any:
    """``values[name]`` if it has the type of ModelConfig's field; the default if it is absent or null."""
    value = values.get(name)
    if value is None:
        return default
    field = {"moe_intermediate_size": "intermediate_size", "num_local_experts": "num_experts"}.get(name, name)
    example = ModelConfig.__dataclass_fields__[field].default
    if name == "eos_token_id" and isinstance(value, list):  # Llama 3 stops at any of several; the first ends a text
        value = value[0] if value else None
    if isinstance(example, bool | str):
        valid, wanted = type(value) is type(example), "true or false" if isinstance(example, bool) else "text"
    elif isinstance(example, int):
        valid, wanted = (
            isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LARGEST,
            f"an integer from 0 to {_LARGEST}",
        )
    else:
        valid, wanted = _finite(value) and float(value or 0) >= 0, "a finite number, 0 or more"
    if not valid:
        raise ConfigError(f"{name} must be {wanted}, not {_shown(values[name])}")
    return value


def _finite(value: object) -> bool:
    """Whether a value of a JSON file is a number to calculate with; true and false are not."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= 1e30


def _experts_from_hf(values: Mapping[str, Any]) -> dict[str, Any]:
    family = values["model_type"]
    if family == OWN_CLASS:  # no class of transformers, so none of its defaults
        missing = [name for name in (*_EXPERTS, *_OWN, "moe_intermediate_size") if values.get(name) is None]
        if missing:
            raise ConfigError(f"{', '.join(missing)} missing: a config.json of {OWN_CLASS} must state them")
        return {name: _typed(values, name) for name in (*_EXPERTS, *_OWN)}
    if family != "qwen3_moe":
        return {}
    defaults = {"num_experts": _typed(values, "num_local_experts", 128), "num_experts_per_tok": 8,
                "norm_topk_prob": False, "router_aux_loss_coef": 0.001, "router_balance_per": "batch"}  # fmt: skip
    return defaults | {name: _typed(values, name) for name in _EXPERTS if values.get(name) is not None}


def _rope_from_hf(values: Mapping[str, Any]) -> tuple[float, YarnScaling | None]:
    given = values.get("rope_parameters") or values.get("rope_scaling") or {}
    if not isinstance(given, dict):
        raise ConfigError(f"rope_parameters (or rope_scaling) must be an object, not {_shown(given)}")
    rope = {name: value for name, value in given.items() if value is not None}
    theta = rope.pop("rope_theta", None) or values.get("rope_theta") or 10000.0
    old_word, new_word = rope.pop("type", "default"), rope.pop("rope_type", None)
    kind = new_word or old_word
    for name, value in {"rope_theta": theta, **rope}.items():
        known = name == "rope_theta" or name in YarnScaling.__dataclass_fields__
        if known and not (_finite(value) and value > 0):
            raise ConfigError(f"{name} must be a finite number above 0, not {_shown(value)}")
    if rope.pop("partial_rotary_factor", 1.0) == 1.0:
        if kind == "default":
            return float(theta), None
        if kind == "yarn" and "factor" in rope and rope.keys() <= set(YarnScaling.__dataclass_fields__):
            rope.setdefault("attention_factor", 0.1 * math.log(rope["factor"]) + 1)
            length = _typed(
                values, "max_position_embeddings", _DEFAULTS[values["model_type"]]["max_position_embeddings"]
            )
            rope.setdefault("original_max_position_embeddings", length)
            if not theta > 1:  # a base of 1 or less has no slow pairs that could be slowed
                raise ConfigError(f"rope_theta must be above 1 with YaRN, not {_shown(theta)}")
            rope = {name: value if name.startswith("original") else float(value) for name, value in rope.items()}
            return float(theta), YarnScaling(**rope)
    raise ConfigError(
        f"RoPE of type {_shown(kind)} with {', '.join(sorted(rope)) or 'a partial_rotary_factor'}; this decoder knows "
        f"'default' and 'yarn' with {', '.join(YarnScaling.__dataclass_fields__)}, on the whole head"
    )


def _read_config(path: Path) -> ModelConfig:
    if not path.is_file():
        there = instead_of_model(path.parent)
        raise PretrainedError(there or f"{path} does not exist: a model folder holds config.json and model.safetensors")
    try:
        return config_from_hf(read_json(path))
    except UnreadableFile as error:
        raise PretrainedError(f"{error}; write the folder again") from error
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def weights_digest(folder: str | Path) -> str:
    """Hex SHA-256 of a folder's weights: of the one file, or of the digests of its parts in order.

    Raises PretrainedError if there are none.
    """
    files = _weight_files(Path(folder))
    digests = [sha256_of(path) for path in files]
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def _weight_files(folder: Path) -> list[Path]:
    """The one file of a folder's weights, or its parts in order. Raises PretrainedError if there are none."""
    whole = folder / "model.safetensors"
    files = [whole] if whole.is_file() else sorted(folder.glob("model-*-of-*.safetensors"))
    if not files:
        pickled = next((path.name for pattern in ("*.bin", "*.pth", "*.pt") for path in folder.glob(pattern)), None)
        reason = f"{pickled} is a pickle, which can run code when opened; convert it to safetensors" if pickled else ""
        raise PretrainedError(f"{whole} does not exist. {reason or 'Was the model saved to another folder?'}")
    return files


def _read_weights(folder: Path, check_values: bool) -> dict[str, Tensor]:
    weights: dict[str, Tensor] = {}
    for path in _weight_files(folder):
        weights |= read_tensors(path, check_values)[0]
    return weights


def _check_sizes(config: ModelConfig, weights: Mapping[str, Tensor], folder: Path) -> None:
    """Compare the config's sizes with the weights before anything is built from them: a billion layers never end."""
    places = [name.removeprefix("model.layers.").split(".") for name in weights if name.startswith("model.layers.")]
    experts = {place[3] for place in places if place[0] == "0" and place[1:3] == ["mlp", "experts"]}
    shared = {place[3] for place in places if place[0] == "0" and place[1:3] == ["mlp", "shared_experts"]}
    has = {
        "num_hidden_layers": len({place[0] for place in places}), "num_experts": len(experts),
        "num_shared_experts": len(shared),
    }  # fmt: skip
    problems = [
        f"{name} is {getattr(config, name)}, and the weights have {count}"
        for name, count in has.items()
        if getattr(config, name) != count
    ]
    queries = config.num_attention_heads * config.head_dim
    expected = {
        "model.embed_tokens.weight": (config.vocab_size, config.hidden_size),
        "model.layers.0.self_attn.q_proj.weight": (queries, config.hidden_size),
    }
    for name, shape in expected.items():
        if name in weights and tuple(weights[name].shape) != shape:
            problems.append(f"{name} is {tuple(weights[name].shape)}, config.json asks for {shape}")
    if problems:
        shown = "\n  ".join(problems)
        raise PretrainedError(f"{folder}: the weights do not fit config.json:\n  {shown}")


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
        if weights[name].dtype not in (torch.float32, torch.float16, torch.bfloat16, torch.float64):
            problems.append(f"{name} is of type {weights[name].dtype}: only plain floating-point weights are read")
        elif expected[name] != weights[name].shape:
            problems.append(f"{name} is {tuple(weights[name].shape)}, config.json asks for {tuple(expected[name])}")
    if problems:
        shown = "\n  ".join(sorted(problems)[:8] + ([f"and {len(problems) - 8} more"] if len(problems) > 8 else []))
        raise PretrainedError(
            f"{folder}: the weights do not fit config.json (lm_head.weight exists only with untied embeddings, "
            f"q_norm and k_norm only in qwen3):\n  {shown}\nconfig.json and model.safetensors must belong together."
        )
