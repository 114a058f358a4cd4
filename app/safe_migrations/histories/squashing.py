"""The generation of a squash, and its proof: old scripts and new script make the same schema and rows.

The script creates the tables by Alembic's operations, as `flask db migrate` would write them for the models, as far as
they prove equal. Everything else is in the SQL of each database product: what Alembic cannot express, such as views and
triggers, rows, and tables that differ from their models.
"""

import ast
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from textwrap import indent, shorten

from alembic.autogenerate.api import AutogenContext, produce_migrations
from alembic.autogenerate.render import render_op
from alembic.config import Config
from alembic.operations import ops
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext, RevisionStep
from alembic.script import Script, ScriptDirectory
from alembic.util import to_tuple
from sqlalchemy import Connection, inspect, select, text

from ..adapters import SCRATCH, Adapter
from ..adapters.creation import Creation
from ..adapters.snapshot import Snapshot
from ..autogenerate.acknowledgements import write_acknowledgements
from ..autogenerate.generation import generate
from ..console import log, only_warnings
from ..database import Database, replaced_by
from ..errors import MigrationError
from ..rehearsal.differences import differences
from ..rehearsal.runner import Rehearsal
from ..rehearsal.scratch import scratch_database
from ..review.reviewer import review_revisions
from ..settings import Settings
from .editing import insert_below_identifiers
from .heads import replaces

# A colon that SQLAlchemy's text() would take for a parameter, or a backslash that it would remove before a colon.
ESCAPED = re.compile(r"(?<![:\w\\]):\w|\\:")
# How many times the tables that differ are moved into SQL, before all are.
TRIES = 3
# The most differences that a message lists.
LISTED = 12
NOT_PARTS = ("trigger ", "rule ", "policy ")
HEAD = """\
dialect = op.get_context().dialect
product = "mariadb" if getattr(dialect, "is_mariadb", False) else dialect.name
if product not in {products!r}:
    raise RuntimeError(f"this squash was not proved on {{product}}")
"""
PROVED = re.compile(r"(?m)^    if product not in (\(.*\)):$")
"""The line of HEAD in a script, with a group for the products."""
DOWNGRADE = (
    'raise NotImplementedError("the scripts that a squash replaces are gone; to drop all tables, drop the database")'
)


@dataclass(frozen=True)
class State:
    """A scratch database: the statements that create it, rows included, and its snapshot.

    The snapshot's objects have the order of columns, too, and such statements of which it knows too little.
    The rows are compared twice, by fingerprint and by statement, so that a value that a statement forgets is found.
    """

    snapshot: Snapshot
    creations: Sequence[Creation]

    def differences(self, other: "State") -> list[str]:
        """Return one line for each object, and for the rows of each table, in which ``other`` differs."""
        found = list(differences(self.snapshot.objects, other.snapshot.objects))
        for table, rows in self.snapshot.tables.items():
            if table in other.snapshot.tables and rows != other.snapshot.tables[table]:
                found.append(f"rows of {table} differ")
        pairs = ((self.rows, other.rows), (self.snapshot.counters, other.snapshot.counters))
        names = {name for one, two in pairs for name in one.keys() | two.keys() if one.get(name) != two.get(name)}
        found += [f"{name} has other rows, or another counter" for name in sorted(names)]
        return found

    @cached_property
    def rows(self) -> dict[str, list[str]]:
        """Return the statements that insert rows or set a counter, by table or sequence."""
        found: dict[str, list[str]] = {}
        for each in self.creations:
            if each.fills:
                found.setdefault(each.fills, []).append(each.sql)
        return found


