"""`flask db squash`, which replaces the scripts up to a revision with one script."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import click
from alembic.config import Config
from alembic.script import Script
from sqlalchemy.exc import DBAPIError

from ..adapters import engine_of
from ..console import each_warning_once, echo
from ..database import Database, connected
from ..errors import LoginError, MigrationError, UnsafeError, counted, masked, relative, summary
from ..folder import scripts
from ..histories.replacement import replace_files, replaced, require_in_git, restore_interrupted, update_settings
from ..histories.squashing import Squash, proved_products, squashed
from ..settings import Settings
from .app_database import opened
from .command import MigrationCommand, config_of, directory_option


@click.command(cls=MigrationCommand)
@directory_option
@click.option("--on", "servers", metavar="URL", multiple=True, help="Prove it on this server, too. Can be repeated.")
@click.option("--yes", is_flag=True, help="Accept what git does not keep, what is not proved, and rows that vary.")
@click.argument("revision", default="head")
def squash(directory: str | None, servers: tuple[str, ...], yes: bool, revision: str) -> None:
    """Replace all scripts up to REVISION with one script, which keeps its id.

    First prove on empty databases that both make the same schema and rows; exit with status 1 if not.
    """
    config = config_of(directory)
    script = scripts()
    restore_interrupted(script.version_locations or [script.versions])
    target = script.get_revision(revision)
    if target is None:
        raise MigrationError("base is not a revision.", "name one of this list:", "flask db history")
    old = replaced(script, target)
    if not old:
        echo(f"Nothing to squash: {target.revision} is the first revision")
        return
    if not yes:
        require_in_git([*old, target])
    with each_warning_once(), _databases(config, servers) as databases:
        _require_past(databases[0][0], old, target)
        unproved = _unproved(databases, [*old, target])
        if unproved and not yes:
            raise _not_proved(unproved, target.revision)
        made = squashed(config, script, target, old, databases)
    if made.varying and not yes:
        raise _varies(
            made.varying, " ".join(["flask db squash --yes", *(["--on URL"] * len(servers)), target.revision])
        )
    replace_files(target, old, made.text)
    update_settings({each.revision for each in old}, target.revision)
    _report(made, unproved, target, len(old) + 1)


@contextmanager
def _databases(config: Config, servers: Sequence[str]) -> Iterator[list[tuple[Database, Settings]]]:
    """Yield the app's database, and one on each of ``servers``, with the settings for their scratch databases."""
    with ExitStack() as stack:
        found = [stack.enter_context(opened(config))]
        for server in servers:
            engine = engine_of(server)
            stack.callback(engine.dispose)
            try:
                database = stack.enter_context(connected(engine))
            except (DBAPIError, LoginError) as error:
                raise MigrationError(
                    f"cannot reach {masked(engine.url)}, the server after --on: {summary(error)}",
                    "start it, or correct user, password, host or port after --on.",
                ) from error
            product = database.product_and_version[0]
            if any(product == each.product_and_version[0] for each, _ in found):
                raise click.UsageError(f"Give only one {product} server; the app's own database counts.")
            found.append((database, replace(found[0][1], rehearsal_url=None)))
        yield found


def _require_past(database: Database, old: Sequence[Script], target: Script) -> None:
    """Raise MigrationError if the app's database is at one of ``old``, from which no script would lead on."""
    here = {each.revision for each in old} & set(database.heads())
    if here:
        raise MigrationError(
            f"this database is at {', '.join(here)}, which the squash would remove.",
            "upgrade it first, and every other database that you need; then squash:",
            f"flask db upgrade {target.revision}",
        )


def _unproved(databases: Sequence[tuple[Database, Settings]], scripts: Sequence[Script]) -> dict[str, str]:
    """Return the products of which there is no database, each with what names it.

    MIGRATION_TARGETS names products, and so do those of ``scripts`` that are squashes, which run on no other.
    """
    wanted = {product: f"{each.revision}, a squash," for each in scripts for product in proved_products(each)}
    wanted |= {product: "MIGRATION_TARGETS" for product, _ in databases[0][1].targets}
    proved = {database.product_and_version[0] for database, _ in databases}
    return {product: source for product, source in wanted.items() if product not in proved}


def _not_proved(unproved: Mapping[str, str], revision: str) -> UnsafeError:
    servers = " ".join(f"--on {product}://USER:PASSWORD@SERVER" for product in unproved)
    sources = {source: [each for each in unproved if unproved[each] == source] for source in unproved.values()}
    named = " and ".join(f"{source} names {' and '.join(products)}" for source, products in sources.items())
    return UnsafeError(
        f"{named}, where the squash cannot be proved without a server.",
        "name a server for each, on which a scratch database is created; or add --yes, for a script that refuses to run"
        " there:",
        f"flask db squash {servers} {revision}",
    )


def _varies(tables: Sequence[str], line: str) -> UnsafeError:
    return UnsafeError(
        f"each time the old scripts run they insert other rows into {', '.join(tables)}, such as the time or a random"
        " value; the squash would insert the rows of one run into every new database. Nothing was changed.",
        "if these rows are secret, such as a key, squash only up to the revision before; if not, add --yes:",
        line,
    )


def _report(made: Squash, unproved: Iterable[str], target: Script, count: int) -> None:
    proved = ", ".join(f"{product} {version}" for product, version in made.proved.items())
    echo(f"Squashed {counted(count, 'revision')} into {relative(Path(target.path))}")
    echo(f"Schema and rows are equal on {proved}")
    for product, tables in made.in_sql.items():
        echo(f"In SQL on {product}, because they differ from the models: {', '.join(tables)}")
    if unproved:
        echo(f"Not proved, and refused by the script: {', '.join(unproved)}")
    echo("Read it, and commit it with the removed scripts")
