"""Refuse a release whose tag, version, citation and change log disagree: python tools/check_tag.py v0.1.0"""

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def problems(tag: str, root: Path = ROOT) -> list[str]:
    """What stands in the way of releasing ``tag``, one sentence each; an empty list means nothing."""
    version = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    wrong = [] if tag == f"v{version}" else [f"the tag is {tag}, but pyproject.toml says {version}: tag v{version}"]
    cited = re.search(r"^version: (.+)$", (root / "CITATION.cff").read_text(encoding="utf-8"), re.MULTILINE)
    if cited is None or cited[1].strip("\"'") != version:
        wrong.append(f"CITATION.cff does not say version: {version}")
    heading = re.search(
        rf"^## {re.escape(version)}.*$", (root / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    if heading is None:
        wrong.append(f"CHANGELOG.md has no heading for {version}")
    elif "not released" in heading[0]:
        wrong.append(f"CHANGELOG.md still calls {version} not released: write its date")
    return wrong


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python tools/check_tag.py TAG")
    sys.exit("\n".join(problems(sys.argv[1])) or 0)