@dataclass
class Product:
    """A database product on which the squash is proved, in scratch databases beside ``database``.

    ``wanted`` is what the old scripts make there. ``portable`` are the tables that Alembic's operations create.
    """

    database: Database
    using: Settings
    wanted: State
    portable: set[str] = field(default_factory=set)
    tries: int = 0

    @property
    def name(self) -> str:
        """Return the product, e.g. "mariadb"."""
        return self.database.product_and_version[0]

    def own(self, *, first: bool) -> list[str]:
        """Return the SQL to run before the portable tables if ``first``, else after them."""
        needed = [each for each in self.wanted.creations if each.table not in self.portable]
        needed = [] if all(each.setting for each in needed) else needed
        found = [each.sql for each in needed if (each.first or not self.portable) == first]
        if found and self.database.adapter.runs_several_statements:  # a round trip for each would take its time
            return [";\n\n".join(found)]
        return found

    def adjust(self, found: Collection[str]) -> None:
        """Move the tables about which the differences ``found`` are into SQL; after some tries, or without any, all."""
        differing = {table for each in found if (table := _table_in(each))} & self.portable
        self.tries += 1
        self.portable = self.portable - differing if differing and self.tries < TRIES else set()


@dataclass(frozen=True)
class Squash:
    """The text of a proved script, and the products on which it was proved, each with its version.

    ``in_sql`` are the tables that have a model and are created by SQL, by product. ``varying`` are the tables that get
    other rows each time the old scripts run.
    """

    text: str
    proved: dict[str, str]
    in_sql: dict[str, list[str]]
    varying: list[str]


def squashed(
    config: Config,
    script: ScriptDirectory,
    target: Script,
    old: Sequence[Script],
    databases: Iterable[tuple[Database, Settings]],
) -> Squash:
    """Return the squash of ``old`` and ``target``, proved on scratch databases beside each of ``databases``.

    Raise MigrationError if an old script fails on an empty database, or if the squash makes anything else than the old
    scripts; the error lists the differences.
    """
    products: list[Product] = []
    for database, using in databases:
        log.info("Running the %d old scripts on an empty %s database", len(old) + 1, database.product_and_version[0])
        with _on_scratch(config, database, using, script) as rehearsal:
            products.append(Product(database, using, _built(rehearsal, target.revision)))
    first = products[0]
    with _on_scratch(config, first.database, first.using, script) as rehearsal:
        tables, imports = _tables_of_models(config, script)
        again = _built(rehearsal, target.revision)
    if found := list(differences(first.wanted.snapshot.objects, again.snapshot.objects)):
        raise _refused("the old scripts do not make the same schema each time", found)
    varying = [name for name, rows in first.wanted.rows.items() if rows != again.rows.get(name)]
    existing = {_plain(name) for name in first.wanted.snapshot.objects}
    tables = [(name, lines) for name, lines in tables if f"table {name}" in existing]
    for each in products:
        each.portable = {name for name, _ in tables}
    while True:
        with _written(script, target, old, products, tables, imports) as directory:
            if _prove(config, products, directory, target.revision):
                _acknowledge(directory, target.revision, products)
                code = Path(directory.get_revision(target.revision).path).read_text(encoding="utf-8")
                made_by_sql = {each.name: sorted({name for name, _ in tables} - each.portable) for each in products}
                in_sql = {product: names for product, names in made_by_sql.items() if names}
                proved = dict(each.database.product_and_version for each in products)
                return Squash(code, proved, in_sql, varying)


def proved_products(script: Script) -> tuple[str, ...]:
    """Return the products on which ``script`` was proved; an empty tuple if it is not a squash."""
    found = PROVED.search(Path(script.path).read_text(encoding="utf-8")) if replaces(script) else None
    return ast.literal_eval(found[1]) if found else ()


def _prove(config: Config, products: Iterable[Product], directory: ScriptDirectory, revision: str) -> bool:
    """Return True if the script in ``directory`` makes what each of ``products`` wants; else adjust some of them.

    Raise MigrationError if there is a difference that no adjustment removes.
    """
    is_proved = True
    for each in products:
        if found := _differences(config, each, directory, revision):
            if not each.portable:
                raise _refused(f"the squash would not make what the old scripts make on {each.name}", found)
            each.adjust(found)
            is_proved = False
    return is_proved


def _refused(what: str, found: Sequence[str]) -> MigrationError:
    shown = "".join(f"\n    {shorten(each, 500)}" for each in found[:LISTED])
    more = f"\n    and {len(found) - LISTED} more" if len(found) > LISTED else ""
    return MigrationError(
        f"{what}, so nothing was changed:{shown}{more}",
        "squash up to a revision before the one that creates this; choose it from this list:",
        "flask db history",
    )


