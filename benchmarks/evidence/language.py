"""Chapter 16: minimal pairs in both languages, the pretrained model and one that has learned nothing."""

from minimind_lite.course.chapters.evaluation import experiments
from minimind_lite.course.kit.data_files import data_path
from minimind_lite.evaluation.likelihood import OwnModel
from minimind_lite.model.pretrained import load_pretrained
from minimind_lite.tokenizer import Tokenizer

from . import Measured, Run

SETTINGS = "evaluation"


def measure(run: Run) -> Measured:
    """Shares of pairs; a tie counts half."""
    base, limit = run.folder("pretrain"), run.settings(SETTINGS).eval_pairs
    tokenizer, figures = Tokenizer.load(base), {}
    models = {"": load_pretrained(base), "_untrained": experiments.untrained(base)}
    for language in ("zh", "en"):
        file = data_path("language", "quick") / f"{language}.jsonl"
        pairs = [pair for _, pair in experiments.minimal_pairs(file, limit)]
        for kind, model in models.items():
            found = experiments.pairs_right(OwnModel(model, tokenizer), pairs)
            figures[f"{language}{kind}"] = sum(found) / len(found)
        figures[f"{language}_pairs"] = len(pairs)
    return figures, []
