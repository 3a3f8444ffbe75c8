"""Every stage on tiny data, in as many processes as torchrun starts: ``python -m torch.distributed.run … FOLDER …``.

The total batch is the same for any number of processes, so the weights must be too.
"""

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from minimind_lite.config import preset
from minimind_lite.model.pretrained import save_pretrained
from minimind_lite.model.transformer import Transformer
from minimind_lite.tokenizer import Tokenizer
from minimind_lite.training.callbacks import Callback, RunState, StopTraining
from minimind_lite.training.distill import DistillOptions
from minimind_lite.training.dpo import DPOOptions
from minimind_lite.training.grpo import GRPOOptions
from minimind_lite.training.lora import LoRAOptions
from minimind_lite.training.options import FromSettings, RunOptions, TrainConfig
from minimind_lite.training.ppo import PPOOptions
from minimind_lite.training.pretrain import PretrainOptions
from minimind_lite.training.reason import ReasonOptions
from minimind_lite.training.registry import STAGES
from minimind_lite.training.sft import SFTOptions

BATCH = 4  # examples in a step, over all processes


def letters(question: str, written: str, right_answer: str) -> float:
    """A reward that differs between the answers of a random model."""
    return sum(character.isalnum() for character in written) / 10


OPTIONS: dict[str, FromSettings] = {
    "pretrain": PretrainOptions(preset="pico", block_size=32),
    "sft": SFTOptions(block_size=48),
    "lora": LoRAOptions(block_size=64, rank=2),
    "dpo": DPOOptions(block_size=64),
    "distill": DistillOptions(block_size=48),
    "reason": ReasonOptions(block_size=64, tag_weight=2.0, off_share=0.3),
    "grpo": GRPOOptions(group_size=3, max_new_tokens=8, custom_rewards=((letters, 1.0),)),
    "ppo": PPOOptions(group_size=2, max_new_tokens=8, custom_rewards=((letters, 1.0),)),
}
DATA = {"pretrain": "texts", "dpo": "pairs", "reason": "sums", "grpo": "sums", "ppo": "sums"}  # the others: chats


def write_data(folder: Path) -> None:
    """The files and the base model that all stages start from."""
    sums = [(f"{a}+{b}=?", str(a + b)) for a in range(2, 9) for b in (11, 30)]
    said = [f"<think>\n{q}\n</think>\n<answer>\n{a}\n</answer>" for q, a in sums]
    files: dict[str, list[dict[str, Any]]] = {
        "texts": [{"text": f"{q} is {a}. " * (1 + i % 3)} for i, (q, a) in enumerate(sums)],
        "chats": [_chat(q, a) for q, a in sums],
        "sums": [_chat(q, text) for (q, _), text in zip(sums, said, strict=True)],
        "pairs": [_pair(q, a, f"{a}0!") for q, a in sums],
    }
    for name, records in files.items():
        text = "".join(json.dumps(record) + "\n" for record in records)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
    tokenizer = Tokenizer.train(["What is 2+3? 5", "9+9=18"] * 5, vocab_size=300)
    torch.manual_seed(0)
    save_pretrained(Transformer(preset("pico", vocab_size=tokenizer.vocab_size)), tokenizer, folder / "base")


def _chat(question: str, answer: str) -> dict[str, Any]:
    return {"conversations": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}


def _pair(question: str, better: str, worse: str) -> dict[str, Any]:
    return {
        name: _chat(question, answer)["conversations"] for name, answer in (("chosen", better), ("rejected", worse))
    }


class StopAt(Callback):
    """Ends a run early, with a checkpoint."""

    def __init__(self, step: int) -> None:
        self.step = step

    def after_step(self, state: RunState) -> None:
        if state.step == self.step:
            raise StopTraining


def run(
    name: str, folder: Path, output: Path, processes: int, options: Any = None, callbacks: Sequence[Callback] = ()
) -> Any:
    """One stage from ``folder``'s data and base into ``output``."""
    config = TrainConfig(
        total_steps=5, micro_batch_size=BATCH // processes, learning_rate=1e-3, save_every=2, log_every=1,
        progress=False, device="cpu",
    )  # fmt: skip
    data = folder / f"{DATA.get(name, 'chats')}.jsonl"
    stage = STAGES[name]
    return stage.run(
        data, folder / "base", output, config, options or OPTIONS[name], RunOptions(data, callbacks=callbacks)
    )


def run_all(folder: Path, output: Path, processes: int) -> None:
    """Every stage; LoRA with conversations mixed in, whose share depends on the length of the whole run."""
    mixed = replace(OPTIONS["lora"], replay=str(folder / "sums.jsonl"))  # type: ignore[type-var]
    for name in STAGES:
        run(name, folder, output / name, processes, mixed if name == "lora" else None)


def interrupted(folder: Path, output: Path, processes: int) -> None:
    """LoRA with dropout, whose masks come from each process's own random numbers: in one go, and in two parts."""
    options = LoRAOptions(block_size=48, rank=2, dropout=0.3)
    run("lora", folder, output / "whole", processes, options)
    run("lora", folder, output / "parts", processes, options, [StopAt(3)])
    assert run("lora", folder, output / "parts", processes, options).training.resumed_from == 3


JOBS: dict[str, Callable[[Path, Path, int], None]] = {"all": run_all, "interrupted": interrupted}

if __name__ == "__main__":
    what, source, target, count = sys.argv[1:]
    JOBS[what](Path(source), Path(target), int(count))
