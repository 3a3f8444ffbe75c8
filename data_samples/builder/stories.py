"""The story world: short stories of a small closed vocabulary, composed by the grammar in stories/*.toml.

A story has a hero, a wish and a shape, which is a list of slots. A slot's wordings come from the frames, which every
story shares, or from the wish. What a friend does fits what stands in the way: a wish's ``plots`` say so. Held out
are whole (hero, wish) pairs and, besides, the wordings that begin with an asterisk.

A story is read in pretraining or told on request in a conversation, never both: a model should not learn to answer by
reciting what it has read. What is read has a title of hero and wish, so that a model learns early what a request names.
"""

import itertools
import json
import random
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from closed_book import conversation
from texts import write_lines

FOLDER = Path(__file__).parent / "stories"
TRAIN, HELD_OUT, SHORT = 800, 100, 400  # stories in each language
TOLD = {"long": (1,), "short": (0, 1, 2, 4)}  # of every five stories, those that are asked for
ASKED = ("both", "hero", "both", "wish")  # what requests name, in turn
MINIMUM = {"zh": 90, "en": 62}  # tokens of a story: characters, words
LONGEST_RUN = {"zh": 44, "en": 30}  # tokens that two training stories may have in common at a stretch
CHECKED_RUN, CHECKED_SHARE = 13, 0.28  # a little stricter than `minimind data check`
HELD_OUT_WORDING = 0.7  # how often a held-out story takes a held-out wording where there is one
_TOKEN = re.compile(r"[\u4e00-\u9fff]|[A-Za-z]+")

Slots = dict[str, list[str]]
Record = dict[str, Any]


class Hero(NamedTuple):
    """Somebody a story can be about. ``shown`` is the measure word in Chinese, the introduction in English."""

    name: str
    shown: str
    asked: str
    pronoun: str
    cannot: str  # wishes that would be none for this hero

    @property
    def is_child(self) -> bool:
        """Whether it is a child with a name of its own."""
        return self.name == self.asked


@dataclass(frozen=True)
class World:
    """The grammar of one language."""

    language: str
    places: list[str]
    traits: list[str]
    heroes: list[Hero]
    shapes: Slots
    frames: Slots
    asks: Slots
    wishes: dict[str, dict[str, Any]]

    def held_out(self, hero: Hero, wish: str) -> bool:
        """Whether this pair is only in the held-out stories: every seventh."""
        return (self.heroes.index(hero) + 3 * list(self.wishes).index(wish)) % 7 == 0

    def pairs(self, held_out: bool) -> list[tuple[Hero, str]]:
        """All pairs of a hero and a wish that make sense together."""
        pairs = [(hero, wish) for hero in self.heroes for wish in self.wishes if wish not in hero.cannot.split()]
        return [pair for pair in pairs if self.held_out(*pair) == held_out]


def load_world(language: str) -> World:
    """Read stories/zh.toml or stories/en.toml."""
    source = tomllib.loads((FOLDER / f"{language}.toml").read_text(encoding="utf-8"))
    heroes = [Hero(*row) for row in source.pop("heroes")]
    return World(language, heroes=heroes, **source)


def tokens(text: str) -> list[str]:
    """Chinese characters and English words, without punctuation or case."""
    return _TOKEN.findall(text.lower())


def runs(text: str, length: int) -> set[str]:
    """All runs of ``length`` tokens."""
    found = tokens(text)
    return {" ".join(found[start : start + length]) for start in range(len(found) - length + 1)}


def introduced(hero: Hero, language: str) -> str:
    """A hero as a story first names it: 一只小狐狸, 一个叫小明的男孩, a little fox, a boy named Tom."""
    if language == "en":
        return hero.shown
    return f"一个叫{hero.name}的{hero.shown}" if hero.is_child else f"一{hero.shown}{hero.name}"


