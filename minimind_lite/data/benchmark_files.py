"""Download published benchmarks from the Hugging Face hub, where their licence allows it.

Which files a repository has is asked first, because repositories are converted now and then from CSV in an archive to
Parquet; of the forms that are there the one that its authors made is taken. Each file is then downloaded as any other:
resumed after a cut, and held against the digest that the hub states. Of an archive only tables are unpacked.
"""

import stat
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from minimind_lite.data.benchmarks import BENCHMARKS, UNSTATED, Benchmark, read_questions
from minimind_lite.data.download import DownloadError, download, listing
from minimind_lite.data.published import HUBS, PublishedFile, in_bytes
from minimind_lite.data.records import DataError
from minimind_lite.data.tables import SUFFIXES
from minimind_lite.files import written_whole

HUB = "huggingface"
LARGEST_TABLE = 2**28  # bytes of one file in an archive; the largest published one has 1.5 MB


def downloadable() -> list[str]:
    """The names of the benchmarks that ``download_benchmarks`` knows, those without a licence among them."""
    return [one.name for one in BENCHMARKS.values() if one.repository]


def download_benchmarks(
    names: Sequence[str], into: Path, *, source: str = HUB, revision: str = "", progress: bool = True
) -> Iterator[str]:
    """Download benchmarks into folders of their names, and yield what to tell the user, with the next command.

    into: the folder that holds them. Raises DataError for a name that is not in ``downloadable``, a licence that is not
    stated, or another source, before anything is fetched; DownloadError; FolderInUse.
    """
    chosen = [_allowed(name, into) for name in dict.fromkeys(names)]
    if source != HUB:
        raise DataError(f"benchmarks are downloaded from {HUB} only, not from {source}: leave --source away")
    for benchmark in chosen:
        folder = into / benchmark.name
        yield f"{benchmark.title}, licence: {benchmark.licence}, from {benchmark.source}"
        yield f"  {_download(benchmark, folder, revision, progress)}"
        yield f"  {len(read_questions(benchmark, folder)):,} questions in {folder}"
        yield f"  next: minimind eval MODEL --suite {benchmark.name}={folder}"


def _allowed(name: str, into: Path) -> Benchmark:
    if name not in downloadable():
        raise DataError(f"no benchmark to download is called {name}; there are: {', '.join(downloadable())}")
    benchmark = BENCHMARKS[name]
    if benchmark.licence == UNSTATED:
        raise DataError(
            f"{benchmark.title}: its authors state no licence, so it is not downloaded here. Ask them, get it from "
            f"{benchmark.source}, and put its files into {into / name}: {benchmark.layout}"
        )
    return benchmark


def _download(benchmark: Benchmark, folder: Path, revision: str, progress: bool) -> str:
    """Bring the files of a benchmark into its folder; what was done, in words."""
    hub = replace(HUBS[HUB], repository=benchmark.repository)
    there = listing(hub, revision, folder)
    wanted = _wanted(benchmark, there)
    if not wanted:
        raise DownloadError(
            f"{hub.repository} on {hub.host} has no file like {' or '.join(benchmark.fetch)}: it was changed. Name an "
            f"earlier commit with --revision, or put the files by hand into {folder}: {benchmark.layout}"
        )
    fetched, total = 0, 0
    for path, size in wanted:
        if not _inside(path):
            raise DownloadError(f"{hub.repository} on {hub.host} lists {path!r}, which lies outside of its folder")
        done = download(
            PublishedFile(path, size, "text", "", ""), folder, hub=hub, revision=revision, progress=progress
        )
        fetched, total = fetched + done.fetched, total + done.path.stat().st_size
        if done.path.suffix == ".zip":
            unpack_tables(done.path, folder)
    return f"{len(wanted)} files, {in_bytes(total)}, {fetched} of them downloaded now"


def _wanted(benchmark: Benchmark, there: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
    """The files of the first pattern that any fits."""
    for pattern in benchmark.fetch:
        fitting = [(path, size) for path, size in there if fnmatchcase(path, pattern)]
        if fitting:
            return fitting
    return []


def _inside(path: str) -> bool:
    """Whether a path from outside stays in the folder it is put into, on every system."""
    parts = PurePosixPath(path).parts
    return bool(parts) and not path.startswith("/") and ".." not in parts and not any(one in path for one in ":\\\0")


def unpack_tables(archive: Path, folder: Path) -> list[Path]:
    """Write every table of a ZIP archive into ``folder``, and return their paths.

    Raises DownloadError for an archive that is damaged, or that would write outside of ``folder``, a link, or a file of
    more than LARGEST_TABLE bytes; nothing of it is written then.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            tables = [one for one in opened.infolist() if PurePosixPath(one.filename).suffix.lower() in SUFFIXES]
            for one in tables:
                _refuse_member(archive, one)
            return [_unpacked(opened, one, folder) for one in tables if not _noise(one.filename)]
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError) as error:
        raise DownloadError(f"{archive} is damaged or no ZIP archive ({error}); delete it and download again") from None


def _noise(name: str) -> bool:
    """What macOS adds to archives."""
    return any(part.startswith((".", "__MACOSX")) for part in PurePosixPath(name).parts)


def _refuse_member(archive: Path, member: zipfile.ZipInfo) -> None:
    linked = stat.S_ISLNK(member.external_attr >> 16)
    if linked or not _inside(member.filename) or member.file_size > LARGEST_TABLE:
        why = "is a link" if linked else "lies outside" if not _inside(member.filename) else "is too large"
        raise DownloadError(f"{archive}: {member.filename!r} {why}: this is no archive of a benchmark; delete it")


def _unpacked(opened: zipfile.ZipFile, member: zipfile.ZipInfo, folder: Path) -> Path:
    target = folder / member.filename
    target.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(target) as part:
        part.write_bytes(opened.read(member))
    return target
