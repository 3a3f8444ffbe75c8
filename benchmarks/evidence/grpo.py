"""Chapter 15: held-out sums answered right, before and after practice in which every answer is checked."""

from minimind_lite.course.kit.cold_start import cold_start, easy_sums, thinks
from minimind_lite.course.kit.data_files import data_path
from minimind_lite.evaluation.reasoning import answer_questions
from minimind_lite.model.pretrained import load_pretrained
from minimind_lite.tokenizer import Tokenizer
from minimind_lite.training.grpo import GRPOOptions, run_grpo
from minimind_lite.training.options import RunOptions, TrainConfig

from . import Measured, Run


def measure(run: Run) -> Measured:
    """Train and measure."""
    settings, sums = run.settings("grpo"), data_path("reason", "quick")
    start = cold_start(sums, run.folder("sft"), run.folder("grpo"), settings, resume="if_unfinished")
    questions = easy_sums(data_path("reason_heldout", "quick"), settings.max_digits)
    tokenizer, limit = Tokenizer.load(start.folder), settings.max_new_tokens
    thinker = load_pretrained(run.folder("grpo") / "cold_thoughts")  # before the habit of answering at once
    with_thoughts = answer_questions(thinker, tokenizer, questions, max_new_tokens=limit, batch_size=128)
    before = answer_questions(start.model, tokenizer, questions, max_new_tokens=limit, batch_size=128)
    stage = run_grpo(
        sums,
        start.folder,
        run.folder("grpo"),
        TrainConfig.from_settings(settings, progress=False),
        GRPOOptions.from_settings(settings),
        run=RunOptions(resume=run.resume),
    )
    after = answer_questions(stage.model, tokenizer, questions, max_new_tokens=limit, batch_size=128)
    history = stage.training.history
    first, last = history[: len(history) // 4], history[-(len(history) // 4) :]
    return {
        "accuracy_before": before.share,
        "accuracy_after": after.share,
        "accuracy_low": after.interval[0],
        "accuracy_high": after.interval[1],
        "accuracy_with_worked_sums": with_thoughts.share,
        "questions": len(questions),
        "thinks_before": thinks(before),
        "thinks_after": thinks(after),
        "reward_start": sum(row["reward"] for row in first) / len(first),
        "reward_end": sum(row["reward"] for row in last) / len(last),
        "kl": history[-1]["kl"],
        "dead_groups": sum(row["dead_groups"] for row in history) / len(history),
        "train_seconds": stage.training.seconds,
    }, history
