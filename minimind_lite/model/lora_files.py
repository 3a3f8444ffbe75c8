"""Adapters on the disk, in PEFT's own format: adapter_config.json and adapter_model.safetensors.

PEFT reads what is written here, and what PEFT writes is read here, as far as it is plain LoRA. One thing is added where
PEFT does not look: the SHA-256 of the base's weights stands in the metadata of the safetensors file.
"""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from minimind_lite.config import ConfigError
from minimind_lite.model.lora import LoRAConfig, LoRAError, check_name, lora_layers, make_room, merged, set_adapter
from minimind_lite.model.pretrained import load_pretrained, save_pretrained, written_whole
from minimind_lite.tokenizer import Tokenizer

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_KEY = re.compile(r"base_model\.model\.(.+)\.lora_([AB])\.weight")
# What PEFT can do beyond plain LoRA: any of it set to something else would compute another function.
_PLAIN = {
    "use_dora": False, "use_rslora": False, "fan_in_fan_out": False, "bias": "none", "lora_bias": False,
    "rank_pattern": {}, "alpha_pattern": {}, "modules_to_save": None, "trainable_token_indices": None,
}  # fmt: skip


def base_digest(model: nn.Module) -> str:
    """SHA-256 over names, types, shapes and values of the base's weights; adapters, merged or not, do not count."""
    frozen = {f"{name}.weight": layer.frozen for name, layer in lora_layers(model) if layer.frozen is not None}
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        if ".lora_" not in name:
            tensor = frozen.get(name, tensor).detach().cpu().contiguous()
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.view(torch.uint8).numpy().data)
    return digest.hexdigest()


def save_adapter(model: nn.Module, folder: str | Path, name: str = "adapter") -> None:
    """Write the adapter ``name`` as PEFT would; each file appears whole or not at all."""
    layers = {path: layer for path, layer in lora_layers(model) if name in layer.configs}
    if not layers:
        raise LoRAError(f"the model has no adapter called {name!r}")
    config, folder = next(iter(layers.values())).configs[name], Path(folder)
    weights = {
        f"base_model.model.{path}.lora_{side}.weight": matrix.detach().cpu().contiguous()
        for path, layer in layers.items()
        for side, matrix in (("A", layer.lora_A[name]), ("B", layer.lora_B[name]))
    }
    description = {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": None, "inference_mode": True,
        "r": config.rank, "lora_alpha": config.alpha, "lora_dropout": config.dropout,
        "target_modules": list(layers), "init_lora_weights": True, **_PLAIN,
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    with written_whole(folder / WEIGHTS) as part:
        save_file(weights, part, metadata={"format": "pt", "base_sha256": base_digest(model)})
    with written_whole(folder / CONFIG) as part:
        part.write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")


def load_adapter(model: nn.Module, folder: str | Path, name: str = "adapter", *, check_base: bool = True) -> None:
    """Give ``model`` the adapter of a folder, ours or PEFT's, and make it the active one; nothing becomes trainable.

    check_base: refuse an adapter that was trained on other weights (PEFT's do not say which). Raises LoRAError, which
    names every difference; the model is then as it was.
    """
    folder = Path(folder)
    check_name(model, name)
    config = _read_config(folder / CONFIG)
    weights, digest = _read_weights(folder / WEIGHTS)
    problems = _problems(weights, model, config.rank)
    if not problems and check_base and digest not in (None, here := base_digest(model)):
        problems = [
            f"it was trained on weights with SHA-256 {digest[:12]}…, and these have {here[:12]}…: the shapes fit, the "
            "numbers are another model's (check_base=False uses it all the same)"
        ]
    if problems:
        shown = "\n  ".join(problems[:8] + [f"and {len(problems) - 8} more"] * (len(problems) > 8))
        raise LoRAError(f"{folder}: this adapter is for another base:\n  {shown}\nGive the model it was trained on.")
    for path in sorted({path for path, _ in weights}):
        layer = make_room(model, path)
        layer.add(name, config)
        layer.lora_A[name] = weights[path, "A"].to(layer.weight)
        layer.lora_B[name] = weights[path, "B"].to(layer.weight)
        layer.lora_A[name].requires_grad_(False), layer.lora_B[name].requires_grad_(False)
    set_adapter(model, name)


def merge_folders(base: str | Path, adapter: str | Path, output: str | Path) -> None:
    """Write the model of ``base`` with the adapter in its weights as a folder of its own; both inputs stay."""
    if Path(output).resolve() in (Path(base).resolve(), Path(adapter).resolve()):
        raise LoRAError(f"{output} is the base or the adapter itself: give another folder, or one of them is lost")
    model, tokenizer = load_pretrained(base), Tokenizer.load(base)
    load_adapter(model, adapter)
    save_pretrained(merged(model), tokenizer, output)


def _read_config(path: Path) -> LoRAConfig:
    if not path.is_file():
        raise LoRAError(f"{path} is not there: an adapter's folder holds {CONFIG} and {WEIGHTS}")
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if values.get("peft_type") != "LORA":
            raise LoRAError(f"{path}: peft_type is {values.get('peft_type')!r}; only 'LORA' can be read")
        for feature, plain in _PLAIN.items():
            if values.get(feature) and values[feature] != plain:
                raise LoRAError(f"{path}: {feature} is {values[feature]!r}; only plain LoRA can be read")
        return LoRAConfig(int(values["r"]), float(values["lora_alpha"]), float(values.get("lora_dropout") or 0))
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError, ConfigError) as error:
        raise LoRAError(f"{path} does not describe an adapter ({error}); save it again") from error


def _read_weights(path: Path) -> tuple[dict[tuple[str, str], Tensor], str | None]:
    """(layer, "A" or "B") → matrix, and the digest of the base, where the file has one."""
    if not path.is_file():
        raise LoRAError(f"{path} is not there: an adapter's folder holds {CONFIG} and {WEIGHTS}")
    try:
        with safe_open(path, "pt") as file:
            keys, digest = list(file.keys()), (file.metadata() or {}).get("base_sha256")
            unknown = [key for key in keys if not _KEY.fullmatch(key)]
            if unknown or not keys:
                raise LoRAError(f"{path} holds what is no LoRA matrix: {', '.join(unknown[:5]) or 'nothing at all'}")
            return {_KEY.fullmatch(key).groups(): file.get_tensor(key) for key in keys}, digest  # type: ignore
    except SafetensorError as error:
        raise LoRAError(f"{path} is damaged or cut short ({error}); copy or save it again") from error


def _problems(weights: dict[tuple[str, str], Tensor], model: nn.Module, rank: int) -> list[str]:
    """What of an adapter does not fit the model, one line each."""
    linear = {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    found = []
    for path in sorted({path for path, _ in weights}):
        if path not in linear:
            found.append(f"the model has no linear layer {path}")
            continue
        wanted = {"A": (rank, linear[path].in_features), "B": (linear[path].out_features, rank)}
        for side, shape in wanted.items():
            has = tuple(weights[path, side].shape) if (path, side) in weights else "missing"
            if has != shape:
                found.append(f"{path}.lora_{side} is {has}; rank {rank} on this model asks for {shape}")
    return found
