"""Preference pairs of five kinds: true over false, short over rambling, polite over rude, answers, refuses harm.

Nothing but the kind itself tells chosen from rejected. Endings: both answers end in the same sentence, or in two that
change sides in the next pair. Lengths: the chosen answer is the longer one as often as the shorter one, and by as
much; ``short`` is about length and therefore has the fewest pairs. True and false: two facts exchange their values, so
that every value is right as often as it is wrong. Held-out pairs have other prompts and other sentences.
"""

import itertools
import math
import random
import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from closed_book import relation_of
from facts import LANGUAGES, Fact
from texts import write_lines

SOURCE = Path(__file__).parent / "written" / "preference_kinds.toml"
PAIRS = {  # of each kind in each language, even numbers: for training, held out
    "true": (44, 20), "short": (28, 20), "polite": (44, 20), "answers": (44, 20), "refuses": (44, 20),
}  # fmt: skip
ROUNDS_SHARE = 0.2  # of the pairs that begin with a first round
PASSES = 4  # rounds of choosing answers by their lengths

Turns = list[dict[str, str]]


@dataclass(frozen=True)
class Draft:
    """A prompt and the answers that the balance of lengths may choose from."""

    before: Turns
    chosen: list[str]
    rejected: list[str]


@dataclass(frozen=True)
class World:
    """What one split in one language is composed from; ``heldout_…`` lists stand in for the others."""

    language: str
    source: dict[str, Any]
    held_out: bool
    chance: random.Random

    def words(self, name: str) -> Any:
        """A list of the source; the held-out one where this is the held-out split."""
        return self.source[f"heldout_{name}" if self.held_out else name]

    def joined(self, *sentences: str) -> str:
        """Sentences as one text: a space between English ones."""
        return ("" if self.language == "zh" else " ").join(sentences)

    def prompt(self, question: str, rounds: str = "opening_rounds") -> Turns:
        """The question; in some pairs after a first round."""
        first = self.chance.choice(self.source[rounds]) if self.chance.random() < ROUNDS_SHARE else []
        return conversation(*first, question)


def conversation(*turns: str) -> Turns:
    """The user's and the assistant's turns, in turn."""
    roles = itertools.cycle(("user", "assistant"))
    return [{"role": role, "content": turn} for role, turn in zip(roles, turns, strict=False)]


def asked(blocks: list[dict[str, Any]], chance: random.Random) -> list[tuple[str, dict[str, Any]]]:
    """Every wording of every block about every one of its things, shuffled, each with its block."""
    found = [(ask.format(x=thing), block) for block in blocks for ask in block["ask"] for thing in block["things"]]
    chance.shuffle(found)
    return [(question[0].upper() + question[1:], block) for question, block in found]


def endings(world: World, count: int) -> Iterator[tuple[str, str]]:
    """Last sentences of chosen and rejected answers: what ends the one in a pair ends the other in the next."""
    for _ in range(0, count, 2):
        first, second = world.chance.choices(world.words("closings"), k=2)
        yield from ((first, second), (second, first))


def short(world: World, prompts: list[tuple[str, dict[str, Any]]]) -> Iterator[Draft]:
    """The answer alone, and the same answer after two sentences that say nothing."""
    for question, block in prompts:
        answer = world.chance.choice(block["answers"])
        fillers = world.chance.sample(world.words("fillers"), 2)
        yield Draft(world.prompt(question, "brief_rounds"), [answer], [world.joined(*fillers, answer)])


def polite(world: World, prompts: list[tuple[str, dict[str, Any]]]) -> Iterator[Draft]:
    """The same answer after a kind and after an unkind sentence."""
    for question, block in prompts:
        answer = world.chance.choice(block["answers"])
        kind, rude = ([world.joined(one, answer) for one in world.words(name)] for name in ("polite", "rude"))
        yield Draft(world.prompt(question), kind, rude)


def answers(world: World, prompts: list[tuple[str, dict[str, Any]]]) -> Iterator[Draft]:
    """An answer and a sentence that only sounds like one, both with a last sentence that fits either."""
    for (question, block), (one, other) in zip(prompts, endings(world, len(prompts)), strict=True):
        chosen = [world.joined(answer, one) for answer in block["answers"]]
        dodges = world.words("dodges")
        rejected = [world.joined(*some, other) for size in (1, 2) for some in itertools.permutations(dodges, size)]
        yield Draft(world.prompt(question), chosen, rejected)


def refuses(world: World, prompts: list[tuple[str, dict[str, Any]]]) -> Iterator[Draft]:
    """A refusal that says why and an answer that goes along, both with a last sentence that fits either."""
    for (question, block), (one, other) in zip(prompts, endings(world, len(prompts)), strict=True):
        chosen, rejected = (
            [world.joined(*filter(None, both), last) for both in itertools.product(world.words(openers), block[name])]
            for openers, name, last in (("no", "refusals", one), ("yes", "consents", other))
        )
        yield Draft(world.prompt(question), chosen, rejected)


def exchanged(facts: list[Fact], count: int) -> list[tuple[Fact, Fact]]:
    """``count`` couples of facts of one relation with different values; no fact is in two of them."""
    waiting: dict[str, Fact] = {}
    couples = []
    for fact in facts:
        partner = waiting.get(fact.relation)
        if partner is None:
            waiting[fact.relation] = fact
        elif partner.value != fact.value:
            couples.append((waiting.pop(fact.relation), fact))
        if len(couples) == count:
            return couples
    raise ValueError(f"only {len(couples)} couples of facts with different values where {count} are needed")


