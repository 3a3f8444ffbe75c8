"""Chapter 07b's settings."""

from dataclasses import dataclass

from minimind_lite.settings import Count, Natural, NotNegative, Positive, Share

from ...kit.profiles import Minutes, by_profile
from ...kit.settings import SMOKE, TrainingSettings


@dataclass(frozen=True)
class CleaningSettings(TrainingSettings):
    """One small model for each way of cleaning, at every profile alike: what is compared is the data."""

    texts: Count = 800  # clean stories that dirt is planted in
    noise: Share = 0.6  # texts that no model should read, as a share of them
    duplicates: Share = 0.6  # copies of a few of them
    exam_copies: Natural = 6  # of each planted question with its answer
    questions: Count = 240  # of the sample exams; every other one is planted
    eval_texts: Count = 80  # held-out stories in each language
    vocab_size: Count = 1024  # of a tokenizer for these stories
    preset: str = "pico"
    block_size: Count = 128
    total_steps: Count = 300  # of each model
    learning_rate: Positive = 1e-2
    embedding_lr_ratio: NotNegative = 6.0


SETTINGS = by_profile(
    CleaningSettings(),
    smoke=SMOKE
    | {"texts": 60, "eval_texts": 4, "vocab_size": 400, "exam_copies": 1, "questions": 24}
    | {"eval_every": 0, "save_every": 0},
)
MINUTES = Minutes(quick=1.0, colab=1.0, full=1.0)
BUILDS = "`data/cleaning.py`, `data/duplicates.py`, `data/formats.py`"  # in the README's table of chapters
