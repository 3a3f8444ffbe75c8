"""Downloading benchmarks, against a server on this machine that has repositories as the hub has them."""

import io
import json
import stat
import threading
import zipfile
from collections.abc import Iterator
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from benchmarks_kit import ROWS, files_like, json_lines, pair, passage, science, story
from typer.testing import CliRunner

from minimind_lite.cli import app
from minimind_lite.data import download as downloads
from minimind_lite.data.benchmark_files import download_benchmarks, downloadable, unpack_tables
from minimind_lite.data.benchmarks import BENCHMARKS, UNSTATED, read_questions
from minimind_lite.data.download import DownloadError, Unreachable
from minimind_lite.data.published import HUBS
from minimind_lite.data.records import DataError
from minimind_lite.evaluation.suites import make_suites

PAGE = 3  # files of one answer to a listing


class Hub(BaseHTTPRequestHandler):
    """Repositories of data sets: a listing in pages, and files with what the hub states about them."""

    repositories: ClassVar[dict[str, dict[str, bytes]]] = {}
    faults: ClassVar[list[tuple[str, str]]] = []  # ("list", "HEAD" or "GET"; a status, "page", "away" or "cut N")
    asked: ClassVar[list[str]] = []

    def do_HEAD(self) -> None:
        self.answer("HEAD")

    def do_GET(self) -> None:
        self.answer("GET")

    def answer(self, method: str) -> None:
        parts = urlsplit(self.path)
        listed = parts.path.startswith("/api/datasets/")
        kind = "list" if listed else method
        fault = next((one for one in self.faults if one[0] == kind), ("", ""))
        if fault[0]:
            self.faults.remove(fault)
        self.asked.append(f"{kind} {unquote(parts.path)}")
        if fault[1].isdecimal():
            self.reply(int(fault[1]), {"Retry-After": "0"}, b"")
        elif listed:
            self.list_files(parts.path.removeprefix("/api/datasets/"), parse_qs(parts.query), fault[1])
        else:
            self.send_file(method, unquote(parts.path).removeprefix("/datasets/"), fault[1])

    def list_files(self, rest: str, query: dict[str, list[str]], fault: str) -> None:
        files = self.repositories.get(rest.partition("/tree/")[0])
        if files is None:
            return self.reply(404, {}, b"")
        start, names = int(query.get("cursor", ["0"])[0]), sorted(files)
        entries = [{"type": "file", "path": one, "size": len(files[one])} for one in names[start : start + PAGE]]
        entries.append({"type": "directory", "path": "data", "size": 0})
        host = "elsewhere.invalid" if fault == "away" else self.headers["Host"]
        more = f'<http://{host}{urlsplit(self.path).path}?recursive=true&cursor={start + PAGE}>; rel="next"'
        headers = {"Link": more} if start + PAGE < len(names) else {}
        return self.reply(200, headers, b"<html>" if fault == "page" else json.dumps(entries).encode())

    def send_file(self, method: str, rest: str, fault: str) -> None:
        repository, _, path = rest.partition("/resolve/main/")
        content = self.repositories.get(repository, {}).get(path)
        if content is None:
            return self.reply(404, {}, b"")
        linked = {"X-Linked-Size": str(len(content)), "X-Linked-ETag": f'"{sha256(content).hexdigest()}"'}
        if method == "HEAD":
            return self.reply(200, linked, b"")
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        total, body = len(content), content[start:]
        ranged = {"Content-Range": f"bytes {start}-{total - 1}/{total}"} if start else {}
        sent = body[: int(fault.removeprefix("cut "))] if fault.startswith("cut ") else body
        return self.reply(206 if start else 200, ranged | {"Content-Length": str(len(body))}, sent)

    def reply(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


def zipped(files: dict[str, str]) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for path, content in files.items():
            archive.writestr(path, content)
    return data.getvalue()


def parquet(rows: list[dict[str, object]]) -> bytes:
    arrow, tables = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    data = io.BytesIO()
    tables.write_table(arrow.Table.from_pylist(rows), data)
    return data.getvalue()


def as_on_the_hub(name: str) -> dict[str, bytes]:
    """The files of a repository: an archive or tables of the authors, or Parquet, and what is not wanted."""
    rest = {"README.md": b"---", ".gitattributes": b"", f"{name}.py": b"import os"}
    if name in ("ceval", "cmmlu", "aclue"):
        archive = {"ceval": "ceval-exam.zip", "cmmlu": "cmmlu_v1_0_1.zip", "aclue": "aclue_v1_0_0.zip"}[name]
        noise = {"__MACOSX/test/._law.csv": "noise", "cmmlu.py": "import os"}
        return rest | {archive: zipped(files_like(name) | noise)}
    if name == "tmmluplus":
        return rest | {path: content.encode() for path, content in files_like(name).items()}
    if name == "lambada":
        lines = json_lines({"text": passage(at)} for at in range(ROWS)).encode()
        return rest | {"data/lambada_test.jsonl": lines, "data/lambada_test_de.jsonl": b'{"text": "nein"}\n'}
    rows: dict[str, list[dict[str, object]]] = {
        "openbookqa": [
            {"question_stem": one.pop("question"), **one} for one in (science(at, False) for at in range(ROWS))
        ],
        "arc": [science(at, False) for at in range(ROWS)],
        "piqa": [{"goal": "Open it", "sol1": "Turn it.", "sol2": "Eat it.", "label": at % 2} for at in range(ROWS)],
        "hellaswag": [story(at) | {"label": str(at % 4)} for at in range(ROWS)],
        "sciq": [{"question": f"What is {at}?", "distractor3": "iron", "distractor1": "gold", "distractor2": "lead",
                  "correct_answer": "air", "support": ""} for at in range(ROWS)],
        "blimp": [pair(at, False) for at in range(ROWS)],
    }  # fmt: skip
    folders = {"openbookqa": ("additional", "main"), "arc": ("ARC-Easy", "ARC-Challenge"), "piqa": ("data",)}
    splits = ("train", "validation", "test") if name != "blimp" else ("train",)
    return rest | {
        f"{folder}/{split}-00000-of-00001.parquet": parquet(rows[name])
        for folder in folders.get(name, ("agreement_1",) if name == "blimp" else ("data",))
        for split in splits
    }


@pytest.fixture(autouse=True)
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Hub]]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(HUBS["huggingface"].variable, f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(downloads, "FIRST_WAIT", 0.0)
    for name, value in {"repositories": {}, "faults": [], "asked": []}.items():
        monkeypatch.setattr(Hub, name, value)
    yield Hub
    server.shutdown()
    server.server_close()


def get(*names: str, into: Path, **settings: str) -> list[str]:
    return list(download_benchmarks(names, into, progress=False, **settings))


ALLOWED = [name for name in downloadable() if BENCHMARKS[name].licence != UNSTATED]


@pytest.mark.parametrize("name", ALLOWED)
def test_each_benchmark_arrives_and_can_be_scored(name: str, tmp_path: Path, hub: type[Hub]) -> None:
    benchmark = BENCHMARKS[name]
    hub.repositories[benchmark.repository] = as_on_the_hub(name)
    said = "\n".join(get(name, into=tmp_path))
    assert benchmark.licence in said and f"--suite {name}={tmp_path / name}" in said
    folder = tmp_path / name
    questions = read_questions(benchmark, folder)
    assert len(questions) == ROWS * (2 if name == "arc" else 1) and f"{len(questions)} questions" in said
    assert make_suites(benchmark, folder, shots=2 if benchmark.examples else 0)[0].items
    kept = {path.suffix for path in folder.rglob("*") if path.is_file()}
    assert kept <= {".csv", ".json", ".jsonl", ".parquet", ".zip"} and not (folder / "__MACOSX").exists()
    assert not list(folder.rglob(".*"))  # nothing half done is left


def test_every_name_of_the_command_is_there() -> None:
    names = "ceval cmmlu aclue tmmluplus openbookqa arc piqa hellaswag sciq blimp zhoblimp lambada"
    assert downloadable() == names.split()
    assert {name for name in BENCHMARKS if name.startswith("samples")}.isdisjoint(downloadable())


def test_a_second_time_nothing_is_fetched(tmp_path: Path, hub: type[Hub]) -> None:
    hub.repositories["ikala/tmmluplus"] = as_on_the_hub("tmmluplus")
    assert (
        "2 files" in get("tmmluplus", into=tmp_path)[1]
        and "2 of them downloaded now" in get("tmmluplus", into=tmp_path / "other")[1]
    )
    hub.asked.clear()
    assert "0 of them downloaded now" in get("tmmluplus", into=tmp_path)[1]
    assert not [one for one in hub.asked if one.startswith("GET")]


def test_a_cut_and_a_busy_server_are_waited_for(tmp_path: Path, hub: type[Hub]) -> None:
    hub.repositories["ceval/ceval-exam"] = as_on_the_hub("ceval")
    hub.faults += [("list", "503"), ("HEAD", "429"), ("GET", "cut 300"), ("GET", "503")]
    assert f"{ROWS} questions" in get("ceval", into=tmp_path)[2]
    assert hub.faults == []


def test_a_licence_that_nobody_states_is_no_permission(tmp_path: Path, hub: type[Hub]) -> None:
    with pytest.raises(DataError, match=r"ZhoBLiMP .*state no licence, so it is not downloaded.*put its files into"):
        get("blimp", "zhoblimp", into=tmp_path)
    assert hub.asked == [] and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("faults", "words"),
    [
        ([("list", "page")], "something other than a listing of files"),
        ([("list", "away")], "it goes on at elsewhere.invalid"),
        ([("list", "404")], r"has no .* \(HTTP 404\)"),
        ([("list", "401")], r"refuses .* \(HTTP 401"),
    ],
)
def test_what_is_no_listing_is_refused(
    tmp_path: Path, hub: type[Hub], faults: list[tuple[str, str]], words: str
) -> None:
    hub.repositories["ikala/tmmluplus"] = as_on_the_hub("tmmluplus")
    hub.faults += faults
    with pytest.raises(DownloadError, match=words):
        get("tmmluplus", into=tmp_path)
    assert not list(tmp_path.rglob("*.csv"))