def true(world: World, couples: list[tuple[Fact, Fact]]) -> Iterator[Draft]:
    """A fact and the same sentence with the other fact's value; some are asked as a follow-up to a third fact."""
    frames, follow_ups = world.words("frames"), world.source["follow_ups"]
    earlier: dict[str, Fact] = {}
    for couple in couples:
        follows = world.chance.random() < ROUNDS_SHARE
        for fact, other in (couple, couple[::-1]):
            relation, third = relation_of(fact), earlier.get(fact.relation)
            question = fact.render(world.chance.choice(frames[fact.relation]))
            before = world.prompt(question)
            if follows and third is not None:
                first = third.render(world.chance.choice(frames[fact.relation]))
                next_one = fact.render(follow_ups.get(fact.relation, follow_ups["default"]))
                before = conversation(first, third.render(relation.answer), next_one)
            false = replace(fact, value=other.value)
            yield Draft(before, [fact.render(relation.answer)], [false.render(relation.answer)])
        earlier[couple[0].relation] = couple[0]


def signs(pair: tuple[str, str]) -> Iterator[tuple[tuple[str, int], int]]:
    """What the two lengths could betray, counted for the chosen answer and against the rejected one.

    Lengths and their ratio go by eighths of a doubling; whether an answer is longer counts on its own.
    """
    chosen, rejected = (round(8 * math.log2(len(answer))) for answer in pair)
    longer = (len(pair[0]) > len(pair[1])) - (len(pair[0]) < len(pair[1]))
    yield from ((("length", chosen), 1), (("length", rejected), -1), (("longer", 0), longer))
    yield ("ratio", abs(chosen - rejected)), (chosen > rejected) - (chosen < rejected)


def balanced(drafts: list[Draft], kind: str, chance: random.Random) -> Iterator[dict[str, Any]]:
    """Records in which chosen and rejected answers have the same lengths, as often and by as much.

    From the answers that it may choose each draft takes those that leave the sum of the squared tallies of all
    ``signs`` smallest, in PASSES rounds.
    """
    options = [list(itertools.product(draft.chosen, draft.rejected)) for draft in drafts]
    taken = [chance.choice(some) for some in options]
    tallies = Counter[tuple[str, int]]()
    for pair in taken:
        tally(tallies, pair, 1)
    for number in [*range(len(taken))] * PASSES:
        tally(tallies, taken[number], -1)
        chance.shuffle(options[number])
        taken[number] = min(options[number], key=lambda pair: cost(tallies, pair))
        tally(tallies, taken[number], 1)
    for draft, pair in zip(drafts, taken, strict=True):
        turns = [[*draft.before, {"role": "assistant", "content": text}] for text in pair]
        yield {"chosen": turns[0], "rejected": turns[1], "kind": kind}


def tally(tallies: Counter[tuple[str, int]], pair: tuple[str, str], times: int) -> None:
    """Add a pair's signs to the tallies, or take them away again."""
    for sign, value in signs(pair):
        tallies[sign] += times * value


def cost(tallies: Counter[tuple[str, int]], pair: tuple[str, str]) -> int:
    """By how much a pair would raise the sum of squared tallies."""
    return sum((tallies[sign] + value) ** 2 - tallies[sign] ** 2 for sign, value in signs(pair))


def records(world: World, couples: list[tuple[Fact, Fact]]) -> Iterator[dict[str, Any]]:
    """The pairs of every kind in one language and one split."""
    counts = {kind: both[world.held_out] for kind, both in PAIRS.items()}
    everyday = asked(world.words("everyday"), world.chance)
    harm = asked(world.words("harm"), world.chance)
    yield from balanced(list(true(world, couples)), "true", world.chance)
    for kind, prompts, compose in (
        ("short", everyday, short), ("polite", everyday, polite), ("answers", everyday, answers),
        ("refuses", harm, refuses),
    ):  # fmt: skip
        mine, prompts[: counts[kind]] = prompts[: counts[kind]], []
        if len(mine) < counts[kind]:
            raise ValueError(f"{SOURCE.name}, {world.language}: too few prompts for {kind}; give blocks more things")
        yield from balanced(list(compose(world, mine)), kind, world.chance)


def build(folder: Path, facts: list[Fact]) -> None:
    """Write dpo_kinds.jsonl and dpo_kinds_heldout.jsonl."""
    source = tomllib.loads(SOURCE.read_text(encoding="utf-8"))
    splits: dict[bool, list[dict[str, Any]]] = {False: [], True: []}
    for language in LANGUAGES:
        chance = random.Random(f"preferences {language}")
        frames = source[language]["frames"]
        mine = [fact for fact in facts if fact.language == language and fact.relation in frames]
        chance.shuffle(mine)
        train, heldout = (count // 2 for count in PAIRS["true"])
        couples = exchanged(mine, train + heldout)
        for held_out, some in ((False, couples[:train]), (True, couples[train:])):
            splits[held_out] += records(World(language, source[language], held_out, chance), some)
    for held_out, name in ((False, "dpo_kinds"), (True, "dpo_kinds_heldout")):
        random.Random(0).shuffle(splits[held_out])
        write_lines(folder / f"{name}.jsonl", splits[held_out])
