"""Values as JSON text and back, for the traffic between the grader and a submission's kernel.

Nothing that comes out of a submission is unpickled: numbers, texts, tensors, and lists, tuples, dicts and sets of them
are all that can come through. Functions of this library travel by name, and only towards the kernel.
"""

import base64
import importlib
import json
import math
from typing import Any

import torch
from torch import Tensor

LARGEST = 64_000_000  # characters of one message
_NAMES = ("float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool")
DTYPES = {name: getattr(torch, name) for name in _NAMES}


def dumps(value: Any) -> str:
    """The value as text. Raises TypeError for a value that cannot be encoded."""
    return json.dumps(_encode(value))


def loads(text: str, *, functions: bool = False) -> Any:
    """The value again. Raises ValueError for anything but what ``dumps`` writes; functions only where allowed."""
    if len(text) > LARGEST:
        raise ValueError(f"a value of {len(text)} characters is too large")
    try:
        return _decode(json.loads(text), functions)
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"no value of ours: {type(error).__name__}") from error


def _encode(value: Any) -> Any:
    if isinstance(value, Tensor):
        return _encode_tensor(value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, bytes):
        return {"bytes": base64.b64encode(value).decode()}
    if isinstance(value, dict):
        return {"dict": [[_encode(key), _encode(one)] for key, one in value.items()]}
    for kind in (list, tuple, set):
        if isinstance(value, kind):
            return {kind.__name__: [_encode(one) for one in value]}
    module, name = getattr(value, "__module__", ""), getattr(value, "__qualname__", ".")
    if callable(value) and str(module).startswith("minimind_lite.") and "." not in name:
        return {"function": [module, name]}
    raise TypeError(f"a {type(value).__name__}")


def _encode_tensor(tensor: Tensor) -> dict[str, Any]:
    name = str(tensor.dtype).removeprefix("torch.")
    if name not in DTYPES:
        raise TypeError(f"a tensor of {name}")
    raw = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    return {"tensor": base64.b64encode(raw).decode(), "dtype": name, "shape": list(tensor.shape)}


def _decode(data: Any, functions: bool) -> Any:
    if data is None or isinstance(data, (bool, int, float, str)):
        return data
    if "tensor" in data:
        return _decode_tensor(data)
    pair: tuple[str, Any] = next(iter(data.items()), ("nothing", None))
    kind, content = pair
    if kind == "function" and functions:
        return getattr(importlib.import_module(content[0]), content[1])
    if kind == "bytes":
        return base64.b64decode(content)
    if kind == "dict":
        return {_decode(key, functions): _decode(one, functions) for key, one in content}
    return {"list": list, "tuple": tuple, "set": set}[kind](_decode(one, functions) for one in content)


def _decode_tensor(data: dict[str, Any]) -> Tensor:
    raw, dtype, shape = bytearray(base64.b64decode(data["tensor"])), DTYPES[data["dtype"]], data["shape"]
    if not all(isinstance(size, int) and size >= 0 for size in shape) or math.prod(shape) * dtype.itemsize != len(raw):
        raise ValueError("a tensor whose shape does not fit its numbers")
    return (torch.frombuffer(raw, dtype=dtype) if raw else torch.empty(0, dtype=dtype)).reshape(shape)
