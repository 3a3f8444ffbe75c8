"""What GRPO and PPO share: the model answers prompts, a program scores the answers, and a loss learns from them.

A batch of the loop is a list of prompts, so the loss function makes its own data. The answers are used for
``updates_per_rollout`` steps in a row; the prompts that the loop brings in between wait for another epoch. All
randomness comes from torch's global generator, and answers that are not used up go into the checkpoint, so an
interrupted run ends bit for bit like an uninterrupted one. With several processes the main one draws the seeds of all
answers, so the same prompts per micro-batch, however many processes share them, get the same answers.
"""

import hashlib
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from accelerate.utils import broadcast_object_list, gather_object
from torch import Tensor, nn

from minimind_lite.config import ConfigError
from minimind_lite.data.documents import Document
from minimind_lite.data.packing import pad_documents
from minimind_lite.data.reasoning import parse_reasoning
from minimind_lite.data.records import DataError, read_records
from minimind_lite.generation.engine import generate
from minimind_lite.generation.sampling import SamplingConfig, row_generator
from minimind_lite.model.losses import Loss, token_logprobs
from minimind_lite.model.transformer import IGNORED_TARGET, Transformer
from minimind_lite.settings import Count, Finite, Length, Natural, NotNegative, Positive
from minimind_lite.tokenizer import Tokenizer
from minimind_lite.training.loop import processes
from minimind_lite.training.options import FromSettings, RunOptions, TrainConfig
from minimind_lite.training.rewards import Rewards, correctness_reward, format_reward, length_reward, score
from minimind_lite.training.stage import StageResult, StageRun

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RolloutOptions(FromSettings):
    """How answers are drawn and scored. Raises ConfigError for a value that cannot work."""

    group_size: Count = 8  # answers to each prompt
    updates_per_rollout: Count = 1  # steps that learn from the same answers
    temperature: Positive = 1.0  # of sampling, and so of every log-probability
    max_new_tokens: Length = 72  # maximum length of an answer
    max_digits: Natural = 0  # only prompts with at most this many digits in all (23+59 has 4); 0 takes every prompt
    kl_weight: NotNegative = 0.02  # how hard the reference model pulls back; 0 uses none
    correct_weight: Finite = 1.0  # the weights of the three rewards
    format_weight: Finite = 0.1  # of a thought and an answer in their tags
    length_weight: Finite = 0.1  # of a thought that is not too long
    custom_rewards: Rewards = field(
        default=(), metadata={"python_only": True}
    )  # (function, weight) pairs instead of the three

    @property
    def rewards(self) -> Rewards:
        """The rewards with their weights: the custom ones, or else the three."""
        return self.custom_rewards or (
            (correctness_reward, self.correct_weight),
            (format_reward, self.format_weight),
            (length_reward, self.length_weight),
        )


NO_ANSWER = ("", "无")  # what stands in place of an answer in files of bare prompts


@dataclass(frozen=True)
class Prompt:
    """A question for the model, and what a right answer is."""

    question: str
    right_answer: str
    ids: list[int]  # up to where the assistant's words begin


def read_prompts(
    path: str | Path, tokenizer: Tokenizer, max_digits: int = 0, run: RunOptions = RunOptions(), graded: bool = True
) -> list[Prompt]:
    """The prompts of a file of conversations; the right answer is ``gt`` where a record has it (MiniMind's agent_rl
    files), else the last turn's answer block, or the whole turn.

    A question that contains its own answer (7+0) is left out and counted: copying would solve it. So is one whose
    answer is only a placeholder (the "无" of MiniMind's rlaif.jsonl, or nothing), or is several values at once, unless
    answers are not ``graded`` by it. A model answers in one turn: tools are shown to it, and none is run.
    Raises DataError.
    """
    prompts, copied, unanswered = [], 0, 0
    for record in read_records(path, "conversation", strict=run.strict, max_bad_share=run.max_bad_share):
        *asked, said = record.messages
        question = asked[-1]["content"]
        answer = parse_reasoning(said["content"]).answer or said["content"].strip()
        if record.gt:
            answer = record.gt[0] if len(record.gt) == 1 else ""
        if max_digits and sum(map(str.isdigit, question)) > max_digits:
            continue
        if answer in NO_ANSWER:
            if graded:
                unanswered += 1
                continue
        elif answer in question:
            copied += 1
            continue
        prompts.append(Prompt(question, answer, tokenizer.render(asked, add_generation_prompt=True).ids))
    if copied:
        logger.info("%s: %d questions contain their own answer and were left out", path, copied)
    if unanswered:
        logger.warning("%s: %d prompts have no right answer to compare with and were left out", path, unanswered)
    if not prompts and unanswered:
        raise DataError(
            f"{path}: none of its {unanswered} prompts has a right answer to compare with, only a placeholder such as "
            "无. Use a file of questions with answers, or score the answers by a reward of your own, in Python: "
            "custom_rewards"
        )
    if not prompts:
        raise DataError(f"{path}: no prompt is left (max_digits={max_digits}): is it a file of questions with answers?")
    return prompts


