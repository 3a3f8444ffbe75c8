"""Chinese texts: poems and classical prose from chinese-poetry, and the famous works that the facts mention."""

import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

from facts import load_facts
from mend import check_all_used, corrected, corrected_poem, loses_a_character
from opencc import OpenCC
from sources import POETRY, read_json
from texts import MAX_CHARACTERS, NearDuplicates, chunks, sentences, write_texts

WRITTEN = Path(__file__).parent / "written"
POETRY_BYTES = 90_000
WHOLE = ("三字经", "千字文")  # primers that are known by heart: no line is left out for a rare character
COMMON = 2_500  # characters: texts with a rarer one are left out: a small vocabulary must spell it in bytes
TANG = (
    "李白 杜甫 白居易 王维 孟浩然 王昌龄 高适 岑参 刘禹锡 柳宗元 韩愈 李商隐 杜牧 "
    "温庭筠 韦应物 刘长卿 贾岛 张籍 王建 元稹 李贺 孟郊 张九龄 许浑 韦庄 罗隐"
)
SONG = "苏轼 陆游 王安石 杨万里 黄庭坚 欧阳修 范成大 梅尧臣 朱熹 曾巩 苏辙 秦观 陈与义 林逋 晏殊 文天祥"
_PATHS = re.compile(r"dist/(mengxue|lunyu|sishuwujing|shuimotangshi|songci/宋词|quantangshi/poet)")
_CONVERTER = OpenCC("t2s")
_CHARACTERS = str.maketrans("「」『』・?!,;:茍", "“”‘’·？！，；：苟")
_NOTE = re.compile(r"[0-9]\..*|[0-9]")  # a footnote at the end of a paragraph, and the mark that points to it
# Characters whose right simplification depends on the meaning, which only a reader knows.
_AMBIGUOUS = re.compile("乾(?!坤)|[蘋祇衹麽麼甯瀋]|(?<=[宫宮角商])徵")


def simplified(text: str) -> str | None:
    """``text`` in simplified characters, or None if the conversion cannot be trusted.

    Trusted means: no ambiguous character, and every character is in GB 2312, so nothing traditional or garbled is left.
    """
    converted = _CONVERTER.convert(text).translate(_CHARACTERS).replace("？。", "？").replace("！。", "！")
    try:
        converted.replace("·", "").encode("gb2312")
    except UnicodeEncodeError:
        return None
    return None if _AMBIGUOUS.search(text) else converted


def poem_text(title: str, dynasty: str, author: str, lines: list[str]) -> str | None:
    """One poem in its usual form: title, dynasty and author, lines. None if it is damaged, a fragment or too long."""
    title = " ".join(title.split())
    text = simplified("\n".join([title, f"{dynasty}·{author}", *lines]))
    text = text and corrected_poem(text)
    if text is None or re.search(r"[□（(〔\[{/○■*]|佚名", text) or not 20 <= len("".join(lines)) <= 450:
        return None
    return text if title != "句" and not title.startswith("又") and len(title) <= 16 else None


def shi(title: str, dynasty: str, author: str, lines: list[str]) -> str | None:
    """``poem_text`` for every form but the Song lyrics, whose lines differ in length: None if a line is too short."""
    text = poem_text(title, dynasty, author, lines)
    return None if text is None or loses_a_character(text.split("\n", 2)[2]) else text


def famous(name: str) -> list[list[str]]:
    """The works in written/NAME.txt, each as texts of at most MAX_CHARACTERS with the title and author on top."""
    works = []
    for block in (WRITTEN / f"{name}.txt").read_text(encoding="utf-8").strip().split("\n\n")[1:]:
        title, author, *lines = block.split("\n")
        head = f"{title}\n{author}\n"
        pieces = [piece for line in lines for piece in ([line] if len(line) <= 400 else sentences(line))]
        works.append([head + text for text in chunks(pieces, "\n", MAX_CHARACTERS - len(head))])
    return works


def collected_poems(data: dict[str, Any]) -> Iterator[str | None]:
    """The anthologies first: 300 Tang poems, the Thousand Poets' poems, 300 Song lyrics."""
    for group in data["dist/mengxue/tangshisanbaishou.json"]["content"]:
        for poem in group["content"]:
            yield shi(poem["subchapter"] or poem["chapter"], "唐", poem["author"], poem["paragraphs"])
    for poem in data["dist/shuimotangshi/shuimotangshi.json"]:
        yield shi(poem["title"], "唐", poem["author"], poem["paragraphs"])
    for group in data["dist/mengxue/qianjiashi.json"]["content"]:
        for poem in group["content"]:
            match = re.fullmatch(r"（([唐宋])）(\S+)", poem["author"])
            if match and isinstance(poem["paragraphs"][0], str):
                yield shi(poem["chapter"], match[1], match[2], poem["paragraphs"])
    for poem in data["dist/songci/宋词三百首.json"]:
        yield poem_text(poem["rhythmic"], "宋", poem["author"], poem["paragraphs"])


