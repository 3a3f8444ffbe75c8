"""The device a model runs on by default, and what it can count in."""

import os

import torch
from torch import Tensor


def pick_device() -> torch.device:
    """CUDA if there is a GPU, else the CPU; Apple's MPS only on request (``MINIMIND_DEVICE=mps``)."""
    asked = os.environ.get("MINIMIND_DEVICE")
    return torch.device(asked or ("cuda" if torch.cuda.is_available() else "cpu"))


def in_float64(values: Tensor) -> Tensor:
    """``values`` in float64: on their own device, or on the CPU if that is Apple's MPS, which has no float64."""
    return (values.cpu() if values.device.type == "mps" else values).double()
