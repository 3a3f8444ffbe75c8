"""Downloading published files, against a server on this machine that speaks the hubs' protocol and fails on request."""

import errno
import json
import os
import shutil
import socket
import threading
from collections import namedtuple
from collections.abc import Iterator
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

import pytest
from typer.testing import CliRunner

from minimind_lite.cli import app
from minimind_lite.data import download as downloads
from minimind_lite.data.check import check_folder
from minimind_lite.data.download import DownloadError, Unreachable, download, download_all, first_lines
from minimind_lite.data.published import DATA_FOLDER, HUBS, PUBLISHED, data_folder, in_bytes, published_table
from minimind_lite.data.records import DataError
from minimind_lite.files import LOCK, FolderInUse, process_start, repository_root
from minimind_lite.training.registry import STAGES

NAME = "pretrain_hq.jsonl"
FILE = PUBLISHED[NAME]
TEXTS = "".join(json.dumps({"text": f"{n} and {n} is {2 * n}."}) + "\n" for n in range(9000)).encode()
DIGEST = sha256(TEXTS).hexdigest()
BRANCHES = ("jingyaogong/minimind_dataset/resolve/main/", "gongjy/minimind_dataset/resolve/master/")


class Hub(BaseHTTPRequestHandler):
    """Both hubs and the store that they redirect to. Each request takes the first of ``faults`` that fits it."""

    content: ClassVar[bytes] = TEXTS
    faults: ClassVar[list[tuple[str, str]]] = []  # (method or "CDN", what goes wrong)
    log: ClassVar[list[str]] = []
    linked: ClassVar[bool] = True  # whether X-Linked headers are sent, as for files in large-file storage
    digest: ClassVar[str] = DIGEST

    def do_HEAD(self) -> None:
        self.answer("HEAD")

    def do_GET(self) -> None:
        self.answer("GET")

    def answer(self, method: str) -> None:
        path = urlsplit(self.path).path
        kind = "CDN" if path.startswith("/cdn/") else method
        self.log.append(f"{kind} {self.headers.get('Range', '')}".strip())
        fault = next((one for one in self.faults if one[0] == kind), ("", ""))
        if fault[0]:
            self.faults.remove(fault)
        if fault[1].isdecimal():
            self.reply(int(fault[1]), {"Retry-After": "0"})
        elif kind == "CDN":
            self.send_content(fault[1])
        elif fault[1] == "moved":
            self.reply(307, {"Location": path})
        elif fault[1] == "bare":
            self.reply(302, {"Location": "http://localhost:9/signed-for-get-only"})
        elif path.startswith("/api/v1/datasets/gongjy/minimind_dataset/repo/tree"):
            listed = [{"Path": NAME, "Size": len(self.content), "Sha256": self.digest, "Type": "blob"}]
            text = b"<html>log in" if fault[1] == "page" else json.dumps({"Data": {"Files": listed}}).encode()
            self.reply(200, {}, text)
        elif path in [f"/datasets/{branch}{NAME}" for branch in BRANCHES]:
            self.send_file(method, path)
        else:
            self.reply(404, {})

    def send_file(self, method: str, path: str) -> None:
        linked = {"X-Linked-Size": str(len(self.content)), "X-Linked-ETag": f'"{self.digest}"'}
        if self.linked:
            host = self.headers["Host"].replace("127.0.0.1", "localhost")
            self.reply(302, {"Location": f"http://{host}/cdn/{path.rpartition('/')[2]}"} | linked)
        else:
            self.reply(200, {"ETag": '"0123456789abcdef"'}, self.content, send=method == "GET")

    def send_content(self, fault: str) -> None:
        asked = self.headers.get("Range")
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and fault != "no ranges" else 0
        if start >= len(self.content):
            return self.reply(416, {})
        body, total = self.content[start:], len(self.content)
        headers = {"Content-Range": f"bytes {start}-{total - 1}/{total}"} if asked and fault != "no ranges" else {}
        if fault == "other bytes":
            body = body.replace(b"and", b"und")
        if fault == "page":
            body = b"<html>log in"
        sent = body[: int(fault.removeprefix("cut "))] if fault.startswith("cut ") else body
        self.reply(206 if headers else 200, headers | {"Content-Length": str(len(body))}, sent)

    def reply(self, status: int, headers: dict[str, str], body: bytes = b"", send: bool = True) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        if send:
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@pytest.fixture(autouse=True)
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Hub]]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    for one in HUBS.values():
        monkeypatch.setenv(one.variable, f"http://127.0.0.1:{server.server_port}/")
    monkeypatch.setattr(downloads, "FIRST_WAIT", 0.0)
    for name, value in {"content": TEXTS, "faults": [], "log": [], "linked": True, "digest": DIGEST}.items():
        monkeypatch.setattr(Hub, name, value)
    yield Hub
    server.shutdown()
    server.server_close()


