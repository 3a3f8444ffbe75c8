"""LoRA: leave a trained matrix as it is, and learn a small change beside it, the product of two thin matrices.

    y = W x + (alpha / rank) · B (A x)          W (out, in) frozen;  A (rank, in) and B (out, rank) trained

Choices: B starts at zero, so an adapted model starts out identical to its base, bit for bit; A starts like a linear
layer's own weights (Kaiming-uniform, as in PEFT), so its size follows the width, unlike the paper's Gaussian · a layer
holds any number of adapters by name and uses one at a time · merging sets the frozen matrix aside, so unmerging
restores the same bits instead of a difference of rounded sums.
Source: Hu et al. 2021 (arXiv 2106.09685), section 4.

On disk an adapter has PEFT's own format: adapter_config.json and adapter_model.safetensors. PEFT reads what is written
here, and plain LoRA adapters written by PEFT are read here. One thing is added where PEFT does not look: the
SHA-256 of the base's weights, in the metadata of the safetensors file.
"""

import hashlib
import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minimind_lite.config import ConfigError
from minimind_lite.files import UnreadableFile, read_json, write_text
from minimind_lite.model.pretrained import (
    PretrainedError,
    check_target,
    load_pretrained,
    read_tensors,
    save_pretrained,
    write_tensors,
)
from minimind_lite.model.transformer import Transformer
from minimind_lite.settings import Checked, Count, Positive, ShareBelow1
from minimind_lite.tokenizer import Tokenizer

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_KEY = re.compile(r"base_model\.model\.(.+)\.lora_([AB])\.weight")
# PEFT's features beyond plain LoRA: any other value of one would compute a different function from the same matrices.
_PLAIN: dict[str, Any] = {
    "use_dora": False, "use_rslora": False, "fan_in_fan_out": False, "bias": "none", "lora_bias": False,
    "rank_pattern": {}, "alpha_pattern": {}, "modules_to_save": None, "trainable_token_indices": None,
}  # fmt: skip
# The rest of PEFT's LoraConfig. Only these may be anything: they say where the matrices are (which the weights say
# too), or where the adapter came from. A key that is neither here nor below must be absent, null, false or empty.
_ANYTHING = {
    "peft_type", "task_type", "auto_mapping", "peft_version", "base_model_name_or_path", "revision", "inference_mode",
    "r", "lora_alpha", "lora_dropout", "target_modules", "exclude_modules", "layers_to_transform", "layers_pattern",
    "megatron_config", "megatron_core", "qalora_group_size", "init_lora_weights", "loftq_config", "runtime_config",
}  # fmt: skip
# How A and B start. The other ways (PiSSA, OLoRA, CorDA, EVA, LoftQ …) also change the base, which is not in the file.
_PLAIN_STARTS = (True, False, "gaussian", "orthogonal")
# Matches the projections of every dense layer, and of every expert that is made of linear layers.
ATTENTION_AND_MLP = r".*\.(self_attn|mlp)\..*_proj"


class LoRAError(ValueError):
    """An adapter that does not fit; the message says what differs and what to do. Nothing was changed."""


@dataclass(frozen=True)
class LoRAConfig(Checked):
    """What an adapter looks like. Raises ConfigError for a value that cannot work."""

    rank: Count = 8  # rows of A: how many directions the change of a matrix may have
    alpha: Positive = 16.0  # the change is scaled by alpha / rank, so its size does not grow with the rank
    dropout: ShareBelow1 = 0.0  # share of the adapter's inputs that are zeroed in training
    target: str = ATTENTION_AND_MLP  # a regular expression for the whole name of a linear layer

    def __post_init__(self) -> None:
        super().__post_init__()
        try:
            re.compile(self.target)
        except re.error as error:
            raise ConfigError(f"target {self.target!r} is not a regular expression: {error}") from error


