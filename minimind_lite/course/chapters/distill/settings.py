"""Chapter 13's settings.

``full`` trains faster than MiniMind2 trains its student (5e-6): half of the teacher's layers are gone, and the other
half must learn to work together again.
"""

from dataclasses import dataclass

from minimind_lite.model.losses import Direction
from minimind_lite.settings import Count, Length, Natural, Positive, Share

from ...kit.profiles import Minutes, by_profile
from ...kit.settings import GPU, SMOKE, SFTSettings


@dataclass(frozen=True)
class DistillSettings(SFTSettings):
    """The options of DistillOptions, with the model of chapter 10 as the teacher."""

    student: str = "half"  # every second layer of the teacher; ``preset`` is the teacher's
    alpha: Share = 0.1  # the labels' share of the loss
    temperature: Positive = 2.0  # both distributions are softened by it
    direction: Direction = "forward"  # of the KL
    chunk_size: Count = 256  # trained positions whose logits are in memory at a time
    total_steps: Count = 150
    eval_every: Natural = 30
    eval_batches: Natural = 0  # all the held-out questions: the chapter's main picture shows them
    log_every: Natural = 5
    written_conversations: Count = 8000  # at most so many are answered by the teacher, for the student of its texts
    written_tokens: Length = 200  # maximum length of such an answer


SETTINGS = by_profile(
    DistillSettings(),
    colab=GPU | {"micro_batch_size": 32, "total_steps": 600, "learning_rate": 5e-4, "precision": "fp16"},
    full=GPU
    | {"preset": "minimind2-small", "alpha": 0.5, "temperature": 1.5, "chunk_size": 4096, "micro_batch_size": 32}
    | {"total_steps": 20_000, "learning_rate": 1e-4, "precision": "bf16", "eval_batches": 16}
    | {"max_new_tokens": 256, "written_conversations": 50_000, "written_tokens": 512},
    smoke=SMOKE | {"chunk_size": 16, "eval_questions": 4, "max_new_tokens": 8, "written_tokens": 8},
)
MINUTES = Minutes(quick=2.5, colab=6.0, full=80.0)
DATA = ("sft",)  # published files that the profile full needs, by role
BUILDS = "`training/distill.py`"  # in the README's table of chapters