def get(into: Path, source: str = "huggingface", revision: str = "") -> downloads.Downloaded:
    return download(FILE, into, hub=HUBS[source], revision=revision, progress=False)


def stored(into: Path) -> list[str]:
    return sorted(path.relative_to(into).as_posix() for path in into.rglob("*"))


def stopped(into: Path, hub: type[Hub], after: int) -> None:
    """A download that a dying network has ended."""
    hub.faults += [("CDN", f"cut {after}")] + [("CDN", "503")] * downloads.ATTEMPTS
    with pytest.raises(Unreachable, match=r"what has arrived is kept, and the same command continues"):
        get(into)
    hub.faults.clear()
    hub.log.clear()


@pytest.mark.parametrize("source", HUBS)
def test_a_file_arrives_whole_and_is_held_against_the_digest_of_the_hub(tmp_path: Path, source: str) -> None:
    done = get(tmp_path / "data", source)
    assert done.path.read_bytes() == TEXTS and done.fetched
    assert done.proof == f"SHA-256 {DIGEST[:12]}… as {source} states it"
    assert stored(tmp_path / "data") == [NAME]


def test_a_repository_that_has_moved_is_followed(tmp_path: Path, hub: type[Hub]) -> None:
    hub.faults.append(("HEAD", "moved"))
    assert get(tmp_path).proof.startswith(f"SHA-256 {DIGEST[:12]}") and hub.log[:2] == ["HEAD", "HEAD"]


def test_a_hub_that_states_nothing_is_not_asked_to_resume(tmp_path: Path, hub: type[Hub]) -> None:
    stopped(tmp_path, hub, after=70_000)
    hub.faults.append(("HEAD", "bare"))
    done = get(tmp_path)
    assert done.path.read_bytes() == TEXTS and "not compared" in done.proof
    assert hub.log == ["HEAD", "GET", "CDN"]


def test_without_a_stated_size_a_cut_is_still_noticed(tmp_path: Path, hub: type[Hub]) -> None:
    hub.faults += [("HEAD", "bare"), ("CDN", "cut 1000")]
    assert get(tmp_path).path.read_bytes() == TEXTS and hub.log[-1] == "CDN bytes=1000-"


def test_a_file_that_is_there_and_right_is_left_alone(tmp_path: Path, hub: type[Hub]) -> None:
    (tmp_path / NAME).write_bytes(TEXTS)
    assert not get(tmp_path).fetched
    assert hub.log == ["HEAD"] and stored(tmp_path) == [NAME]


@pytest.mark.parametrize("other", [b"short", TEXTS.replace(b"and", b"und")])
def test_a_file_that_is_there_and_another_is_kept_and_named(tmp_path: Path, hub: type[Hub], other: bytes) -> None:
    (tmp_path / NAME).write_bytes(other)
    with pytest.raises(DownloadError, match=r"is not the file that 127.0.0.1:\d+ has now .* move it away first"):
        get(tmp_path)
    assert (tmp_path / NAME).read_bytes() == other and hub.log == ["HEAD"]


def test_a_cut_connection_is_continued_where_it_broke(tmp_path: Path, hub: type[Hub]) -> None:
    hub.faults += [("CDN", "cut 1000"), ("CDN", "cut 500"), ("GET", "503"), ("CDN", "429")]
    assert get(tmp_path).path.read_bytes() == TEXTS
    assert [line for line in hub.log if line != "HEAD" and "GET" not in line] == [
        "CDN", "CDN bytes=1000-", "CDN bytes=1500-", "CDN bytes=1500-"
    ]  # fmt: skip


def test_many_cuts_are_no_failure_as_long_as_bytes_arrive(tmp_path: Path, hub: type[Hub]) -> None:
    hub.faults += [("CDN", "cut 1000"), ("CDN", "503")] * (2 * downloads.ATTEMPTS)
    assert get(tmp_path).path.read_bytes() == TEXTS


