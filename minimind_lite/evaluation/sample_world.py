"""Every held-out question of the sample world, asked of one model: the share of right answers by kind and language.

What is right differs by kind. Facts and follow-ups are right word for word; small talk if it is the answer to the
asked intent; recall if the value is named and no other; invented names if they are refused; a system turn if it is
obeyed. All of it is judged by ``closed_book``, ``intents`` and ``recall``; here are only the kinds and their files.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from minimind_lite.data.records import DataError, data_files, validated
from minimind_lite.evaluation.closed_book import Answer, ShareRight
from minimind_lite.evaluation.intents import THRESHOLD, IntentTable, read_intents, similarity
from minimind_lite.evaluation.recall import UNKNOWN, UNTOLD, is_right, named_values, read_words
from minimind_lite.evaluation.stories import StoryScores, TrainingText, read_world, score_stories
from minimind_lite.files import UnreadableFile, parse_json
from minimind_lite.generation.engine import Generation, generate
from minimind_lite.model.transformer import Transformer
from minimind_lite.tokenizer import Tokenizer

LANGUAGES = ("zh", "en")
OTHER = {"zh": "en", "en": "zh"}
FALSE_REFUSALS = "known refused"  # the one kind of which a high share is bad
NOT_TOLD = "recall never told"  # asked for something that the user has not said
Item = dict[str, Any]  # a held-out record: its conversation, and what its judge needs
Judge = Callable[[Item, str], bool]
One = TypeVar("One")


@dataclass(frozen=True)
class JudgedAnswer:
    """One question: what was asked last, an expected answer, what was said, and whether that is right.

    value: what a right answer has to name, and about: what the question names; "" where the record does not say.
    """

    question: str
    expected: str
    given: str
    right: bool
    value: str = ""
    about: str = ""


@dataclass(frozen=True)
class KindScore(ShareRight):
    """The share of right answers of one kind of question."""

    answers: Sequence[JudgedAnswer]


def ask_world(
    model: Transformer,
    tokenizer: Tokenizer,
    folder: str | Path,
    *,
    limit: int | None = None,
    max_new_tokens: int = 64,
    batch_size: int = 64,
) -> dict[str, KindScore]:
    """Ask greedily all held-out questions under ``folder`` (data_samples): the score of each "KIND LANGUAGE".

    limit: at most so many questions of each kind and language, spread evenly over them. The kind FALSE_REFUSALS counts
    questions about what exists that are refused, so there the best share is 0.
    Raises DataError for a file that is missing or holds something else, ValueError for a broken words.json.
    """
    asked: dict[str, tuple[list[Item], Judge]] = {}
    for language in LANGUAGES:
        for kind, (items, judge) in _kinds(Path(folder), language).items():
            if items:
                asked[f"{kind} {language}"] = spread(items, limit), judge
    conversations = [item for items, _ in asked.values() for item in items]
    said = iter(_answers(model, tokenizer, conversations, max_new_tokens, batch_size))
    return {
        kind: KindScore([_judged(item, next(said).text, judge) for item in items])
        for kind, (items, judge) in asked.items()
    }


def tell_stories(
    model: Transformer,
    tokenizer: Tokenizer,
    folder: str | Path,
    *,
    limit: int | None = None,
    max_new_tokens: int = 256,
    batch_size: int = 64,
) -> dict[str, StoryScores]:
    """Ask greedily for the held-out stories under ``folder``, pairs of hero and wish never trained: scores by language.

    Copies are looked for in the training stories of ``folder``. Arguments and errors are those of ``ask_world``.
    """
    scores = {}
    for language in LANGUAGES:
        requests = story_requests(folder, language, limit)
        told = _answers(model, tokenizer, requests, max_new_tokens, batch_size)
        scores[language] = score_stories(
            [one.text for one in told],
            [named(item) for item in requests],
            read_world(Path(folder) / "stories.json", language),
            TrainingText(training_stories(folder, language)),
            [one.finish_reason == "stop" for one in told],
        )
    return scores


def both_languages(scores: Mapping[str, KindScore]) -> dict[str, KindScore]:
    """The scores of ``ask_world`` with the languages of each kind together."""
    found: dict[str, list[JudgedAnswer]] = {}
    for name, score in scores.items():
        found.setdefault(name.rpartition(" ")[0], []).extend(score.answers)
    return {kind: KindScore(answers) for kind, answers in found.items()}


def in_any_sentence(score: KindScore) -> KindScore:
    """The same answers counted generously: right is each that names its ``value``, in whatever sentence.

    Inside a longer name that these questions ask for or are about, a value is not named: 墨西哥 in 墨西哥城. Raises
    ValueError for a kind whose records do not say what is asked for.
    """
    if not all(one.value for one in score.answers):
        raise ValueError("these questions do not say what a right answer has to name; those of the rings of facts do")
    names = {name for one in score.answers for name in (one.value, one.about) if name}
    return KindScore([replace(one, right=one.value in named_values(one.given, names)) for one in score.answers])


def figures_of(scores: Mapping[str, KindScore], stories: Mapping[str, StoryScores]) -> dict[str, float]:
    """All shares by a name that a file of results can hold: "facts_near", "facts_near_zh", "stories_ended_en".

    Of the stories "stories_ended" is the mean of the languages, each of which asks for about as many.
    """
    shares = {name: score.share for name, score in (both_languages(scores) | dict(scores)).items()}
    told = {f"stories {name} {language}": value for language, one in stories.items()
            for name, value in asdict(one).items()}  # fmt: skip
    for name in {one.rpartition(" ")[0]: None for one in told}:
        shares[name] = sum(told[f"{name} {language}"] for language in stories) / len(stories)
    return {name.replace(" ", "_").replace("-", "_"): value for name, value in (shares | told).items()}


def story_requests(folder: str | Path, language: str, limit: int | None = None) -> list[Item]:
    """The held-out records that ask for a story; ``hero`` and ``wish`` say which one, ``asked`` what is named."""
    return spread(_items(Path(folder) / "chat_heldout" / f"stories_{language}.jsonl", "hero", "wish", "asked"), limit)


def named(request: Item) -> tuple[str | None, str | None]:
    """The hero and the wish that a request for a story names; None for what it leaves open."""
    asked = request["asked"]
    return request["hero"] if asked != "wish" else None, request["wish"] if asked != "hero" else None


def training_stories(folder: str | Path, language: str) -> Iterator[str]:
    """The stories told in the training conversations of one language."""
    for item in _items(Path(folder) / "chat" / f"stories_{language}.jsonl"):
        yield from (turn["content"] for turn in item["conversations"] if turn["role"] == "assistant")


def spread(items: list[One], limit: int | None) -> list[One]:
    """At most ``limit`` of the items, evenly from first to last; all where there is no limit."""
    if limit is None or limit >= len(items):
        return items
    return [items[index * len(items) // limit] for index in range(limit)]


def _kinds(folder: Path, language: str) -> dict[str, tuple[list[Item], Judge]]:
    """The questions of each kind in one language, and what judges their answers."""
    words = read_words(folder / "chat" / "words.json", language)
    talk, foreign = (read_intents(folder / "chat" / f"talk_{one}.jsonl") for one in (language, OTHER[language]))

    def ring(name: str) -> list[Item]:
        return _items(folder / "facts_rings" / name / f"{language}.jsonl")

    def held_out(name: str, *fields: str) -> list[Item]:
        return _items(folder / "chat_heldout" / f"{name}_{language}.jsonl", *fields)

    def exactly(item: Item, said: str) -> bool:
        return Answer("", item["conversations"][-1]["content"], said).right

    def refused(item: Item, said: str) -> bool:
        return is_right(said, UNKNOWN, "", words)

    def recalled(item: Item, said: str) -> bool:
        return is_right(said, item["kind"], item["value"], words)

    listed = held_out("recall", "kind", "value")
    return {
        "facts near": (ring("near"), exactly),
        "facts far": (ring("far"), exactly),
        "facts backwards trained": (ring("backwards_trained"), exactly),
        "facts backwards": (ring("backwards"), exactly),
        "talk": (held_out("talk", "intent"), lambda item, said: talk.intent_of(said) == item["intent"]),
        "follow-ups": (held_out("follow"), exactly),
        "recall known lists": ([item for item in listed if item["kind"] != UNTOLD], recalled),
        "recall open": (held_out("recall_open", "kind", "value"), recalled),
        NOT_TOLD: ([item for item in listed if item["kind"] == UNTOLD], recalled),
        "unknown refused": (held_out("unknown"), refused),
        FALSE_REFUSALS: (ring("known"), refused),
        "system turns": (held_out("system", "kind", "intent"), lambda item, said: obeys(said, item, foreign)),
    }


def obeys(answer: str, item: Item, foreign: IntentTable) -> bool:
    """Whether an answer does visibly what the system turn of a held-out record asks, and answers the question.

    The other language: the asked intent's answer in ``foreign``. One word: the expected one. A closing sentence: the
    expected answer, or one near it, and then the sentence word for word. A persona: its mark; of a pair that was never
    trained no more can be expected. Raises DataError for another kind.
    """
    kind, said, expected = item["kind"], answer.strip(), item["conversations"][-1]["content"].strip()
    if kind == "language":
        return bool(foreign.intent_of(said) == item["intent"])
    if kind == "word":
        return Answer("", expected, said).right
    if kind == "ending":
        bare, wanted = (text.removesuffix(item["sentence"]) for text in (said, expected))
        return bare != said and similarity(bare, wanted) >= THRESHOLD
    if kind == "persona":
        return bool(named_values(said, [item["mark"]]))
    raise DataError(f"unknown kind of system turn {kind!r}; the kinds are: language, word, ending, persona")


def _items(path: Path, *fields: str) -> list[Item]:
    """The records of a file of conversations with all their fields, of which ``fields`` must be there."""
    items = []
    for number, line in enumerate(data_files(path)[0].read_bytes().splitlines(), start=1):
        where = f"{path}, line {number}"
        try:
            value = parse_json(line, where)
        except UnreadableFile as error:
            raise DataError(str(error)) from None
        messages = validated(value, "conversation", where).messages
        if missing := [name for name in fields if name not in value]:
            raise DataError(f"{where}: has no field {missing[0]!r}; rebuild the samples: minimind data build")
        items.append(value | {"conversations": messages})
    return items


def _answers(
    model: Transformer, tokenizer: Tokenizer, items: Sequence[Item], max_new_tokens: int, batch_size: int
) -> list[Generation]:
    """The model's own last turn of every conversation."""
    prompts = [tokenizer.render(item["conversations"][:-1], add_generation_prompt=True).ids for item in items]
    return generate(model, tokenizer, prompts, max_new_tokens=max_new_tokens, batch_size=batch_size)


def _judged(item: Item, said: str, judge: Judge) -> JudgedAnswer:
    """The last question of a record with what was said to it."""
    asked, expected = (turn["content"] for turn in item["conversations"][-2:])
    return JudgedAnswer(asked, expected, said, judge(item, said), item.get("value", ""), item.get("given", ""))
