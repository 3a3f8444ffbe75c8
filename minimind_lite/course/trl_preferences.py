"""TRL's own preference trainer, asked for the loss of our pairs: what chapter 12 and its tests compare with."""

import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from ..data.preferences import Pair, marks


def trl_trainer(folder: Path) -> Any:
    """A ``trl.DPOTrainer`` around the model in ``folder``, on the CPU, with one pair of its own: it insists on data."""
    warnings.simplefilter("ignore", FutureWarning)  # of transformers about trl
    import datasets
    import trl
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    datasets.disable_progress_bars()
    turn = {role: [{"role": role, "content": "hello"}] for role in ("user", "assistant")}
    one = {"prompt": turn["user"], "chosen": turn["assistant"], "rejected": turn["assistant"]}
    arguments = trl.DPOConfig(tempfile.mkdtemp(), report_to=[], use_cpu=True, bf16=False, disable_tqdm=True,
                              gradient_checkpointing=False, precompute_ref_log_probs=True)  # fmt: skip
    return trl.DPOTrainer(
        AutoModelForCausalLM.from_pretrained(folder), args=arguments, train_dataset=datasets.Dataset.from_list([one]),
        processing_class=AutoTokenizer.from_pretrained(folder),
    )  # fmt: skip


def trl_loss(
    trainer: Any, pairs: Sequence[Pair], reference: Tensor, beta: float, loss_type: str
) -> tuple[Tensor, dict[str, float]]:
    """TRL's mean loss over ``pairs`` and its metrics (``rewards/chosen``, …), batched by TRL's own collator."""
    from trl.trainer.dpo_trainer import DataCollatorForPreference

    rows = []
    for pair, (chosen, rejected) in zip(pairs, reference.tolist(), strict=True):
        answers = [one.ids[marks(one) == 1].tolist() for one in (pair.chosen, pair.rejected)]
        prompt = pair.chosen.ids[: int(marks(pair.chosen).argmax())].tolist()
        rows.append({"prompt_ids": prompt, "chosen_ids": answers[0], "rejected_ids": answers[1],
                     "ref_chosen_logps": chosen, "ref_rejected_logps": rejected})  # fmt: skip
    trainer.loss_types, trainer.beta = [loss_type], beta
    trainer._metrics["eval"].clear()
    trainer.model.eval()
    loss = trainer._compute_loss(trainer.model, DataCollatorForPreference(pad_token_id=0)(rows), False)
    return loss, {name: values[0] for name, values in trainer._metrics["eval"].items()}
