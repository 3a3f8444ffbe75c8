"""Chapter 11's settings.

MiniMind2 trains an adapter of rank 8 at 1e-4; ``full`` does a quarter of its ten epochs of lora_medical, because half
of the tokens are replayed conversations.
"""

from dataclasses import dataclass

from minimind_lite.settings import Count, Natural, NotNegative, Positive, ShareBelow1

from ...kit.profiles import Minutes, by_profile
from ...kit.settings import GPU, SMOKE, SFTSettings


@dataclass(frozen=True)
class LoRASettings(SFTSettings):
    """Two adapters on the model of chapter 10."""

    rank: Count = 4
    alpha: Positive = 64.0
    dropout: ShareBelow1 = 0.05
    replay_share: ShareBelow1 = 0.5  # of the training tokens: conversations of chapter 10, lest they be forgotten
    micro_batch_size: Count = 2
    total_steps: Count = 600  # of the identity adapter
    learning_rate: Positive = 3e-3
    embedding_lr_ratio: NotNegative = 1.0  # nothing to scale: the embeddings are frozen
    weight_decay: NotNegative = 0.0
    eval_every: Natural = 0  # once, at the end
    medical_steps: Count = 400  # of the medical adapter
    medical_rank: Count = 16  # fifty answers need more room than ten
    medical_batch_size: Count = 8
    medical_questions: Count = 102  # held-out questions that are asked
    medical_tokens: Count = 80  # maximum length of an answer to one
    disclaimer_characters: Count = 10  # the last characters of an expected answer that are its disclaimer
    experiment_steps: Count = 30  # of the chapter's short runs


SETTINGS = by_profile(
    LoRASettings(),
    colab=GPU | {"micro_batch_size": 16, "medical_batch_size": 16, "learning_rate": 1e-3, "precision": "fp16"},
    full=GPU
    | {"preset": "minimind2-small", "micro_batch_size": 32, "rank": 8, "alpha": 16.0, "learning_rate": 1e-4}
    | {"total_steps": 500, "medical_steps": 2500, "medical_batch_size": 32, "precision": "bf16"}
    | {"max_new_tokens": 256, "medical_tokens": 256},
    smoke=SMOKE
    | {"eval_questions": 4, "max_new_tokens": 8, "medical_steps": 2, "medical_questions": 2, "medical_tokens": 8}
    | {"medical_batch_size": 2, "experiment_steps": 2},
)
MINUTES = Minutes(quick=2.0, colab=3.0, full=10.0)
DATA = ("lora_identity", "lora_medical", "sft")  # published files that the profile full needs, by role
BUILDS = "`model/lora.py`, `training/lora.py`"  # in the README's table of chapters
