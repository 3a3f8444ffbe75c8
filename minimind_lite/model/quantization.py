"""Weight-only quantisation: matrices as small whole numbers, each group of a row with a scale of its own.

Design: a row is cut into groups of ``group`` weights (None: the row is one group, "per channel"). A group stores codes
of ``bits`` bits, one float16 scale, and with ``minimum`` one float16 minimum::

    without a minimum    weight ≈ code · scale               code from -(2^(bits-1) - 1) to 2^(bits-1) - 1
    with a minimum       weight ≈ minimum + code · scale     code from 0 to 2^bits - 1

With 8 bits and groups of 32 without a minimum, these are the numbers of GGUF's Q8_0; with 4 bits, groups of 32 and a
minimum, those of its Q4_1. Only weights are rounded: activations, norms and the arithmetic stay as they were. Nothing
here is calibrated on data, as GPTQ (arXiv 2210.17323) and AWQ (arXiv 2306.00978) do.
"""

import copy
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from minimind_lite.config import ConfigError
from minimind_lite.files import UnreadableFile, parse_json
from minimind_lite.model.pretrained import (
    PretrainedError,
    assembled,
    config_from_hf,
    config_to_hf,
    read_tensors,
    write_tensors,
)
from minimind_lite.model.transformer import Transformer

SCALES = torch.float16  # what scales and minimums are stored in
SCHEME, CONFIG = "minimind.quantization", "minimind.config"  # names in the file's metadata
ROUTER = "mlp.gate.weight"  # decides between experts: a rounded one sends tokens elsewhere, and it is tiny


class QuantizationError(ValueError):
    """A scheme that does not fit; the message says what to change."""


@dataclass(frozen=True)
class Scheme:
    """How weights are stored.

    >>> Scheme(bits=4, group=32, minimum=True).bits_per_weight(512)
    5.0
    """

    bits: int = 8
    group: int | None = None  # weights that share a scale; None: a whole row
    minimum: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.bits, int) or not 2 <= self.bits <= 8:
            raise QuantizationError(f"bits is {self.bits!r}; it must be a whole number from 2 to 8")
        if self.group is not None and (not isinstance(self.group, int) or self.group < 1):
            raise QuantizationError(f"group is {self.group!r}; it must be a whole number of weights, or None for a row")

    @property
    def largest(self) -> int:
        """The largest code."""
        return (1 << (self.bits if self.minimum else self.bits - 1)) - 1

    def bits_per_weight(self, row: int) -> float:
        """Bits for one weight of a row of ``row`` weights, its share of scale and minimum included."""
        return self.bits + 16 * (1 + self.minimum) / (self.group or row)

    def fits(self, weight: Tensor) -> bool:
        """Whether the rows of ``weight`` can be cut into whole groups."""
        return weight.dim() == 2 and weight.shape[1] % (self.group or weight.shape[1]) == 0


@dataclass(frozen=True)
class Quantized:
    """A matrix in whole numbers."""

    scheme: Scheme
    codes: Tensor  # (outputs, inputs), int16
    scales: Tensor  # (outputs, groups), float16
    minimums: Tensor | None  # the same, or None

    def weight(self) -> Tensor:
        """What the codes stand for: (outputs, inputs), float32."""
        groups: Tensor = self.codes.float().unflatten(1, (self.scales.shape[1], -1))
        values: Tensor = groups * self.scales.float()[..., None]
        if self.minimums is not None:
            values = values + self.minimums.float()[..., None]
        whole: Tensor = values.flatten(1)
        return whole


def quantize(weight: Tensor, scheme: Scheme) -> Quantized:
    """Round a matrix (outputs, inputs) to the nearest codes. Raises QuantizationError if no whole groups fit into it.

    >>> quantize(torch.tensor([[1.0, -0.5, 0.25, 2.0]]), Scheme(bits=4)).codes
    tensor([[ 4, -2,  1,  7]], dtype=torch.int16)
    """
    if not scheme.fits(weight):
        raise QuantizationError(
            f"a matrix of shape {tuple(weight.shape)} cannot be cut into groups of {scheme.group} weights in a row: "
            "choose a group that divides its second size"
        )
    groups = weight.detach().float().unflatten(1, (-1, scheme.group or weight.shape[1]))
    low = groups.amin(dim=-1) if scheme.minimum else groups.new_zeros(groups.shape[:2])
    reach = groups.amax(dim=-1) - low if scheme.minimum else groups.abs().amax(dim=-1)
    scales = reach / scheme.largest
    steps = torch.where(scales > 0, 1 / scales, 0.0)[..., None]  # a group of equal weights has the code 0
    codes = ((groups - low[..., None]) * steps).round().flatten(1)
    return Quantized(scheme, codes.to(torch.int16), scales.to(SCALES), low.to(SCALES) if scheme.minimum else None)


