"""What migrations/env.py runs, so that `flask db` and `flask_migrate.upgrade()` are equally safe.

lock -> recover -> plan -> requirements -> run -> verify. A command that changes no revision, or has nothing to do,
takes no lock.
"""

import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

from alembic import context
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from app.safe_migrations.adapters import Adapter, adapter_of
from app.safe_migrations.directives import but_own_tables, process_revision_directives
from app.safe_migrations.errors import LoginError, MigrationError
from app.safe_migrations.lock import locked
from app.safe_migrations.patience import Patience
from app.safe_migrations.plan import changes_revisions, pending
from app.safe_migrations.progress import Progress, log, log_on_stderr
from app.safe_migrations.requirements import require
from app.safe_migrations.settings import settings

# Seconds for a server to accept a login. Drivers stop waiting for the network after 10 (config.py); this is for a
# server that takes the connection and says nothing, such as another service behind that port.
LOGIN_WITHIN = 15


def run_migrations(engine: Engine, **options: Any) -> None:
    """Run what the command is for, on the database behind ``engine``; ``options`` are `context.configure()`'s.

    Raises SQLAlchemy's DBAPIError where the database refuses something, LoginError where it does not get that far,
    and MigrationError where this package does.
    """
    options = {"process_revision_directives": process_revision_directives, **options}
    options["include_name"] = but_own_tables(options.get("include_name"))
    with log_on_stderr():
        if context.is_offline_mode():
            _run(url=engine.url, literal_binds=True, dialect_opts={"paramstyle": "named"}, **options)
            return
        adapter = adapter_of(engine)
        with _connected(adapter) as connection:
            if not changes_revisions():
                _run(connection=connection, **options)
                return
            heads, steps = pending(connection, options)
            if not steps and not _interrupted(adapter, connection):
                _run(connection=connection, **options)
                log.info("Nothing to do: the database is at %s", ", ".join(heads) or "base")
                return
            log.info("Database %r, %s %s", engine.url.set(query={}), *adapter.version(connection))
            using = settings()
            with locked(adapter, connection, using.lock_wait):
                adapter.recover(connection, using.patience)
                _, steps = pending(connection, options)  # again: others may have run them meanwhile
                require(steps, adapter, connection)
                with adapter.prepared(connection, using.patience) as step_done:
                    _run_patiently(adapter, connection, using.patience, options, step_done)


def _interrupted(adapter: Adapter, connection: Connection) -> bool:
    found = adapter.interrupted(connection)
    connection.rollback()
    return found


def _run(**options: Any) -> None:
    context.configure(**options)
    with context.begin_transaction():
        context.run_migrations()


def _run_patiently(
    adapter: Adapter,
    connection: Connection,
    patience: Patience,
    options: dict[str, Any],
    step_done: Callable[[], None],
) -> None:
    """Run, and after a lock time-out let those pass who wait behind it, and run what is left."""
    progress = Progress(step_done)
    with progress.shown_on(connection):
        for pause in patience.pauses():
            try:
                _run(connection=connection, **adapter.configure, **options, on_version_apply=progress.on_version_apply)
            except DBAPIError as error:
                connection.rollback()
                if not adapter.is_lock_time_out(error):
                    raise
                if pause is None or not adapter.reruns or progress.part_committed:
                    raise _blocked(adapter, connection, patience) from error
                log.info("Others hold a lock; trying again in %.1f seconds", pause)
                time.sleep(pause)
            else:
                break
    _verify(connection, progress.heads)


def _blocked(adapter: Adapter, connection: Connection, patience: Patience) -> MigrationError:
    who, end = adapter.blockers(connection)
    return MigrationError(
        f"others hold a lock that the next step needs{f' ({who})' if who else ''};"
        f" gave up after {patience.tries} tries of {patience.seconds:g} seconds.",
        "wait for them, or end them, and run the command again:",
        end or "flask db upgrade",
    )


def _verify(connection: Connection, expected: set[str] | None) -> None:
    """Raise MigrationError unless the database says at the end what Alembic says.

    Of each step Alembic makes sure by itself: it counts the rows of alembic_version that it changes.
    """
    stored = set(context.get_context().get_current_heads())
    connection.rollback()
    told = ", ".join(sorted(stored)) or "base"
    if expected is not None and expected != stored:
        raise MigrationError(
            f"the database should be at {', '.join(sorted(expected)) or 'base'}, and says {told}.",
            "see what else writes to the table alembic_version:",
            "flask db current",
        )
    log.info("The database is at %s", told)


def _connected(adapter: Adapter) -> Connection:
    if not adapter.log_in_may_hang:
        return adapter.engine.connect()
    outcome: SimpleQueue[Connection | Exception] = SimpleQueue()

    def connect() -> None:
        try:
            outcome.put(adapter.engine.connect())
        except Exception as error:
            outcome.put(error)

    Thread(target=connect, daemon=True, name="login").start()
    result: Connection | Exception
    try:
        result = outcome.get(timeout=LOGIN_WITHIN)
    except Empty:
        result = TimeoutError(f"no answer from a {adapter.engine.dialect.name} server within {LOGIN_WITHIN} seconds")
    if isinstance(result, Connection):
        return result
    if isinstance(result, DBAPIError):
        raise result
    raise LoginError(str(result)) from result
