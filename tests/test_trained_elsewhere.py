"""trl and peft train a folder of ours for a step as they train any model's, and what they leave is read here."""

from pathlib import Path
from typing import Any

import pytest
import torch
from model_kit import random_model

from minimind_lite.config import preset
from minimind_lite.model.lora import load_adapter
from minimind_lite.model.pretrained import load_pretrained, save_pretrained
from minimind_lite.tokenizer import Tokenizer

pytest.importorskip("trl")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::FutureWarning"),  # of transformers about trl
]

QUESTION = [{"role": "user", "content": "1+1?"}]
ANSWER, OTHER = ([{"role": "assistant", "content": text}] for text in ("2", "three"))
ROWS = {
    "sft": [{"messages": QUESTION + ANSWER}] * 2,
    "dpo": [{"prompt": QUESTION, "chosen": ANSWER, "rejected": OTHER}] * 2,
    "grpo": [{"prompt": QUESTION}] * 2,
}
ONCE = {
    "max_steps": 1, "per_device_train_batch_size": 2, "learning_rate": 1e-2, "report_to": [], "use_cpu": True,
    "bf16": False, "gradient_checkpointing": False, "disable_tqdm": True, "save_strategy": "no", "logging_steps": 1,
    "lr_scheduler_type": "constant",
}  # fmt: skip


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    tokenizer = Tokenizer.train(["one plus one is two, 1+1=2. 你好"] * 3, 300)
    save_pretrained(random_model(preset("pico", vocab_size=tokenizer.vocab_size)), tokenizer, tmp_path / "ours")
    return tmp_path / "ours"


def places(completions: list[Any], **_: Any) -> list[float]:
    """Rewards that differ within a group: equal ones have no gradient."""
    return [float(place) for place in range(len(completions))]


def trained(stage: str, folder: Path, output: Path, **more: Any) -> Any:
    """One step of trl's trainer for this stage, on the model in ``folder``."""
    import datasets
    import trl
    from transformers import AutoModelForCausalLM, AutoTokenizer

    extra: dict[str, Any] = {}
    options = dict(ONCE)
    if stage == "grpo":
        extra["reward_funcs"] = places
        options |= {"num_generations": 2, "max_completion_length": 6}
    config, trainer = (getattr(trl, f"{stage.upper()}{kind}") for kind in ("Config", "Trainer"))
    made = trainer(
        model=AutoModelForCausalLM.from_pretrained(folder), args=config(str(output), **options),
        train_dataset=datasets.Dataset.from_list(ROWS[stage]), **extra, **more,
        processing_class=AutoTokenizer.from_pretrained(folder),
    )  # fmt: skip
    made.train()
    return made


@pytest.mark.parametrize("stage", ROWS)
def test_trl_trains_a_step_and_we_read_the_result(tmp_path: Path, ours: Path, stage: str) -> None:
    trainer = trained(stage, ours, tmp_path / "run")
    assert trainer.state.global_step == 1
    trainer.save_model(str(tmp_path / "theirs"))
    before, after = load_pretrained(ours).state_dict(), load_pretrained(tmp_path / "theirs")
    assert after.config == load_pretrained(ours).config
    moved = [name for name, tensor in after.state_dict().items() if not torch.equal(tensor, before[name])]
    assert len(moved) == len(before)
    kept = Tokenizer.load(tmp_path / "theirs")
    assert kept.render(QUESTION + ANSWER) == Tokenizer.load(ours).render(QUESTION + ANSWER)


def test_peft_trains_a_step_and_we_load_its_adapter(tmp_path: Path, ours: Path) -> None:
    peft = pytest.importorskip("peft")
    lora = peft.LoraConfig(r=2, lora_alpha=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    trainer = trained("sft", ours, tmp_path / "run", peft_config=lora)
    trainer.save_model(str(tmp_path / "adapter"))
    model, ids = load_pretrained(ours).eval(), torch.arange(3, 23)[None]
    with torch.no_grad():
        plain = model(ids)
        load_adapter(model, tmp_path / "adapter")
        adapted = model(ids)
        torch.testing.assert_close(adapted, trainer.model.eval()(ids).logits, atol=1e-5, rtol=1e-5)
    assert not torch.equal(adapted, plain)
