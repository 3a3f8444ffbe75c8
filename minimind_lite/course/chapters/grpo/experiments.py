"""TRL as an independent reference: the loss of its GRPOTrainer on given tensors, without a model."""

from collections import defaultdict
from types import SimpleNamespace
from typing import Any

from torch import Tensor, nn, zeros, zeros_like

from minimind_lite.training.policy_gradient import Objective
from minimind_lite.training.rollouts import Rollout


def trl_grpo_loss(
    rollout: Rollout, logprobs: Tensor, advantages: Tensor, name: str, objective: Objective,
    kl_weight: float, limit: int,
) -> Tensor:  # fmt: skip
    """What ``trl.GRPOTrainer._compute_loss`` makes of a rollout; only the model's forward pass is replaced.

    name: TRL's loss_type; we use the same names. advantages: (rows,). limit: max_completion_length.
    """
    from trl.trainer.grpo_trainer import GRPOTrainer

    trainer: Any = SimpleNamespace(
        _get_per_token_logps_and_entropies=lambda *_, **__: (logprobs, zeros_like(logprobs), None),
        model=nn.Linear(1, 1), loss_type=name, beta=kl_weight, max_completion_length=limit,
        epsilon_low=objective.clip_low,
        epsilon_high=objective.clip_high + objective.detached,  # TRL gives CISPO's cap itself, not its distance from 1
        args=SimpleNamespace(delta=None, use_bias_correction_kl=False, steps_per_generation=1),
        importance_sampling_level="token", top_entropy_quantile=1.0, off_policy_mask_threshold=None, use_vllm=False,
        aux_loss_enabled=False, _entropy_bonus_enabled=False, current_gradient_accumulation_steps=1,
        accelerator=SimpleNamespace(num_processes=1, gather=lambda x: x, reduce=lambda x, **_: x),
        _metrics=defaultdict(lambda: defaultdict(list)),
    )  # fmt: skip
    nothing = zeros(len(logprobs), 0, dtype=rollout.input_ids.dtype)
    loss: Tensor = GRPOTrainer._compute_loss(trainer, trainer.model, {
        "prompt_ids": nothing, "prompt_mask": nothing, "completion_ids": rollout.input_ids,
        "completion_mask": rollout.mask.long(), "advantages": advantages, "old_per_token_logps": rollout.old_logprobs,
        "ref_per_token_logps": rollout.reference_logprobs, "num_items_in_batch": rollout.mask.sum(),
    })  # fmt: skip
    return loss