class LoRALinear(nn.Linear):
    """A linear layer that shares the weight of the one it replaces, with adapters by name beside it.

    x: (..., in_features) → (..., out_features). The weight keeps its name, so the base's parameter names stay the same.
    """

    def __init__(self, base: nn.Linear) -> None:
        super().__init__(base.in_features, base.out_features, base.bias is not None, device="meta")
        self.weight, self.bias = base.weight, base.bias
        self.lora_A, self.lora_B = nn.ParameterDict(), nn.ParameterDict()  # name → (rank, in), (out, rank)
        self.configs: dict[str, LoRAConfig] = {}
        self.active: str | None = None  # the adapter in use; one that this layer does not have changes nothing here
        self.frozen: Tensor | None = None  # the base's own weight, while an adapter is merged into `weight`

    def add(self, name: str, config: LoRAConfig) -> None:
        """Add an adapter that changes nothing yet."""
        down = self.weight.new_empty(config.rank, self.in_features)
        nn.init.kaiming_uniform_(down, a=math.sqrt(5))
        self.lora_A[name], self.lora_B[name] = down, self.weight.new_zeros(self.out_features, config.rank)
        self.configs[name] = config

    def change(self, name: str) -> Tensor:
        """What the adapter adds to the weight: (out_features, in_features)."""
        config = self.configs[name]
        product: Tensor = self.lora_B[name] @ self.lora_A[name]
        return config.alpha / config.rank * product

    def forward(self, x: Tensor) -> Tensor:
        y = F.linear(x, self.weight, self.bias)
        if self.active not in self.configs or self.frozen is not None:
            return y
        config, dropped = self.configs[self.active], F.dropout(x, self.configs[self.active].dropout, self.training)
        low = F.linear(dropped, self.lora_A[self.active])  # (..., rank)
        return y + config.alpha / config.rank * F.linear(low, self.lora_B[self.active])

    @torch.no_grad()
    def merge(self) -> None:
        """Write the active adapter into the weight: as fast as the base, but both weights stay in memory."""
        if self.active in self.configs and self.frozen is None:
            self.frozen = self.weight.data
            self.weight.data = self.frozen + self.change(self.active)

    def unmerge(self) -> None:
        """Restore the weight that ``merge`` set aside."""
        if self.frozen is not None:
            self.weight.data, self.frozen = self.frozen, None


def lora_layers(model: nn.Module) -> Iterator[tuple[str, LoRALinear]]:
    """(name, layer) of every linear layer that can hold adapters."""
    return ((name, module) for name, module in model.named_modules() if isinstance(module, LoRALinear))


def adapter_names(model: nn.Module) -> list[str]:
    """The adapters that ``model`` holds."""
    return list(dict.fromkeys(name for _, layer in lora_layers(model) for name in layer.configs))


def target_names(model: nn.Module, target: str) -> list[str]:
    """Names of the linear layers that ``target`` matches in full; LoRAError, listing the names, if none."""
    linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    found = [name for name in linear if re.fullmatch(target, name)]
    if not found:
        there = sorted({re.sub(r"\.\d+", ".*", name) for name in linear})
        raise LoRAError(f"no linear layer's full name matches {target!r}; the names are: {', '.join(there)}")
    return found


def add_adapter(model: nn.Module, config: LoRAConfig, name: str = "adapter") -> None:
    """Freeze ``model``, give it a new adapter, and make that active and the only thing that trains.

    A is drawn from torch's global generator. Raises LoRAError if no layer matches, the rank is above a layer's
    smaller side, or the name is taken.
    """
    check_name(model, name)
    names = target_names(model, config.target)
    for one in names:
        shape = tuple(model.get_parameter(f"{one}.weight").shape)
        if config.rank > min(shape):
            raise LoRAError(
                f"rank {config.rank} is above the smaller side of {one}, {shape}, and no change to it can have more"
            )
    for one in names:
        make_room(model, one).add(name, config)
    set_adapter(model, name)
    for parameter_name, parameter in model.named_parameters():
        parameter.requires_grad_(parameter_name.endswith((f".lora_A.{name}", f".lora_B.{name}")))


def check_name(model: nn.Module, name: str) -> None:
    """Reject a name that is taken, or that cannot be part of a parameter's name."""
    if not re.fullmatch(r"[\w-]+", name):
        raise LoRAError(f"an adapter's name may contain only letters, digits, _ and -, not {name!r}")
    if name in adapter_names(model):
        raise LoRAError(f"the model already has an adapter called {name!r}: choose another name")


def make_room(model: nn.Module, name: str) -> LoRALinear:
    """The linear layer ``name``, replaced by one that can hold adapters if it is not one yet."""
    layer = model.get_submodule(name)
    if not isinstance(layer, LoRALinear):
        layer = LoRALinear(layer).train(layer.training)  # type: ignore[arg-type]  # name is a Linear's
        model.set_submodule(name, layer)
    return layer


