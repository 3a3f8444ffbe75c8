"""accelerate, with this run's device and precision."""

import os
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import GradScalerKwargs

from minimind_lite.training.config import TrainConfig


def make_accelerator(config: TrainConfig, output_dir: Path) -> Accelerator:
    """CUDA where there is a card, MPS only when asked for, else the CPU; several processes where torchrun started them.

    precision "auto" is bf16 or fp16 on a card and fp32 on a CPU, most of which do bf16 many times slower.
    """
    on_gpu = config.device in ("cuda", "mps") or (config.device == "auto" and torch.cuda.is_available())
    if config.precision != "auto":
        precision = "no" if config.precision == "fp32" else config.precision
    elif not on_gpu or config.device == "mps":
        precision = "no"
    else:
        precision = "bf16" if torch.cuda.is_bf16_supported() else "fp16"
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        # accelerate keeps device and precision in a global; an earlier run's in this notebook would be forced on ours.
        AcceleratorState._reset_state(reset_partial_state=True)
    # The loss is a sum, about a thousand times a mean: fp16's loss scale starts lower, or its first steps overflow.
    scaler = [GradScalerKwargs(init_scale=64.0)] if precision == "fp16" else []
    return Accelerator(
        cpu=not on_gpu,
        mixed_precision=precision,
        log_with=list(config.trackers) or None,
        project_dir=output_dir,
        kwargs_handlers=scaler,
    )
