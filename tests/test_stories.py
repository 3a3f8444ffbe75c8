"""The story world: what its files promise, and the measures of a story on true and on planted-bad ones."""

import importlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from minimind_lite.evaluation.stories import (
    StoryWorld,
    TrainingText,
    ends_by_itself,
    fits_wish,
    keeps_hero,
    mentions,
    read_world,
    score_stories,
)

SAMPLES = Path(__file__).parents[1] / "data_samples"
WORLD = SAMPLES / "stories.json"
LANGUAGES = ("zh", "en")
HEROES = ("the fox", "the cat", "Tom", "小狐狸", "小猫")
FOX = "Once there was a little fox. The fox met a cat. The cat found his kite. The fox was happy with the kite."


@pytest.fixture(scope="module")
def builder() -> Iterator[ModuleType]:
    """The builder's module of stories; its folder is on the path only during the test."""
    sys.path.insert(0, str(SAMPLES / "builder"))
    yield importlib.import_module("stories")
    sys.path.remove(str(SAMPLES / "builder"))


def records(name: str) -> list[dict[str, str]]:
    return [json.loads(line) for line in (SAMPLES / name).read_text(encoding="utf-8").splitlines()]


def told(folder: str, language: str) -> list[dict[str, str]]:
    """The stories of a file of conversations, each with its request as ``ask``."""
    found = records(f"{folder}/stories_{language}.jsonl")
    turns = [record.pop("conversations") for record in found]
    return [
        record | {"ask": ask["content"], "text": answer["content"]}
        for record, (ask, answer) in zip(found, turns, strict=True)
    ]


def read(name: str) -> list[dict[str, str]]:
    """The stories of a file of texts, each with its first line as ``title``."""
    found = records(name)
    parts = [record["text"].split("\n") for record in found]
    return [record | {"title": title, "text": text} for record, (title, text) in zip(found, parts, strict=True)]


def trained(language: str) -> list[dict[str, str]]:
    return read(f"pretrain/stories_{language}.jsonl") + told("chat", language)


def composed(builder: ModuleType, language: str) -> list[dict[str, str]]:
    """The training stories that the grammar composed, with hero and wish, which those to read do not state."""
    world = builder.load_world(language)
    free = builder.free(world)
    return [*builder.training(world, free)[len(free) :], *builder.shortest(world)]


def held_out_files(language: str) -> dict[str, list[dict[str, str]]]:
    return {
        "wordings": read(f"pretrain_heldout/stories_{language}.jsonl"),
        "pairs": read(f"pretrain_heldout/stories_pairs_{language}.jsonl"),
        "asked": told("chat_heldout", language),
    }


def all_records(language: str) -> list[dict[str, str]]:
    return [*trained(language), *(one for part in held_out_files(language).values() for one in part)]


@pytest.mark.parametrize("language", LANGUAGES)
def test_enough_stories_of_the_right_length_and_no_two_alike(builder: ModuleType, language: str) -> None:
    stories = [one for one in trained(language) if len(builder.tokens(one["text"])) >= builder.MINIMUM[language]]
    assert len(stories) >= 780 and all(len(part) == 100 for part in held_out_files(language).values())
    assert sum(len(record["text"].encode()) for record in trained(language)) > 455_000
    everything = [record["text"] for record in all_records(language)]
    assert len(set(everything)) == len(everything)
    longest = builder.LONGEST_RUN[language]
    seen: set[str] = set()
    for record in stories:
        mine = builder.runs(record["text"], longest)
        assert not mine & seen, record["text"]
        seen |= mine


@pytest.mark.parametrize("language", LANGUAGES)
def test_some_stories_are_told_on_request_and_the_others_read(builder: ModuleType, language: str) -> None:
    told_texts, to_read = told("chat", language), read(f"pretrain/stories_{language}.jsonl")
    free = {record["text"] for record in builder.free(builder.load_world(language))}
    pairs = {one["text"]: (one["hero"], one["wish"]) for one in composed(builder, language)}
    for part, shortest, longest in ((to_read, 0.05, 0.3), (told_texts, 0.5, 0.75)):
        lengths = [len(builder.tokens(one["text"])) >= builder.MINIMUM[language] for one in part]
        assert shortest < lengths.count(False) / len(lengths) < longest
        assert len({(pairs[one["text"]]) for one in part if one["text"] in pairs}) > 200
        assert sum(one["text"] in free for one in part) > 0.15 * len(free)
    assert 0.37 <= len(told_texts) / (len(to_read) + len(told_texts)) <= 0.45


