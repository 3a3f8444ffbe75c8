"""Chapter 10: all held-out questions of the sample world by kind, before and after, and what plain text costs then."""

from minimind_lite.course.kit.data_files import data_path
from minimind_lite.data.records import read_records
from minimind_lite.evaluation.perplexity import bits_per_byte
from minimind_lite.evaluation.sample_world import ask_world, both_languages, figures_of, tell_stories
from minimind_lite.model.pretrained import load_pretrained
from minimind_lite.tokenizer import Tokenizer
from minimind_lite.training.options import RunOptions, TrainConfig
from minimind_lite.training.sft import SFTOptions, run_sft

from . import Measured, Run


def measure(run: Run) -> Measured:
    """Train and measure."""
    settings, base = run.settings("sft"), run.folder("pretrain")
    tokenizer, limit, untrained = Tokenizer.load(base), settings.max_new_tokens, load_pretrained(base)
    samples = data_path("chat_heldout", "quick").parent
    texts = [record.text for record in read_records(data_path("pretrain_heldout", "quick"), "text")]
    before = ask_world(untrained, tokenizer, samples, max_new_tokens=limit)
    stage = run_sft(
        data_path("sft", "quick"),
        base,
        run.folder("sft"),
        TrainConfig.from_settings(settings, progress=False),
        SFTOptions.from_settings(settings, replay=str(data_path("pretrain", "quick"))),
        run=RunOptions(eval_data=data_path("sft_heldout", "quick"), resume=run.resume),
    )
    scores = ask_world(stage.model, tokenizer, samples, max_new_tokens=limit)
    near = both_languages(scores)["facts near"]
    bits = {
        name: bits_per_byte(model, tokenizer, texts, block_size=settings.block_size)
        for name, model in (("before", untrained), ("after", stage.model))
    }
    return {
        "exact_match_before": both_languages(before)["facts near"].share,
        "exact_match": near.share,
        "exact_match_low": near.interval[0],
        "exact_match_high": near.interval[1],
        "questions": len(near.answers),
        **figures_of(scores, tell_stories(stage.model, tokenizer, samples)),
        **{f"{name}_before": value for name, value in figures_of(before, {}).items()},
        "bits_per_byte_before": bits["before"],
        "bits_per_byte_after": bits["after"],
        "train_seconds": stage.training.seconds,
    }, stage.training.history
