"""Download MiniMind's published files: resumed after a cut, checked against the digest that the hub states.

What the hub says about a file is asked first: its size, its SHA-256, and an ETag that tells one version from the next.
Hugging Face answers in the headers of a HEAD request (``X-Linked-Size``, ``X-Linked-ETag``, which is the SHA-256 of
every file in large-file storage), ModelScope in the listing of the repository. The bytes then go to a ``.part`` file
in a folder that one process owns, and get the file's name once all of them are right.
"""

import errno
import http.client
import json
import logging
import os
import re
import shutil
import socket
import ssl
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode, urljoin, urlsplit
from urllib.request import HTTPRedirectHandler, OpenerDirector, Request, build_opener

from tqdm import tqdm

from minimind_lite.data.published import HUBS, Hub, PublishedFile, hub_called, in_bytes, published_files
from minimind_lite.data.records import DataError, Kind, check_plain, parse_line
from minimind_lite.files import (
    LARGEST_JSON,
    UnreadableFile,
    directory_to_disk,
    owned,
    parse_json,
    read_json,
    sha256_of,
    write_text,
)

logger = logging.getLogger(__name__)

Answer = TypeVar("Answer")
ATTEMPTS = 6  # tries in a row that bring not one byte
FIRST_WAIT = 1.0  # seconds before the second try; twice as long before each that follows
LONGEST_WAIT = 60.0
TIMEOUT = 60.0  # seconds without a byte
CHUNK = 2**20  # bytes
ROOM = 64 * 2**20  # bytes that a disk must have beyond the file itself
LINES = 200  # of a new file that are read as records
_PASSING = (408, 416, 425, 429)  # answers worth another try, with all from 500 up
_REDIRECTS = (301, 302, 303, 307, 308)
_TROUBLE = (URLError, http.client.HTTPException, ConnectionError, TimeoutError, ssl.SSLError)


class DownloadError(RuntimeError):
    """A file that could not be downloaded; the message says why, and what to do."""


class Unreachable(DownloadError):
    """The hub could not be asked."""


@dataclass(frozen=True)
class Remote:
    """What a hub states about a file."""

    url: str
    size: int | None  # bytes
    etag: str  # differs between two versions of the file; "" if the hub states none
    sha256: str  # "" if the hub states none


@dataclass(frozen=True)
class Downloaded:
    """A file that is there."""

    path: Path
    fetched: bool  # False: it was there already
    proof: str  # what it was compared with, in words


def download_all(
    names: Sequence[str], into: Path, *, source: str = "huggingface", revision: str = "", progress: bool = True
) -> Iterator[str]:
    """Download files one after another, and yield what to tell the user, with the next command.

    names: of published files. source: a name in HUBS. revision: a branch or commit of the repository. Raises DataError
    for an unknown name before anything is fetched, DownloadError, and FolderInUse.
    """
    files, hub = published_files(names), hub_called(source)
    for file in files:
        done = download(file, into, hub=hub, revision=revision, progress=progress)
        size = in_bytes(done.path.stat().st_size)
        yield f"{done.path}: {size}, {'downloaded' if done.fetched else 'was here already'}; {done.proof}"
        yield f"  {first_lines(done.path, file.kind)}"
        if file.stage:
            folders = "OUTPUT" if file.stage == "tokenizer" else "BASE OUTPUT"
            yield f"  next: minimind train {file.stage} {done.path} {folders}"
    yield f"all of {into} can be checked with: minimind data check {into}"


def download(file: PublishedFile, into: Path, *, hub: Hub, revision: str = "", progress: bool = True) -> Downloaded:
    """Bring one file into the folder ``into``; nothing is fetched if it is there and right.

    Its name may have folders in it, which are made.
    What an earlier run left unfinished is continued. Raises DownloadError (Unreachable without a network)
    and FolderInUse while another process downloads the same file.
    """
    target = into / file.name
    try:
        remote = _ask(file, hub, revision, target)
    except Unreachable as error:
        if not target.is_file():
            raise
        return Downloaded(target, False, f"not compared with anything: {error}")
    workshop = target.with_name(f".{target.name}.download")
    with owned(workshop):
        if target.exists():
            return Downloaded(target, False, _compared(target, remote, hub))
        part = workshop / f"{target.name}.part"
        _drop_other_version(part, remote)
        _check_room(into, target, (remote.size or file.size) - part.stat().st_size)
        _fetch(part, remote, hub, target, progress)
        proof = _proven(part, remote, hub, target)
        with part.open("rb+") as written:
            os.fsync(written.fileno())
        part.replace(target)
        directory_to_disk(target.parent)
        _note_of(part).unlink()
    with suppress(OSError):  # what an earlier run had made
        workshop.rmdir()
    return Downloaded(target, True, proof)


