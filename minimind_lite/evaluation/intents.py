"""Small talk, measured by what an answer says: is it the answer to the intent that was asked, or another intent's?

An exact comparison would call a right answer with one changed word wrong; a loose one would take "I am here" for "I am
fine". So an answer counts if it is near enough to an answer of the asked intent and nearer than to any other intent's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from minimind_lite.data.records import DataError
from minimind_lite.data.rings import edit_distance
from minimind_lite.evaluation.stories import story_tokens
from minimind_lite.files import UnreadableFile, parse_json

THRESHOLD = 0.7  # half of it is another answer: 0.5; one word of five is another: 0.8


def similarity(first: str, second: str) -> float:
    """1 for the same Chinese characters and words, 0 for none in common; case and punctuation do not count."""
    one, other = story_tokens(first), story_tokens(second)
    return 1 - edit_distance(one, other) / max(1, len(one), len(other))


@dataclass(frozen=True)
class IntentTable:
    """The answers of every intent: one each, or one for each persona.

    Raises ValueError for an intent without an answer, and for an answer that two intents share: it could not tell them
    apart.
    """

    answers: Mapping[str, Sequence[str]]

    def __post_init__(self) -> None:
        owner: dict[str, str] = {}
        for intent, answers in self.answers.items():
            said = [" ".join(story_tokens(answer)) for answer in answers]
            if not all(said) or not said:
                raise ValueError(f"the intent {intent!r} has no answer, or one without words; give it one")
            for text in said:
                if owner.setdefault(text, intent) != intent:
                    raise ValueError(f"the intents {owner[text]!r} and {intent!r} share the answer {text!r}")

    def closeness(self, intent: str, answer: str) -> float:
        """The similarity of ``answer`` to the nearest answer of one intent."""
        return max(similarity(answer, known) for known in self.answers[intent])

    def intent_of(self, answer: str, threshold: float = THRESHOLD) -> str | None:
        """The intent whose answer this is; None where no answer is near enough, or where two are equally near."""
        close = {intent: self.closeness(intent, answer) for intent in self.answers}
        best = max(close.values())
        nearest = [intent for intent, value in close.items() if value == best]
        return nearest[0] if best >= threshold and len(nearest) == 1 else None


def read_intents(path: str | Path) -> IntentTable:
    """The table of a file of small talk, ``chat/talk_LANGUAGE.jsonl``: each record's ``intent`` and its last answer.

    Raises DataError, with file and line, for a record that has none.
    """
    found: dict[str, dict[str, None]] = {}
    with Path(path).open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                record = parse_json(line, f"{path}, line {number}")
                found.setdefault(record["intent"], {})[record["conversations"][-1]["content"]] = None
            except UnreadableFile as error:
                raise DataError(str(error)) from None
            except (KeyError, IndexError, TypeError) as error:
                said = f"{path}, line {number}: no small talk: it needs conversations and an intent ({error!r})"
                raise DataError(f"{said}; rebuild the samples: minimind data build") from None
    return IntentTable({intent: tuple(answers) for intent, answers in found.items()})