def test_a_repository_that_was_changed_is_named(tmp_path: Path, hub: type[Hub]) -> None:
    hub.repositories["ceval/ceval-exam"] = {"README.md": b"moved"}
    with pytest.raises(DownloadError, match=r"ceval/ceval-exam .* has no file like ceval-exam.zip or .*--revision"):
        get("ceval", into=tmp_path)


def test_files_of_another_shape_are_refused_with_row_and_column(tmp_path: Path, hub: type[Hub]) -> None:
    files = {path: content.replace("answer", "solution").encode() for path, content in files_like("tmmluplus").items()}
    hub.repositories["ikala/tmmluplus"] = files
    with pytest.raises(DataError, match=r"law_test\.csv, row 2, column answer"):
        get("tmmluplus", into=tmp_path)


def test_a_path_out_of_the_folder_is_refused(tmp_path: Path, hub: type[Hub]) -> None:
    hub.repositories["ikala/tmmluplus"] = {"data/../../../evil.csv": b"A,B\n"}
    with pytest.raises(DownloadError, match="lies outside of its folder"):
        get("tmmluplus", into=tmp_path / "data")
    assert not list(tmp_path.rglob("evil.csv"))


def test_without_a_network_the_way_out_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(Unreachable, match=r"HF_HUB_OFFLINE is set.*put the file by hand at"):
        get("ceval", into=tmp_path)


