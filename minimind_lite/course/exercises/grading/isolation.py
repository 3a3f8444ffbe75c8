"""Where a submission's kernel runs: where it can do the least harm with what the system offers.

`bubblewrap` (Linux; the Debian package of that name): namespaces of its own for processes and network, everything
read-only but its scratch folder, and the folders of the course, of the submissions and of the users replaced by empty
ones. `user`: as a user without rights of its own, if the grader is root. `none`: with the grader's own rights.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from ...kit.errors import CourseError

NAMES = ("auto", "bubblewrap", "user", "none")
KEEPER = Path(__file__).with_name("keeper.py")
_HIDDEN = ("/home", "/root", "/tmp", "/var/tmp", "/run", "/mnt", "/media", "/srv")  # noqa: S108  hidden, not used  # nosec B108
_READS = "read solutions/ and whatever else {} may read"
_SOCKETS = "open network connections"
NOT_HELD = {
    "bubblewrap": (),
    "user": (_READS.format("every user"), _SOCKETS),
    "none": ("write and delete whatever you may", _READS.format("you"), _SOCKETS,
             "stop the grader (grades up to then are kept)"),
}  # fmt: skip
_PROBE = "import ipykernel.kernelapp, torch"  # what a kernel needs to be able to read


@dataclass(frozen=True)
class Isolation:
    """One way to start a kernel."""

    name: str
    hidden: tuple[Path, ...] = ()  # folders that a submission has no business in
    obstacles: tuple[str, ...] = ()  # why the stronger ones were not taken

    @property
    def not_held(self) -> tuple[str, ...]:
        """What a submission can still do."""
        return NOT_HELD[self.name]

    @property
    def protects_files(self) -> bool:
        """Whether a submission cannot write outside its scratch folder."""
        return self.name != "none"

    def wrap(self, command: Sequence[str], scratch: Path) -> list[str]:
        """The command that runs ``command`` isolated, with ``scratch`` as its working folder."""
        if os.name != "posix":
            return list(command)
        shutil.copyfile(KEEPER, scratch / "keeper.py")
        user = str(_free_user()) if self.name == "user" else ""
        kept = [sys.executable, "-I", "-S", str(scratch / "keeper.py"), user, *command]
        return [*self._bubblewrap(scratch), *kept] if self.name == "bubblewrap" else kept

    def _bubblewrap(self, scratch: Path) -> list[str]:
        arguments = [shutil.which("bwrap") or "bwrap", "--unshare-all", "--die-with-parent", "--new-session",
                     "--cap-drop", "ALL", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"]  # fmt: skip
        places = dict.fromkeys((*map(Path, _HIDDEN), *self.hidden), "--tmpfs")
        places |= dict.fromkeys(_interpreter(), "--ro-bind") | {scratch: "--bind"}
        for path in sorted(_resolved(places), key=lambda one: len(one.parts)):  # a folder in a hidden one comes later
            how = next(kind for place, kind in places.items() if place.resolve() == path)
            arguments += [how, str(path)] if how == "--tmpfs" else [how, str(path), str(path)]
        return [*arguments, "--chdir", str(scratch)]


def _resolved(places: Iterable[Path]) -> set[Path]:
    """Those that exist, without links, and without what a system needs to start a program at all."""
    needed = [Path(one).resolve() for one in ("/usr", "/lib", "/bin", "/etc")]
    found = {one.resolve() for one in places if one.is_dir()}
    return {one for one in found if not any(some.is_relative_to(one) for some in needed)}


def _interpreter() -> set[Path]:
    """The folders in which Python and its packages lie."""
    packages = {Path(one) for one in sys.path if Path(one).name in ("site-packages", "dist-packages")}
    return {Path(sys.prefix), Path(sys.base_prefix), *packages}


def _free_user() -> int:
    """A number that is nobody's: from the range that systemd gives to services which need a user for a while."""
    import pwd

    taken = {one.pw_uid for one in pwd.getpwall()}
    taken |= {one.info["uids"].real for one in psutil.process_iter(["uids"]) if one.info["uids"]}
    return next(number for number in range(61_184, 65_520) if number not in taken)


def choose(name: str, hidden: Iterable[Path] = ()) -> Isolation:
    """The isolation called ``name``; for "auto" the strongest that works here.

    hidden: folders that a submission may not see. Raises CourseError if the one that was asked for does not work.
    """
    if name not in NAMES:
        raise CourseError(f"--isolation {name}: there are {', '.join(NAMES)}")
    folders, obstacles = tuple(path.resolve() for path in hidden), list[str]()
    for one in NAMES[1:] if name == "auto" else (name,):
        isolation = Isolation(one, folders, tuple(obstacles))
        reason = _obstacle(isolation)
        if not reason:
            return isolation
        if name != "auto":
            raise CourseError(f"--isolation {name} does not work here: {reason}. `--isolation auto` takes what does")
        obstacles.append(f"{one} does not work here: {reason}")
    raise AssertionError("none always works")


def _obstacle(isolation: Isolation) -> str:
    """The reason why a kernel cannot be started in this way; "" if it can."""
    if isolation.name == "none":
        return ""
    if isolation.name == "bubblewrap" and not shutil.which("bwrap"):
        return "bubblewrap is not installed (Debian, Ubuntu: apt install bubblewrap)"
    if isolation.name == "user" and (os.name != "posix" or os.getuid() != 0):
        return "only root can start processes as another user"
    with tempfile.TemporaryDirectory(prefix="minimind-grade-") as scratch:
        command = isolation.wrap([sys.executable, "-c", _PROBE], Path(scratch).resolve())
        try:
            done = subprocess.run(command, cwd=scratch, capture_output=True, text=True, timeout=120, check=False)  # noqa: S603  ours
        except (OSError, subprocess.TimeoutExpired) as error:
            return str(error)
    return "" if done.returncode == 0 else (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
