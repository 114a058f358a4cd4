"""The class of a rule, its decorator, the context that a rule reads, and the problem that it reports.

A rule is a function that is called for each operation of the classes given to its decorator. Its name, with hyphens, is
its code: the key in `safety_assured`, the heading in RULES.md, and the name of its test. ``code=`` gives a second rule
the code of the first: one for other databases, or one that finds the same harm in other operations.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

from alembic.operations import ops
from alembic.operations.ops import AlterColumnOp
from sqlalchemy.types import TypeEngine

from ...adapters.facts import Facts
from ...adapters.mysql.facts import MySQLFacts
from ...adapters.postgresql.facts import PostgreSQLFacts
from ..findings import Level
from ..known_schema import KnownColumn, KnownSchema
from ..recorder import Operation, Revision
from .suggestions import as_python

BLOCKS, WARNS = Level.BLOCKS, Level.WARNS
BOTH = ("upgrade", "downgrade")

SQLITE = frozenset({"sqlite"})
POSTGRESQL = frozenset({"postgresql"})
MYSQL = frozenset({"mysql", "mariadb"})
SERVERS = MYSQL | POSTGRESQL

WHOLE = Operation(ops.MigrateOperation(), 1)
"""Stands for all operations of a revision."""


@dataclass(frozen=True)
class Problem:
    """A danger that a rule found in an operation, and what to do instead.

    ``what`` completes a sentence that begins with "revision 7f3c1a9e0b2d" or "revision 7f3c1a9e0b2d in downgrade()",
    and has no full stop. ``instead`` is a sentence, with lines to paste below it. ``level`` is None for the rule's own
    level, and ``line`` is None for the operation's line.
    """

    what: str
    instead: str
    level: Level | None = None
    line: int | None = None
    fails: bool = False
    """True if the operation is certain to fail, because of rows that were read or of its arguments."""


@dataclass(frozen=True)
class RuleContext:
    """The facts that a rule reads about an operation: its revision, the direction, and the tables before it runs."""

    revision: Revision
    direction: str
    operation: Operation
    """The operation that is reviewed; WHOLE for a rule about a whole Revision or its Assurances."""
    tables: KnownSchema
    """The tables as they are before the operation."""

    @property
    def facts(self) -> Facts:
        """Return the Facts of the reviewed database: how it executes operations, e.g. which ones rewrite a table."""
        return self.tables.facts

    @property
    def mysql(self) -> MySQLFacts:
        """Return ``facts`` typed as those of MySQL and MariaDB; only for rules with ``on=MYSQL``."""
        return cast(MySQLFacts, self.facts)

    @property
    def postgresql(self) -> PostgreSQLFacts:
        """Return ``facts`` typed as those of PostgreSQL; only for rules with ``on=POSTGRESQL``."""
        return cast(PostgreSQLFacts, self.facts)

    @property
    def in_sql(self) -> bool:
        """Return True if the script has the operation as raw SQL, not as a call of Alembic's functions."""
        return self.operation.statement is not None

    def revision_ops(self, *classes: type) -> list[Any]:
        """Return all operations of ``classes`` in the revision's upgrade(), or in downgrade() if that is reviewed."""
        operations = self.revision.upgrade if self.direction == "upgrade" else self.revision.downgrade
        return [each.op for each in operations if isinstance(each.op, classes)]

    def column(self, op: Any) -> KnownColumn | None:
        """Return the column of ``op`` as it is before ``op``; None if neither the database nor the history has it."""
        return self.tables.column(op.table_name, op.column_name, op.schema)

    def table_sql(self, op: Any) -> str:
        """Return the name of the operation's table, quoted for SQL."""
        return self.facts.quoted(op.table_name, op.schema)

    def python(self, *operations: ops.MigrateOperation, batch: bool | None = None) -> str:
        """Return operations as lines of Python; in a batch if the operation is in one, or as ``batch`` says."""
        batch = self.operation.block is not None if batch is None else batch
        return as_python(*operations, batch=batch, facts=self.facts)

    def redefines_column(self, op: AlterColumnOp) -> bool:
        """Return True if the statement is MODIFY or CHANGE, which replace a column's whole definition.

        Only for rules with ``on=MYSQL``.
        """
        return self.mysql.redefines_column(op) and not (self.in_sql and op.modify_type is None)

    def type_before(self, op: AlterColumnOp) -> TypeEngine[Any] | None:
        """Return the type of the column before the operation; None if no source has a type that this database can have.

        The sources are the database or, without a connection, the history, and then the script's existing_type. Only
        if there is no connection, and the script sets a new type, existing_type comes first.
        """
        known = self.column(op)
        found = [op.existing_type, known.type if known else None]
        in_order = found if self.tables.connection is None and op.modify_type is not None else found[::-1]
        return next((type_ for type_ in in_order if self.facts.kind(type_) is not None), None)

    def type_after(self, op: AlterColumnOp) -> TypeEngine[Any] | None:
        """Return the type that the operation gives the column; None if it gives none.

        Even if the script sets no new type, MODIFY and CHANGE on MySQL give the column the script's existing_type; None
        if this is stored in the same way as the type before.
        """
        if op.modify_type is not None or self.facts.product not in MYSQL or not self.redefines_column(op):
            return op.modify_type
        return None if self.mysql.stores_alike(self.type_before(op), op.existing_type) else op.existing_type


@dataclass(frozen=True)
class Rule:
    """A rule: a function that finds problems, and the operations, directions and databases that it is called for.

    ``on`` has the names of the databases, such as postgresql; if it is empty, the rule covers all of them.
    """

    code: str
    level: Level
    classes: tuple[type, ...]
    find: Callable[[Any, RuleContext], Problem | Iterator[Problem] | None]
    on: frozenset[str]
    directions: tuple[str, ...]
    new_tables: bool
    locks: bool

    def applies(self, facts: Facts) -> bool:
        """Return True if the rule covers the database that ``facts`` describe."""
        return not self.on or facts.product in self.on


def rule(
    level: Level,
    *classes: type,
    on: frozenset[str] = frozenset(),
    directions: tuple[str, ...] = ("upgrade",),
    new_tables: bool = False,
    locks: bool = False,
    code: str = "",
) -> Callable[[Callable[[Any, RuleContext], Any]], Rule]:
    """Return a decorator that turns a function into a Rule, which is called for each object of ``classes``.

    ``classes`` are Alembic's operations, those of sql/ops.py, Revision and Assurances. By default the rule skips tables
    that the same run creates, and only warns about tables without rows; with ``new_tables=True``, it reports these like
    all others. With ``locks=True``, it is about locks, and only warns if MIGRATION_ONLINE is off.
    """

    def declare(find: Callable[[Any, RuleContext], Any]) -> Rule:
        return Rule(code or find.__name__.replace("_", "-"), level, classes, find, on, directions, new_tables, locks)

    return declare
