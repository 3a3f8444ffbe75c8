"""Chapter 10: closed-book questions in phrasings never trained on, before and after."""

from minimind_lite.course.kit.data_files import data_path
from minimind_lite.data.records import read_records
from minimind_lite.evaluation.closed_book import exact_match
from minimind_lite.model.pretrained import load_pretrained
from minimind_lite.tokenizer import Tokenizer
from minimind_lite.training.options import RunOptions, TrainConfig
from minimind_lite.training.sft import SFTOptions, run_sft

from . import Measured, Run


def measure(run: Run) -> Measured:
    """Train and measure."""
    settings, base = run.settings("sft"), run.folder("pretrain")
    questions = [record.messages for record in read_records(data_path("sft_heldout", "quick"), "conversation")]
    tokenizer, limit = Tokenizer.load(base), settings.max_new_tokens
    before = exact_match(load_pretrained(base), tokenizer, questions, max_new_tokens=limit)
    stage = run_sft(
        data_path("sft", "quick"),
        base,
        run.folder("sft"),
        TrainConfig.from_settings(settings, progress=False),
        SFTOptions(block_size=settings.block_size),
        run=RunOptions(eval_data=data_path("sft_heldout", "quick"), resume=run.resume),
    )
    after = exact_match(stage.model, tokenizer, questions, max_new_tokens=limit)
    return {
        "exact_match_before": before.share,
        "exact_match": after.share,
        "exact_match_low": after.interval[0],
        "exact_match_high": after.interval[1],
        "questions": len(questions),
        "train_seconds": stage.training.seconds,
    }, stage.training.history
