"""What a rule is, what it may ask, and the catalogue of all of them.

A rule is a function over operations of the classes that it is registered for. Its name, with hyphens, is its code: the
key in `safety_assured`, the heading in the README, the name of its test.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from alembic.operations.ops import AlterColumnOp
from sqlalchemy.types import TypeEngine

from ...adapters.facts import Facts
from ..findings import Level
from ..known_schema import KnownSchema
from ..recorder import Operation, Revision

BLOCKS, WARNS = Level.BLOCKS, Level.WARNS
BOTH = ("upgrade", "downgrade")


@dataclass(frozen=True)
class Problem:
    """What a rule says of an operation.

    ``what`` goes on after "revision 7f3c1a9e0b2d ", or "revision 7f3c1a9e0b2d in downgrade() ", without a full stop;
    ``instead`` is a sentence, and lines to paste below it. Without ``level`` it is the rule's, without ``line`` the
    operation's.
    """

    what: str
    instead: str
    level: Level | None = None
    line: int | None = None


@dataclass(frozen=True)
class Assurances:
    """A script's ``safety_assured``, and the codes of its findings on any database, in both directions.

    ``found`` is None if not all of that was reviewed.
    """

    declared: Any
    found: set[str] | None

    @property
    def codes(self) -> set[str]:
        """What is acknowledged: a reason has to be given."""
        declared = self.declared if isinstance(self.declared, dict) else {}
        return {code for code, reason in declared.items() if self.is_reason(reason)}

    @staticmethod
    def is_reason(reason: object) -> bool:
        """Whether it says anything."""
        return isinstance(reason, str) and bool(reason.strip())


@dataclass(frozen=True)
class RuleContext:
    """What a rule may ask, beside the operation: the tables are as they are before it."""

    revision: Revision
    direction: str
    operation: Operation | None
    """Where the rule looks at one; rules for a Revision have none."""
    facts: Facts
    tables: KnownSchema

    @property
    def in_batch(self) -> bool:
        """Whether the operation is in a batch, and so has to be what is to be pasted instead."""
        return self.operation is not None and self.operation.batch

    @property
    def in_sql(self) -> bool:
        """Whether the operation was read from SQL: that is run as it stands, not as Alembic would write it."""
        return self.operation is not None and self.operation.statement is not None

    def redefines_column(self, op: AlterColumnOp) -> bool:
        """Whether the statement says all of the column anew; SQL does where it names the type (MODIFY, CHANGE)."""
        return self.facts.redefines_column(op) and not (self.in_sql and op.modify_type is None)

    def type_before(self, op: AlterColumnOp) -> TypeEngine[Any] | None:
        """The type of the column: as the database has it, else as the script says, else as the history does.

        What is no type of this database is not known.
        """
        known = self.tables.column(op.table_name, op.column_name, op.schema)
        found = [op.existing_type, known.type if known else None]
        in_order = found if self.tables.connection is None else found[::-1]
        return next((type_ for type_ in in_order if self.facts.kind(type_) is not None), None)


@dataclass(frozen=True)
class Rule:
    """One entry of the catalogue; ``applies`` says on which databases, ``directions`` in which functions."""

    code: str
    level: Level
    classes: tuple[type, ...]
    find: Callable[[Any, RuleContext], Problem | Iterator[Problem] | None]
    applies: Callable[[Facts], bool]
    directions: tuple[str, ...]
    new_tables: bool


RULES: dict[str, Rule] = {}


def rule(
    level: Level,
    *classes: type,
    applies: Callable[[Facts], bool] = lambda _facts: True,
    directions: tuple[str, ...] = ("upgrade",),
    new_tables: bool = False,
) -> Callable[[Callable[[Any, RuleContext], Any]], Callable[[Any, RuleContext], Any]]:
    """Put the function into the catalogue.

    ``classes`` are Alembic's operations, those of sql/ops.py, Revision and Assurances. The rule is not asked about
    a table that the same run makes, and on a table without rows what it finds only warns; with ``new_tables`` neither
    is so.
    """

    def register(find: Callable[[Any, RuleContext], Any]) -> Callable[[Any, RuleContext], Any]:
        code = find.__name__.replace("_", "-")
        RULES[code] = Rule(code, level, classes, find, applies, directions, new_tables)
        return find

    return register