def fillers(world: World, hero: Hero, friend: Hero, wish: dict[str, Any], chance: random.Random) -> dict[str, str]:
    """What stands for the names in braces; a capital letter gives the form that begins a sentence."""
    small = {
        "h": hero.name,
        "a": introduced(hero, world.language),
        "f": friend.name,
        "af": introduced(friend, world.language),
        "place": chance.choice(world.places),
        "trait": chance.choice(world.traits),
        "goal": wish["goal"],
        "result": wish["result"],
    }
    if world.language == "zh":
        return small | {"p": hero.pronoun, "they": "他们" if hero.is_child else "它们"}
    objects = {"he": ("him", "his"), "she": ("her", "her")}[hero.pronoun]
    small |= {"he": hero.pronoun, "him": objects[0], "his": objects[1]}
    return small | {name.capitalize(): word[0].upper() + word[1:] for name, word in small.items()}


class Teller:
    """Composes stories. ``held_out`` tells whether it uses held-out wordings, in the story and in the request."""

    def __init__(self, world: World, held_out: bool, chance: random.Random) -> None:
        self.world, self.held_out, self.chance = world, held_out, chance
        self.requests = itertools.cycle(ASKED)

    def choose(self, wordings: list[str]) -> str:
        """One wording: in training never a held-out one, in held-out stories mostly."""
        kept = [wording[1:] for wording in wordings if wording.startswith("*")]
        if self.held_out and kept and self.chance.random() < HELD_OUT_WORDING:
            return self.chance.choice(kept)
        return self.chance.choice([wording for wording in wordings if not wording.startswith("*")])

    def fitting(self, wish: dict[str, Any]) -> Slots:
        """The wish's wordings that go together: one obstacle, and what helps against it."""
        number = self.chance.randrange(len(wish["obstacle"]))
        parts = zip(("try", "help", "alone"), wish["plots"][number].split("|"), strict=True)
        chosen = {name: [wish[name][int(digit)] for digit in digits] for name, digits in parts}
        return wish | chosen | {"obstacle": [wish["obstacle"][number]]}

    def shape(self, wish: dict[str, Any]) -> str:
        """One of the long shapes that make sense for the wish."""
        left_out = ("short", *wish.get("without", ()))
        return self.chance.choice([name for name in self.world.shapes if name not in left_out])

    def request(self, story: Record) -> Record:
        """A conversation in which the story is asked for by its hero, by its wish or by both, as ``asked`` says."""
        hero = next(one for one in self.world.heroes if one.name == story["hero"])
        kind = next(self.requests)
        wordings = self.world.asks[f"heldout_{kind}" if self.held_out else kind]
        ask = self.chance.choice(wordings).format(hero=hero.asked, wish=self.world.wishes[story["wish"]]["ask"])
        if not self.held_out and len(tokens(story["text"])) < MINIMUM[self.world.language]:
            ask = self.chance.choice(self.world.asks["short"]).format(ask=ask)
        keys = {name: value for name, value in story.items() if name != "text"}
        return conversation(ask[0].upper() + ask[1:], story["text"]) | keys | {"asked": kind}

    def tell(self, hero: Hero, name: str, short: bool) -> Record:
        """One story."""
        world, wish = self.world, self.world.wishes[name]
        friend = self.chance.choice([one for one in world.heroes if one != hero and not one.is_child])
        slots = world.frames | self.fitting(wish)
        fill = fillers(world, hero, friend, wish, self.chance)
        shape = "short" if short else self.shape(wish)
        said = [self.choose(slots[slot]).format_map(fill) for slot in world.shapes[shape]]
        text = ("" if world.language == "zh" else " ").join(said)
        return {"text": text, "hero": hero.name, "wish": name}


def candidates(world: World, short: bool, new_pairs: bool = False, new_wordings: bool = False) -> Iterator[Record]:
    """Stories without end, every pair of hero and wish as often as any other; held-out ones where they shall be new."""
    chance = random.Random(f"{world.language} {short} {new_pairs} {new_wordings}")
    teller = Teller(world, new_wordings, chance)
    pairs = world.pairs(new_pairs)
    while True:
        chance.shuffle(pairs)
        yield from (teller.tell(hero, wish, short) for hero, wish in pairs)


def training(world: World, start: list[Record]) -> list[Record]:
    """The free stories, then composed ones of which no two share a long run."""
    found, seen, length = list(start), set[str](), LONGEST_RUN[world.language]
    for record in candidates(world, short=False):
        mine = runs(record["text"], length)
        if len(tokens(record["text"])) >= MINIMUM[world.language] and not mine & seen:
            seen |= mine
            found.append(record)
        if len(found) == TRAIN + len(start):
            return found
    raise AssertionError("candidates has no end")


