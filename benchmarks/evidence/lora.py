"""Chapter 11: an identity and a medical adapter on chapter 10's model, and what they cost it."""

from dataclasses import replace

from minimind_lite.course.kit.data_files import data_path
from minimind_lite.data.records import read_records
from minimind_lite.evaluation.closed_book import exact_match
from minimind_lite.model.lora import merge, trainable_share, unmerge
from minimind_lite.model.pretrained import load_pretrained
from minimind_lite.tokenizer import Message, Tokenizer
from minimind_lite.training.lora import LoRAOptions, run_lora
from minimind_lite.training.options import RunOptions, TrainConfig

from . import Measured, Run


def measure(run: Run) -> Measured:
    """Train and measure."""
    settings, base = run.settings("lora"), run.folder("sft")
    tokenizer, limit, longer = Tokenizer.load(base), settings.max_new_tokens, settings.medical_tokens
    options = LoRAOptions.from_settings(settings, replay=str(data_path("sft", "quick")))
    config = TrainConfig.from_settings(settings, progress=False)
    plain, facts, names = load_pretrained(base), questions("sft"), questions("lora_identity")
    facts_before = exact_match(plain, tokenizer, facts, max_new_tokens=limit).share
    names_before = exact_match(plain, tokenizer, names, max_new_tokens=limit).share
    health = questions("lora_medical")
    health_before = exact_match(plain, tokenizer, health, max_new_tokens=longer)

    identity = run_lora(
        data_path("lora_identity", "quick"),
        base,
        run.folder("lora"),
        config,
        options,
        run=RunOptions(eval_data=data_path("lora_identity_heldout", "quick"), resume=run.resume),
    )
    medical = run_lora(
        data_path("lora_medical", "quick"),
        base,
        run.folder("lora") / "medical",
        replace(config, total_steps=settings.medical_steps, micro_batch_size=settings.medical_batch_size),
        replace(options, rank=settings.medical_rank),
        run=RunOptions(eval_data=data_path("lora_medical_heldout", "quick"), resume=run.resume),
    )
    facts_after = exact_match(identity.model, tokenizer, facts, max_new_tokens=limit).share
    names_after = exact_match(identity.model, tokenizer, names, max_new_tokens=limit)
    health_after = exact_match(medical.model, tokenizer, health, max_new_tokens=longer)
    share = trainable_share(identity.model)
    merge(identity.model)
    names_merged = exact_match(identity.model, tokenizer, names, max_new_tokens=limit)
    unmerge(identity.model)
    return {
        "identity_before": names_before,
        "identity_after": names_after.share,
        "identity_merged": names_merged.share,
        "sft_before": facts_before,
        "sft_after": facts_after,
        "sft_drop": 100 * (facts_before - facts_after),
        "trainable_share": share,
        "medical_before": health_before.share,
        "medical_after": health_after.share,
        "medical_disclaimer_before": health_before.share_ending(settings.disclaimer_characters),
        "medical_disclaimer_after": health_after.share_ending(settings.disclaimer_characters),
        "medical_loss": medical.training.history[-1]["eval_loss"],
        "train_seconds": identity.training.seconds + medical.training.seconds,
    }, identity.training.history


def questions(name: str) -> list[list[Message]]:
    """The held-out conversations of a data set."""
    return [record.messages for record in read_records(data_path(f"{name}_heldout", "quick"), "conversation")]