@dataclass(frozen=True)
class Rollout:
    """Answers to some prompts, one per row, groups side by side; (rows, tokens) unless stated otherwise."""

    input_ids: Tensor
    targets: Tensor  # shifted; -100 outside the answer
    old_logprobs: Tensor  # under the distribution sampled from, temperature included
    reference_logprobs: Tensor  # under the reference, at the same temperature; the old ones if there is none
    scores: Tensor  # (rows, reward functions), unweighted
    rewards: Tensor  # (rows,) weighted sums

    @property
    def mask(self) -> Tensor:
        """True where the model wrote."""
        return self.targets != IGNORED_TARGET


@torch.no_grad()
def roll_out(
    model: Transformer, tokenizer: Tokenizer, prompts: Sequence[Prompt], options: RolloutOptions,
    rewards: Rewards, reference: Transformer | None = None,
) -> Rollout:  # fmt: skip
    """Answer every prompt ``group_size`` times and score the answers. Raises RewardError.

    No top-k or top-p: the model must be able to learn about every token that it may write.
    """
    rows = [prompt for prompt in prompts for _ in range(options.group_size)]
    answers = generate(
        model, tokenizer, [row.ids for row in rows], max_new_tokens=options.max_new_tokens, batch_size=len(rows),
        sampling=SamplingConfig(temperature=options.temperature), generators=_generators(len(prompts), options),
    )  # fmt: skip
    texts = [(row.question, one.text, row.right_answer) for row, one in zip(rows, answers, strict=True)]
    documents = [
        Document(np.array(row.ids + one.ids), np.array([0] * len(row.ids) + [1] * len(one.ids), dtype=np.uint8))
        for row, one in zip(rows, answers, strict=True)
    ]
    device = next(model.parameters()).device
    batch = {name: tensor.to(device) for name, tensor in pad_documents(documents).items()}
    drawn = torch.tensor([logprob for one in answers for logprob in one.logprobs], device=device)
    old = torch.zeros(batch["targets"].shape, device=device).masked_scatter(batch["targets"] != IGNORED_TARGET, drawn)
    other = token_logprobs(reference, **batch, temperature=options.temperature) if reference else old
    scores = torch.tensor(score(rewards, texts), device=device)
    return Rollout(**batch, old_logprobs=old, reference_logprobs=other, scores=scores,
                   rewards=scores @ torch.tensor([weight for _, weight in rewards], device=device))  # fmt: skip


def _generators(prompts: int, options: RolloutOptions) -> list[torch.Generator]:
    """A random stream for each answer of this process.

    The main process draws a seed for every answer in this micro-batch of all processes from the global generator, as a
    single process would: prompt i of process r is prompt i · processes + r.
    """
    size, rank, ranks = options.group_size, *processes()
    total = sum(gather_object([prompts])) if ranks > 1 else prompts
    seeds: list[Any] = [torch.randint(2**62, (total * size,)).tolist() if rank == 0 else None]
    if ranks > 1:
        broadcast_object_list(seeds)
    mine = [(prompt * ranks + rank) * size + answer for prompt in range(prompts) for answer in range(size)]
    return [row_generator(seeds[0][row], row) for row in mine]


