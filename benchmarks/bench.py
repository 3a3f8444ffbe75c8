"""`minimind bench`: this library and its peers, measured side by side in one run; the figures go to a JSON file.

Arms are interleaved; medians and quartiles over rounds; CPU time with one thread, wall time with more. Without --output
every subject writes benchmarks/results/bench/SUBJECT-SIZE.json; benchmarks/readme.py makes the README's table of them.
"""

import argparse
import json
import math
import os
import shlex
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

SUBJECTS = ("train", "align", "attention", "generate", "serve", "moe", "data", "start")
RESULTS = Path(__file__).parent / "results" / "bench"
INSTALL = "install the course's packages, in the repository, with: pip install -e '.[course]'"
PACKAGES = {"transformers": "transformers", "PEFT": "peft", "TRL": "trl"}  # peers, and what must be there for them
# Peers that take minutes to build, and a module that is there where they are: measured only there.
BUILT = {"llama.cpp": "llama_cpp", "llama.cpp Q8_0": "llama_cpp", "llama.cpp server": "starlette_context"}


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="minimind bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("subject", nargs="?", default="all")
    parser.add_argument("--against", action="append", default=[], metavar="PEER", help="repeatable; default: all")
    parser.add_argument("--size", default="nano")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=math.inf, help="start no further round after so many")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, help="one file for everything")
    return parser.parse_args()


def stop(message: str) -> NoReturn:
    """End with a message, like the other commands do."""
    sys.exit(f"error: {message}")


def chosen_subjects(name: str) -> Sequence[str]:
    """The subjects meant by ``name``."""
    if name != "all" and name not in SUBJECTS:
        stop(f"there is no subject called {name!r}; there are: {', '.join(SUBJECTS)}, all")
    return SUBJECTS if name == "all" else (name,)


def chosen_peers(subjects: Sequence[str], against: Sequence[str]) -> dict[str, frozenset[str]]:
    """The peers of every subject that has any of those asked for. Ends the program if one is unknown or missing."""
    peers = {subject: import_module(f"subjects.{subject}").PEERS for subject in subjects}
    known = sorted({one for some in peers.values() for one in some})
    for one in against:
        if one not in known:
            stop(f"{', '.join(subjects)}: there is no peer called {one!r}; there are: {', '.join(known)}")
    missing = not_built()
    for one in missing & set(against):
        extra = "'llama-cpp-python[server]'" if one == "llama.cpp server" else "'.[llama-cpp]'"
        stop(f"the peer {one} is not installed: pip install {extra}, which builds it for minutes")
    peers = {subject: [one for one in some if one not in missing] for subject, some in peers.items()}
    wanted = {subject: frozenset(against or some) & frozenset(some) for subject, some in peers.items()}
    for peer, package in PACKAGES.items():
        if any(peer in some for some in wanted.values()) and find_spec(package) is None:
            others = " ".join(f"--against {shlex.quote(one)}" for one in known if one != peer)
            stop(f"the peer {peer} is not installed: {INSTALL}, or leave it out with: {others}")
    return {subject: some for subject, some in wanted.items() if some}


def not_built() -> set[str]:
    """The peers that are not here."""
    return {peer for peer, part in BUILT.items() if find_spec("llama_cpp") is None or find_spec(part) is None}


def main() -> None:
    """Measure and write."""
    options = arguments()
    os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"), str(options.threads)))
    subjects = chosen_subjects(options.subject)
    from subjects import SIZES, DifferentWork, Run  # only now: torch reads the number of threads when it is imported
    from subjects.report import description, load_average

    if options.size not in SIZES:
        stop(f"there is no size called {options.size!r}; there are: {', '.join(SIZES)}")
    command, load, results = f"minimind bench {shlex.join(sys.argv[1:])}".strip(), load_average(), []
    for subject, peers in chosen_peers(subjects, options.against).items():
        run = Run(options.size, peers, options.rounds, options.seconds, options.threads)
        try:
            found = import_module(f"subjects.{subject}").measure(run)
        except DifferentWork as error:
            stop(f"{subject}: {error}")
        results += found
        for one in found:
            print(shown(one), flush=True)
        if options.output is None:
            missing = sorted(not_built() & set(import_module(f"subjects.{subject}").PEERS))
            report = description(command, options.threads, load) | {"not_built_here": missing, "results": found}
            write(RESULTS / f"{subject}-{options.size}.json", report)
    if options.output is not None:
        write(options.output, description(command, options.threads, load) | {"results": results})


def shown(result: dict[str, object]) -> str:
    """A result in one line."""
    against = f", {result['peer_name']} {result['peer']:,}: {result['ratio']} ×" if result["peer"] is not None else ""
    return f"{result['name']}: {result['ours']:,} {result['unit']}{against}"


def write(path: Path, report: dict[str, object]) -> None:
    """As JSON, whole or not at all."""
    from minimind_lite.files import write_text

    write_text(path, json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    print(f"written: {path}")


if __name__ == "__main__":
    main()
