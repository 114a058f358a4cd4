"""`flask db rebase`, which moves revisions on top of another head."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from alembic.config import Config
from sqlalchemy.exc import DBAPIError

from ..console import echo
from ..database import heads_in_words
from ..errors import LoginError, MigrationError, relative, summary
from ..folder import scripts
from ..histories.moving import Move, apply, chosen, merge_line, require_movable
from ..lock import locked
from .app_database import opened
from .command import MigrationCommand, config_of, directory_option
from .review import Chosen, review_new


@click.command(cls=MigrationCommand)
@directory_option
@click.argument("revision", required=False)
def rebase(directory: str | None, revision: str | None) -> None:
    """Move this branch's revisions on top of the other head.

    Edits down_revision of the first of them: REVISION, by default the first one that upstream does not have, according
    to git. Refuses if the database has applied one of them.
    """
    config = config_of(directory)
    script = scripts()
    move = chosen(script, revision)
    if move is not None:
        move = _moved(config, move, revision)
    if move is None:
        heads = scripts().get_heads()
        said = "the only head is" if len(heads) < 2 else "these branches are meant to stay apart:"
        echo(f"Nothing to rebase: {said} {heads_in_words(heads)}")
        return
    review_new(config, (), Chosen(f"{move.onto}:{move.head}"))
    echo(
        "Both branches may change the same table or column. Find out on a copy of the database, upgrade, and commit the"
        " script:\n    flask db rehearse\n    flask db upgrade"
    )


def _moved(config: Config, move: Move, revision: str | None) -> Move | None:
    """Move the revisions, and print what was done. Return None if another command has just moved them."""
    with _database_required(move), opened(config) as (database, using), locked(database, using.lock_wait):
        database.require_whole()
        script = scripts()  # again: another command may have edited it before the lock
        now = chosen(script, revision)
        if now is not None:
            require_movable(script, now, database.heads())
            apply(now)
            file = relative(Path(now.first.path))
            echo(f"Moved {', '.join(now.moved(script))} on top of {now.onto}, by down_revision in {file}")
        return now


@contextmanager
def _database_required(move: Move) -> Iterator[None]:
    """Inside the block, turn an error of a database that cannot be reached into a MigrationError.

    Without the database, nothing says whether it has applied the revisions.
    """
    try:
        yield
    except (DBAPIError, LoginError) as error:
        raise MigrationError(
            f"the database does not say whether it has applied {move.first.revision}: {summary(error)}",
            "make the database reachable, and run the command again; or merge the heads, which needs no database:",
            merge_line([move.onto, move.head]),
        ) from error