def set_adapter(model: nn.Module, name: str | None) -> None:
    """Use the adapter ``name``, or none; a merged one is unmerged first."""
    if name is not None and name not in adapter_names(model):
        there = ", ".join(adapter_names(model)) or "none"
        raise LoRAError(f"the model has no adapter called {name!r}; it has: {there}")
    for _, layer in lora_layers(model):
        layer.unmerge()
        layer.active = name


def merge(model: nn.Module) -> None:
    """Write the active adapter into the weights of ``model``; ``unmerge`` undoes it bit for bit."""
    for _, layer in lora_layers(model):
        layer.merge()


def unmerge(model: nn.Module) -> None:
    """Undo ``merge``."""
    for _, layer in lora_layers(model):
        layer.unmerge()


def merged(model: Transformer) -> Transformer:
    """``model`` with the active adapter permanently in its weights, and plain linear layers: ready to save."""
    for name, layer in list(lora_layers(model)):
        layer.merge()
        plain = nn.Linear(layer.in_features, layer.out_features, layer.bias is not None, device="meta")
        plain.weight, plain.bias = layer.weight, layer.bias
        model.set_submodule(name, plain)
    return model


def trainable_share(model: nn.Module) -> float:
    """Parameters that train as a share of the base's own, 0..1."""
    own = sum(one.numel() for name, one in model.named_parameters() if ".lora_" not in name)
    return sum(one.numel() for one in model.parameters() if one.requires_grad) / own


def base_digest(model: nn.Module, *, widened: bool = True) -> str:
    """SHA-256 over names, types, shapes and values of the base's weights; adapters, merged or not, do not count.

    widened: weights in half precision count as the same numbers in float32, as training reads them. Adapters of
    earlier versions have the digest without that.
    """
    frozen = {f"{name}.weight": layer.frozen for name, layer in lora_layers(model) if layer.frozen is not None}
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        if ".lora_" not in name:
            tensor = frozen.get(name, tensor).detach().cpu().contiguous()
            tensor = tensor.float() if widened and tensor.dtype in (torch.float16, torch.bfloat16) else tensor
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.view(torch.uint8).numpy().data)
    return digest.hexdigest()


def save_adapter(model: nn.Module, folder: str | Path, name: str = "adapter") -> None:
    """Write the adapter ``name`` in PEFT's format; each file is written whole or not at all."""
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
    # alpha is noted with the matrices too: a kill between the two files leaves an old config that would load silently
    metadata = {"base_sha256": base_digest(model), "lora_alpha": repr(float(config.alpha))}
    write_tensors(folder / WEIGHTS, weights, metadata)
    write_text(folder / CONFIG, json.dumps(description, indent=2) + "\n")


def load_adapter(
    model: nn.Module,
    folder: str | Path,
    name: str = "adapter",
    *,
    check_base: bool = True,
    check_values: bool = True,
) -> None:
    """Load the adapter in a folder, ours or PEFT's, into ``model`` and make it active; nothing becomes trainable.

    check_base: reject an adapter that was trained on other weights (PEFT's do not record which). check_values: reject
    matrices that changed since they were saved, NaN and infinity, and a config of another rank or alpha than was saved
    with them. Raises LoRAError, naming every difference; the model is then unchanged.
    """
    folder = Path(folder)
    check_name(model, name)
    config = _read_config(folder / CONFIG)
    weights, metadata = _read_weights(folder / WEIGHTS, check_values)
    digest, alpha = metadata.get("base_sha256"), repr(float(config.alpha))
    if check_values and metadata.get("lora_alpha", alpha) != alpha:
        raise LoRAError(
            f"{folder}: {CONFIG} has lora_alpha {alpha}, and {WEIGHTS} was saved with {metadata['lora_alpha']}: the "
            "two files do not belong together, save the adapter again (in Python, check_values=False uses it all "
            "the same)"
        )
    problems = _problems(weights, model, config.rank)
    if (
        not problems
        and check_base
        and digest not in (None, here := base_digest(model), base_digest(model, widened=False))
    ):
        problems = [
            f"it was trained on weights with SHA-256 {digest[:12]}…, and these have {here[:12]}…: the shapes fit, the "
            "numbers are another model's (in Python, check_base=False uses it all the same)"
        ]
    if problems:
        rest = [f"and {len(problems) - 8} more"] if len(problems) > 8 else []
        shown = "\n  ".join(problems[:8] + rest)
        raise LoRAError(f"{folder}: this adapter is for another base:\n  {shown}\nGive the model it was trained on.")
    for path in sorted({path for path, _ in weights}):
        layer = make_room(model, path)
        layer.add(name, config)
        for matrices, side in ((layer.lora_A, "A"), (layer.lora_B, "B")):
            matrices[name] = weights[path, side].to(layer.weight)
            matrices[name].requires_grad_(False)
    set_adapter(model, name)