def member(name: str, content: str = "A,B\n", link: bool = False) -> bytes:
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777 if link else stat.S_IFREG | 0o644) << 16
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("test/good.csv", "A,B\n")
        archive.writestr(info, content)
    return data.getvalue()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (member("../evil.csv"), "lies outside"),
        (member("/evil.csv"), "lies outside"),
        (member("c:evil.csv"), "lies outside"),
        (member("test/link.csv", "/etc/passwd", link=True), "is a link"),
        (member("test/good2.csv")[:-9], "damaged or no ZIP archive"),
        (b"nothing", "damaged or no ZIP archive"),
    ],
)
def test_an_archive_that_is_none_writes_nothing(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "it.zip").write_bytes(content)
    with pytest.raises(DownloadError, match=words):
        unpack_tables(tmp_path / "it.zip", tmp_path / "out")
    assert not (tmp_path / "out").exists() and not list(tmp_path.rglob("evil*"))


def test_a_table_that_is_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("minimind_lite.data.benchmark_files.LARGEST_TABLE", 100)
    (tmp_path / "it.zip").write_bytes(member("test/large.csv", "A" * 101))
    with pytest.raises(DownloadError, match=r"large\.csv' is too large"):
        unpack_tables(tmp_path / "it.zip", tmp_path / "out")


def minimind(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["data", *map(str, arguments)], env={"COLUMNS": "200"})
    return result.exit_code, result.output


def test_the_command_takes_files_and_benchmarks_together(tmp_path: Path, hub: type[Hub]) -> None:
    hub.repositories["ikala/tmmluplus"] = as_on_the_hub("tmmluplus")
    hub.repositories["jingyaogong/minimind_dataset"] = {"pretrain_hq.jsonl": b'{"text": "one and one"}\n'}
    code, said = minimind("download", "tmmluplus", "pretrain_hq", "--into", tmp_path)
    assert code == 0 and "20 questions" in said and "next: minimind train pretrain" in said
    code, said = minimind("download", "tmmluplus", "never_heard_of", "--into", tmp_path / "other")
    assert code == 1 and "no published file is called never_heard_of" in said and not (tmp_path / "other").exists()
    code, said = minimind("download", "tmmluplus", "--source", "modelscope", "--into", tmp_path / "other")
    assert code == 1 and "benchmarks are downloaded from huggingface only" in said
    with pytest.raises(DataError, match="no benchmark to download is called samples; there are: ceval"):
        get("samples", into=tmp_path)
