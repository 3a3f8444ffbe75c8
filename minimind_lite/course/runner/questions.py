"""Three held-out questions for the model that the course has just trained, chosen by position, not by hand."""

from dataclasses import dataclass
from pathlib import Path

from minimind_lite.data.records import read_records

from ..kit.data_files import data_path


@dataclass(frozen=True)
class Answer:
    """One question, the model's answer, and the answer in the held-out file."""

    question: str
    answer: str
    expected: str


def pick_questions(path: Path) -> list[tuple[str, str]]:
    """(question, expected answer): the file's first Chinese one, its first English one, and the one in its middle."""
    turns = [record.messages for record in read_records(path, "conversation")]
    pairs = [(asked["content"], said["content"]) for asked, said in (two for two in turns if len(two) == 2)]
    chinese = [pair for pair in pairs if not pair[0].isascii()]
    english = [pair for pair in pairs if pair[0].isascii()]
    chosen = chinese[:1] + english[:1] + pairs[len(pairs) // 2 :]
    return list(dict.fromkeys(chosen))[:3]


def ask(model_folder: Path, questions: list[tuple[str, str]], max_new_tokens: int = 64) -> list[Answer]:
    """Let the model in ``model_folder`` answer greedily, so that the answers depend on nothing but the model."""
    from minimind_lite.generation.engine import chat
    from minimind_lite.model.pretrained import load_pretrained
    from minimind_lite.tokenizer import Tokenizer

    model, tokenizer = load_pretrained(model_folder), Tokenizer.load(model_folder)
    answers = []
    for question, expected in questions:
        messages = [{"role": "user", "content": question}]
        answers.append(
            Answer(question, chat(model, tokenizer, messages, max_new_tokens=max_new_tokens).strip(), expected)
        )
    return answers


def ask_trained_model(artifacts: Path) -> list[Answer]:
    """What the model of chapter 10 says; an empty list if it has not been trained yet."""
    if not (artifacts / "sft" / "model.safetensors").is_file():
        return []
    return ask(artifacts / "sft", pick_questions(data_path("sft_heldout", "quick")))
