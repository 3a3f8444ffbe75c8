"""Twenty held-out questions for the model that the course has just trained, chosen by position, not by hand."""

from dataclasses import dataclass
from pathlib import Path

from minimind_lite.data.records import read_records
from minimind_lite.files import repository_root
from minimind_lite.tokenizer import Message

# The held-out files of data_samples that are asked from, each in Chinese and in English.
FILES = (
    "chat_heldout/talk_{}", "facts_rings/near/{}", "facts_rings/far/{}", "facts_rings/backwards_trained/{}",
    "chat_heldout/recall_{}", "chat_heldout/follow_{}", "chat_heldout/system_{}", "chat_heldout/unknown_{}",
)  # fmt: skip
STORIES = "chat_heldout/stories_{}"  # of which two are asked for
MAX_NEW_TOKENS = 200  # a story's length


@dataclass(frozen=True)
class Answer:
    """One question, with what was said before it, the model's answer, and the answer in the held-out file."""

    question: str
    answer: str
    expected: str


def pick_questions(samples: Path) -> list[list[Message]]:
    """The middle conversation of every file, and of the stories those after a third and two thirds of them."""
    picked = []
    for language in ("zh", "en"):
        places = [(name, (1 / 2,)) for name in FILES] + [(STORIES, (1 / 3, 2 / 3))]
        for name, parts in places:
            path = samples / f"{name.format(language)}.jsonl"
            turns = [record.messages for record in read_records(path, "conversation")]
            picked += [turns[int(len(turns) * part)] for part in parts]
    return picked


def asked(turns: list[Message]) -> str:
    """What the model is given, in one line: a system turn in brackets, earlier turns before the last question."""
    said = [f"({one['content']})" if one["role"] == "system" else one["content"] for one in turns]
    return " / ".join(said)


def ask(model_folder: Path, conversations: list[list[Message]], max_new_tokens: int = MAX_NEW_TOKENS) -> list[Answer]:
    """Let the model in ``model_folder`` answer greedily, so that the answers depend on nothing but the model."""
    from minimind_lite.generation.engine import generate
    from minimind_lite.model.pretrained import load_pretrained
    from minimind_lite.tokenizer import Tokenizer

    model, tokenizer = load_pretrained(model_folder), Tokenizer.load(model_folder)
    prompts = [tokenizer.render(turns[:-1], add_generation_prompt=True).ids for turns in conversations]
    said = generate(model, tokenizer, prompts, max_new_tokens=max_new_tokens)
    return [
        Answer(asked(turns[:-1]), one.text.strip(), turns[-1]["content"])
        for turns, one in zip(conversations, said, strict=True)
    ]


def ask_trained_model(artifacts: Path) -> list[Answer]:
    """What the model of chapter 10 says; an empty list if it has not been trained yet."""
    if not (artifacts / "sft" / "model.safetensors").is_file():
        return []
    return ask(artifacts / "sft", pick_questions(repository_root() / "data_samples"))
