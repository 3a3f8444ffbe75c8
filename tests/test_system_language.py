"""What `minimind` takes from the system's locale: the course's edition, and the hub that files come from."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from minimind_lite.cli.common import nearest_hub, system_language
from minimind_lite.cli.main import app
from minimind_lite.course.kit.errors import CourseError
from minimind_lite.course.runner import plan
from minimind_lite.data import download
from minimind_lite.serving.page.options import PageOptions

VARIABLES = ("LC_ALL", "LC_MESSAGES", "LANG")


@pytest.mark.parametrize(
    ("values", "language"),
    [
        (("", "", ""), "en"),
        (("", "", "zh_CN.UTF-8"), "zh"),
        (("", "zh_TW", "en_US.UTF-8"), "zh"),
        (("C.UTF-8", "zh_CN", "zh_CN"), "en"),
        (("", "", "de_DE.UTF-8"), "en"),
    ],
)
def test_the_first_variable_that_is_set_decides(
    values: tuple[str, ...], language: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in zip(VARIABLES, values, strict=True):
        monkeypatch.setenv(name, value)
    assert system_language() == language
    assert nearest_hub() == {"zh": "modelscope", "en": "huggingface"}[language]


@pytest.mark.parametrize(
    ("said", "spoken"), [("Chinese (Simplified)_China", "zh"), ("English_Ireland", "en"), (None, "en")]
)
def test_where_no_variable_is_set_the_system_is_asked(
    said: str | None, spoken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("locale.getlocale", lambda: (said, None))
    assert system_language() == spoken


@pytest.mark.parametrize(("options", "first"), [((), "zh"), (("--language", "en"), "en")])
def test_the_chat_page_begins_in_the_language_of_the_system(
    options: tuple[str, ...], first: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages: list[PageOptions] = []
    monkeypatch.setattr("minimind_lite.serving.page.launch.run_page", lambda page, *_: pages.append(page))
    result = invoke("zh_CN.UTF-8", "webui", "--server", "http://127.0.0.1:9/v1", "--port", "0", *options)
    assert [page.language for page in pages] == [first], result.output


def invoke(locale: str, *arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments), env=dict.fromkeys(VARIABLES, locale))


@pytest.mark.parametrize(
    ("locale", "options", "asked"),
    [
        ("zh_CN.UTF-8", (), "modelscope"),
        ("en_GB.UTF-8", (), "huggingface"),
        ("zh_CN.UTF-8", ("--source", "huggingface"), "huggingface"),
    ],
)
def test_files_come_from_the_nearest_hub_if_none_is_named(
    locale: str, options: tuple[str, ...], asked: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    sources = []

    def fetched(names: Any, folder: Path, *, source: str, revision: str) -> Iterator[str]:
        sources.append(source)
        yield "here"

    monkeypatch.setattr(download, "download_all", fetched)
    result = invoke(locale, "data", "download", "pretrain_hq.jsonl", "--into", str(tmp_path), *options)
    assert result.exit_code == 0 and "here" in result.output and sources == [asked], result.output


@pytest.mark.parametrize(
    ("locale", "options", "language"),
    [("zh_CN.UTF-8", (), "zh"), ("C", (), "en"), ("C", ("--language", "zh"), "zh"),
     ("zh_CN.UTF-8", ("--language", "en"), "en")],
)  # fmt: skip
@pytest.mark.parametrize("command", ["run", "status"])
def test_the_edition_follows_the_locale_and_the_option_wins(
    command: str, locale: str, options: tuple[str, ...], language: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def make_plan(*_: Any, language: str, **__: Any) -> None:
        asked.append(language)
        raise CourseError("only the language matters here")

    monkeypatch.setattr(plan, "make_plan", make_plan)
    assert invoke(locale, "course", command, *options).exit_code and asked == [language]
