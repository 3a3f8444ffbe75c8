"""The texts of the sample world: corrected, whole, in one spelling, with the works that the facts ask about."""

import csv
import importlib
import json
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

SAMPLES = Path(__file__).parents[1] / "data_samples"
BUILDER = SAMPLES / "builder"
MENDED = tomllib.loads((BUILDER / "written" / "mended.toml").read_text(encoding="utf-8"))
PROSE = ("陋室铭", "岳阳楼记", "醉翁亭记", "滕王阁序")
NOVELS_AND_PLAYS = 15  # works that are books: no text of theirs is in the samples
# How many characters a lyric to a tune has, by the tables of tunes (词谱); two numbers for two known forms.
SONG_LENGTHS = {
    "清平乐": (46,), "蝶恋花": (60,), "玉楼春": (56,), "阮郎归": (47,), "御街行": (76, 78), "虞美人": (56, 58),
    "水龙吟": (102,), "水调歌头": (95,), "江城子": (70,), "青玉案": (66, 67), "卜算子": (44, 45), "好事近": (45,),
    "浣溪沙": (42,), "夜游宫": (57,), "鹧鸪天": (55,), "高阳台": (100,), "忆王孙": (31,), "临江仙": (58, 60),
    "唐多令": (60,), "点绛唇": (41,), "杏花天": (54, 58), "踏莎行": (58,), "淡黄柳": (65,), "苏幕遮": (62,),
    "少年游": (50, 51), "青门饮": (52,), "浪淘沙": (54,), "风入松": (76,), "念奴娇": (100,), "应天长": (98,),
    "瑞鹤仙": (102,), "西河": (105,), "清商怨": (43,), "月下笛": (99, 100), "满庭芳": (95,), "洞仙歌": (83,),
    "霜天晓角": (43,),
}  # fmt: skip


@pytest.fixture(scope="module")
def mend() -> Iterator[ModuleType]:
    """The builder's corrections; its folder is on the path only during the test."""
    sys.path.insert(0, str(BUILDER))
    yield importlib.import_module("mend")
    sys.path.remove(str(BUILDER))


def texts(name: str, *folders: str) -> list[str]:
    return [
        json.loads(line)["text"]
        for folder in folders or ("pretrain", "pretrain_heldout")
        for line in (SAMPLES / folder / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    ]


def test_no_correction_is_still_needed() -> None:
    everything = "\n".join(texts("poetry") + texts("classics"))
    wrong = [*MENDED["wrong"], *MENDED["drop"]]
    assert len(wrong) > 20
    assert not [phrase for phrase in wrong if phrase in everything]
    assert len([right for right in MENDED["wrong"].values() if right in everything]) > 10
    assert all(right in everything for right in ("远上寒山石径斜", "疑是地上霜。", "蒙蒙乱扑行人面"))


@pytest.mark.parametrize(("opening", "known"), MENDED["attributed"].items())
def test_poems_have_their_own_authors(opening: str, known: list[str]) -> None:
    title, dynasty, author = known
    found = [poem for poem in texts("poetry") if poem.split("\n", 2)[2].startswith(opening)]
    assert all(poem.startswith(f"{title}\n{dynasty}·{author}\n") for poem in found)
    assert all("·" in poem.split("\n")[1] and len(poem.split("\n")[1]) >= 4 for poem in texts("poetry"))


@pytest.mark.parametrize("tune", SONG_LENGTHS)
def test_lyrics_have_as_many_characters_as_their_tune_asks_for(tune: str) -> None:
    titles = re.compile(rf"(?:.*·)?{tune}\n宋·")
    lyrics = [poem.split("\n", 2)[2] for poem in texts("poetry") if titles.match(poem)]
    assert all(len(re.findall("[\u4e00-\u9fff]", verse)) in SONG_LENGTHS[tune] for verse in lyrics), lyrics


def test_regulated_verse_has_no_short_line(mend: ModuleType) -> None:
    free = re.compile(rf"蜀道难\n|(?:.*·)?(?:{'|'.join((*SONG_LENGTHS, '夏云峰'))})\n宋·")
    verses = [poem.split("\n", 2)[2] for poem in texts("poetry") if not free.match(poem)]
    assert len(verses) > 450
    assert not [verse for verse in verses if mend.loses_a_character(verse)]
    lost = "绿树交加山鸟啼，晴风荡落花飞。\n鸟歌花舞太守醉，明日酒醒春已归。"
    assert mend.loses_a_character(lost) and not mend.loses_a_character(lost.replace("荡", "荡漾"))
    assert not mend.loses_a_character("君不见黄河之水天上来，奔流到海不复回。\n五花马，千金裘。")


def test_one_spelling_for_each_word(mend: ModuleType) -> None:
    verses = "\n".join(poem.split("\n", 2)[2] for poem in texts("poetry"))
    assert not re.search("沈(?!郎)|馀|祗", verses)
    assert set(re.findall(".?著.?", verses)) <= {"章著，", "梅著花", "当著句", "堂著句"}
    poem = mend.corrected_poem("宫词\n唐·朱庆馀\n沈沈馀著花，祗应沈约著书。")
    assert poem == "宫词\n唐·朱庆馀\n沉沉余着花，只应沈约著书。"


def test_editors_notes_are_gone() -> None:
    assert not [text for text in texts("classics") if re.search(r"[0-9]|或作", text)]
    assert not [
        text for name in ("moby_dick", "speeches") for text in texts(name) if re.search(r"\*|- ?-| -{1,}\w", text)
    ]
    assert any(text.startswith("三字经\n人之初，性本善") for text in texts("classics"))
    assert any(text.startswith("千字文\n天地玄黄") for text in texts("classics"))


def test_the_works_that_facts_ask_about_are_known_and_taught() -> None:
    rows = csv.DictReader((BUILDER / "facts" / "tables" / "works_zh.csv").read_text(encoding="utf-8").splitlines())
    heads = {tuple(text.split("\n")[:2]) for name in ("poetry", "classics") for text in texts(name, "pretrain")}
    missing = [
        row["title"]
        for row in rows
        if not any(title.startswith(row["title"]) and by.endswith("·" + row["author"]) for title, by in heads)
    ]
    assert len(missing) == NOVELS_AND_PLAYS and "红楼梦" in missing
    assert all(any(text.startswith(title) for text in texts("classics", "pretrain")) for title in PROSE)
    held_out = "\n".join(texts("poetry", "pretrain_heldout"))
    for line in (
        "白毛浮绿水",
        "飞流直下三千尺",
        "家祭无忘告乃翁",
        "远近高低各不同",
        "留取丹心照汗青",
        "我劝天公重抖擞",
    ):
        assert any(line in poem for poem in texts("poetry", "pretrain")) and line not in held_out
