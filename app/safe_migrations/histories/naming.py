"""The naming convention that a history was written for: ``convention_since = REV`` in migrations/alembic.ini.

A convention names the constraints to which a script gives no name. So an app that gets a convention later changes what
its old scripts create, and those that drop a constraint by the name that the server chose fail.
"""

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from weakref import WeakKeyDictionary

from alembic.runtime.migration import MigrationContext, MigrationStep, RevisionStep
from sqlalchemy import MetaData

from ..errors import relative
from ..folder import Folder, folder, scripts
from ..review.acceptance import up_to

KEY = "convention_since"
NEW = "convention"
"""The id that a message proposes for a revision from which on the convention is in force."""

_assumed: ContextVar[Collection[str] | None] = ContextVar("assumed", default=None)
_read: WeakKeyDictionary[Folder, Collection[str]] = WeakKeyDictionary()


def written_before_convention() -> Collection[str]:
    """Return the revisions that run without the models' naming convention: all before those that alembic.ini names.

    Raise MigrationError if it names one that has no script. A folder's file is read once for each command.
    """
    if (assumed := _assumed.get()) is not None:
        return assumed
    if (current := folder()) not in _read:
        if not (names := current.words(KEY)):
            return ()
        fix = "name the first revision that was written for the naming convention, or remove that line:"
        script = scripts()
        found = up_to(KEY, script, fix, "flask db history")
        _read[current] = found - {each.revision for each in script.get_revisions(names) if each}
    return _read[current]


def convention_lines(since: str | None) -> tuple[str, ...]:
    """Return what to do, and lines to paste, so that all revisions before ``since`` run without the convention.

    If it is None, because even the newest revision was written without the convention, a new one comes first.
    """
    file = relative(folder().ini)
    if since:
        return f"write this line into {file}, below [alembic], and commit it:", f"{KEY} = {since}"
    return (
        f"write a revision that changes nothing, and then the second line into {file}, below [alembic]; commit both:",
        f'flask db revision --rev-id {NEW} -m "Name constraints by the convention from here on"',
        f"{KEY} = {NEW}",
    )


@contextmanager
def assumed_before_convention(revisions: Collection[str]) -> Iterator[None]:
    """Inside the block, let ``revisions`` run without the convention, whatever alembic.ini names."""
    token = _assumed.set(revisions)
    try:
        yield
    finally:
        _assumed.reset(token)


def named_as_written(steps: Iterable[MigrationStep], context: MigrationContext) -> Iterator[MigrationStep]:
    """Yield ``steps``, and let each script name its constraints by the convention that it was written for.

    Alembic takes the convention from the option ``target_metadata`` when a script calls an operation.
    """
    older, metadata = written_before_convention(), context.opts.get("target_metadata")
    for step in steps:
        is_older = isinstance(step, RevisionStep) and step.revision.revision in older
        context.opts["target_metadata"] = MetaData() if is_older else metadata
        yield step
    context.opts["target_metadata"] = metadata
