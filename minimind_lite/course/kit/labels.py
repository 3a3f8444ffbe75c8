"""The words in pictures, by key. Several chapters use these; a chapter's own are in its ``labels.py``."""

import re
from functools import cache

from .discovery import chapter_names, chapter_part
from .language import say_key, spaced

LABELS: dict[str, str] = {
    "step": "step",
    "guessing": "guessing",
    "loss": "loss (nats per token)",
    "learning_rate": "learning rate",
    "position": "position",
    "head": "head",
    "layer": "layer",
    "before": "before",
    "after": "after",
    "held_out": "held out",
    "yours": "yours",
    "expected": "expected",
    "head_dim": "width of a head",
    "tokens_in_context": "tokens in the context",
    "kv_mebibytes": "keys and values, MiB",
    "target": "training target",
    "control": "written by the template",
    "context": "only read",
    "tokens_trained": "tokens are trained on",
    "hidden_size": "hidden size",
    "poetry": "Tang and Song poems",
    "moby_dick": "Moby-Dick",
    "classics": "Chinese classics",
    "speeches": "presidents' speeches",
    "modern_zh": "modern Chinese prose",
    "modern_en": "modern English prose",
    "stories_zh": "Chinese stories",
    "stories_en": "English stories",
    "talk_zh": "Chinese small talk",
    "talk_en": "English small talk",
    "english": "English",
    "chinese": "Chinese",
    "model_decides": "the model decides",
    "thinks": "opens a think block",
    "answers_at_once": "writes an empty think block",
    "stream_rms": "size of the stream (RMS)",
    "kv_heads": "kv heads",
    "tokens": "tokens",
    "exact_percent": "right answers, %",
    "question": "question",
    "conversation": "conversation",
    "swiglu": "SwiGLU",
    "embedding": "embedding",
    "million_parameters": "million parameters",
    "parameters": "parameters",
    "mebibytes": "MiB",
    "entropy": "entropy",
    "text": "text",
    "reward": "reward",
    "teacher": "teacher",
    "answer": "answer",
    "correctness_reward": "share of right answers",
    "kl": "KL to the reference (k3, nats per token)",
    "answer_tokens": "tokens in an answer",
    "dead_groups": "share of dead groups",
    "advantage": "advantage",
    "token": "token",
    "weights": "weights",
    "gradients": "gradients",
    "model": "model",
    "bits_per_byte": "bits per byte",
    "held_out_answer_loss": "held-out loss on answers (nats per token)",
}


@cache
def every_label() -> dict[str, str]:
    """The shared words and those of all chapters. Raises ValueError where two of them use the same key."""
    found = dict(LABELS)
    for chapter in chapter_names():
        own: dict[str, str] = getattr(chapter_part(chapter, "labels"), "LABELS", {})
        if found.keys() & own.keys():
            raise ValueError(f"the labels of chapter {chapter} repeat: {', '.join(sorted(found.keys() & own.keys()))}")
        found |= own
    return found


def label(name: str) -> str:
    """The words for ``name`` in the current language; if nobody has written any, its name with spaces."""
    return say_key(name, every_label().get(name, name.replace("_", " ")))


NUMBER = re.compile(r"\d+(?:[.,]\d+)*")


@cache
def every_name() -> frozenset[str]:
    """What the cells of the chapters call their lines, bars and columns: ``NAMES`` in each ``labels.py``."""
    return frozenset(one for chapter in chapter_names()
                     for one in getattr(chapter_part(chapter, "labels"), "NAMES", ()))  # fmt: skip


def named(text: str) -> str:
    """What a cell calls a line, a bar or a column, in the current language.

    ``NAMES`` has such words with {0}, {1} … for their numbers: "layer {0}" stands for "layer 7". Others, a model's name
    or a token, stay as they are.
    """
    numbers = NUMBER.findall(text)
    places = iter(range(len(numbers)))
    pattern = NUMBER.sub(lambda _: f"{{{next(places)}}}", text)
    translated = say_key("name", pattern) if pattern in every_name() else pattern
    return text if translated == pattern else spaced(translated.format(*numbers))
