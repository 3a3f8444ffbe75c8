"""The device a model runs on by default."""

import os

import torch


def pick_device() -> torch.device:
    """CUDA if there is a GPU, else the CPU; Apple's MPS only on request (``MINIMIND_DEVICE=mps``)."""
    asked = os.environ.get("MINIMIND_DEVICE")
    return torch.device(asked or ("cuda" if torch.cuda.is_available() else "cpu"))
