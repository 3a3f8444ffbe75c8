"""Peak memory and speed of `minimind data clean` for files of growing size.

Run ``OMP_NUM_THREADS=1 python benchmarks/cleaning_memory.py``; it needs the extra ``clean``, and for a while twice the
disk space of the largest file, with near duplicates some 500 bytes more per line. Every file is cleaned in a process of
its own: with every step but exams for ``--lines`` of 20 to 30 words, because what near duplicates remember grows with
the lines; and without near duplicates, by far the slowest step, for ``--long-lines`` of ten times as many words, 1.5 KB
each. ``--lines --long-lines 700000`` cleans a gigabyte, ``--lines --long-lines 7000000`` ten (an hour and a half, if
the processor has nothing else to do); add ``--lines 7000000`` to try near duplicates on 1 GB of short lines.
Lines are made-up texts, all different, with every tenth an exact and every twentieth a near copy of an earlier one.
Peak memory is what the system counted as resident. Speed is given by the clock and by the processor's time, which other
work on the machine does not lengthen. Writes results/cleaning.json.
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
LINES, LONG_LINES = (10_000, 40_000), (6_400, 64_000)
EXACT_EVERY, NEAR_EVERY = 10, 20
EVERY_STEP, WITHOUT_NEAR = "every step", "without near"


def write_lines(path: Path, lines: int, words_each: int = 20) -> None:
    """``lines`` records of ``words_each`` to half as many more words; the longer file begins like the shorter one."""
    draw = np.random.default_rng(0)
    letters = np.array(list("aeioubdklmnprst"))
    words = ["".join(draw.choice(letters, size=size)) for size in draw.integers(2, 9, size=5_000)]
    with path.open("w", encoding="utf-8") as file:
        earlier = [words[0]]
        for number in range(lines):
            size = int(draw.integers(words_each, words_each * 3 // 2 + 1))
            text = [words[one] for one in draw.integers(5_000, size=size)]
            if number % EXACT_EVERY == EXACT_EVERY - 1:
                text = earlier
            elif number % NEAR_EVERY == NEAR_EVERY // 2:
                text = [*earlier[:-1], words[number % 5_000]]
            elif number % 5 == 0:
                earlier = text
            file.write(json.dumps({"text": " ".join(text) + "."}) + "\n")


def measure(data: Path, output: Path, steps: str) -> dict[str, Any]:
    """Clean a file; seconds, megabytes and what each step rejected."""
    from minimind_lite.data.cleaning import CleaningOptions, clean

    chosen = CleaningOptions.chosen("", "near" if steps == WITHOUT_NEAR else "")
    imported, begun, worked = peak_megabytes(), time.perf_counter(), time.process_time()
    report = clean([data], output, CleaningOptions(language="en", steps=chosen))
    seconds, worked = time.perf_counter() - begun, time.process_time() - worked
    size = data.stat().st_size
    return {
        "lines": report.read, "kept": report.kept, "steps": steps, "file_megabytes": round(size / 2**20, 1),
        "seconds": round(seconds, 1), "cpu_seconds": round(worked, 1),
        "gigabytes_per_hour": round(size / 1e9 / seconds * 3600, 2),
        "gigabytes_per_cpu_hour": round(size / 1e9 / worked * 3600, 2),
        "imports_megabytes": imported, "peak_megabytes": peak_megabytes(),
        "rejected": {name: step.rejected for name, step in report.steps.items() if step.rejected},
    }  # fmt: skip


def measured(folder: Path, lines: int, steps: str) -> dict[str, Any]:
    """Write a file of so many lines, and clean it in a new process."""
    data, output = folder / "data.jsonl", folder / "clean.jsonl"
    write_lines(data, lines, 20 if steps == EVERY_STEP else 200)
    command = [sys.executable, __file__, "--measure", str(data), str(output), steps]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, encoding="utf-8", timeout=7200)
    print(done.stdout, end="", flush=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, nargs="*", default=LINES, help="of the files cleaned with every step")
    parser.add_argument("--long-lines", type=int, nargs="*", default=LONG_LINES, help="of those without near")
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--folder", type=Path, help="where the data is written for a while; by default a temporary one")
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        data, output, steps = options.measure
        print(json.dumps(measure(Path(data), Path(output), steps)))
        return
    files = [(lines, EVERY_STEP) for lines in options.lines] + [(lines, WITHOUT_NEAR) for lines in options.long_lines]
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        runs = [measured(Path(folder), lines, steps) for lines, steps in files]
    given = " ".join([f"--lines {' '.join(map(str, options.lines))}",
                      f"--long-lines {' '.join(map(str, options.long_lines))}"])  # fmt: skip
    report = {
        "command": f"OMP_NUM_THREADS=1 python benchmarks/cleaning_memory.py {given}",
        "unit": "MiB resident at the peak (ru_maxrss)", "machine": platform.machine(),
        "python": platform.python_version(), "threads": os.environ.get("OMP_NUM_THREADS"), "runs": runs,
    }  # fmt: skip
    options.output.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
