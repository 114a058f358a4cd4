"""Rules, the context in which they are asked, and the problems that they find.

A rule is a function over operations of the classes for which it is declared. Its name, with hyphens, is its code: the
key in `safety_assured`, the heading in RULES.md, and the name of its test. A second rule for other products may share
the code by ``code=``.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

from alembic.operations.ops import AlterColumnOp
from sqlalchemy.types import TypeEngine

from ...adapters.facts import Facts
from ...adapters.mysql.facts import MySQLFacts
from ...adapters.postgresql.facts import PostgreSQLFacts
from ..findings import Level
from ..known_schema import KnownColumn, KnownSchema
from ..recorder import Operation, Revision

BLOCKS, WARNS = Level.BLOCKS, Level.WARNS
BOTH = ("upgrade", "downgrade")

SQLITE = frozenset({"sqlite"})
POSTGRESQL = frozenset({"postgresql"})
MYSQL = frozenset({"mysql", "mariadb"})
SERVERS = MYSQL | POSTGRESQL


@dataclass(frozen=True)
class Problem:
    """A rule's verdict on an operation.

    ``what`` follows "revision 7f3c1a9e0b2d " or "revision 7f3c1a9e0b2d in downgrade() ", without a full stop.
    ``instead`` is a sentence, and lines to paste below it. Without ``level`` it is the rule's, without ``line`` the
    operation's.
    """

    what: str
    instead: str
    level: Level | None = None
    line: int | None = None


@dataclass(frozen=True)
class RuleContext:
    """The context in which a rule judges an operation."""

    revision: Revision
    direction: str
    operation: Operation | None
    """The operation at hand; None for rules about a Revision."""
    tables: KnownSchema
    """The tables as they are before the operation."""

    @property
    def facts(self) -> Facts:
        """Return the facts of the database for which the operation is reviewed."""
        return self.tables.facts

    @property
    def mysql(self) -> MySQLFacts:
        """Return the same facts, with those that only MySQL and MariaDB have: for rules with ``on=MYSQL``."""
        return cast(MySQLFacts, self.facts)

    @property
    def postgresql(self) -> PostgreSQLFacts:
        """Return the same facts, with those that only PostgreSQL has: for rules with ``on=POSTGRESQL``."""
        return cast(PostgreSQLFacts, self.facts)

    @property
    def in_batch(self) -> bool:
        """Return True for an operation in a batch; then the lines to paste are in one too."""
        return self.operation is not None and self.operation.batch

    @property
    def in_sql(self) -> bool:
        """Return True for an operation that was read from SQL, which runs as written, not as Alembic would write it."""
        return self.operation is not None and self.operation.statement is not None

    def revision_ops(self, *classes: type) -> list[Any]:
        """Return the operations of ``classes`` in the same function of the revision, before and after this one."""
        operations = self.revision.upgrade if self.direction == "upgrade" else self.revision.downgrade
        return [each.op for each in operations if isinstance(each.op, classes)]

    def column(self, op: Any) -> KnownColumn | None:
        """Return what is known of the column that an operation changes."""
        return self.tables.column(op.table_name, op.column_name, op.schema)

    def table_sql(self, op: Any) -> str:
        """Return the name of the operation's table, quoted for SQL."""
        return self.facts.quoted(op.table_name, op.schema)

    def redefines_column(self, op: AlterColumnOp) -> bool:
        """Return True if the statement restates the whole column; SQL does if it names the type (MODIFY, CHANGE)."""
        return self.mysql.redefines_column(op) and not (self.in_sql and op.modify_type is None)

    def type_before(self, op: AlterColumnOp) -> TypeEngine[Any] | None:
        """Return the column's type: from the database, else from the script, else from the history.

        The script comes last if it states no new type: on MySQL, the one that it states then becomes the type.
        None if that type does not exist on this database.
        """
        known = self.column(op)
        found = [op.existing_type, known.type if known else None]
        in_order = found if self.tables.connection is None and op.modify_type is not None else found[::-1]
        return next((type_ for type_ in in_order if self.facts.kind(type_) is not None), None)

    def type_after(self, op: AlterColumnOp) -> TypeEngine[Any] | None:
        """Return the type that the operation gives the column; None if it leaves the type alone.

        MySQL's MODIFY and CHANGE, as for a new name, give it the type that the script says it has.
        """
        if op.modify_type is not None or self.facts.product not in MYSQL or not self.redefines_column(op):
            return op.modify_type
        return None if self.mysql.stores_alike(self.type_before(op), op.existing_type) else op.existing_type


@dataclass(frozen=True)
class Rule:
    """One entry of the catalogue. ``on`` names products, and none stands for all of them."""

    code: str
    level: Level
    classes: tuple[type, ...]
    find: Callable[[Any, RuleContext], Problem | Iterator[Problem] | None]
    on: frozenset[str]
    directions: tuple[str, ...]
    new_tables: bool

    def applies(self, facts: Facts) -> bool:
        """Return True if the rule is for that database."""
        return not self.on or facts.product in self.on


def rule(
    level: Level,
    *classes: type,
    on: frozenset[str] = frozenset(),
    directions: tuple[str, ...] = ("upgrade",),
    new_tables: bool = False,
    code: str = "",
) -> Callable[[Callable[[Any, RuleContext], Any]], Rule]:
    """Make a rule of a function.

    ``classes`` are Alembic's operations, those of sql/ops.py, Revision and Assurances. The rule is not asked about
    tables created in the same run, and only warns about tables without rows, unless ``new_tables`` is set.
    """

    def declare(find: Callable[[Any, RuleContext], Any]) -> Rule:
        return Rule(code or find.__name__.replace("_", "-"), level, classes, find, on, directions, new_tables)

    return declare