def pack(codes: Tensor, bits: int) -> Tensor:
    """Codes from 0 to 2^bits - 1, of any shape, as a row of bytes without gaps: the lowest bit of the first one first.

    >>> pack(torch.tensor([1, 2, 3]), bits=4)
    tensor([33,  3], dtype=torch.uint8)
    """
    places, byte = torch.arange(bits, dtype=torch.uint8), torch.arange(8, dtype=torch.uint8)
    stream = ((codes.flatten().to(torch.uint8)[:, None] >> places) & 1).flatten()
    stream = F.pad(stream, (0, -len(stream) % 8)).view(-1, 8)
    return (stream << byte).sum(dim=1, dtype=torch.uint8)


def unpack(packed: Tensor, bits: int, count: int) -> Tensor:
    """The first ``count`` codes of what ``pack`` made, (count,), uint8."""
    places, byte = torch.arange(bits, dtype=torch.uint8), torch.arange(8, dtype=torch.uint8)
    stream = ((packed[:, None] >> byte) & 1).flatten()[: count * bits].view(count, bits)
    return (stream << places).sum(dim=1, dtype=torch.uint8)


def quantizable(model: Transformer, scheme: Scheme) -> dict[str, Tensor]:
    """The weights that are stored as codes: every matrix that whole groups fit into, the embedding too; no router."""
    state = model.state_dict()
    return {name: one for name, one in state.items() if scheme.fits(one) and not name.endswith(ROUTER)}


def rounded(model: Transformer, scheme: Scheme) -> Transformer:
    """A copy in float32 whose matrices have the values that their codes stand for: what the rounding does, no more."""
    twin = copy.deepcopy(model).float()
    for weight in quantizable(twin, scheme).values():
        weight.copy_(quantize(weight, scheme).weight())
    return twin


def save_quantized(model: Transformer, path: str | Path, scheme: Scheme) -> int:
    """Write the model as one safetensors file of packed codes, scales, and float32 for the rest; returns its bytes."""
    path, tensors = Path(path), {}
    chosen = quantizable(model, scheme)
    for name, weight in model.state_dict().items():
        if name not in chosen:
            tensors[name] = weight.detach().float().cpu().contiguous()
            continue
        made = quantize(weight.cpu(), scheme)
        shift = 0 if scheme.minimum else scheme.largest  # codes below 0 are moved up to be packed
        tensors[f"{name}.codes"] = pack(made.codes + shift, scheme.bits)
        tensors[f"{name}.scales"] = made.scales
        if made.minimums is not None:
            tensors[f"{name}.minimums"] = made.minimums
    facts = {SCHEME: json.dumps(asdict(scheme)), CONFIG: json.dumps(config_to_hf(model.config))}
    write_tensors(path, tensors, facts)
    return path.stat().st_size


def load_quantized(path: str | Path) -> Transformer:
    """The model of a file that ``save_quantized`` wrote, in float32 on the CPU: what ``rounded`` gives.

    Raises PretrainedError, naming the file and saying what to do.
    """
    path = Path(path)
    if not path.is_file():
        raise PretrainedError(f"{path}: there is no such file; save_quantized writes one")
    tensors, metadata = read_tensors(path)
    try:
        config = config_from_hf(parse_json(metadata[CONFIG], f"{path}: {CONFIG}"))
        scheme = Scheme(**parse_json(metadata[SCHEME], f"{path}: {SCHEME}"))
    except (KeyError, TypeError, AttributeError, UnreadableFile, ConfigError, QuantizationError) as error:
        raise PretrainedError(f"{path} was not written by save_quantized, or was changed ({error})") from error
    with torch.device("meta"):
        shapes = {name: one.shape for name, one in Transformer(config).state_dict().items()}
    coded = {name.removesuffix(".codes") for name in tensors if name.endswith(".codes")}
    weights = {name: _decoded(tensors, name, shapes, scheme, path) for name in sorted(coded)}
    plain = {name: one for name, one in tensors.items() if not name.endswith((".codes", ".scales", ".minimums"))}
    return assembled(config, plain | weights, path)


def _decoded(
    tensors: Mapping[str, Tensor], name: str, shapes: Mapping[str, torch.Size], scheme: Scheme, path: Path
) -> Tensor:
    """One matrix of a file."""
    shape, shift = shapes.get(name), 0 if scheme.minimum else scheme.largest
    parts = [tensors.get(f"{name}.{part}") for part in ("codes", "scales", "minimums")[: 2 + scheme.minimum]]
    if shape is None or len(shape) != 2 or any(one is None for one in parts):
        raise PretrainedError(f"{path}: the parts of {name} are not complete, or the model has no such matrix")
    packed, scales = tensors[f"{name}.codes"], tensors[f"{name}.scales"]
    if len(packed) != -(-shape.numel() * scheme.bits // 8) or shape[0] != len(scales):
        raise PretrainedError(f"{path}: {name} has {len(packed)} bytes of codes; {tuple(shape)} needs another number")
    codes = unpack(packed, scheme.bits, shape.numel()).to(torch.int16).view(shape) - shift
    return Quantized(scheme, codes, scales, tensors.get(f"{name}.minimums")).weight()