def heldout(world: World, trained: list[Record], short: bool = False, new_wordings: bool = True) -> list[Record]:
    """Stories about held-out pairs that share few runs with the training stories, and none twice."""
    minimum = 0 if short else MINIMUM[world.language]
    seen = {run for record in trained for run in runs(record["text"], CHECKED_RUN)}
    found: dict[str, Record] = {}
    for record in candidates(world, short, new_pairs=True, new_wordings=new_wordings):
        mine = runs(record["text"], CHECKED_RUN)
        if len(tokens(record["text"])) >= minimum and len(mine & seen) < CHECKED_SHARE * len(mine):
            found[record["text"]] = record
        if len(found) == HELD_OUT:
            return list(found.values())
    raise AssertionError("candidates has no end")


def shortest(world: World) -> list[Record]:
    """Stories of three sentences, no two alike."""
    found: dict[str, Record] = {}
    for record in candidates(world, short=True):
        found[record["text"]] = record
        if len(found) == SHORT:
            return list(found.values())
    raise AssertionError("candidates has no end")


def free(world: World) -> list[Record]:
    """The stories that were written by hand (stories/free_*.txt): a line ``# hero | wish``, then the story."""
    path = FOLDER / f"free_{world.language}.txt"
    records = []
    for block in path.read_text(encoding="utf-8").strip().split("\n\n"):
        head, text = block.split("\n", 1)
        name, wish = head.removeprefix("# ").split(" | ")
        records.append({"text": text.replace("\n", " "), "hero": name, "wish": wish})
    return records


def summary(world: World) -> dict[str, Any]:
    """What measurements need to know: who could be a hero, and which words an ending has for each wish."""
    return {
        "heroes": {hero.name: hero.asked for hero in world.heroes},
        "wishes": {name: {"ask": wish["ask"], "keys": wish["keys"]} for name, wish in world.wishes.items()},
    }


def split(stories: list[Record], kind: str) -> tuple[list[Record], list[Record]]:
    """The stories that are read in pretraining and those that are told on request, both from all over the list."""
    told = [story for place, story in enumerate(stories) if place % 5 in TOLD[kind]]
    return [story for place, story in enumerate(stories) if place % 5 not in TOLD[kind]], told


def titled(world: World, story: Record) -> Record:
    """A story to read: its title is a line of its own, 小牛过河 or "Tom and a lost kite"."""
    ask, between = world.wishes[story["wish"]]["ask"], {"zh": "", "en": " and "}[world.language]
    title = f"{story['hero']}{between}{ask}"
    return story | {"text": f"{title[0].upper()}{title[1:]}\n{story['text']}"}


def build_language(folder: Path, world: World) -> None:
    """Write the stories of one language: to read, to be asked for, and both held out."""
    chance = random.Random(f"{world.language} requests")
    long, short = training(world, free(world)), shortest(world)
    parts = [split(long, "long"), split(short, "short")]
    read, told = ([story for part in parts for story in part[side]] for side in (0, 1))
    chance.shuffle(read)
    chance.shuffle(told)
    trained = long + short
    name = f"stories_{world.language}"
    write_lines(folder / "pretrain" / f"{name}.jsonl", ({"text": titled(world, story)["text"]} for story in read))
    write_lines(folder / "chat" / f"{name}.jsonl", map(Teller(world, False, chance).request, told))
    for kept, new_wordings in ((name, True), (f"stories_pairs_{world.language}", False)):
        stories = heldout(world, trained, new_wordings=new_wordings)
        write_lines(folder / "pretrain_heldout" / f"{kept}.jsonl", (titled(world, story) for story in stories))
    asked = map(Teller(world, True, chance).request, heldout(world, trained, short=True))
    write_lines(folder / "chat_heldout" / f"{name}.jsonl", asked)


def build(folder: Path, _facts: object) -> None:
    """Write the stories of both languages and stories.json."""
    worlds = [load_world(language) for language in ("zh", "en")]
    for world in worlds:
        build_language(folder, world)
    text = json.dumps({world.language: summary(world) for world in worlds}, ensure_ascii=False, indent=1) + "\n"
    (folder / "stories.json").write_bytes(text.encode("utf-8"))