def first_lines(path: Path, kind: Kind) -> str:
    """What the first lines of a file look like, in words. Raises DataError if most of them are not ``kind`` records."""
    check_plain(path)
    good, bad = 0, list[DataError]()
    with path.open("rb") as lines:
        for number, line in enumerate(islice(lines, LINES), start=1):
            try:
                parse_line(line, kind, where=f"{path}, line {number}")
                good += 1
            except DataError as error:
                bad.append(error)
    if len(bad) >= max(1, good):
        raise DataError(f"{len(bad)} of the first {good + len(bad)} lines are no {kind} records; the first: {bad[0]}")
    if bad:
        return f"{len(bad)} of its first {good + len(bad)} lines are bad and will be skipped; the first: {bad[0]}"
    return f"its first {good} lines are {kind} records"


def _ask(file: PublishedFile, hub: Hub, revision: str, target: Path) -> Remote:
    """What the hub states about the file, after as many tries as it takes."""
    ask = _ask_listing if hub.name == "modelscope" else _ask_headers
    return _with_patience(lambda: ask(file, hub, revision), hub, target)


def listing(hub: Hub, revision: str, folder: Path) -> list[tuple[str, int]]:
    """The (path, bytes) of every file in a repository of Hugging Face, sorted. folder: where it is put, for messages.

    Raises DownloadError (Unreachable without a network).
    """
    address = f"{hub.endpoint}/api/datasets/{hub.repository}/tree/{quote(revision or hub.branch)}?recursive=true"
    found: list[tuple[str, int]] = []
    while address:
        entries, address = _with_patience(partial(_page, address, hub), hub, folder)
        try:
            found += [(str(one["path"]), int(one["size"])) for one in entries if one["type"] == "file"]
        except (TypeError, KeyError, ValueError) as error:
            raise _no_listing(hub, error) from None
    return sorted(found)


def _page(address: str, hub: Hub) -> tuple[Any, str]:
    """One page of a listing, and the address of the next one, "" after the last."""
    with _open(build_opener(), Request(address)) as response:  # noqa: S310  checked: http or https
        text, links = response.read(LARGEST_JSON), response.headers.get("Link", "")
    try:
        entries = parse_json(text, address)
    except UnreadableFile as error:
        raise _no_listing(hub, error) from None
    following = re.search(r'<([^>]+)>; *rel="next"', links)
    address = urljoin(address, following[1]) if following else ""
    if address and urlsplit(address).netloc != hub.host:
        raise _no_listing(hub, ValueError(f"it goes on at {urlsplit(address).netloc}"))
    return entries, address


def _no_listing(hub: Hub, error: Exception) -> DownloadError:
    return DownloadError(f"{hub.host} answered with something other than a listing of files: {error}")


def _with_patience(ask: Callable[[], Answer], hub: Hub, target: Path) -> Answer:
    """What ``ask`` returns, after as many tries as it takes. Raises DownloadError."""
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        raise Unreachable(f"HF_HUB_OFFLINE is set, so nothing is asked of {hub.host}: unset it, or {_by_hand(target)}")
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return ask()
        except _TROUBLE as error:
            unknown_host = isinstance(error, URLError) and isinstance(error.reason, socket.gaierror)
            if not _passes(error) or unknown_host or attempt == ATTEMPTS:
                raise _in_words(error, hub, target) from None
            _wait(error, attempt, hub)
    raise AssertionError("the last attempt returns or raises")


def _ask_headers(file: PublishedFile, hub: Hub, revision: str) -> Remote:
    """Hugging Face: the answer to HEAD says all, even where it is a redirection to another server."""
    url = address = hub.url(file.name, revision)
    opener = build_opener(_Stay)
    for _ in range(8):
        try:
            with _open(opener, Request(address, method="HEAD")) as response:  # noqa: S310  checked: http or https
                headers, size = response.headers, response.headers.get("Content-Length")
                break
        except HTTPError as error:
            headers, size = error.headers, None
            if error.code not in _REDIRECTS:
                raise
        if headers.get("X-Linked-ETag") or headers.get("X-Linked-Size"):
            break
        address = urljoin(address, headers.get("Location", ""))
        if urlsplit(address).netloc != hub.host:  # a store whose addresses are signed for GET alone
            headers = {}
            break
    etag = _plain_etag(headers.get("X-Linked-ETag") or headers.get("ETag") or "")
    size = headers.get("X-Linked-Size") or size
    return Remote(url, int(size) if size and size.isdecimal() else None, etag, _as_sha256(etag))


