"""Steps after pretraining on the same batch as PEFT and TRL: LoRA, DPO and GRPO, forward, backward and AdamW.

The peers stand on transformers' Llama with the same weights; losses and gradient norms must be equal. LoRA: packed rows
of conversations, a third of the tokens trained. DPO: pairs with a common prompt, the reference's log-probabilities
given. GRPO: answers that were drawn before, so no generation counts. TRL's own trainers make its losses.
"""

import os
import tempfile
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from minimind_lite.data.documents import Document
from minimind_lite.data.packing import PackedDataset, pad_documents
from minimind_lite.data.preferences import Pair
from minimind_lite.model.lora import LoRAConfig, add_adapter, lora_layers
from minimind_lite.model.losses import next_token_loss, token_logprobs
from minimind_lite.model.pretrained import save_pretrained
from minimind_lite.model.transformer import IGNORED_TARGET, Transformer
from minimind_lite.tokenizer import Tokenizer
from minimind_lite.training.dpo import DPOOptions, collate_pairs, dpo_loss, reference_logprobs
from minimind_lite.training.grpo import GRPOLoss, GRPOOptions
from minimind_lite.training.optimizer import make_adamw
from minimind_lite.training.options import TrainConfig
from minimind_lite.training.policy_gradient import group_advantages
from minimind_lite.training.rollouts import Rollout
from subjects import Run, Size, agree
from subjects.report import Goal, compare, interleave
from subjects.twin import twin_of

PEERS = ("PEFT", "TRL")
GOAL = 1.5
GROUP = 4  # answers to a prompt
Step = Callable[[], Tensor]  # makes the mean loss, ready for backward


def trained_by(module: nn.Module, loss: Step, name: str, seen: dict[str, tuple[float, float]]) -> Callable[[], None]:
    """An arm: one update of what trains in ``module``; leaves loss and gradient norm in ``seen``."""
    optimizer = make_adamw(module, TrainConfig(learning_rate=1e-6), torch.device("cpu"))

    def work() -> None:
        module.train()
        value = loss()
        value.backward()
        gradients = [one.grad for one in module.parameters() if one.grad is not None]
        seen[name] = float(value.detach()), float(torch.nn.utils.get_total_norm(gradients))
        optimizer.step()
        optimizer.zero_grad()

    return work


def drawn(size: Size, prompt: int, answer: int, shared: Document | None = None) -> Document:
    """A random document whose last ``answer`` tokens are trained; it may begin like another."""
    ids = torch.randint(3, size.config.vocab_size, (prompt + answer,)).numpy().astype(np.uint16)
    if shared is not None:
        ids[:prompt] = shared.ids[:prompt]
    return Document(ids, np.array([0] * prompt + [1] * answer, dtype=np.uint8))


