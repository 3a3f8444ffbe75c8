"""Chapter 14: held-out sums with and without a visible thought, at equal training positions; and what it costs."""

from dataclasses import replace

from minimind_lite.course.kit.data_files import data_path
from minimind_lite.data.records import read_records
from minimind_lite.evaluation.closed_book import exact_match
from minimind_lite.evaluation.reasoning import answer_questions
from minimind_lite.model.pretrained import load_pretrained
from minimind_lite.tokenizer import Tokenizer
from minimind_lite.training.options import RunOptions, TrainConfig
from minimind_lite.training.reason import ReasonOptions, run_reason

from . import Measured, Run


def measure(run: Run) -> Measured:
    """Train both models on the same number of positions, and measure."""
    settings, base, folder = run.settings("reason"), run.folder("sft"), run.folder("reason")
    options = ReasonOptions.from_settings(settings, replay=str(data_path("sft", "quick")))
    control = replace(options, off_share=1 - options.replay_share)
    config, data = TrainConfig.from_settings(settings, progress=False), data_path("reason", "quick")
    held_out = data_path("reason_heldout", "quick")
    stage = run_reason(data, base, folder, config, options, run=RunOptions(eval_data=held_out, resume=run.resume))
    direct = run_reason(
        data, base, folder / "direct", config, control, run=RunOptions(eval_data=held_out, resume=run.resume)
    )
    sums = [record.messages for record in read_records(held_out, "reasoning")]
    facts = [record.messages for record in read_records(data_path("sft_heldout", "quick"), "conversation")]
    tokenizer, limit = Tokenizer.load(base), settings.max_new_tokens
    think = answer_questions(stage.model, tokenizer, sums, max_new_tokens=limit)
    off = answer_questions(stage.model, tokenizer, sums, thinking=False, max_new_tokens=limit)
    alone = answer_questions(direct.model, tokenizer, sums, thinking=False, max_new_tokens=limit)
    return {
        "accuracy_think": think.share,
        "accuracy_think_low": think.interval[0],
        "accuracy_think_high": think.interval[1],
        "accuracy_direct": alone.share,
        "accuracy_direct_low": alone.interval[0],
        "accuracy_direct_high": alone.interval[1],
        "accuracy_off": off.share,
        "well_formed": think.well_formed,
        "questions": len(sums),
        "sft_exact_match_before": exact_match(load_pretrained(base), tokenizer, facts).share,
        "sft_exact_match_after": exact_match(stage.model, tokenizer, facts).share,
        "train_seconds": stage.training.seconds,
        "direct_train_seconds": direct.training.seconds,
    }, stage.training.history
