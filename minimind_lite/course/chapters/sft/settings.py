"""Chapter 10's settings: those that the chapters after it start from."""

from dataclasses import dataclass
from typing import Literal

from minimind_lite.settings import Count, Length, Natural, NotNegative, Positive, Share, ShareBelow1

from ...kit.profiles import Minutes, by_profile
from ...kit.settings import GPU, SMOKE, SFTSettings


@dataclass(frozen=True)
class ChatSettings(SFTSettings):
    """Chapter 10 itself: conversations with plain text mixed in, and the held-out questions of every kind."""

    optimizer: Literal["adamw", "muon"] = "muon"
    micro_batch_size: Count = 8
    total_steps: Count = 2300
    learning_rate: Positive = 2.5e-3
    embedding_lr_ratio: NotNegative = 4.0
    min_lr_ratio: Share = 0.02
    replay_share: ShareBelow1 = 0.08  # of the blocks: texts of pretraining, lest the language be forgotten
    eval_questions: Count = 60  # of each kind of held-out question, in each language
    story_requests: Count = 12  # held-out stories that are asked for, in each language
    story_tokens: Length = 200  # maximum length of a story
    eval_batches: Natural = 8
    short_steps: Count = 40  # of each of the chapter's short runs
    control_steps: Count = 300  # of the run from random weights; a multiple of eval_every
    control_questions: Count = 60  # held-out questions that its model is asked


SETTINGS = by_profile(
    ChatSettings(),
    colab=GPU
    | {"micro_batch_size": 32, "total_steps": 1000, "learning_rate": 5e-4, "precision": "fp16", "control_steps": 250},
    full=GPU
    | {"preset": "minimind2-small", "micro_batch_size": 16, "gradient_accumulation_steps": 2}
    | {"total_steps": 40_000, "learning_rate": 1e-5, "precision": "bf16", "max_new_tokens": 256}
    | {"replay_share": 0.0, "control_steps": 1000},  # MiniMind's recipe has no plain text
    smoke=SMOKE
    | {"eval_questions": 4, "max_new_tokens": 8, "story_requests": 2, "story_tokens": 8, "short_steps": 4}
    | {"control_steps": 4, "control_questions": 4},
)
MINUTES = Minutes(quick=12.0, colab=9.0, full=70.0)
ARTIFACT = "model.safetensors"
DATA = ("sft",)  # published files that the profile full needs, by role
BUILDS = "`training/sft.py`, `evaluation/closed_book.py`"  # in the README's table of chapters
