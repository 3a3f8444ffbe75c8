"""Chapter 16's settings."""

from dataclasses import dataclass

from minimind_lite.settings import Count, Positive

from ...kit.profiles import Minutes, by_profile
from ...kit.settings import Settings


@dataclass(frozen=True)
class EvaluationSettings(Settings):
    """How much is measured, and the small trainings of the experiments."""

    eval_questions: Count = 300  # at most so many questions of each exam
    eval_pairs: Count = 800  # at most so many minimal pairs in each language
    eval_documents: Count = 60  # at most so many held-out texts
    progress_pairs: Count = 250  # the same, at each milestone
    leak_steps: Count = 40  # of training on the exam itself
    format_steps: Count = 24  # of the adapter that learns to write letters
    learning_rate: Positive = 3e-3  # in both
    exams_drawn: Count = 2000  # pretended exams, where luck is shown


SETTINGS = by_profile(
    EvaluationSettings(),
    colab={"eval_documents": 300},
    full={"eval_documents": 1000, "learning_rate": 1e-3},
    smoke={"eval_questions": 8, "eval_pairs": 8, "eval_documents": 3, "progress_pairs": 6}
    | {"leak_steps": 2, "format_steps": 2, "exams_drawn": 100},
)
MINUTES = Minutes(quick=1.5, colab=2.0, full=10.0)
DATA = ("pretrain",)  # published files that the profile full needs, by role
BUILDS = "`evaluation/`"  # in the README's table of chapters