@contextmanager
def _on_scratch(config: Config, database: Database, using: Settings, script: ScriptDirectory) -> Iterator[Rehearsal]:
    """Create an empty scratch database, in which the scripts of ``script`` run. Inside the block it is the app's."""
    with scratch_database(database, using) as scratch, replaced_by(scratch.engine), only_warnings():
        rehearsal = Rehearsal(config, scratch)
        rehearsal.script = script
        yield rehearsal


def _built(rehearsal: Rehearsal, revision: str) -> State:
    """Upgrade the scratch database to ``revision``, and return its state. Raise MigrationError if a script fails."""
    for report in rehearsal.build(revision):
        if report.faults:
            what, _, remedy = report.faults[0].partition("\nFix: ")
            raise MigrationError(
                f"revision {report.revision} cannot run on an empty database: {what}",
                remedy or "correct the script, then try it on an empty database; nothing was changed:",
                *(() if remedy else (f"flask db squash {revision}",)),
            )
    scratch = rehearsal.adapter
    with scratch.engine.connect() as connection:
        found = scratch.snapshot(connection)
        creations = scratch.creations(connection)
        objects = {
            **found.objects,
            **dict(_order_of_columns(scratch, connection)),
            **dict(_in_sql(creations, scratch.shows_more_in_sql)),
        }
    if bound := [shorten(each.sql, 100) for each in creations if SCRATCH in each.sql and not each.fills]:
        raise _refused("SQL names the database or the role in which it runs", bound)
    return State(replace(found, objects=objects), creations)


def _order_of_columns(scratch: Adapter, connection: Connection) -> Iterator[tuple[str, str]]:
    """Yield the columns of each table in their order, which a snapshot does not have."""
    default = inspect(connection).default_schema_name
    for each in scratch.tables(connection):
        columns = connection.execute(select(text("*")).select_from(each).limit(0)).keys()
        name = each.name if each.schema in (None, default) else f"{each.schema}.{each.name}"
        yield f"order of columns of {name}", ", ".join(columns)


def _in_sql(creations: Iterable[Creation], with_tables: bool) -> Iterator[tuple[str, str]]:
    """Yield each statement that inserts no rows as an object, because a snapshot may lack what the statement creates.

    Those that create tables, or parts of them, only if ``with_tables``: some databases keep them as they were written.
    """
    for each in creations:
        if not each.fills and (with_tables or not each.table):
            yield f"SQL {' '.join(each.sql.split())}" + (f" of {each.table}" if each.table else ""), ""


def _differences(config: Config, product: Product, directory: ScriptDirectory, revision: str) -> list[str]:
    try:
        with _on_scratch(config, product.database, product.using, directory) as rehearsal:
            return product.wanted.differences(_built(rehearsal, revision))
    except MigrationError as error:
        return [error.what]


def _plain(name: str) -> str:
    return name.replace('"', "")


def _table_in(difference: str) -> str:
    """Return the table about which a line of differences() is; an empty string if it is about something else."""
    name = re.split(r" is (?:missing|new|['\"].* instead of )", difference)[0]
    if name.startswith(NOT_PARTS):
        return ""
    return _plain(name.removeprefix("table ") if name.startswith("table ") else name.rpartition(" of ")[2])


def _tables_of_models(config: Config, script: ScriptDirectory) -> tuple[list[tuple[str, list[str]]], set[str]]:
    """Return the lines of Python that create the tables of the models, in order, each with its table; and imports.

    The app's database must be empty.
    """
    found: list[tuple[str, list[str]]] = []
    imports: set[str] = set()

    def work(_heads: object, context: MigrationContext) -> list[RevisionStep]:
        autogen = AutogenContext(context, opts={**context.opts, "render_as_batch": False})  # the tables are new
        for each in generate(context, produce_migrations(context, context.opts["target_metadata"])):
            for op in each.upgrade_ops_list[0].ops:
                if isinstance(op, ops.CreateTableOp | ops.ModifyTableOps):
                    name = f"{op.schema}.{op.table_name}" if op.schema else op.table_name
                    found.append((name, render_op(autogen, op)))
        imports.update(autogen.imports)
        return []

    with EnvironmentContext(config, script, fn=work, as_sql=False, dont_mutate=True):
        script.run_env()
    return found, imports