def test_a_later_run_continues_what_an_earlier_one_left(tmp_path: Path, hub: type[Hub]) -> None:
    stopped(tmp_path, hub, after=70_000)
    assert f".{NAME}.download/{NAME}.part" in stored(tmp_path) and NAME not in stored(tmp_path)
    assert get(tmp_path, "modelscope").path.read_bytes() == TEXTS  # the same bytes, so either hub continues
    assert hub.log[-1] == "CDN bytes=70000-" and stored(tmp_path) == [NAME]


def test_a_whole_part_is_not_asked_for_again(tmp_path: Path, hub: type[Hub]) -> None:
    stopped(tmp_path, hub, after=70_000)
    (tmp_path / f".{NAME}.download" / f"{NAME}.part").write_bytes(TEXTS)
    assert get(tmp_path).path.read_bytes() == TEXTS and hub.log == ["HEAD"]


def test_a_server_without_ranges_sends_the_file_anew(tmp_path: Path, hub: type[Hub]) -> None:
    stopped(tmp_path, hub, after=70_000)
    hub.faults.append(("CDN", "no ranges"))
    assert get(tmp_path).path.read_bytes() == TEXTS
    assert hub.log[-1] == "CDN bytes=70000-"


@pytest.mark.parametrize("damage", [None, "{", '{"etag": 3}', "gone"])
def test_another_version_starts_anew(tmp_path: Path, hub: type[Hub], damage: str | None, monkeypatch) -> None:
    stopped(tmp_path, hub, after=70_000)
    note = tmp_path / f".{NAME}.download" / f"{NAME}.json"
    if damage is None:
        monkeypatch.setattr(hub, "content", TEXTS.replace(b"and", b"und"))
        monkeypatch.setattr(hub, "digest", sha256(hub.content).hexdigest())
    elif damage == "gone":
        note.unlink()
    else:
        note.write_text(damage, encoding="utf-8")
    assert get(tmp_path).path.read_bytes() == hub.content
    assert hub.log[-1] == "CDN" and stored(tmp_path) == [NAME]


def test_a_part_that_is_longer_than_the_file_starts_anew(tmp_path: Path, hub: type[Hub]) -> None:
    stopped(tmp_path, hub, after=70_000)
    (tmp_path / f".{NAME}.download" / f"{NAME}.part").write_bytes(TEXTS + b"more")
    assert get(tmp_path).path.read_bytes() == TEXTS


def test_wrong_bytes_are_set_aside_and_the_next_run_is_clean(tmp_path: Path, hub: type[Hub]) -> None:
    hub.faults.append(("CDN", "other bytes"))
    with pytest.raises(DownloadError, match=rf"SHA-256 \w+, but 127.0.0.1:\d+ states {DIGEST}. It was set aside as"):
        get(tmp_path)
    assert (tmp_path / f"{NAME}.wrong").stat().st_size == len(TEXTS) and NAME not in stored(tmp_path)
    assert get(tmp_path).path.read_bytes() == TEXTS
    assert hub.log[-1] == "CDN"


def test_a_page_in_place_of_the_file_is_refused(tmp_path: Path, hub: type[Hub]) -> None:
    hub.faults.append(("CDN", "page"))
    with pytest.raises(DownloadError, match=r"sent 12 bytes instead of .*did a proxy or a login page answer"):
        get(tmp_path)
    hub.faults.append(("GET", "page"))
    with pytest.raises(DownloadError, match=r"other than a listing of files"):
        get(tmp_path, "modelscope")


def test_a_small_file_without_a_digest_is_held_against_its_size(tmp_path: Path, hub: type[Hub], monkeypatch) -> None:
    monkeypatch.setattr(hub, "linked", False)
    assert get(tmp_path).proof == f"{len(TEXTS):,} bytes as huggingface states, which states no SHA-256"
    assert not get(tmp_path).fetched
    (tmp_path / NAME).write_bytes(b"short")
    with pytest.raises(DownloadError, match=r"move it away"):
        get(tmp_path)


@pytest.mark.parametrize("fault", ["503", "500", "429"])
def test_a_hub_that_is_busy_for_a_moment_is_asked_again(tmp_path: Path, hub: type[Hub], fault: str) -> None:
    hub.faults += [("HEAD", fault)] * (downloads.ATTEMPTS - 1)
    assert get(tmp_path).fetched


