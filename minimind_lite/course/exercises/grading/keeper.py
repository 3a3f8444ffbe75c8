"""Stands between the grader and a submission's kernel: keeper.py USER COMMAND…

What a kernel does to its parent, it does to this process, which nobody misses. It sets the limits of the kernel and of
all that it starts, and gives up its rights for the user with the number USER, if one is given. It runs as a script in
the kernel's scratch folder and needs only the standard library.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from pathlib import Path

MEMORY = 8 * 2**30  # bytes that one process may allocate
LARGEST_FILE = 2**30  # bytes in one file
PROCESSES = 256  # of a user who has nothing else
_PR_SET_PDEATHSIG = 1


def limit(user: str) -> None:
    """The limits of this process and its children, as far as the system knows them."""
    import resource

    limits = [("RLIMIT_DATA", MEMORY), ("RLIMIT_FSIZE", LARGEST_FILE), ("RLIMIT_CORE", 0)]
    for name, value in limits + [("RLIMIT_NPROC", PROCESSES)] * bool(user):
        with contextlib.suppress(AttributeError, ValueError, OSError):
            resource.setrlimit(getattr(resource, name), (value, value))


def become(user: int) -> None:
    """Give the scratch folder to the user, then go on as that user, without a way back."""
    for path in (Path(), *Path().iterdir()):
        os.chown(path, user, user)
    os.setgroups([])
    os.setgid(user)
    os.setuid(user)


def _die_with_parent() -> None:
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def main(user: str, *command: str) -> int:
    """Run the kernel; returns its exit code. Kernel and keeper end when the grader does."""
    limit(user)
    if user:
        become(int(user))
    _die_with_parent()
    environment = os.environ | {"JPY_PARENT_PID": str(os.getpid())}  # a kernel ends when its parent is another one
    kernel = subprocess.Popen(command, env=environment, preexec_fn=_die_with_parent)  # noqa: S603  the grader's
    return kernel.wait()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
