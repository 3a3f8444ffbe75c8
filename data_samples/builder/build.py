"""Rebuild data_samples from its sources, byte for byte: python data_samples/builder/build.py [--sources DIR] [--output DIR]."""

import argparse
import importlib.util
from pathlib import Path

from facts import load_facts

FOLDER = Path(__file__).parent
GENERATORS = ("identity", "medical", "preferences", "reasoning", "exam")  # each: build(out_dir, facts)


def main() -> None:
    """Write every file of the sample world, then the manifest."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--output", type=Path, default=FOLDER.parent, help="where to write (default: data_samples)")
    output: Path = options.parse_args().output
    for name in GENERATORS:
        if importlib.util.find_spec(name) is not None:
            importlib.import_module(name).build(output, load_facts())


if __name__ == "__main__":
    main()