@contextmanager
def _written(
    script: ScriptDirectory,
    target: Script,
    old: Sequence[Script],
    products: Sequence[Product],
    tables: Sequence[tuple[str, list[str]]],
    imports: set[str],
) -> Iterator[ScriptDirectory]:
    """Write the squash by the template of the project, into a folder that is deleted after the block."""
    with TemporaryDirectory() as folder:
        made = ScriptDirectory(
            script.dir, version_locations=[folder], timezone=script.timezone, messaging_opts={"quiet": True}
        )
        found = [to_tuple(getattr(each.module, "branch_labels", None), ()) for each in (*old, target)]
        labels = sorted(set().union(*found))
        written = made.generate_revision(
            target.revision,
            ": ".join(filter(None, (f"Squash of {len(old) + 1} revisions", target.doc))),
            head="base",
            branch_labels=labels or None,
            upgrades=indent(_upgrade(products, tables), "    ").lstrip(),
            downgrades=DOWNGRADE,
            imports="\n".join(sorted(imports)),
        )
        assert written is not None
        path = Path(written.path)
        names = [name for each in (*old, target) for name in (*replaces(each), each.revision)]
        lines = ["replaces = [", *(f"    {name!r}," for name in names if name != target.revision), "]"]
        if requires := _requirements((*old, target)):
            lines.append(f"requires = {requires!r}")
        insert_below_identifiers(path, "\n".join([*lines, ""]))
        yield ScriptDirectory(script.dir, version_locations=[folder])


def _acknowledge(directory: ScriptDirectory, revision: str, products: Sequence[Product]) -> None:
    """Write into the squash why the findings of its review are safe, except for imports of the app's modules."""
    found = [
        finding.code
        for each in products
        for finding in review_revisions([directory.get_revision(revision)], {revision}, each.database.facts)
    ]
    reason = "this squash runs on empty databases only, where it was proved equal to the scripts that it replaces"
    if codes := dict.fromkeys((code for code in found if code != "imports-app-models"), reason):
        write_acknowledgements(Path(directory.get_revision(revision).path), codes)


def _requirements(scripts: Iterable[Script]) -> dict[str, str]:
    """Return what the scripts require together: ``{"mysql": ">=5.7,>=8.0", "extension:pgcrypto": ""}``."""
    found: dict[str, set[str]] = {}
    for each in scripts:
        for name, wanted in getattr(each.module, "requires", {}).items():
            found.setdefault(name, set()).update(filter(None, str(wanted).split(",")))
    return {name: ",".join(sorted(wanted)) for name, wanted in found.items()}


def _upgrade(products: Sequence[Product], tables: Sequence[tuple[str, list[str]]]) -> str:
    """Return the body of upgrade(): the SQL that comes first, the tables of the models, and then all other SQL."""
    blocks = [HEAD.format(products=tuple(each.name for each in products))]
    blocks += [_guarded([each.name], map(_execute, each.own(first=True))) for each in products]
    for name, lines in tables:
        on = [each.name for each in products if name in each.portable]
        blocks.append("\n".join(lines) if len(on) == len(products) else _guarded(on, lines))
    blocks += [_guarded([each.name], map(_execute, each.own(first=False))) for each in products]
    return "\n".join(filter(None, blocks))


def _guarded(names: Sequence[str], lines: Iterable[str]) -> str:
    """Return the lines of Python below an if for these products; an empty string if there are no lines."""
    body = "\n".join(lines)
    if not names or not body:
        return ""
    condition = f"product == {names[0]!r}" if len(names) == 1 else f"product in {tuple(names)!r}"
    return f"if {condition}:\n{indent(body, '    ')}"


def _execute(sql: str) -> str:
    """Return the lines of Python that execute a statement of SQL, word for word."""
    found = re.findall(r"[^\n]*\n|[^\n]+", sql)
    lines = [line.replace(":", "\\:") if ESCAPED.search(line) else line for line in found]
    if len(lines) == 1:
        return f"op.execute({lines[0]!r})"
    return "\n".join(["op.execute(", *(f"    {line!r}" for line in lines), ")"])
