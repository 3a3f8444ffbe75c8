"""Chapter 08: bits per byte on held-out texts, compared with a trigram model of the same tokens."""

from minimind_lite.course.kit.data_files import data_path
from minimind_lite.data.records import read_records
from minimind_lite.evaluation.ngram import TrigramModel
from minimind_lite.evaluation.perplexity import bits_per_byte, documents_of
from minimind_lite.tokenizer import Tokenizer
from minimind_lite.training.options import RunOptions, TrainConfig
from minimind_lite.training.pretrain import PretrainOptions, run_pretrain

from . import Measured, Run


def measure(run: Run) -> Measured:
    """Train and measure."""
    settings, tokenizer = run.settings("pretrain"), Tokenizer.load(run.work / "tokenizer")
    stage = run_pretrain(
        data_path("pretrain", "quick"), run.work / "tokenizer", run.folder("pretrain"),
        TrainConfig.from_settings(settings, progress=False), PretrainOptions.from_settings(settings),
        RunOptions(eval_data=data_path("pretrain_heldout", "quick"), resume=run.resume),
    )  # fmt: skip
    texts = [record.text for record in read_records(data_path("pretrain_heldout", "quick"), "text")]
    trigram = TrigramModel(stage.data.documents, tokenizer.vocab_size)
    return {
        "bits_per_byte": bits_per_byte(stage.model, tokenizer, texts, block_size=settings.block_size),
        "trigram_bits_per_byte": trigram.bits_per_byte(*documents_of(texts, tokenizer)),
        "fill_share": stage.data.fill_share,
        "train_seconds": stage.training.seconds,
        "tokens_per_second": stage.training.items / stage.training.seconds,
    }, stage.training.history