def lengths(size: Size, count: int) -> list[int]:
    """Of answers: a twelfth to a quarter of a block."""
    return torch.randint(size.block // 12, size.block // 4 + 1, (count,)).tolist()


def lora(size: Size, model: Transformer) -> tuple[Any, Any, Step, Step, float]:
    """Ours and PEFT's: modules, losses, and the positions of the batch."""
    import peft

    rows = [drawn(size, 2 * one, one) for one in lengths(size, 8 * size.micro_batch)]
    blocks = PackedDataset(rows, size.block)
    batch = blocks.batch_of(range(min(size.micro_batch, len(blocks))))
    twin = twin_of(model)
    add_adapter(model, LoRAConfig())
    names = [name for name, _ in lora_layers(model)]
    theirs = peft.get_peft_model(twin, peft.LoraConfig(r=8, lora_alpha=16, target_modules=names))
    with torch.no_grad():
        for name, layer in lora_layers(model):
            layer.lora_B["adapter"].normal_(std=0.02)  # as after some steps: at zero, A has no gradient
            other = twin.get_submodule(name)
            for mine, matrix in ((layer.lora_A, other.lora_A), (layer.lora_B, other.lora_B)):
                matrix["default"].weight.copy_(mine["adapter"])

    def our_loss() -> Tensor:
        total, items, *_ = next_token_loss(model, batch)
        return total / items  # type: ignore[no-any-return]

    def their_loss() -> Tensor:
        return theirs(  # type: ignore[no-any-return]
            input_ids=batch["input_ids"], position_ids=batch["position_ids"], labels=batch["targets"],
            shift_labels=batch["targets"], use_cache=False,
        ).loss  # fmt: skip

    return model, theirs, our_loss, their_loss, float(batch["input_ids"].numel())


def quiet() -> None:
    """TRL's trainers report to nobody, and need no network for that."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    warnings.simplefilter("ignore")


def saved(model: Transformer, folder: Path) -> Path:
    """A model's folder that TRL's trainers can open."""
    save_pretrained(model, Tokenizer.train(["hello there"] * 5, vocab_size=300), folder)
    return folder


def dpo(size: Size, model: Transformer, folder: Path) -> tuple[Any, Any, Step, Step, float]:
    """Ours and TRL's DPOTrainer's."""
    from minimind_lite.course.chapters.dpo.experiments import trl_loss, trl_trainer

    quiet()
    trainer, pairs, options = trl_trainer(saved(model, folder)), [], DPOOptions()
    for one, other in zip(lengths(size, 4 * size.micro_batch), lengths(size, 4 * size.micro_batch), strict=True):
        chosen = drawn(size, 2 * one, one)
        pairs.append(Pair(chosen, drawn(size, 2 * one, other, chosen)))
    reference = reference_logprobs(model, pairs)
    read = list(zip(pairs, reference, strict=True))

    def our_loss() -> Tensor:
        loss = dpo_loss(model, collate_pairs(read), options)
        return loss.total / loss.items

    def their_loss() -> Tensor:
        return trl_loss(trainer, pairs, reference, options.beta, options.loss_type)[0]

    return model, trainer.model, our_loss, their_loss, float(collate_pairs(read)["input_ids"].numel())


def same(**columns: Any) -> list[float]:
    """A reward that TRL's trainer insists on and that is never asked."""
    return [0.0] * len(columns["completions"])


def grpo_trainer(folder: Path, options: GRPOOptions, longest: int) -> Any:
    """``trl.GRPOTrainer`` around the model in ``folder``."""
    import datasets
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl.trainer.grpo_config import GRPOConfig
    from trl.trainer.grpo_trainer import GRPOTrainer

    arguments = GRPOConfig(
        str(folder / "trl"), report_to=[], use_cpu=True, bf16=False, disable_tqdm=True, gradient_checkpointing=False,
        num_generations=GROUP, per_device_train_batch_size=GROUP, beta=options.kl_weight, loss_type="grpo",
        max_completion_length=longest, temperature=1.0,
    )  # fmt: skip
    return GRPOTrainer(  # from a folder on this disk; nothing is downloaded
        AutoModelForCausalLM.from_pretrained(folder),  # nosec B615
        reward_funcs=same, args=arguments, train_dataset=datasets.Dataset.from_list([{"prompt": "hello"}] * GROUP),
        processing_class=AutoTokenizer.from_pretrained(folder),  # nosec B615
    )  # fmt: skip


def grpo(size: Size, model: Transformer, folder: Path) -> tuple[Any, Any, Step, Step, float]:
    """Ours and TRL's GRPOTrainer's, on one rollout with prompts of one length."""
    quiet()
    groups, prompt = 2 * size.micro_batch, size.block // 8
    heads = [drawn(size, prompt, 1) for _ in range(groups) for _ in range(GROUP)]
    documents = [drawn(size, prompt, one, head) for head, one in zip(heads, lengths(size, len(heads)), strict=True)]
    batch, rewards = pad_documents(documents), torch.rand(len(documents))
    with torch.no_grad():
        old = token_logprobs(model, **batch)
    rollout = Rollout(**batch, old_logprobs=old, reference_logprobs=old - 0.1 * torch.rand(old.shape) * (old < 0),
                      scores=rewards[:, None], rewards=rewards)  # fmt: skip
    options = GRPOOptions(group_size=GROUP, custom_rewards=((same, 1.0),))
    loss_fn = GRPOLoss(None, options, options.rewards, model)  # type: ignore[arg-type]  # nothing is generated
    answers = batch["targets"][:, prompt - 1 :]
    mask = answers != IGNORED_TARGET
    trainer = grpo_trainer(saved(model, folder), options, answers.shape[1])
    trainer.current_gradient_accumulation_steps = 1
    inputs = {
        "prompt_ids": batch["input_ids"][:, :prompt], "prompt_mask": torch.ones(len(documents), prompt).long(),
        "completion_ids": answers.where(mask, 0), "completion_mask": mask.long(),
        "advantages": group_advantages(rewards.view(-1, GROUP), options.chosen.scale_by_std).flatten(),
        "old_per_token_logps": rollout.old_logprobs[:, prompt - 1 :],
        "ref_per_token_logps": rollout.reference_logprobs[:, prompt - 1 :], "num_items_in_batch": mask.sum(),
    }  # fmt: skip

    def our_loss() -> Tensor:
        loss = loss_fn.loss(model, rollout)
        return loss.total / loss.items

    def their_loss() -> Tensor:
        return trainer._compute_loss(trainer.model, inputs)  # type: ignore[no-any-return]

    return model, trainer.model, our_loss, their_loss, float(batch["input_ids"].numel())


def measure(run: Run) -> list[dict[str, Any]]:
    """Positions of a batch a second, for every stage whose peer is asked for."""
    size, rows = run.amounts, []
    with tempfile.TemporaryDirectory() as name:
        stages = {"LoRA": (lora, "PEFT"), "DPO": (partial(dpo, folder=Path(name) / "dpo"), "TRL"),
                  "GRPO": (partial(grpo, folder=Path(name) / "grpo"), "TRL")}  # fmt: skip
        for stage, (make, peer) in stages.items():
            if peer not in run.peers:
                continue
            torch.manual_seed(0)
            mine, theirs, our_loss, their_loss, positions = make(size, Transformer(size.config))
            seen: dict[str, tuple[float, float]] = {}
            arms = {"ours": trained_by(mine, our_loss, "ours", seen), peer: trained_by(theirs, their_loss, peer, seen)}
            times = interleave(arms, run)
            for what, one, other in zip(("loss", "gradient's norm"), seen["ours"], seen[peer], strict=True):
                agree(f"the {what} of a {stage} step", one, other)
            goal = Goal("ratio", GOAL) if run.size != "pico" else None
            work = dict.fromkeys(arms, positions)
            rows.append(compare(f"align {run.size}: {stage} step", "positions", run, times, work, peer, goal=goal))
    return rows