def test_a_hub_that_stays_busy_is_given_up(tmp_path: Path, hub: type[Hub]) -> None:
    hub.faults += [("HEAD", "503")] * downloads.ATTEMPTS
    with pytest.raises(Unreachable, match=r"cannot be reached .*503"):
        get(tmp_path / "data")
    assert len(hub.log) == downloads.ATTEMPTS and not (tmp_path / "data").exists()


def test_waits_double_and_obey_the_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, hub: type[Hub]) -> None:
    waits: list[float] = []
    monkeypatch.setattr(downloads, "FIRST_WAIT", 1.0)
    monkeypatch.setattr(downloads.time, "sleep", waits.append)
    hub.faults += [("CDN", "cut 0")] * 3 + [("CDN", "503")]  # the 503 comes with Retry-After: 0
    get(tmp_path)
    assert waits == [1.0, 2.0, 4.0, 0.0]


@pytest.mark.parametrize(("source", "revision"), [("huggingface", "0abc"), ("modelscope", "")])
def test_a_file_that_the_repository_lacks(tmp_path: Path, hub: type[Hub], source: str, revision: str) -> None:
    file, other = PUBLISHED["dpo.jsonl"], next(name for name in HUBS if name != source)
    with pytest.raises(DownloadError, match=rf"has no dpo.jsonl \(HTTP 404\).*--revision, or take --source {other}"):
        download(file, tmp_path, hub=HUBS[source], revision=revision, progress=False)
    assert len(hub.log) == 1 and stored(tmp_path) == []


def test_a_hub_that_refuses(tmp_path: Path, hub: type[Hub]) -> None:
    hub.faults.append(("HEAD", "403"))
    with pytest.raises(DownloadError, match=r"refuses pretrain_hq.jsonl \(HTTP 403, Forbidden\)"):
        get(tmp_path)


@pytest.mark.parametrize(
    ("source", "address"), [("huggingface", "http://127.0.0.1:9"), ("modelscope", "http://no.invalid")]
)
def test_without_a_network_the_way_out_is_named(
    tmp_path: Path, source: str, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(HUBS[source].variable, address)
    other = next(name for name in HUBS if name != source)
    with pytest.raises(Unreachable) as caught:
        get(tmp_path / "data", source)
    message = str(caught.value)
    assert message.startswith(f"{urlsplit(address).netloc} cannot be reached (")
    for way in (HUBS[source].variable, f"--source {other}", f"by hand at {tmp_path / 'data' / NAME}"):
        assert way in message
    assert not (tmp_path / "data").exists()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / NAME).write_bytes(TEXTS)  # by hand
    assert get(tmp_path / "data", source).proof.startswith("not compared with anything: ")