def merge_folders(base: str | Path, adapter: str | Path, output: str | Path) -> None:
    """Write the model of ``base`` with the adapter in its weights to a folder of its own; both inputs stay."""
    if Path(output).resolve() in (Path(base).resolve(), Path(adapter).resolve()):
        raise LoRAError(f"{output} is the base or the adapter itself and would be overwritten: use another folder")
    check_target(Path(output))
    model, tokenizer = load_pretrained(base), Tokenizer.load(base)
    load_adapter(model, adapter)
    save_pretrained(merged(model), tokenizer, output)


def _read_config(path: Path) -> LoRAConfig:
    if not path.is_file():
        raise LoRAError(f"{path} does not exist: an adapter's folder holds {CONFIG} and {WEIGHTS}")
    try:
        values = read_json(path)
    except UnreadableFile as error:
        raise LoRAError(f"{path} does not describe an adapter ({error}); save it again") from error
    if values.get("peft_type") != "LORA":
        raise LoRAError(f"{path}: peft_type is {values.get('peft_type')!r}; only 'LORA' can be read")
    _refuse_other_features(path, values)
    rank, alpha, dropout = values.get("r"), values.get("lora_alpha"), values.get("lora_dropout") or 0
    if type(rank) is not int:
        raise LoRAError(f"{path} does not describe an adapter (r must be an integer, not {rank!r}); save it again")
    for name, value in (("lora_alpha", alpha), ("lora_dropout", dropout)):
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e30:
            shown = repr(value)[:60]
            raise LoRAError(
                f"{path} does not describe an adapter ({name} must be a number, not {shown}); save it again"
            )
    try:
        return LoRAConfig(rank, float(alpha), float(dropout))  # type: ignore[arg-type]  # the loop above checked both
    except ConfigError as error:
        raise LoRAError(f"{path} does not describe an adapter ({error}); save it again") from error


def _refuse_other_features(path: Path, values: dict[str, Any]) -> None:
    """Reject everything that would load without complaint and compute something else."""
    for key, value in values.items():
        if key not in _ANYTHING and value and value != _PLAIN.get(key):
            raise LoRAError(f"{path}: {key} is {str(value)[:60]!r}; only plain LoRA can be read")
    start = values.get("init_lora_weights")
    start = True if start is None else start
    if not isinstance(start, bool | str) or start not in _PLAIN_STARTS:
        raise LoRAError(
            f"{path}: init_lora_weights is {str(start)[:60]!r}, which also changes the base's own weights, and those "
            "are not in the adapter: write it as plain LoRA with PEFT's "
            "save_pretrained(…, path_initial_model_for_weight_conversion=…)"
        )


def _read_weights(path: Path, check_values: bool) -> tuple[dict[tuple[str, str], Tensor], dict[str, str]]:
    """(layer, "A" or "B") → matrix, and the file's metadata."""
    if not path.is_file():
        raise LoRAError(f"{path} does not exist: an adapter's folder holds {CONFIG} and {WEIGHTS}")
    try:
        tensors, metadata = read_tensors(path, check_values)
    except PretrainedError as error:
        raise LoRAError(str(error)) from error
    unknown = [key for key in tensors if not _KEY.fullmatch(key)]
    if unknown or not tensors:
        raise LoRAError(f"{path} holds tensors that are not LoRA matrices: {', '.join(unknown[:5])}")
    whole = [key for key, tensor in tensors.items() if not tensor.is_floating_point()]
    if whole:
        raise LoRAError(f"{path}: {whole[0]} is of type {tensors[whole[0]].dtype}, which is no matrix of an adapter")
    weights = {(found[1], found[2]): tensors[key] for key in tensors if (found := _KEY.fullmatch(key))}
    return weights, metadata


def _problems(weights: dict[tuple[str, str], Tensor], model: nn.Module, rank: int) -> list[str]:
    """What in an adapter does not fit the model, one line per problem."""
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
