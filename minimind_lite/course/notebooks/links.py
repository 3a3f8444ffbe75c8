"""Links of a translated notebook: to the same edition where it goes on, else to the English one."""

import os
import re
from pathlib import Path

from minimind_lite.files import repository_root

from .colab import MASTERS
from .files import edition_path

_LINK = re.compile(r"(?<=\]\()([^)\s#:]+)(?=[)#])")


def inside_edition(source: str, folder: str, language: str) -> str:
    """The Markdown with each relative link as it must be in ``folder``/``language``.

    Links may be written as in the English notebook ("03_rope.ipynb", "../README.md"), or as they will be.
    """
    return _LINK.sub(lambda hit: _lead(hit[1], repository_root(), folder, language), source)


def _lead(link: str, root: Path, folder: str, language: str) -> str:
    places = (root / folder, root / folder / language)
    targets = [Path(os.path.normpath(place / link)) for place in places]
    target = next((one for one in targets if one.exists()), None)
    if target is None:
        return link
    relative = target.relative_to(root)
    if target.suffix == ".ipynb" and relative.parts[0] in MASTERS and relative.parts[1] != language:
        master = root / MASTERS[relative.parts[0]] / target.name
        target = edition_path(target, language) if edition_path(master, language).is_file() else target
    return Path(os.path.relpath(target, places[1])).as_posix()
