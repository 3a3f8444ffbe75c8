"""Peak memory of the data's path into training, for a small file and for one a thousand times as long.

Run ``OMP_NUM_THREADS=1 python benchmarks/memory.py``: about twenty minutes on one core, and 1 GB of disk for a while.
Each length is measured in a process of its own: JSON Lines of short made-up texts are tokenized and stored, packed into
blocks, and a thousand blocks, drawn at random, are read. Peak memory is what the system counted as resident, with the
mapped pages of files. Writes results/memory.json.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

# The library is imported by the measured processes only: a child starts with the peak of the process that made it.
RESULTS = Path(__file__).parent / "results" / "memory.json"
LINES = (10_000, 10_600_000)
TOKENIZER_LINES = 5_000
BLOCK_SIZE = 512
BLOCKS_READ = 1_000


def write_lines(path: Path, lines: int) -> None:
    """``lines`` records of 3 to 5 words out of 5,000; the longer file begins like the shorter one."""
    draw = np.random.default_rng(0)
    letters = np.array(list("aeioubdklmnprst"))
    words = ["".join(draw.choice(letters, size=size)) for size in draw.integers(2, 9, size=5_000)]
    with path.open("w", encoding="utf-8") as file:
        for start in range(0, lines, 10_000):
            counts, numbers = draw.integers(3, 6, size=10_000).tolist(), draw.integers(5_000, size=(10_000, 5)).tolist()
            for count, row in list(zip(counts, numbers, strict=True))[: lines - start]:
                file.write(json.dumps({"text": " ".join(words[number] for number in row[:count])}) + "\n")


def make_tokenizer(folder: Path) -> None:
    """Train a tokenizer of 4,096 tokens on the data's first lines and leave it in ``folder``."""
    from minimind_lite.data.records import read_records
    from minimind_lite.tokenizer import Tokenizer

    write_lines(folder / "first.jsonl", TOKENIZER_LINES)
    texts = (record.text for record in read_records(folder / "first.jsonl", "text"))
    Tokenizer.train(texts, vocab_size=4096).save(folder)


def peak_megabytes() -> int:
    """The most memory that was resident in this process so far."""
    import resource

    unit = 2**20 if sys.platform == "darwin" else 2**10  # bytes there, kibibytes here
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit)


def measure(data: Path, folder: Path) -> dict[str, Any]:
    """Tokenize, pack and read; seconds and the peak so far after each."""
    from minimind_lite.data.documents import token_store
    from minimind_lite.data.packing import PackedDataset
    from minimind_lite.tokenizer import Tokenizer

    seconds, peaks, begun = {}, {"imports": peak_megabytes()}, time.perf_counter()

    def done(phase: str) -> None:
        nonlocal begun
        seconds[phase], peaks[phase] = round(time.perf_counter() - begun, 1), peak_megabytes()
        begun = time.perf_counter()

    store = token_store(data, "text", Tokenizer.load(folder), folder / "tokens")
    done("tokenize")
    dataset = PackedDataset(store, BLOCK_SIZE)
    done("pack")
    for block in np.random.default_rng(0).integers(len(dataset), size=BLOCKS_READ).tolist():
        dataset[block]
    done("read")
    return {
        "documents": len(store), "tokens": store.header["tokens"], "blocks": len(dataset),
        "file_megabytes": round(data.stat().st_size / 2**20), "store_megabytes": round(store.header["bytes"] / 2**20),
        "seconds": seconds, "peak_megabytes_after": peaks, "peak_megabytes": peak_megabytes(),
    }  # fmt: skip


def child(*arguments: object) -> str:
    """What this script prints when a new process runs it with ``arguments``."""
    command = [sys.executable, __file__, *map(str, arguments)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, encoding="utf-8", timeout=7200).stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, nargs="+", default=LINES)
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--folder", type=Path, help="where the data is written for a while; by default a temporary one")
    parser.add_argument("--tokenizer-into", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--measure", type=Path, nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.tokenizer_into:
        make_tokenizer(options.tokenizer_into)
        return
    if options.measure:
        print(json.dumps(measure(*options.measure)))
        return
    report: dict[str, Any] = {
        "command": "OMP_NUM_THREADS=1 python benchmarks/memory.py",
        "unit": "MiB resident at the peak (ru_maxrss), mapped pages of files included",
        "block_size": BLOCK_SIZE, "blocks_read": BLOCKS_READ, "machine": platform.machine(),
        "python": platform.python_version(), "threads": os.environ.get("OMP_NUM_THREADS"),
    }  # fmt: skip
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        child("--tokenizer-into", folder)
        for lines in options.lines:
            write_lines(folder / "data.jsonl", lines)
            report[f"{lines} lines"] = json.loads(child("--measure", folder / "data.jsonl", folder))
            print(lines, report[f"{lines} lines"], flush=True)
    peaks = [report[f"{lines} lines"]["peak_megabytes"] for lines in options.lines]
    report["difference_megabytes"] = max(peaks) - min(peaks)
    options.output.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
