"""Chapter 12: preferences on held-out pairs, the style of sampled answers, and what both cost."""

from dataclasses import replace

from minimind_lite.course.chapters.dpo.experiments import closing_sentences, measure_preferences, run_reference
from minimind_lite.course.kit.data_files import data_path
from minimind_lite.data.preferences import read_pairs
from minimind_lite.data.records import read_records
from minimind_lite.model.pretrained import load_pretrained
from minimind_lite.tokenizer import Tokenizer
from minimind_lite.training.dpo import DPOOptions, run_dpo
from minimind_lite.training.options import RunOptions, TrainConfig
from minimind_lite.training.sft import SFTOptions

from . import Measured, Run


def measure(run: Run) -> Measured:
    """Fine-tune the reference, train on the preferences, measure both models."""
    settings, base, folder = run.settings("dpo"), run.folder("sft"), run.folder("dpo")
    data, size = data_path("dpo", "quick"), settings.block_size
    config = TrainConfig.from_settings(settings, progress=False)
    run_reference(
        data, data_path("sft", "quick"), base, folder / "reference", replace(config, **settings.reference_changes()),
        SFTOptions(block_size=size), run.resume,
    )  # fmt: skip
    stage = run_dpo(
        data,
        folder / "reference",
        folder,
        config,
        DPOOptions.from_settings(settings),
        run=RunOptions(eval_data=data_path("dpo_heldout", "quick"), resume=run.resume),
    )
    reference, tokenizer = load_pretrained(folder / "reference"), Tokenizer.load(folder / "reference")
    pairs = read_pairs(data_path("dpo_heldout", "quick"), tokenizer, size + 1).pairs
    questions = [record.messages for record in read_records(data_path("sft_heldout", "quick"), "conversation")]
    closings = closing_sentences([record.chosen[-1].content for record in read_records(data, "preference")])
    before, after = (
        measure_preferences(
            model, reference, tokenizer, pairs, questions, closings, max_new_tokens=settings.max_new_tokens
        )
        for model in (reference, stage.model)
    )
    return {
        "preference_accuracy_before": before.accuracy.summed,
        "preference_accuracy_after": after.accuracy.summed,
        "preference_accuracy_per_token_before": before.accuracy.per_token,
        "preference_accuracy_per_token_after": after.accuracy.per_token,
        "reward_accuracy": after.accuracy.reward,
        "win_rate_before": before.style,
        "win_rate": after.style,
        "win_rate_once": after.style_once,
        "kl": after.kl_answer,
        "kl_token": after.kl_token,
        "facts_before": before.facts,
        "facts_after": after.facts,
        "pairs": len(pairs),
        "train_seconds": stage.training.seconds,
    }, stage.training.history
