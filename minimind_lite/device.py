"""Where a model runs when nobody says so."""

import os

import torch


def pick_device() -> torch.device:
    """CUDA if there is a card, else the CPU; Apple's MPS only when asked for (``MINIMIND_DEVICE=mps``)."""
    asked = os.environ.get("MINIMIND_DEVICE")
    return torch.device(asked or ("cuda" if torch.cuda.is_available() else "cpu"))
