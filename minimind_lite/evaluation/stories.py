"""Generated stories, measured on their text alone: does it end, keep its hero, fulfil the wish, and is it new?

Nothing here needs a model or the grammar that composed the training stories. Who could be a hero, and which words an
ending has for each wish, stands in ``data_samples/stories.json`` (see ``read_world``).
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from minimind_lite.files import read_json

ENDING_SENTENCES = 4  # a wish that comes true is told in these last sentences
_SENTENCE = re.compile(r"[^。！？.!?]+[。！？.!?]+[”\"]?")
_TOKEN = re.compile(r"[\u4e00-\u9fff]|[^\W\d_\u4e00-\u9fff]+")


@dataclass(frozen=True)
class StoryWorld:
    """What one language's stories are about."""

    heroes: tuple[str, ...]
    endings: Mapping[str, Sequence[str]]  # wish: words of which a fitting ending has one


def read_world(path: str | Path, language: str) -> StoryWorld:
    """Read one language of ``stories.json``; a file that is not one raises ValueError, with file and field."""
    content = read_json(Path(path))
    try:
        found = content[language]
        endings = {wish: tuple(entry["keys"]) for wish, entry in found["wishes"].items()}
        return StoryWorld(tuple(found["heroes"]), endings)
    except (KeyError, TypeError, AttributeError) as error:
        said = f"{path}: no story world for {language!r} ({error}); rebuild it: minimind data build"
        raise ValueError(said) from None


def story_tokens(text: str) -> list[str]:
    """Chinese characters and words, in lower case, without punctuation and digits."""
    return _TOKEN.findall(text.lower())


def ends_by_itself(story: str) -> bool:
    """Whether the story stops at the end of a sentence and leaves no quotation open."""
    text = story.rstrip()
    balanced = text.count("“") == text.count("”") and text.count('"') % 2 == 0
    return balanced and re.search(r"[。！？.!?][”\"]?$", text) is not None


def mentions(story: str, name: str) -> int:
    """How often a hero is named; "the cat" is not in "the cattle", and an introduction ("a little cat") counts too."""
    bare = name.removeprefix("the ")
    if re.search(r"[\u4e00-\u9fff]", bare):
        return story.count(bare)
    return len(re.findall(rf"\b{re.escape(bare)}\b", story, flags=re.IGNORECASE))


def keeps_hero(story: str, hero: str, heroes: Iterable[str]) -> bool:
    """Whether ``hero`` is named first, at least as often as any other of ``heroes``, and not given up half-way.

    A friend may appear, and a second half may say "he" for the hero; a second half that names others alone has lost it.
    """
    names = {*heroes, hero}
    places = {name: _first(story, name) for name in names}
    often = {name: mentions(story, name) for name in names}
    later = {name for name in names if mentions(story[len(story) // 2 :], name)}
    kept = often[hero] >= max(often.values()) and (hero in later or not later)
    return kept and places[hero] == min(places.values()) < len(story)


def _first(story: str, name: str) -> int:
    """Where the story first names somebody; its length if it never does."""
    bare = name.removeprefix("the ")
    border = "" if re.search(r"[\u4e00-\u9fff]", bare) else r"\b"
    found = re.search(border + re.escape(bare) + border, story, flags=re.IGNORECASE)
    return found.start() if found else len(story)


def fits_wish(story: str, words: Iterable[str]) -> bool:
    """Whether the last sentences speak of what was wished for: one of ``words``, as a word or as its start."""
    ending = "".join(_SENTENCE.findall(story)[-ENDING_SENTENCES:]).lower()
    return any(re.search(rf"(?<![a-z]){re.escape(word.lower())}", ending) is not None for word in words)


class TrainingText:
    """Finds the longest run of tokens that a story shares with any one training story.

    Kept are the stories' tokens and where each token pair begins, which is enough to extend every match in place.
    """

    def __init__(self, stories: Iterable[str]) -> None:
        self._stories = [story_tokens(story) for story in stories]
        self._pairs: dict[tuple[str, str], list[tuple[int, int]]] = {}
        for number, tokens in enumerate(self._stories):
            for start, pair in enumerate(pairwise(tokens)):
                self._pairs.setdefault(pair, []).append((number, start))

    def longest_run(self, story: str) -> int:
        """The number of tokens of the longest run; 0 where not even two neighbours are shared."""
        tokens, longest = story_tokens(story), 0
        before: dict[tuple[int, int], int] = {}  # where a run now ends in training: how long it is
        for pair in pairwise(tokens):
            now = {}
            for number, start in self._pairs.get(pair, ()):
                now[number, start + 1] = before.get((number, start), 1) + 1
            longest = max(longest, *now.values()) if now else longest
            before = now
        return longest

    def copied_share(self, story: str) -> float:
        """The longest shared run as a share of the story's tokens: 1 for a copy, 0 for an empty story."""
        return self.longest_run(story) / max(1, len(story_tokens(story)))


@dataclass(frozen=True)
class StoryScores:
    """Shares over several stories; ``copied`` is the mean of the longest copied shares."""

    ended: float
    hero_kept: float
    wish_fits: float
    copied: float

    def __str__(self) -> str:
        return (
            f"ends {self.ended:.0%}, hero kept {self.hero_kept:.0%}, ending fits {self.wish_fits:.0%}, "
            f"longest copy {self.copied:.0%} of a story"
        )


def score_stories(
    stories: Sequence[str],
    asked: Sequence[tuple[str | None, str | None]],
    world: StoryWorld,
    training: TrainingText,
    finished: Sequence[bool] | None = None,
) -> StoryScores:
    """Measure ``stories`` against the (hero, wish) that each was asked for; None where the request left it open.

    ``finished`` tells which stories the model ended itself, with its end token, and not the limit on length. The hero
    counts in the stories whose request names one, the wish likewise. Raises ValueError for no stories, unequal lengths,
    a wish that the world does not have, or requests of which none names a hero, or none a wish.
    """
    finished = [True] * len(stories) if finished is None else finished
    if not stories or not len(stories) == len(asked) == len(finished):
        counts = f"{len(stories)} stories, {len(asked)} requests, {len(finished)} endings"
        raise ValueError(f"{counts}: give at least one story, and one of each for every story")
    unknown = sorted({wish for _, wish in asked if wish is not None} - set(world.endings))
    if unknown:
        raise ValueError(f"unknown wish {unknown[0]!r}; the world has: {', '.join(world.endings)}")
    told = list(zip(stories, asked, strict=True))
    kept = [keeps_hero(story, hero, world.heroes) for story, (hero, _) in told if hero is not None]
    fits = [fits_wish(story, world.endings[wish]) for story, (_, wish) in told if wish is not None]
    if not kept or not fits:
        raise ValueError(f"none of {len(told)} requests names a {'hero' if not kept else 'wish'}: ask for more stories")
    ended = [done and ends_by_itself(story) for story, done in zip(stories, finished, strict=True)]
    copied = [training.copied_share(story) for story in stories]
    return StoryScores(*(sum(values) / len(values) for values in (ended, kept, fits, copied)))
