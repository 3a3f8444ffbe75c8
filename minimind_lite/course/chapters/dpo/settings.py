"""Chapter 12's settings.

``full`` has MiniMind2's batch of 4, its length of 1024 and its two passes; its learning rate of 1e-8 moves nothing, so
the rate is the paper's 1e-6.
"""

from dataclasses import dataclass
from typing import Any

from minimind_lite.model.losses import PreferenceLoss
from minimind_lite.settings import Count, Length, Natural, NotNegative, Positive, Share

from ...kit.profiles import Minutes, by_profile
from ...kit.settings import GPU, SMOKE, SFTSettings


@dataclass(frozen=True)
class DPOSettings(SFTSettings):
    """First the reference is fine-tuned, with numbers of its own, then the preferences are trained."""

    micro_batch_size: Count = 8  # pairs
    total_steps: Count = 120
    learning_rate: Positive = 2e-4
    embedding_lr_ratio: NotNegative = 1.0
    warmup_ratio: Share = 0.1
    eval_every: Natural = 0  # once, at the end
    eval_batches: Natural = 0
    beta: Positive = 0.1
    loss_type: PreferenceLoss = "sigmoid"
    reference_steps: Natural = 300  # fine-tuning on both endings; 0: the model of chapter 10 is the reference
    reference_learning_rate: Positive = 3e-3
    reference_embedding_lr_ratio: NotNegative = 6.0
    reference_micro_batch_size: Count = 4  # packed rows
    eval_pairs: Count = 120  # held-out pairs that are measured
    eval_questions: Count = 150
    max_new_tokens: Length = 96
    experiment_steps: Count = 12  # length of the chapter's small experiments
    beta_steps: Count = 120  # length of each of the runs that compare β

    def reference_changes(self) -> dict[str, Any]:
        """What is different while the reference is fine-tuned, under the names that TrainConfig uses."""
        rates = {"learning_rate": self.reference_learning_rate, "embedding_lr_ratio": self.reference_embedding_lr_ratio}
        return rates | {"total_steps": self.reference_steps, "micro_batch_size": self.reference_micro_batch_size}


SETTINGS = by_profile(
    DPOSettings(),
    colab=GPU | {"micro_batch_size": 16, "learning_rate": 5e-5, "reference_learning_rate": 5e-4, "precision": "fp16"},
    full=GPU
    | {"preset": "minimind2-small", "block_size": 1024, "micro_batch_size": 4, "total_steps": 40_000}
    | {"learning_rate": 1e-6, "reference_steps": 0, "precision": "bf16", "max_new_tokens": 256}
    | {"beta_steps": 4000},
    smoke=SMOKE
    | {"block_size": 512, "reference_steps": 4, "max_new_tokens": 6, "experiment_steps": 2, "beta_steps": 2}
    | {"eval_pairs": 6, "eval_questions": 4},
)
MINUTES = Minutes(quick=4.0, colab=6.0, full=60.0)
DATA = ("dpo", "sft")  # published files that the profile full needs, by role
BUILDS = "`model/losses.py`, `training/dpo.py`"  # in the README's table of chapters
