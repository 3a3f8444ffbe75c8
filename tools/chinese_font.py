"""Write course/kit/fonts/NotoSansSC-course.otf: the Chinese that the course's pictures need, out of Noto Sans CJK.

    apt-get install fonts-noto-cjk   # on Debian and Ubuntu; or name another file that holds Noto Sans CJK SC
    python tools/chinese_font.py [/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc]

It holds the characters of the catalogue, then those of the sample data, the most frequent first, up to the number that
keeps the file small.
"""

import argparse
import sys
from collections import Counter
from pathlib import Path

from fontTools.subset import Options, Subsetter
from fontTools.ttLib import TTCollection, TTFont

from minimind_lite.course.kit.chinese_font import CHINESE_FONT
from minimind_lite.course.kit.language import DOMAIN, LOCALE
from minimind_lite.files import repository_root

SOURCE = Path("/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc")
FACE = "Noto Sans CJK SC"
CHARACTERS = 2300  # Chinese ones
LARGEST = 500_000  # bytes
ALWAYS = [*map(chr, range(0x20, 0x7F)), *"，。；：！？、（）《》“”‘’「」【】…—·～％×÷±√²³°θλπ→←⏎␣"]


def is_chinese(character: str) -> bool:
    """Whether it is one of the common Chinese characters."""
    return "\u4e00" <= character <= "\u9fff"


def wanted() -> list[str]:
    """The characters to keep: all of the catalogue's, then the sample's by how often they occur."""
    said = "".join(path.read_text(encoding="utf-8") for path in sorted(LOCALE.rglob(f"{DOMAIN}.po")))
    samples = sorted(path for path in (repository_root() / "data_samples").rglob("*.jsonl") if path.is_file())
    found = Counter(one for path in samples for one in path.read_text(encoding="utf-8") if is_chinese(one))
    order = sorted(found, key=lambda one: (-found[one], one))
    needed = sorted(set(filter(is_chinese, said)))
    rest = [one for one in order if one not in set(needed)]
    return [*ALWAYS, *needed, *rest[: max(CHARACTERS - len(needed), 0)]]


def face_in(source: Path) -> TTFont:
    """The simplified Chinese face of a collection, or the one font of the file."""
    if source.suffix != ".ttc":
        return TTFont(source)
    faces = {str(one["name"].getDebugName(4)): one for one in TTCollection(source).fonts}
    return next(one for name, one in faces.items() if name.startswith(FACE) and "Mono" not in name)


def main() -> int:
    """Write the font; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", nargs="?", type=Path, default=SOURCE)
    source = parser.parse_args().source
    if not source.is_file():
        print(f"there is no {source}: install fonts-noto-cjk, or name a file that holds {FACE}")
        return 1
    font = face_in(source)
    options = Options(layout_features=[], name_IDs=[0, 1, 2, 4, 6, 13, 14], hinting=False, desubroutinize=False)
    subsetter = Subsetter(options)
    subsetter.populate(text="".join(wanted()))
    subsetter.subset(font)
    for record in list(font["name"].names):  # a name of its own, so that an installed Noto is not confused with it
        if record.nameID in (1, 4, 6):
            record.string = "NotoSansSC-course" if record.nameID == 6 else "Noto Sans SC course"
    CHINESE_FONT.parent.mkdir(exist_ok=True)
    font["head"].modified = font["head"].created  # the same bytes on every day
    font.recalcTimestamp = False
    font.save(CHINESE_FONT)
    size = CHINESE_FONT.stat().st_size
    print(f"{CHINESE_FONT.name}: {len(font.getBestCmap())} characters, {size // 1000} KB")
    return int(size > LARGEST)


if __name__ == "__main__":
    sys.exit(main())
