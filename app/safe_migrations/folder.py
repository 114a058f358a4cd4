"""The migrations folder of the current command: its bind, and `-d` in lines to paste.

The app's own folder, migrations/, manages the default database. A folder in it with ``bind = KEY`` in its alembic.ini
manages the database that SQLALCHEMY_BINDS has under that key.
"""

import os
import re
import shlex
from collections.abc import Iterator
from configparser import Error as IniError
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from click import ClickException
from flask import current_app, g

from .errors import MigrationError, no_right, relative

TEMPLATE = Path(__file__).with_name("template")
"""The folder with what `flask db init` writes."""

KEY = "bind"
"""The name of the line in alembic.ini."""


@dataclass(frozen=True)
class Folder:
    """A migrations folder. It knows which database it manages, and the option that chooses it."""

    path: Path

    @cached_property
    def bind(self) -> str | None:
        """Return the bind key in alembic.ini; None for the default database."""
        return self.line(KEY)

    @property
    def ini(self) -> Path:
        """Return the path of alembic.ini."""
        return self.path / "alembic.ini"

    def line(self, key: str) -> str | None:
        """Return the value of ``key`` in alembic.ini; None if it has no such line, or an empty one.

        Return None too if there is no alembic.ini, or if it cannot be read, for which each command stops by itself.
        """
        with suppress(IniError, UnicodeDecodeError):
            return Config(str(self.ini)).file_config.get("alembic", key, raw=True, fallback="") or None
        return None

    def words(self, key: str) -> list[str]:
        """Return the words in the value of ``key``, which commas or spaces separate; an empty list if it has none."""
        return re.findall(r"[^,\s]+", self.line(key) or "")

    def require_readable(self) -> None:
        """Raise MigrationError if alembic.ini or versions/ cannot be read; Alembic takes them for empty then."""
        try:
            with suppress(FileNotFoundError, NotADirectoryError), os.scandir(self.path / "versions"):
                pass
            with suppress(FileNotFoundError), self.ini.open("rb"):
                pass
        except PermissionError as error:
            raise no_right("read", Path(error.filename)) from error

    @property
    def is_inside(self) -> bool:
        """Return True if the folder is directly inside the app's own, where the folders of binds are."""
        return self.path.resolve().parent == app_folder().path.resolve() and self.path.name != "versions"

    @cached_property
    def option(self) -> str:
        """Return the option that chooses this folder, such as ``-d migrations/audit``; empty for the app's own."""
        is_own = self.path.resolve() == app_folder().path.resolve()
        return "" if is_own else f"-d {shlex.quote(relative(self.path))}"


_current: ContextVar[Folder | None] = ContextVar("folder", default=None)


def app_folder() -> Folder:
    """Return the app's own folder, which Migrate() names."""
    return Folder(Path(current_app.extensions["migrate"].directory))


def folder() -> Folder:
    """Return the folder of the current command: that of `-d`, or of `flask_migrate.upgrade(directory=...)`."""
    return _current.get() or (Folder(Path(g.directory)) if g.get("directory") else app_folder())


def bind_folders() -> list[Folder]:
    """Return the folders of binds, sorted by bind key. Raise MigrationError if two have the same key."""
    found: dict[str, Folder] = {}
    for ini in sorted(app_folder().path.glob("*/alembic.ini")):
        each = Folder(ini.parent)
        each.require_readable()
        if each.bind and each.bind in found:
            raise MigrationError(
                f"{relative(found[each.bind].path)} and {relative(each.path)} both manage the bind {each.bind}.",
                f"correct the line `{KEY} = {each.bind}` in one of them:",
                f"{relative(ini)}",
            )
        if each.bind:
            found[each.bind] = each
    return [found[bind] for bind in sorted(found)]


def scripts() -> ScriptDirectory:
    """Return the revision scripts of the current folder, read again."""
    return ScriptDirectory.from_config(current_app.extensions["migrate"].migrate.get_config(folder().path))


@contextmanager
def in_folder(path: Path) -> Iterator[None]:
    """Inside the block, let folder() return the folder ``path``, unless it does already.

    A message of an error that leaves the block, or its note, gets the option `-d` in its lines to paste. What env.py
    adds to the options of Migrate() is removed at the end: the next folder has an env.py of its own.
    """
    current, options = _current.get(), current_app.extensions["migrate"].configure_args
    if current is not None and current.path.resolve() == path.resolve():
        yield
        return
    before, token = dict(options), _current.set(Folder(path))
    try:
        yield
    except Exception as error:
        if isinstance(error, ClickException):
            vars(error).update(message=for_folder(error.message))  # which click annotates as final
        elif isinstance(error, CommandError):
            error.args = (for_folder(str(error)),)
        error.__notes__ = [for_folder(note) for note in getattr(error, "__notes__", ())]
        raise
    finally:
        _current.reset(token)
        for name in options.keys() - before.keys():
            del options[name]
        options.update(before)


def for_folder(text: str) -> str:
    """Return ``text``, such as a message, with `-d FOLDER` in each `flask db` line, unless the folder is the app's own.

    For a bind, name the place of its URL where ``text`` names DATABASE_URL.
    """
    current = _current.get()
    if current is None or not current.option:
        return text
    option, bind = current.option, current.bind
    if bind:

        def assigned(found: re.Match[str]) -> str:
            place = f"SQLALCHEMY_BINDS[{bind!r}] = {found[1]!r}"
            return f"{found[2]}  # with {place}" if found[2] else place

        text = re.sub(r"(?:export )?DATABASE_URL=(\S+)(?: (flask db .*))?", assigned, text)
        text = re.sub(r"DATABASE_URL(?: \(or [^)]*\))?", f"SQLALCHEMY_BINDS[{bind!r}]", text)
    return re.sub(r"\bflask db (?!(?:.* )?-d )(?=[-a-z])", lambda _: f"flask db {option} ", text)