class RolloutLoss(ABC):
    """A LossFn whose batch is a list of Prompts; ``reference`` is copied as it is now, for the KL term."""

    rollout_type: ClassVar[type[Rollout]] = Rollout
    nothing_learned: ClassVar[str] = (
        "all answers to a prompt earned the same reward each time, so none could be preferred. Start from a model that "
        "is sometimes right, take easier questions (-p max_digits=…), or let it try more often (-p group_size=…)"
    )

    def __init__(self, tokenizer: Tokenizer, options: Any, rewards: Rewards, reference: Transformer) -> None:
        self.tokenizer, self.options, self.rewards = tokenizer, options, rewards
        self.reference = deepcopy(reference).eval() if options.kl_weight else None
        self.rollout: Any = None
        self.uses = 0  # steps that have learned from the rollout

    def __call__(self, model: Any, batch: list[Prompt]) -> Loss:
        """The loss of one update, on new answers or, if updates_per_rollout has not been reached, on the last ones."""
        if self.reference is not None:
            self.reference.to(next(model.parameters()).device)
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

    def measured(self, rollout: Rollout, **more: Tensor) -> dict[str, Tensor]:
        """(sum, count) for each metric: the reward, its parts, the answers' length, and the values in ``more``.

        Each has its own count, so every answer weighs the same, however the answers are spread over micro-batches.
        """
        names = [getattr(reward, "__name__", "reward") for reward, _ in self.rewards]
        values = {"reward": rollout.rewards, "answer_tokens": rollout.mask.sum(dim=1)}
        values |= dict(zip(names, rollout.scores.T, strict=True)) | more
        return {
            name: torch.stack([one.detach().float().sum(), torch.tensor(float(one.numel()), device=one.device)])
            for name, one in values.items()
        }

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint must keep: the answers, if there are updates left that learn from them."""
        unfinished = self.rollout is not None and self.uses < self.options.updates_per_rollout
        return {"uses": self.uses, "rollout": dict(vars(self.rollout))} if unfinished else {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what ``state_dict`` returned."""
        self.uses = state.get("uses", 0)
        self.rollout = self.rollout_type(**state["rollout"]) if state else None


def reinforce(
    loss_type: type[RolloutLoss],
    data: str | Path,
    base: str | Path,
    output_dir: str | Path,
    config: TrainConfig,
    options: RolloutOptions,
    run: RunOptions,
    critic: Callable[[Transformer], nn.Module] | None = None,
) -> StageResult:
    """Run a stage whose loss function is a ``loss_type``; ``critic`` wraps the base in the module that learns."""
    if options.updates_per_rollout > 1 and config.gradient_accumulation_steps > 1:
        raise ConfigError("updates_per_rollout above 1 needs gradient_accumulation_steps=1: raise micro_batch_size")
    with StageRun(base, output_dir, config, run) as stage:
        model, tokenizer = stage.model, stage.tokenizer
        graded = not options.custom_rewards
        prompts = stage.from_main_process(lambda: read_prompts(data, tokenizer, options.max_digits, run, graded))
        measure = None
        if run.eval_data is not None:
            file = run.eval_data
            held_out = stage.from_main_process(lambda: read_prompts(file, tokenizer, options.max_digits, run, graded))
            right = partial(accuracy, tokenizer=tokenizer, prompts=held_out, max_new_tokens=options.max_new_tokens)
            measure = lambda _: {"accuracy": right(model)}  # noqa: E731  the module that learns may be more than the model
        torch.manual_seed(config.seed)  # for the answers; a resumed run restores the checkpoint's state instead
        loss_fn = loss_type(tokenizer, options, options.rewards, model)
        return stage.train(
            model, prompts, _identity(stage, options, prompts), loss_fn=loss_fn, collate=list, measure=measure,
            module=critic(model) if critic else None,
        )  # fmt: skip


def _identity(stage: StageRun, options: RolloutOptions, prompts: Sequence[Prompt]) -> dict[str, Any]:
    """What a continued run must share besides its settings."""
    rewards = [f"{getattr(reward, '__name__', reward)} x {weight}" for reward, weight in options.rewards]
    digest = hashlib.sha256(repr(prompts).encode()).hexdigest()
    named = {name: value for name, value in asdict(options).items() if name != "custom_rewards"}
    return {"base": stage.base_digest, "options": named, "prompts": digest, "rewards": rewards}


def accuracy(model: Transformer, tokenizer: Tokenizer, prompts: Sequence[Prompt], max_new_tokens: int) -> float:
    """The share of prompts answered right with greedy decoding."""
    said = generate(model, tokenizer, [one.ids for one in prompts], max_new_tokens=max_new_tokens, batch_size=128)
    right = [correctness_reward(p.question, one.text, p.right_answer) for p, one in zip(prompts, said, strict=True)]
    return sum(right) / len(right)
