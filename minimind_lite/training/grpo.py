"""Group relative policy optimisation: several answers to each prompt; those above their group's average get likelier.

Choices: groups whose rewards are all equal are left out of sum and count, KL included (GRPO counts them as zeros, which
only makes the step smaller); a step without any other group changes no weight · the ratio uses the engine's own
log-probabilities, temperature included · one forward pass per step, on the groups that are left.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from minimind_lite.config import ConfigError
from minimind_lite.model.losses import Loss, balanced, token_logprobs
from minimind_lite.model.moe import recorded_routing
from minimind_lite.settings import NotNegative
from minimind_lite.training.options import RunOptions, TrainConfig
from minimind_lite.training.policy_gradient import (
    OBJECTIVES,
    Objective,
    all_equal,
    clipped_loss,
    group_advantages,
    k3,
    summed,
)  # fmt: skip
from minimind_lite.training.rollouts import Prompt, Rollout, RolloutLoss, RolloutOptions, reinforce, roll_out
from minimind_lite.training.stage import StageResult


@dataclass(frozen=True)
class GRPOOptions(RolloutOptions):
    """GRPO's own settings; the defaults of each paper are in ``policy_gradient.OBJECTIVES``."""

    objective: str = "grpo"  # or dr_grpo, dapo, cispo
    average: Literal["paper", "sequence", "token", "constant"] = "paper"  # of the loss over tokens
    advantage_scale: Literal["paper", "std", "none"] = "paper"  # what the difference from the average is divided by
    clip_low: NotNegative = 0.0  # 0: the paper's; likewise clip_high
    clip_high: NotNegative = 0.0  # 0: the paper's

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.objective not in OBJECTIVES:
            raise ConfigError(f"objective must be one of {', '.join(OBJECTIVES)}, not {self.objective!r}")
        if self.group_size < 2:
            raise ConfigError("group_size must be 2 or more: an answer is compared with others to the same prompt")

    @property
    def chosen(self) -> Objective:
        """The paper's objective with these options applied."""
        changes: dict[str, Any] = {
            name: getattr(self, name)
            for name, paper in (("average", "paper"), ("clip_low", 0), ("clip_high", 0))
            if getattr(self, name) != paper
        }
        if self.advantage_scale != "paper":
            changes["scale_by_std"] = self.advantage_scale == "std"
        return replace(OBJECTIVES[self.objective], **changes)


class GRPOLoss(RolloutLoss):
    """The GRPO family as a loss function of the loop: items are answers, or tokens where the average is over tokens."""

    def answer(self, model: Any, batch: list[Prompt]) -> Rollout:
        return roll_out(model, self.tokenizer, batch, self.options, self.rewards, self.reference)

    def loss(self, model: Any, rollout: Rollout) -> Loss:
        options, objective = self.options, self.options.chosen
        groups = rollout.rewards.view(-1, options.group_size)
        dead = all_equal(groups)
        if dead.all():
            nothing = sum(p.sum() for p in model.parameters() if p.requires_grad) * 0.0  # something to differentiate
            zero = torch.zeros(0)
            extras = self._measured(rollout, dead, kl=zero, change=zero, clipped=zero)
            if model.config.num_experts:  # every micro-batch must report the same metrics
                extras["balance_loss"] = torch.zeros(())
            return Loss(nothing, 0, extras)
        alive = (~dead).repeat_interleave(options.group_size)  # (rows,)
        targets, old = rollout.targets[alive], rollout.old_logprobs[alive]
        mask = rollout.mask[alive]
        with recorded_routing(model) as routings:
            logprobs = token_logprobs(model, rollout.input_ids[alive], targets, options.temperature)
        advantages = group_advantages(groups, objective.scale_by_std).flatten()[alive, None]  # (rows, 1)
        kl = k3(logprobs, rollout.reference_logprobs[alive])
        loss = clipped_loss(logprobs, old, advantages, objective) + options.kl_weight * kl
        total, items = summed(loss, mask, objective.average, options.max_new_tokens)
        change = ((logprobs - old)[mask]).exp() - 1
        clipped = _clipped(change, objective)
        extras = self._measured(rollout, dead, kl=kl[mask], change=change, clipped=clipped)
        return balanced(Loss(total, items, extras), model, routings)

    def _measured(
        self, rollout: Rollout, dead: Tensor, *, kl: Tensor, change: Tensor, clipped: Tensor
    ) -> dict[str, Tensor]:
        return self.measured(rollout, dead_groups=dead, kl=kl, ratio_change=change.abs(), clipped=clipped)


def _clipped(change: Tensor, objective: Objective) -> Tensor:
    return (change < -objective.clip_low) | (change > objective.clip_high)


def run_grpo(
    data: str | Path,
    base: str | Path,
    output_dir: str | Path,
    config: TrainConfig,
    options: GRPOOptions = GRPOOptions(),
    run: RunOptions = RunOptions(),
) -> StageResult:
    """Let the model in ``base`` practise on the questions of ``data`` and leave it in ``output_dir``.

    data: JSON Lines of conversations whose last turn holds the right answer in ``<answer>``. An example of the loop is
    a prompt, so a step sees ``micro_batch_size`` · ``gradient_accumulation_steps`` prompts of group_size answers each.
    run.eval_data adds the held-out ``accuracy`` to the metrics.
    Raises RewardError, PretrainedError, DataError, ConfigError, CheckpointError, TrainingDiverged.
    """
    return reinforce(GRPOLoss, data, base, output_dir, config, options, run)
