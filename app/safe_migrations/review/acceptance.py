"""The revisions that are accepted without a review: those up to ``reviewed = REV`` in migrations/alembic.ini."""

import re
from collections.abc import Sequence
from pathlib import Path

from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError

from ..errors import MigrationError, counted, relative

KEY = "reviewed"


def accepted(config: Config, script: ScriptDirectory) -> set[str]:
    """Return the revisions that alembic.ini accepts: those that it names, and all before them.

    Raise MigrationError if a name is not the id of a script. One such as head would also accept all future revisions.
    """
    fix = "accept the revisions again, up to one of this list, or remove that line:"
    lines = "flask db heads", "flask db review --accept REV"
    return up_to(_names(config), script, KEY, config_file(config), fix, *lines)


def up_to(names: Sequence[str], script: ScriptDirectory, key: str, file: Path, fix: str, *lines: str) -> set[str]:
    """Return the revisions ``names``, which the alembic.ini ``file`` has as ``key``, and all before them.

    If a name is not the id of a script, raise MigrationError with ``fix`` and ``lines``.
    """
    found: set[str] = set()
    for name in names:
        if not _is_id(script, name):
            what = f"{relative(file)} has {key} = {' '.join(names)}, but {name} is not the id of a revision."
            raise MigrationError(what, fix, *lines)
        found |= {each.revision for each in script.iterate_revisions(name, "base")}
    return found


def skipped(config: Config, count: int) -> str:
    """Return a line that says that ``count`` pending revisions are accepted, and so not reviewed."""
    return f"{counted(count, 'revision')} accepted up to {' and '.join(_names(config))}: not reviewed"


def _names(config: Config) -> list[str]:
    return listed(config.get_main_option(KEY, ""))


def listed(text: str) -> list[str]:
    """Return the words of ``text``, which commas or spaces separate."""
    return re.findall(r"[^,\s]+", text)


def accept(config: Config, script: ScriptDirectory, names: Sequence[str]) -> str:
    """Write the revisions ``names`` into alembic.ini, in place of those that it has, and return the written line.

    Raise Alembic's CommandError if a revision is unknown, and MigrationError if ``names`` are all base.
    """
    revisions = list(dict.fromkeys(each.revision for each in script.get_revisions(names) if each))
    if not revisions:
        raise MigrationError("base is not a revision.", "name one of this list:", "flask db history")
    return write_line(config_file(config), KEY, " ".join(revisions))


def write_line(path: Path, key: str, value: str) -> str:
    """Write ``key = value`` into alembic.ini, in place of the line that it has, and return that text."""
    text = path.read_bytes().decode()  # read_text() would change the line ends
    line = f"{key} = {value}"
    written, count = re.subn(rf"(?m)^{key}[ \t]*[=:][^\r\n]*", line, text, count=1)
    if not count:
        written = re.sub(r"(?m)^\[alembic\][^\r\n]*(\r?\n|\Z)", rf"[alembic]\g<1>{line}\g<1>", text, count=1)
    path.write_bytes(written.encode())
    return line


def _is_id(script: ScriptDirectory, name: str) -> bool:
    try:
        found = script.get_revision(name)
    except CommandError:
        return False
    return found is not None and found.revision.startswith(name)


def config_file(config: Config) -> Path:
    """Return the path of alembic.ini."""
    return Path(str(config.config_file_name))