def _ask_listing(file: PublishedFile, hub: Hub, revision: str) -> Remote:
    """ModelScope: the listing of the repository has the size and the SHA-256 of each file."""
    revision = revision or hub.branch
    query = urlencode({"Revision": revision, "Root": "", "Recursive": "true", "PageNumber": 1, "PageSize": 100})
    address = f"{hub.endpoint}/api/v1/datasets/{hub.repository}/repo/tree?{query}"
    with _open(build_opener(), Request(address)) as response:  # noqa: S310  checked: http or https
        text = response.read(LARGEST_JSON)
    try:
        entries = parse_json(text, address)["Data"]["Files"]
        stated = {entry["Path"]: entry for entry in entries}
        entry = stated.get(file.name)
        size = None if entry is None else int(entry["Size"])
    except (UnreadableFile, TypeError, KeyError, ValueError) as error:
        raise _no_listing(hub, error) from None
    if entry is None:
        raise HTTPError(address, 404, "not in the listing", http.client.HTTPMessage(), None)
    sha256 = _as_sha256(str(entry.get("Sha256", "")))
    return Remote(hub.url(file.name, revision), size, sha256, sha256)


class _Stay(HTTPRedirectHandler):
    """Follows no redirection: it is an answer, and its headers are what is wanted."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _open(opener: OpenerDirector, request: Request) -> Any:
    try:
        own = version("minimind-lite")
    except PackageNotFoundError:  # on the path, but never installed
        own = "0"
    request.add_header("User-Agent", f"minimind-lite/{own}")
    request.add_header("Accept-Encoding", "identity")
    return opener.open(request, timeout=TIMEOUT)


def _plain_etag(text: str) -> str:
    return text.removeprefix("W/").strip('"')


def _as_sha256(text: str) -> str:
    return text.lower() if re.fullmatch(r"[0-9a-fA-F]{64}", text) else ""


def _compared(target: Path, remote: Remote, hub: Hub) -> str:
    """How a file that is there already was found right. Raises DownloadError if it is another one."""
    size = target.stat().st_size
    if remote.size in (None, size) and (not remote.sha256 or sha256_of(target) == remote.sha256):
        return _proof(remote, hub)
    raise DownloadError(
        f"{target} is here, but is not the file that {hub.host} has now ({in_bytes(size)} here, "
        f"{in_bytes(remote.size or 0)} there). To keep it, leave it: chapters and commands take it as it is. To "
        "download the other one, move it away first"
    )


def _proof(remote: Remote, hub: Hub) -> str:
    if remote.sha256:
        return f"SHA-256 {remote.sha256[:12]}… as {hub.name} states it"
    if remote.size is not None:
        return f"{remote.size:,} bytes as {hub.name} states, which states no SHA-256"
    return f"not compared: {hub.name} states neither its size nor its SHA-256"


def _note_of(part: Path) -> Path:
    """Where it is written which version a part belongs to."""
    return part.with_suffix(".json")


def _drop_other_version(part: Path, remote: Remote) -> None:
    """Leave at ``part`` the beginning of this version of the file, or an empty file."""
    note, etag = _note_of(part), ""
    with suppress(OSError, UnreadableFile):
        etag = str(read_json(note).get("etag"))
    fits = part.is_file() and (remote.size is None or part.stat().st_size <= remote.size)
    if not (fits and remote.etag and etag == remote.etag):
        part.write_bytes(b"")
    write_text(note, json.dumps({"etag": remote.etag, "url": remote.url}))


def _check_room(into: Path, target: Path, needed: int) -> None:
    free = shutil.disk_usage(into).free
    if free < needed + ROOM:
        raise DownloadError(
            f"{target}: {in_bytes(needed)} are missing and the disk has {in_bytes(free)} free; make room, or choose a "
            "folder on another disk: --into FOLDER"
        )


def _fetch(part: Path, remote: Remote, hub: Hub, target: Path, progress: bool) -> None:
    """Append to ``part`` what it lacks, over as many connections as it takes."""
    failures, have = 0, part.stat().st_size
    with tqdm(
        total=remote.size, initial=have, unit="B", unit_scale=True, desc=target.name, file=sys.stderr, mininterval=0.5,
        disable=not progress,
    ) as bar:  # fmt: skip
        while True:
            try:
                _transfer(part, remote, bar)
                return
            except _TROUBLE as error:
                before, have = have, part.stat().st_size
                failures = 1 if have > before else failures + 1
                if not _passes(error) or failures >= ATTEMPTS:
                    raise _in_words(error, hub, target, begun=True) from None
                _wait(error, failures, hub)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                raise DownloadError(
                    f"{target}: the disk is full; what has arrived is kept in {part.parent}, and the same command "
                    "continues from there once there is room"
                ) from None


def _transfer(part: Path, remote: Remote, bar: Any) -> None:
    """One connection: ask for the rest, and write what comes. Raises ConnectionError if it ends too early."""
    have = part.stat().st_size
    if have and have == remote.size:
        return
    request = Request(remote.url, headers={"Range": f"bytes={have}-"} if have else {})  # noqa: S310  checked
    try:
        response = _open(build_opener(), request)
    except HTTPError as error:
        if error.code == 416:  # the file has become shorter than the part
            part.write_bytes(b"")
        raise
    with response:
        start, total = _span(response)
        if start not in (0, have):
            raise ConnectionError(f"the server sent bytes from {start}, not from {have}")
        if remote.size is not None and total is not None and total != remote.size:
            raise DownloadError(
                f"{urlsplit(response.url).netloc} sent {total:,} bytes instead of {remote.size:,}: did a proxy or a "
                "login page answer, or has the file just been replaced? Try again, or take the other hub: --source"
            )
        bar.n = start
        with part.open("rb+") as file:
            file.truncate(start)  # a server that ignores ranges begins anew
            file.seek(start)
            while chunk := response.read(CHUNK):
                file.write(chunk)
                bar.update(len(chunk))
    expected, got = remote.size if remote.size is not None else total, part.stat().st_size
    if expected is not None and got < expected:
        raise ConnectionError(f"the connection was cut after {got:,} of {expected:,} bytes")


def _span(response: Any) -> tuple[int, int | None]:
    """Where an answer's bytes begin in the file, and how many the file has."""
    if response.status == 206:
        found = re.match(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
        if not found:
            raise ConnectionError("the server sent a part of the file without saying which")
        return int(found[1]), None if found[2] == "*" else int(found[2])
    length = response.headers.get("Content-Length", "")
    return 0, int(length) if length.isdecimal() else None


def _proven(part: Path, remote: Remote, hub: Hub, target: Path) -> str:
    """How a complete part was found right. Raises DownloadError, and sets the part aside, if it is not."""
    if remote.sha256 and (found := sha256_of(part)) != remote.sha256:
        aside = target.with_name(f"{target.name}.wrong")
        part.replace(aside)
        raise DownloadError(
            f"{target.name}: what arrived has the SHA-256 {found}, but {hub.host} states {remote.sha256}. It was set "
            f"aside as {aside}; run the command again, or take {_other(hub)}"
        )
    return _proof(remote, hub)


def _passes(error: Exception) -> bool:
    """Whether another try may succeed."""
    if isinstance(error, HTTPError):
        return error.code in _PASSING or error.code >= 500
    reason = error.reason if isinstance(error, URLError) else error
    return not isinstance(reason, ssl.SSLCertVerificationError)


def _wait(error: Exception, failures: int, hub: Hub) -> None:
    """Let time pass before the next try: as long as the server asks for, or twice as long each time."""
    seconds = FIRST_WAIT * 2 ** (failures - 1)
    asked = error.headers.get("Retry-After", "") if isinstance(error, HTTPError) else ""
    seconds = min(float(asked) if asked.isdecimal() else seconds, LONGEST_WAIT)
    logger.warning("%s: %s; trying again in %g s", hub.host, error, seconds)
    time.sleep(seconds)


def _in_words(error: Exception, hub: Hub, target: Path, begun: bool = False) -> DownloadError:
    """What a failure means, and what helps."""
    if isinstance(error, HTTPError) and error.code in (404, 410):
        return DownloadError(
            f"{hub.repository} on {hub.host} has no {target.name} (HTTP {error.code}). Published files are moved and "
            f"replaced now and then: name an earlier commit of the repository with --revision, or take {_other(hub)}"
        )
    if isinstance(error, HTTPError) and not _passes(error):
        return DownloadError(
            f"{hub.host} refuses {target.name} (HTTP {error.code}, {error.reason}): take {_other(hub)}, or "
            f"{_by_hand(target)}"
        )
    reason = error.reason if isinstance(error, URLError) and not isinstance(error, HTTPError) else error
    kept = "; what has arrived is kept, and the same command continues from there" if begun else ""
    return Unreachable(
        f"{hub.host} cannot be reached ({reason}){kept}: connect to the network, name a mirror in the environment "
        f"variable {hub.variable}, take {_other(hub)}, or {_by_hand(target)}"
    )


def _other(hub: Hub) -> str:
    return " or ".join(f"--source {name}" for name in HUBS if name != hub.name)


def _by_hand(target: Path) -> str:
    return f"put the file by hand at {target}, where it is found"
