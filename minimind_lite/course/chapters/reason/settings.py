"""Chapter 14's settings.

``full`` has MiniMind2's batch of 8, its length of 1024, its one pass and its rate of 1e-6. r1_mix is already a mixture,
so nothing is replayed.
"""

from dataclasses import dataclass

from minimind_lite.settings import Count, Length, Natural, NotNegative, Positive, Share, ShareBelow1

from ...kit.profiles import Minutes, by_profile
from ...kit.settings import GPU, SMOKE, SFTSettings


@dataclass(frozen=True)
class ReasonSettings(SFTSettings):
    """Thoughts, and a control trained on as many positions with answers alone."""

    micro_batch_size: Count = 1  # small steps: many updates from few tokens
    total_steps: Count = 1600
    learning_rate: Positive = 1e-3
    embedding_lr_ratio: NotNegative = 12.0
    min_lr_ratio: Share = 0.02
    tag_weight: Positive = 10.0  # how many times a tag's token counts in the loss
    off_share: Share = 0.05  # share of the blocks with thinking switched off
    replay_share: ShareBelow1 = 0.1  # share of the blocks with conversations of chapter 10
    log_every: Natural = 20
    eval_every: Natural = 0  # once, at the end
    eval_batches: Natural = 0
    save_every: Natural = 400
    eval_questions: Count = 300  # held-out sums
    max_new_tokens: Length = 96
    experiment_steps: Count = 160  # length of the chapter's small experiments


SETTINGS = by_profile(
    ReasonSettings(),
    colab=GPU
    | {"block_size": 256, "micro_batch_size": 4, "total_steps": 3000, "embedding_lr_ratio": 12.0}
    | {"precision": "fp16"},
    full=GPU
    | {"preset": "minimind2-small", "block_size": 1024, "micro_batch_size": 8, "total_steps": 12_000}
    | {"learning_rate": 1e-6, "replay_share": 0.0, "precision": "bf16", "max_new_tokens": 1024}
    | {"eval_batches": 16},
    smoke=SMOKE | {"micro_batch_size": 1, "eval_questions": 6, "max_new_tokens": 8, "experiment_steps": 2},
)
MINUTES = Minutes(quick=2.7, colab=6.0, full=60.0)
DATA = ("reason", "sft")  # published files that the profile full needs, by role
BUILDS = "`training/reason.py`"  # in the README's table of chapters
