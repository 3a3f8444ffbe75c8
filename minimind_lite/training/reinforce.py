"""What GRPO and PPO share: a loss function of the one loop that makes its own data.

A batch of the loop is a list of prompts. The answers to it are learned from in ``updates_per_rollout`` steps in a row;
the prompts that the loop brings in between wait for another epoch. Everything random comes out of torch's global
generator, and answers that are not used up go into the checkpoint, so a run that was interrupted ends bit by bit like
one that was not.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from minimind_lite.config import ConfigError
from minimind_lite.generation.engine import generate
from minimind_lite.model.pretrained import save_pretrained
from minimind_lite.model.transformer import Transformer
from minimind_lite.tokenizer import Tokenizer
from minimind_lite.training.config import TrainConfig
from minimind_lite.training.loop import train
from minimind_lite.training.loss import Loss
from minimind_lite.training.rewards import Reward, correctness_reward
from minimind_lite.training.rollouts import Prompt, Rollout, RolloutOptions, read_prompts
from minimind_lite.training.stage import StageResult, load_base

Rewards = Sequence[tuple[Reward, float]]  # functions and their weights


class RolloutLoss(ABC):
    """A LossFn whose batch is a list of Prompts; ``reference`` is copied as it is now, for the KL term."""

    rollout_type: ClassVar[type[Rollout]] = Rollout

    def __init__(self, tokenizer: Tokenizer, options: Any, rewards: Rewards, reference: Transformer) -> None:
        self.tokenizer, self.options, self.rewards = tokenizer, options, rewards
        self.reference = deepcopy(reference).eval() if options.kl_weight else None
        self.rollout: Any = None
        self.uses = 0  # steps that have learned from it

    def __call__(self, model: Any, batch: list[Prompt]) -> Loss:
        """The loss of one update, on new answers or, if updates_per_rollout has not been reached, on the last ones."""
        if self.rollout is None or self.uses >= self.options.updates_per_rollout:
            self.rollout, self.uses = self.answer(model, batch), 0
        self.uses += 1
        return self.loss(model, self.rollout)

    @abstractmethod
    def answer(self, model: Any, batch: list[Prompt]) -> Rollout:
        """Let the model answer; returns a ``rollout_type``."""

    @abstractmethod
    def loss(self, model: Any, rollout: Any) -> Loss:
        """The loss of one update."""

    def measured(self, rollout: Rollout, items: Tensor, **more: Tensor) -> dict[str, Tensor]:
        """Means for the metrics, as sums over ``items``: the reward, its parts, the answers' length, and ``more``."""
        names = [getattr(reward, "__name__", "reward") for reward, _ in self.rewards]
        means = {"reward": rollout.rewards, "answer_tokens": rollout.mask.sum(dim=1)}
        means |= dict(zip(names, rollout.scores.T, strict=True)) | more
        return {name: value.detach().float().mean() * items.clamp(min=1) for name, value in means.items()}

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint must keep: the answers, if there are updates left that learn from them."""
        unfinished = self.rollout is not None and self.uses < self.options.updates_per_rollout
        return {"uses": self.uses, "rollout": dict(vars(self.rollout))} if unfinished else {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what ``state_dict`` returned."""
        self.uses = state.get("uses", 0)
        self.rollout = self.rollout_type(**state["rollout"]) if state else None


def reinforce(
    loss_type: type[RolloutLoss], trained: Any, data: str | Path, base: str | Path, output_dir: str | Path,
    train_config: TrainConfig, options: RolloutOptions, *, rewards: Rewards | None = None,
    eval_data: str | Path | None = None, strict: bool = False, **train_options: Any,
) -> StageResult:  # fmt: skip
    """Run the loop with ``loss_type``; ``trained`` makes the module that learns out of the base model."""
    if options.updates_per_rollout > 1 and train_config.gradient_accumulation_steps > 1:
        raise ConfigError("updates_per_rollout above 1 needs gradient_accumulation_steps=1: raise micro_batch_size")
    model, tokenizer, identity = load_base(base)
    prompts, *held_out = (
        read_prompts(file, tokenizer, options.max_digits, strict) for file in (data, eval_data) if file is not None
    )
    if held_out:
        measure = partial(accuracy, tokenizer=tokenizer, prompts=held_out[0], max_new_tokens=options.max_new_tokens)
        train_options.setdefault("measure", lambda _: {"accuracy": measure(model)})
    rewards = options.rewards if rewards is None else rewards
    torch.manual_seed(train_config.seed)  # of the answers; a resumed run takes up the checkpoint's state instead
    result = train(
        trained(model), prompts, train_config, output_dir, loss_fn=loss_type(tokenizer, options, rewards, model),
        collate=list, identity=identity | _identity(options, prompts, rewards), **train_options,
    )  # fmt: skip
    save_pretrained(model, tokenizer, output_dir)
    return StageResult(model, result, prompts, Path(output_dir))


def _identity(options: RolloutOptions, prompts: Sequence[Prompt], rewards: Rewards) -> dict[str, Any]:
    """What a continued run must share besides the base."""
    named = [f"{getattr(reward, '__name__', reward)} x {weight}" for reward, weight in rewards]
    digest = hashlib.sha256(repr(prompts).encode()).hexdigest()
    return {"options": asdict(options), "prompts": digest, "rewards": named}


def accuracy(model: Transformer, tokenizer: Tokenizer, prompts: Sequence[Prompt], max_new_tokens: int) -> float:
    """The share of prompts answered right, greedily."""
    said = generate(model, tokenizer, [one.ids for one in prompts], max_new_tokens=max_new_tokens, batch_size=128)
    right = [correctness_reward(p.question, one.text, p.right_answer) for p, one in zip(prompts, said, strict=True)]
    return sum(right) / len(right)
