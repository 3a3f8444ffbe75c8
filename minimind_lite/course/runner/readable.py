"""The executed chapters as web pages, beside the course's page: each is made as soon as its chapter has ended.

A page stands for every chapter from the start, so that no link between them is dead: until its chapter has run, it says
so. One thread makes them, one after the other, while the next chapter runs.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from html import escape
from pathlib import Path

from minimind_lite.files import write_text

from ..kit.language import catalogue
from ..notebooks.cleaning import clean
from ..notebooks.files import language_of, read
from ..notebooks.pages import FOLDERS, Page, body_of, fill_template, framed, read_pages, style_sheet, with_links
from .plan import Plan


class ReadableChapters:
    """The web pages of a run's chapters and of their exercises, in the folder of the course's page.

        with ReadableChapters(plan) as readable:
            run_course(plan, ended=readable.make)

    ``problems`` says, by chapter, why a page could not be made; nothing else stops because of it.
    """

    def __init__(self, plan: Plan) -> None:
        first = plan.every[0]
        self.plan = plan
        self.root = first.parents[1] if language_of(first) == "en" else first.parents[2]
        self.notebooks = {path: path.relative_to(self.root).as_posix() for path in plan.every}
        exercises = [self.root / self._exercises_of(path) for path in plan.every]
        self.pages = read_pages(self.root, [*plan.every, *(path for path in exercises if path.is_file())])
        self.problems: dict[str, str] = {}
        self.thread = ThreadPoolExecutor(1)

    def __enter__(self) -> "ReadableChapters":
        write_text(self.plan.home / "style.css", style_sheet())
        for page in self.pages.values():
            say = catalogue(page.speech).gettext
            if not self._file(page).is_file():
                self._write_notice(page, say("This page is made as soon as its chapter has been run."))
        self._write_index()
        for path in self.plan.every:
            if self._executed(path).is_file() and not self.is_made(path):
                self.make(path)
        return self

    def __exit__(self, *_: object) -> None:
        self.thread.shutdown()

    def make(self, path: Path) -> None:
        """Make the chapter's page, and that of its exercises, soon."""
        self.thread.submit(self._make, path)

    def address(self, path: Path) -> str:
        """Of the chapter's page, from the course's page; "" where the chapter has none yet."""
        return self.pages[self.notebooks[path]].address if self.is_made(path) else ""

    def exercises_address(self, path: Path) -> str:
        """Of the page of the chapter's exercises, from the course's page; "" where it has none."""
        page = self.pages.get(self._exercises_of(path))
        return page.address if page and self._is_current(page, self.root / page.path) else ""

    def is_made(self, path: Path) -> bool:
        """Whether the chapter's page shows its last run."""
        return self._is_current(self.pages[self.notebooks[path]], self._executed(path))

    def _exercises_of(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix().replace(*FOLDERS, 1)

    def _executed(self, path: Path) -> Path:
        return self.plan.home / path.name

    def _file(self, page: Page) -> Path:
        return self.plan.home / page.address

    def _is_current(self, page: Page, source: Path) -> bool:
        file = self._file(page)
        return file.is_file() and source.is_file() and file.stat().st_mtime >= source.stat().st_mtime

    def _make(self, path: Path) -> None:
        """Make the pages; whatever goes wrong is remembered, and said on the page."""
        page, executed = self.pages[self.notebooks[path]], self._executed(path)
        try:
            self._write(Page(page.path, clean(read(executed))), os.path.relpath(executed, self._file(page).parent))
            exercises = self.pages.get(self._exercises_of(path))
            if exercises and not self._is_current(exercises, self.root / exercises.path):
                self._write(exercises, os.path.relpath(self.root / exercises.path, self._file(exercises).parent))
            self.problems.pop(path.stem, None)
        except Exception as error:  # nbconvert and its parts raise whatever they like
            self.problems[path.stem] = f"{type(error).__name__}: {error}"[:300]
            say = catalogue(page.speech).gettext
            self._write_notice(page, f"{say('This page could not be made.')} {self.problems[path.stem]}")

    def _write(self, page: Page, source: str) -> None:
        body = with_links(body_of(page), page, self.pages, self.root)
        write_text(self._file(page), framed(body, page, self.pages, Path(source).as_posix()))

    def _write_notice(self, page: Page, text: str) -> None:
        """A page with one sentence. It is dated before any notebook, so that a later run makes the page itself."""
        body = f"<h1>{escape(page.title)}</h1><p>{escape(page.promise)}</p><p><strong>{escape(text)}</strong></p>"
        source = os.path.relpath(self.root / page.path, self._file(page).parent)
        write_text(self._file(page), framed(body, page, self.pages, Path(source).as_posix()))
        os.utime(self._file(page), (0, 0))

    def _write_index(self) -> None:
        """The course's page of a run that has not ended yet, unless an earlier run left one."""
        if (self.plan.home / "index.html").is_file():
            return
        rows = [self.pages[name] for name in self.notebooks.values()]
        links = "".join(f'<li><a href="{one.address}">{escape(one.title)}</a></li>' for one in rows)
        say = catalogue(self.plan.language).gettext
        title, text = say("The course, as it runs here"), say("This page is made when the run has ended.")
        body = f"<h1>{escape(title)}</h1><p>{escape(text)}</p><ul>{links}</ul>"
        first = self.plan.every[0]
        source = Path(os.path.relpath(first, self.plan.home)).as_posix()
        write_text(self.plan.home / "index.html", fill_template(
            self.plan.language, language=self.plan.language, title=escape(title), description=escape(text),
            root="", neighbours="", contents="", body=body, source=source, source_name=first.name,
        ))  # fmt: skip