def test_offline_by_choice_nothing_is_asked(tmp_path: Path, hub: type[Hub], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(Unreachable, match=r"HF_HUB_OFFLINE is set, so nothing is asked of 127"):
        get(tmp_path)
    assert hub.log == []


def test_an_endpoint_that_is_no_address(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "file:///etc")
    with pytest.raises(DataError, match=r"HF_ENDPOINT must be an address such as https://huggingface.co, not 'file"):
        get(tmp_path)


def test_a_disk_without_room_is_noticed_before(tmp_path: Path, hub: type[Hub], monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(1, 1, len(TEXTS)))
    with pytest.raises(DownloadError, match=rf"{in_bytes(len(TEXTS))} are missing and the disk has .* free; .*--into"):
        get(tmp_path)
    assert hub.log == ["HEAD"]


def test_a_disk_that_fills_up_keeps_what_has_arrived(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fills_up(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(downloads.tqdm, "update", fills_up)  # called after each chunk
        with pytest.raises(DownloadError, match=r"the disk is full; what has arrived is kept in .*\.jsonl\.download,"):
            get(tmp_path)
    assert get(tmp_path).path.read_bytes() == TEXTS


def test_two_downloads_of_one_file_do_not_meet(tmp_path: Path) -> None:
    workshop = tmp_path / f".{NAME}.download"
    workshop.mkdir()
    parent = os.getppid()
    held = {"pid": parent, "started": process_start(parent), "host": socket.gethostname()}
    (workshop / LOCK).write_text(json.dumps(held), encoding="utf-8")
    with pytest.raises(FolderInUse, match=f"being written by process {parent}"):
        get(tmp_path)


def test_the_first_lines_are_read_as_records(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(TEXTS)
    assert first_lines(path, "text") == "its first 200 lines are text records"
    path.write_bytes(b'{"text": ""}\n' + TEXTS)
    assert first_lines(path, "text").startswith("1 of its first 200 lines are bad and will be skipped; the first: ")
    with pytest.raises(DataError, match=r"200 of the first 200 lines are no preference records; the first: .*line 1"):
        first_lines(path, "preference")


def minimind(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["data", *map(str, arguments)], env={"COLUMNS": "200"})
    return result.exit_code, result.output


@pytest.mark.parametrize(
    ("system", "options", "source"),
    [("zh_CN", [], "modelscope"), ("en", [], "huggingface"), ("zh_CN", ["--source", "huggingface"], "huggingface"),
     ("en", ["--source", "modelscope"], "modelscope")],
)  # fmt: skip
def test_a_chinese_system_downloads_from_modelscope_unless_told_otherwise(
    system: str, options: list[str], source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LC_ALL", system)
    code, text = minimind("download", "pretrain_hq", "--into", tmp_path, *options)
    assert code == 0 and f"as {source} states it" in text


def test_benchmarks_come_from_hugging_face_on_a_chinese_system_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources: list[str] = []
    monkeypatch.setenv("LC_ALL", "zh_CN")
    monkeypatch.setattr("minimind_lite.data.benchmark_files.download_benchmarks",
                        lambda names, into, *, source, revision: sources.append(source) or [])  # fmt: skip
    assert minimind("download", "ceval", "--into", tmp_path) == (0, "")
    assert sources == ["huggingface"]


def test_the_command_says_what_came_and_what_comes_next(tmp_path: Path) -> None:
    code, text = minimind("download", "pretrain_hq", "--into", tmp_path)
    assert code == 0, text
    assert f"{tmp_path / NAME}: {in_bytes(len(TEXTS))}, downloaded; SHA-256 {DIGEST[:12]}" in text
    assert "its first 200 lines are text records" in text
    assert f"next: minimind train pretrain {tmp_path / NAME} BASE OUTPUT" in text
    assert f"minimind data check {tmp_path}" in text
    assert "was here already" in minimind("download", NAME, "--into", tmp_path)[1]
    assert minimind("check", tmp_path)[0] == 0


def test_names_are_checked_before_anything_is_fetched(tmp_path: Path, hub: type[Hub]) -> None:
    code, text = minimind("download", NAME, "novels", "--into", tmp_path)
    assert code == 1 and "no published file is called novels; there are: tokenizer_train.jsonl, pretrain_hq" in text
    code, text = minimind("download", NAME, "--into", tmp_path, "--source", "ftp")
    assert code == 1 and "no source called 'ftp'; there are: huggingface, modelscope" in text
    assert hub.log == [] and stored(tmp_path) == []
    assert minimind("download")[0] == 2


def test_a_name_given_twice_is_one_file(tmp_path: Path) -> None:
    lines = list(download_all([NAME, "pretrain_hq"], tmp_path, progress=False))
    assert len([line for line in lines if line.startswith(f"{tmp_path / NAME}:")]) == 1


def test_the_list_shows_every_file_and_what_is_here(tmp_path: Path, hub: type[Hub]) -> None:
    (tmp_path / NAME).write_bytes(b"12345")
    code, text = minimind("download", "--list", "--into", tmp_path)
    rows = {line.split()[0]: line for line in text.splitlines() if ".jsonl" in line}
    assert code == 0 and set(rows) == set(PUBLISHED) and hub.log == []
    assert " 1.6 GB  pretrain     5 bytes  texts" in rows[NAME]
    assert "  7.5 GB  sft               no" in rows["sft_512.jsonl"]
    assert text.startswith(published_table(tmp_path) + "\n") and "benchmarks: ceval, cmmlu" in text


def test_every_stage_of_the_table_exists() -> None:
    assert {file.stage for file in PUBLISHED.values()} <= {*STAGES, "tokenizer", ""}


def test_downloads_go_to_the_repository_and_git_ignores_them() -> None:
    assert data_folder() == repository_root() / DATA_FOLDER
    assert f"/{DATA_FOLDER}/" in (repository_root() / ".gitignore").read_text(encoding="utf-8").splitlines()


def test_a_folder_that_holds_nothing_out_is_checked_without_keeping_its_texts(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(TEXTS)
    [report] = check_folder(tmp_path).files
    assert report.records == 9000 and report.items == [] and report.chinese == 0
    (tmp_path / NAME).write_text('{"text": "中文ab"}\n', encoding="utf-8")
    assert check_folder(tmp_path).files[0].chinese == 6 / 8