def poems_of(data: dict[str, Any], names: str, dynasty: str) -> Iterator[str | None]:
    """Poems of well-known poets, one from each in turn, so that no poet fills the file alone."""
    by_author: dict[str, list[str | None]] = {name: [] for name in names.split()}
    kind = "tang" if dynasty == "唐" else "song"
    for path, poems in data.items():
        if path.startswith(f"dist/quantangshi/poet.{kind}."):
            for poem in poems:
                author = _CONVERTER.convert(poem["author"])
                if author in by_author and 2 <= len(poem["paragraphs"]) <= 8:
                    by_author[author].append(shi(poem["title"], dynasty, author, poem["paragraphs"]))
    found = [list(filter(None, poems)) for poems in by_author.values()]
    for turn in range(max(map(len, found))):
        yield from (poems[turn] for poems in found if turn < len(poems))


def with_common_characters(texts: list[str]) -> list[str]:
    """The texts that use only the ``COMMON`` most frequent characters over all of them."""
    counts = Counter(character for text in texts for character in text)
    common = {character for character, _ in counts.most_common(COMMON)}
    return [text for text in texts if common.issuperset(text)]


def build_poetry(folder: Path, data: dict[str, Any]) -> None:
    """Write poetry.jsonl: the anthologies, then Tang and Song poets in turn, until the file is full."""
    tang, song = poems_of(data, TANG, "唐"), poems_of(data, SONG, "宋")
    more = (poem for pair in zip(tang, tang, song, strict=False) for poem in pair)
    fresh, poems, size = NearDuplicates(), [], 0
    known = famous("famous_poems_zh")
    for work in known:
        fresh.add("".join(work))
    for poem in with_common_characters([poem for stream in (collected_poems(data), more) for poem in stream if poem]):
        if size < POETRY_BYTES and fresh.add(poem.split("\n", 2)[2]):
            asked = tuple(poem.split("\n")[:2]) in asked_works()
            (known if asked else poems).append([poem])
            size += len(poem.encode("utf-8"))
    write_texts(folder, "poetry", poems, always=known)


@cache
def asked_works() -> set[tuple[str, ...]]:
    """(title, "dynasty·author") of the works that the facts ask about, as far as they are by Tang and Song poets."""
    asked = [fact for fact in load_facts() if (fact.language, fact.relation) == ("zh", "work_author")]
    return {(fact.subject, f"{dynasty}·{fact.value}") for fact in asked for dynasty in "唐宋"}


def classic_items(data: dict[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """Classical prose and primers as (heading, paragraphs): one item is one chapter or essay."""
    for chapter in data["dist/lunyu/lunyu.json"]:
        yield f"论语·{chapter['chapter']}", chapter["paragraphs"]
    for chapter in data["dist/sishuwujing/mengzi.json"][::3]:
        yield f"孟子·{chapter['chapter']}", chapter["paragraphs"]
    for name in ("daxue", "zhongyong"):
        chapter = data[f"dist/sishuwujing/{name}.json"]
        yield chapter["chapter"], chapter["paragraphs"]
    for name in ("sanzijing-traditional", "zhuzijiaxun"):
        book = data[f"dist/mengxue/{name}.json"]
        yield book["title"], book["paragraphs"]
    words = data["dist/mengxue/qianziwen.json"]
    pairs = zip(words["paragraphs"][::2], words["paragraphs"][1::2], strict=False)
    yield words["title"], [f"{first}，{second}。" for first, second in pairs]
    for chapter in data["dist/mengxue/dizigui.json"]["content"]:
        yield f"弟子规·{chapter['chapter']}", [line.replace(" ", "，") + "。" for line in chapter["paragraphs"]]
    for chapter in data["dist/mengxue/zengguangxianwen.json"]["content"]:
        yield f"增广贤文·{chapter['chapter']}", chapter["paragraphs"]


def build_classics(folder: Path, data: dict[str, Any]) -> None:
    """Write classics.jsonl: chapters cut at paragraph and sentence ends, every piece headed by its title."""
    chapters = [(title, [readable(paragraph) for paragraph in paragraphs]) for title, paragraphs in classic_items(data)]
    common = set(with_common_characters([text for _, texts in chapters for text in texts if text]))
    items = []
    for title, texts in chapters:
        kept = texts if _CONVERTER.convert(title) in WHOLE else [text if text in common else None for text in texts]
        items.append(list(item_texts(title, kept)))
    write_texts(folder, "classics", filter(None, items), always=famous("famous_prose_zh"))


def readable(paragraph: str) -> str | None:
    """A paragraph in simplified characters without spaces and editor's notes, or None if it cannot be trusted."""
    text = simplified(_NOTE.sub("", re.sub(r"\s", "", paragraph)))
    return text and corrected(text)


def item_texts(title: str, paragraphs: list[str | None]) -> Iterator[str]:
    """One chapter's texts. A paragraph that is left out (None) is a break: no text spans it."""
    heading = _CONVERTER.convert(title)
    joint = "" if all(len(paragraph or "") <= 40 for paragraph in paragraphs) else "\n"
    for present, run in groupby(paragraphs, lambda text: text is not None):
        pieces = [piece for text in run if text for piece in ([text] if len(text) <= 450 else sentences(text))]
        for text in chunks(pieces, joint, 480) if present else ():
            if len(text) >= 30:
                yield f"{heading}\n{text}"


def build(folder: Path, sources: Path) -> None:
    """Write both Chinese sources."""
    data = read_json(sources, POETRY, lambda path: bool(_PATHS.match(path)))
    build_poetry(folder, data)
    build_classics(folder, data)
    check_all_used()
