"""The revisions that are accepted without a review: those up to ``reviewed = REV`` in migrations/alembic.ini."""

from collections.abc import Sequence

from alembic.script import ScriptDirectory
from alembic.util import CommandError

from ..errors import MigrationError, counted, relative
from ..folder import folder
from ..histories.editing import write_line

KEY = "reviewed"


def accepted(script: ScriptDirectory) -> set[str]:
    """Return the revisions that alembic.ini accepts: those that it names, and all before them.

    Raise MigrationError if a name is not the id of a script. One such as head would also accept all future revisions.
    """
    fix = "accept the revisions again, up to one of this list, or remove that line:"
    return up_to(KEY, script, fix, "flask db heads", "flask db review --accept REV")


def up_to(key: str, script: ScriptDirectory, fix: str, *lines: str) -> set[str]:
    """Return the revisions that ``key`` in alembic.ini names, and all before them.

    If a name is not the id of a script, raise MigrationError with ``fix`` and ``lines``.
    """
    names = folder().words(key)
    found: set[str] = set()
    for name in names:
        if not _is_id(script, name):
            file = relative(folder().ini)
            what = f"{file} has {key} = {' '.join(names)}, but {name} is not the id of a revision."
            raise MigrationError(what, fix, *lines)
        found |= {each.revision for each in script.iterate_revisions(name, "base")}
    return found


def skipped(count: int) -> str:
    """Return a line that says that ``count`` pending revisions are accepted, and so not reviewed."""
    return f"{counted(count, 'revision')} accepted up to {' and '.join(folder().words(KEY))}: not reviewed"


def accept(script: ScriptDirectory, names: Sequence[str]) -> str:
    """Write the revisions ``names`` into alembic.ini, in place of those that it has, and return the written line.

    Raise Alembic's CommandError if a revision is unknown, and MigrationError if ``names`` are all base.
    """
    revisions = list(dict.fromkeys(each.revision for each in script.get_revisions(names) if each))
    if not revisions:
        raise MigrationError("base is not a revision.", "name one of this list:", "flask db history")
    return write_line(folder().ini, KEY, " ".join(revisions))


def _is_id(script: ScriptDirectory, name: str) -> bool:
    try:
        found = script.get_revision(name)
    except CommandError:
        return False
    return found is not None and found.revision.startswith(name)