@pytest.mark.parametrize("language", LANGUAGES)
def test_titles_name_hero_and_wish_and_a_short_story_is_asked_for_as_such(builder: ModuleType, language: str) -> None:
    world = builder.load_world(language)
    free = {record["text"]: record for record in builder.free(world)}
    pairs = {one["text"]: one for one in composed(builder, language)} | free
    for record in read(f"pretrain/stories_{language}.jsonl"):
        story = pairs[record["text"]]
        assert record["title"].lower().startswith(story["hero"].lower()), record
        assert record["title"].endswith(world.wishes[story["wish"]]["ask"]), record
    frames = [frame.split("{ask}") for frame in world.asks["short"]]
    for record in told("chat", language):
        short = len(builder.tokens(record["text"])) < builder.MINIMUM[language]
        marked = any(record["ask"].startswith(before) and record["ask"].endswith(after) for before, after in frames)
        assert marked is short or record["text"] in free, record


@pytest.mark.parametrize("language", LANGUAGES)
def test_requests_name_what_they_say_they_name(builder: ModuleType, language: str) -> None:
    world = builder.load_world(language)
    asked = {hero.name: hero.asked for hero in world.heroes}
    for record in (*told("chat", language), *told("chat_heldout", language)):
        hero, wish = asked[record["hero"]], world.wishes[record["wish"]]["ask"]
        assert (wish in record["ask"]) is (record["asked"] in ("wish", "both")), record["ask"]
        assert record["asked"] == "wish" or hero in record["ask"], record["ask"]
    for part in (told("chat", language), told("chat_heldout", language)):
        assert {one["asked"] for one in part} == {"hero", "wish", "both"}


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_texts_are_filled_in_and_well_formed(language: str) -> None:
    for record in all_records(language):
        text = record["text"]
        assert ends_by_itself(text), text
        assert not re.search(r"[{}*]|  |[,，。.]{2}|\ba [aeiou]", text), text
        assert not re.search(r"[a-zA-Z]" if language == "zh" else r"[\u4e00-\u9fff“”]", text), text
        assert not re.search(r"(?:^|\. )\"?[a-z]", text), text
        assert "ask" not in record or re.search(r"[。？！.?!]$", record["ask"]), record["ask"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_vocabulary_is_small(builder: ModuleType, language: str) -> None:
    found = {token for record in all_records(language) for token in builder.tokens(record["text"])}
    assert len(found) <= {"zh": 530, "en": 500}[language]


@pytest.mark.parametrize("language", LANGUAGES)
def test_held_out_requests_keep_their_distance(builder: ModuleType, language: str) -> None:
    """No request contains another, and they are at least three edits (Chinese) or six (English) apart."""
    talk = importlib.import_module("talk")
    asks, kinds, edits = builder.load_world(language).asks, ("hero", "wish", "both"), {"zh": 3, "en": 6}[language]
    trained = [talk.plain(one, language) for kind in kinds for one in asks[kind]]
    assert len(trained) == len(set(trained)) >= 3 * 90
    for held in (talk.plain(one, language) for kind in kinds for one in asks[f"heldout_{kind}"]):
        for one in trained:
            assert not talk.is_within(held, one, language) and not talk.is_within(one, held, language), (held, one)
            assert not talk.nearer_than(held, one, edits), (held, one)


@pytest.mark.parametrize("language", LANGUAGES)
def test_held_out_are_pairs_wordings_and_requests(builder: ModuleType, language: str) -> None:
    world = builder.load_world(language)
    train = composed(builder, language)
    written = {one["text"] for one in (*train, *builder.free(world))}
    assert written == {one["text"] for one in trained(language)}
    parts = held_out_files(language)
    known = {(one["hero"], one["wish"]) for one in train}
    for part in parts.values():
        assert known and not known & {(one["hero"], one["wish"]) for one in part}
    assert not {one["ask"] for one in told("chat", language)} & {one["ask"] for one in parts["asked"]}
    slots = [*world.frames.values(), *(wish[slot] for wish in world.wishes.values() for slot in ("want", "solve"))]
    kept = [wording[1:] for slot in slots for wording in slot if wording.startswith("*")]
    pieces = [max(re.split(r"\{\w+\}", wording), key=len) for wording in kept]
    said = "\n".join(one["text"] for one in train)
    assert len(kept) > 35
    assert not [piece for piece in pieces if len(piece) > {"zh": 6, "en": 18}[language] and piece in said]
    new = [
        sum(any(piece in one["text"] for piece in pieces if len(piece) > 4) for one in part) for part in parts.values()
    ]
    assert new[0] > 95 and new[1] < 30


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_grammar_is_complete(builder: ModuleType, language: str) -> None:
    world = builder.load_world(language)
    assert len(world.heroes) >= 26 and len(world.wishes) >= 14 and len(builder.free(world)) >= 60
    kinds = {f"{split}{kind}" for split in ("", "heldout_") for kind in ("hero", "wish", "both")}
    assert set(world.asks) == kinds | {"short"} and all("{ask}" in frame for frame in world.asks["short"])
    for kind in kinds:
        asks = world.asks[kind]
        assert len(set(asks)) == len(asks) >= (4 if kind.startswith("heldout") else 30), kind
    for name, wish in world.wishes.items():
        assert min(len(wish[slot]) for slot in ("obstacle", "help", "try", "alone", "solve", "end")) >= 3, name
        assert len(wish["plots"]) == len(wish["obstacle"]), name
        assert all(any(key in said for key in wish["keys"]) for said in wish["alone"] + wish["share"]), name
    for name, slot in world.frames.items():
        assert len([one for one in slot if not one.startswith("*")]) >= 3, name


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_helper_is_not_the_hero_and_pronouns_agree(builder: ModuleType, language: str) -> None:
    world = builder.load_world(language)
    pronouns = {hero.name: hero.pronoun for hero in world.heroes}
    friendly = ("said {0} to {0}", "told {0} everything", "gave {0} a") if language == "en" else ("谢谢你，{0}",)
    held_out = [one for part in held_out_files(language).values() for one in part]
    for record in composed(builder, language) + held_out:
        text, hero = record["text"], record["hero"]
        if language == "en":
            wrong = {"he": "she", "she": "he"}[pronouns[hero]]
            assert not re.search(rf"\b{wrong}\b", text, re.IGNORECASE), text
            assert not any(form.format(hero).lower() in text.lower() for form in friendly), text
        else:
            assert not any(form.format(hero) in text for form in friendly), text
            others = {"它", "他", "她"} - {pronouns[hero], "它"}
            assert not re.search(f"[{''.join(others)}](?!们)", text), text


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_measures_accept_the_stories_and_reject_planted_mistakes(builder: ModuleType, language: str) -> None:
    world, held_out = read_world(WORLD, language), held_out_files(language)["wordings"]
    training = TrainingText(record["text"] for record in trained(language))
    texts, asked = [one["text"] for one in held_out], [(one["hero"], one["wish"]) for one in held_out]
    good = score_stories(texts, asked, world, training)
    assert good.ended == 1 and good.hero_kept > 0.98 and good.wish_fits > 0.98 and good.copied < 0.4
    heroes, wishes = world.heroes, list(world.endings)
    other = [(heroes[heroes.index(hero) - 1], wishes[wishes.index(wish) - 1]) for hero, wish in asked]
    bad = score_stories([text[:-2] for text in texts], other, world, training)
    assert bad.ended < 0.05 and bad.hero_kept < 0.02 and bad.wish_fits < 0.15
    assert "hero kept" in str(good)
    copied = trained(language)[0]["text"]
    assert training.copied_share(copied) == 1


@pytest.mark.parametrize(
    ("story", "ends"),
    [
        ("The end.", True),
        ('"Yes!"', True),
        ("它笑了。\n", True),
        ("它说：“好。”", True),
        ("The end", False),
        ('He said, "Yes.', False),
        ("它说：“好。", False),
        ("", False),
    ],
)
def test_a_story_ends_with_a_sentence_and_closed_quotes(story: str, ends: bool) -> None:
    assert ends_by_itself(story) is ends


@pytest.mark.parametrize(
    ("story", "hero", "kept"),
    [
        (FOX, "the fox", True),
        (FOX, "the cat", False),
        (FOX, "Tom", False),
        ("There was a fox. The cat ran. The cat sang. The cat slept.", "the fox", False),
        ("A fox! A fox! A fox! A long and quiet day went by. Then the cat went home with the cat.", "the fox", False),
        ("Tom had a kite that he liked very much. Then he lost it, and he was sad.", "Tom", True),
        ("Tomorrow it will rain.", "Tom", False),
        ("有一只小狐狸。小猫来了。小狐狸笑了。", "小狐狸", True),
        ("有一只小狐狸。小猫来了。小猫笑了。", "小狐狸", False),
        ("", "Tom", False),
    ],
)
def test_the_hero_is_kept(story: str, hero: str, kept: bool) -> None:
    assert keeps_hero(story, hero, HEROES) is kept


def test_names_are_whole_words() -> None:
    assert mentions("The cat saw cattle and a CAT.", "the cat") == 2
    assert mentions("小猫和小猫头鹰", "小猫") == 2


def test_only_the_ending_counts_for_the_wish() -> None:
    assert fits_wish(FOX, ["kite"])
    assert fits_wish("She sang. They were Singing.", ["sing"])
    assert not fits_wish("A kite. One. Two. Three. Four. Five.", ["kite"])
    assert not fits_wish("I was using it.", ["sing"])
    assert not fits_wish("", ["kite"])


def test_the_longest_run_is_found_within_one_story() -> None:
    training = TrainingText(["one two three four", "three four five six seven", "春天来了"])
    assert training.longest_run("zero two three four five") == 3
    assert training.longest_run("THREE, four five six!") == 4
    assert training.longest_run("four one") == 0
    assert training.copied_share("春天来了吗？") == pytest.approx(4 / 5)
    assert training.copied_share("") == 0


def test_bad_input_is_explained(tmp_path: Path) -> None:
    world, training = StoryWorld(HEROES, {"kite": ["kite"]}), TrainingText([])
    with pytest.raises(ValueError, match="0 stories"):
        score_stories([], [], world, training)
    with pytest.raises(ValueError, match="1 stories, 2 requests"):
        score_stories([FOX], [("the fox", "kite")] * 2, world, training)
    with pytest.raises(ValueError, match="unknown wish 'moon'; the world has: kite"):
        score_stories([FOX], [("the fox", "moon")], world, training)
    with pytest.raises(ValueError, match="no story world for 'fr'"):
        read_world(WORLD, "fr")
    (tmp_path / "world.json").write_text('{"en": {"heroes": []}}', encoding="utf-8")
    with pytest.raises(ValueError, match=r"world\.json.*wishes"):
        read_world(tmp_path / "world.json", "en")


def test_hero_and_wish_count_where_they_were_asked_for() -> None:
    world, training = StoryWorld(HEROES, {"kite": ["kite"], "hill": ["hill"]}), TrainingText([])
    scores = score_stories([FOX, FOX, FOX], [("the fox", None), ("Tom", "kite"), (None, "hill")], world, training)
    assert (scores.hero_kept, scores.wish_fits) == (0.5, 0.5)
    with pytest.raises(ValueError, match="none of 1 requests names a hero"):
        score_stories([FOX], [(None, "kite")], world, training)
    with pytest.raises(ValueError, match="none of 1 requests names a wish"):
        score_stories([FOX], [("the fox", None)], world, training)


def test_a_story_that_ran_into_the_limit_did_not_end_by_itself() -> None:
    world, training = StoryWorld(HEROES, {"kite": ["kite"]}), TrainingText([])
    scores = score_stories([FOX, FOX], [("the fox", "kite")] * 2, world, training, finished=[True, False])
    assert scores.ended == 0.5 and scores.hero_kept == 1 and scores.wish_fits == 1
