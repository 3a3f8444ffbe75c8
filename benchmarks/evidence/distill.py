"""Chapter 13: a student with a teacher and the same student with labels alone, on held-out questions."""

from minimind_lite.course.kit.data_files import data_path
from minimind_lite.data.records import read_records
from minimind_lite.evaluation.answer_loss import answer_loss
from minimind_lite.evaluation.closed_book import exact_match
from minimind_lite.tokenizer import Tokenizer
from minimind_lite.training.distill import DistillOptions, run_distill
from minimind_lite.training.options import RunOptions, TrainConfig

from . import Measured, Run


def measure(run: Run) -> Measured:
    """Train both and measure."""
    settings, base = run.settings("distill"), run.folder("sft")
    questions = [record.messages for record in read_records(data_path("sft_heldout", "quick"), "conversation")]
    tokenizer = Tokenizer.load(base)
    config = TrainConfig.from_settings(settings, progress=False)
    stages, losses, answers = {}, {}, {}
    for name, alpha in (("student", settings.alpha), ("labels_only", 1.0)):
        stages[name] = run_distill(
            data_path("sft", "quick"),
            base,
            run.folder("distill") / name,
            config,
            DistillOptions.from_settings(settings, alpha=alpha),
            run=RunOptions(eval_data=data_path("sft_heldout", "quick"), resume=run.resume),
        )
        losses[name] = answer_loss(stages[name].model, tokenizer, questions)
        answers[name] = exact_match(stages[name].model, tokenizer, questions, max_new_tokens=settings.max_new_tokens)
    saved, low, high = losses["student"].saved(losses["labels_only"])
    figures = {
        "loss": losses["student"].mean,
        "labels_only_loss": losses["labels_only"].mean,
        "loss_saved": saved,
        "loss_saved_low": low,
        "loss_saved_high": high,
        "questions": len(questions),
        "train_seconds": stages["student"].training.seconds,
        "labels_only_train_seconds": stages["labels_only"].training.seconds,
    }
    for prefix, name in (("", "student"), ("labels_only_", "labels_only")):
        figures[f"{prefix}exact_match"] = answers[name].share
        figures[f"{prefix}exact_match_low"], figures[f"{prefix}exact_match_high"] = answers[name].interval
    return figures, stages["student"].training.history
