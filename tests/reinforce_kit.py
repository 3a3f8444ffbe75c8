"""What the tests of GRPO and PPO share: a tiny tokenizer and base model, prompts, and a reward that varies."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from minimind_lite.config import preset
from minimind_lite.model.pretrained import save_pretrained
from minimind_lite.model.transformer import IGNORED_TARGET, Transformer
from minimind_lite.tokenizer import Tokenizer
from minimind_lite.training.options import TrainConfig
from minimind_lite.training.rollouts import Rollout

CONFIG: dict[str, Any] = {"total_steps": 6, "micro_batch_size": 2, "learning_rate": 1e-3, "save_every": 3,
                          "log_every": 1, "progress": False}  # fmt: skip
SUMS = [(f"{a}+11", str(a + 11)) for a in range(1, 9)]


def config(**changes: Any) -> TrainConfig:
    return TrainConfig(**(CONFIG | changes))


def make_base(folder: Path) -> Path:
    """A folder with a random model over a small vocabulary."""
    tokenizer = Tokenizer.train(["What is 2+3? 5", "9+9=18"] * 5, vocab_size=300)
    torch.manual_seed(0)
    save_pretrained(Transformer(preset("pico", vocab_size=tokenizer.vocab_size)), tokenizer, folder)
    return folder


def make_prompts(path: Path, sums: Sequence[tuple[str, str]] = SUMS) -> Path:
    """Questions and answers in the layout of reason.jsonl."""
    lines = []
    for question, answer in sums:
        said = f"<think>\nones\n</think>\n<answer>\n{answer}\n</answer>"
        turns = [{"role": "user", "content": f"{question}=?"}, {"role": "assistant", "content": said}]
        lines.append(json.dumps({"conversations": turns}) + "\n")
    path.write_text("".join(lines), encoding="utf-8")
    return path


def many_letters(question: str, written: str, right_answer: str) -> float:
    """A reward that differs between a random model's answers."""
    return sum(character.isascii() and character.isalpha() for character in written) / 10


def make_rollout(rewards: torch.Tensor, tokens: int = 7, seed: int = 0) -> Rollout:
    """Random log-probabilities for answers of unequal lengths after two prompt tokens."""
    random = torch.Generator().manual_seed(seed)
    rows = rewards.numel()
    lengths = torch.randint(1, tokens - 2, (rows,), generator=random)
    place = torch.arange(tokens)
    mask = (place >= 2) & (place < 2 + lengths[:, None])
    targets = torch.where(mask, torch.randint(0, 20, (rows, tokens), generator=random), IGNORED_TARGET)
    old = -torch.rand(rows, tokens, generator=random) * mask
    return Rollout(
        input_ids=torch.randint(0, 20, (rows, tokens), generator=random), targets=targets, old_logprobs=old,
        reference_logprobs=(old - 0.3 * torch.rand(rows, tokens, generator=random)) * mask,
        scores=rewards.view(rows, 1), rewards=rewards.flatten(),
    )  # fmt: skip


class Interrupt(Exception):
    """Stands for a kill."""
