"""Peak memory and speed of `minimind data clean`, for a small file and for one many times as long.

Run ``OMP_NUM_THREADS=1 python benchmarks/cleaning_memory.py --lines 2000000``; it needs the extra ``clean``, and some
700 bytes of disk per line for a while. Each length is measured in a process of its own, with every step but exams.
Lines are made-up texts of 20 to 30 words, all different, with every tenth an exact and every twentieth a near copy of
an earlier one. Peak memory is what the system counted as resident. Speed is given by the clock and by the processor's
time, which other work on the machine does not lengthen. Writes results/cleaning.json.
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
from memory import peak_megabytes

RESULTS = Path(__file__).parent / "results" / "cleaning.json"
SMALL, LINES = 10_000, 2_000_000
EXACT_EVERY, NEAR_EVERY = 10, 20


def write_lines(path: Path, lines: int) -> None:
    """``lines`` records; the longer file begins like the shorter one."""
    draw = np.random.default_rng(0)
    letters = np.array(list("aeioubdklmnprst"))
    words = ["".join(draw.choice(letters, size=size)) for size in draw.integers(2, 9, size=5_000)]
    with path.open("w", encoding="utf-8") as file:
        earlier = [words[0]]
        for number in range(lines):
            text = [words[one] for one in draw.integers(5_000, size=int(draw.integers(20, 31)))]
            if number % EXACT_EVERY == EXACT_EVERY - 1:
                text = earlier
            elif number % NEAR_EVERY == NEAR_EVERY // 2:
                text = [*earlier[:-1], words[number % 5_000]]
            elif number % 5 == 0:
                earlier = text
            file.write(json.dumps({"text": " ".join(text) + "."}) + "\n")


def measure(data: Path, output: Path) -> dict[str, Any]:
    """Clean a file; seconds, megabytes and what each step rejected."""
    from minimind_lite.data.cleaning import CleaningOptions, clean

    imported, begun, worked = peak_megabytes(), time.perf_counter(), time.process_time()
    report = clean([data], output, CleaningOptions(language="en"))
    seconds, worked = time.perf_counter() - begun, time.process_time() - worked
    size = data.stat().st_size
    return {
        "lines": report.read, "kept": report.kept, "file_megabytes": round(size / 2**20, 1),
        "seconds": round(seconds, 1), "cpu_seconds": round(worked, 1),
        "gigabytes_per_hour": round(size / 1e9 / seconds * 3600, 2),
        "gigabytes_per_cpu_hour": round(size / 1e9 / worked * 3600, 2),
        "imports_megabytes": imported, "peak_megabytes": peak_megabytes(),
        "rejected": {name: step.rejected for name, step in report.steps.items() if step.rejected},
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=LINES, help="of the longer file")
    parser.add_argument("--small", type=int, default=SMALL, help="of the shorter file")
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--folder", type=Path, help="where the data is written for a while; by default a temporary one")
    parser.add_argument("--measure", type=Path, nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(*options.measure)))
        return
    found = {}
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        data, output = Path(name) / "data.jsonl", Path(name) / "clean.jsonl"
        for lines in (options.small, options.lines):
            write_lines(data, lines)
            command = [sys.executable, __file__, "--measure", str(data), str(output)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, encoding="utf-8")
            found[f"{lines} lines"] = json.loads(done.stdout)
            print(done.stdout, end="", flush=True)
    small, large = found.values()
    report = {
        "command": f"OMP_NUM_THREADS=1 python benchmarks/cleaning_memory.py --lines {options.lines}",
        "unit": "MiB resident at the peak (ru_maxrss)", "machine": platform.machine(),
        "python": platform.python_version(), "threads": os.environ.get("OMP_NUM_THREADS"), **found,
        "difference_megabytes": large["peak_megabytes"] - small["peak_megabytes"],
    }  # fmt: skip
    options.output.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
