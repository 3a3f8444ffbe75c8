"""The stages by name: what `minimind train NAME` runs, and whose fields its ``-p NAME=VALUE`` may change."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from minimind_lite.training.distill import DistillOptions, run_distill
from minimind_lite.training.dpo import DPOOptions, run_dpo
from minimind_lite.training.grpo import GRPOOptions, run_grpo
from minimind_lite.training.lora import LoRAOptions, run_lora
from minimind_lite.training.options import FromSettings, RunOptions, TrainConfig
from minimind_lite.training.ppo import PPOOptions, run_ppo
from minimind_lite.training.pretrain import PretrainOptions, run_pretrain
from minimind_lite.training.reason import ReasonOptions, run_reason
from minimind_lite.training.sft import SFTOptions, run_sft
from minimind_lite.training.stage import StageResult

Options = TypeVar("Options", bound=FromSettings)
Folder = str | Path


@dataclass(frozen=True)
class Stage(Generic[Options]):
    """One stage: the function that runs it, and the dataclass of its own options."""

    run: Callable[[Folder, Folder, Folder, TrainConfig, Options, RunOptions], StageResult]  # data, base, output_dir, …
    options: type[Options]


STAGES: dict[str, Stage[Any]] = {
    "pretrain": Stage(run_pretrain, PretrainOptions),
    "sft": Stage(run_sft, SFTOptions),
    "lora": Stage(run_lora, LoRAOptions),
    "dpo": Stage(run_dpo, DPOOptions),
    "distill": Stage(run_distill, DistillOptions),
    "reason": Stage(run_reason, ReasonOptions),
    "grpo": Stage(run_grpo, GRPOOptions),
    "ppo": Stage(run_ppo, PPOOptions),
}
