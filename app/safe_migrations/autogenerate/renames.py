"""Renames of tables and columns, which autogenerate reports as a drop and an add.

The user confirms them on the terminal, or passes them with -x rename=...
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from alembic.operations import ops
from alembic.runtime.migration import MigrationContext

from ..adapters.facts import Facts
from ..console import log
from ..review.known_schema import Name
from ..review.rules.possible_renames import (
    columns_fit,
    known_column,
    name_similarity,
    rename_column_sql,
    tables_fit,
)
from .acknowledgements import acknowledge, ask_why
from .questions import confirm, given_pairs, has_terminal, wrong_answer
from .renamed_inspector import Renames, Scope, differences
from .rendering import Directions, Lines, PerDialect, executed, table_changes


@dataclass
class Candidate:
    """A possible rename: a table or column that is dropped, and another of the same kind that is added."""

    scope: Scope
    old: str
    new: str
    names: tuple[str, ...]
    """The names that `-x rename=NAME:NEW` accepts: for a column, with the new or with the old name of its table."""

    question: str
    likely: bool
    likeness: tuple[float, ...]

    @property
    def code(self) -> str:
        """Return the code of the rule that finds this rename in a script."""
        return "rename-table" if len(self.scope) == 1 else "rename-column"

    def is_confirmed(self) -> bool:
        """Ask on the terminal whether this is a rename, if that is likely; return False without a terminal.

        The answer acknowledges what the review finds in the script: a rename, or two names that only look like one.
        """
        if not (self.likely and has_terminal()):
            return False
        if confirm(self.question):
            ask_why(self.code)
            return True
        acknowledge("possible-rename", "not a rename")
        return False


def find_renames(context: MigrationContext, upgrade: ops.UpgradeOps, facts: Facts) -> Renames:
    """Return the renames that the user passes with -x or confirms, and leave only other differences in ``upgrade``.

    Ask about each drop and add that are likely a rename: tables before columns, the pair with the most similar names
    first. Raise MigrationError if a rename passed with -x does not fit the differences.
    """
    renames, given = Renames(), given_pairs("rename")
    used, fitting = set[tuple[str, str]](), list[str]()
    for candidates_of in (_tables, _columns):
        found = list(candidates_of(context, upgrade, renames, facts))
        found.sort(key=lambda each: (each.likeness, each.question), reverse=True)  # in the same order on every run
        fitting += [f"{each.names[-1]}:{each.new}" for each in found if each.likely]
        answered = [each for each in found if any(given.get(name) == each.new for name in each.names)]
        for each in [*answered, *found]:
            if not renames.is_free(each.scope, each.old, each.new):
                continue
            if each in answered:
                acknowledge(each.code, "")
            if each in answered or each.is_confirmed():
                renames.names.setdefault(each.scope, {})[each.old] = each.new
                used |= {(name, each.new) for name in each.names}
        if renames:
            upgrade.ops[:] = differences(context, renames).ops
    for name, new in given.items():
        if (name, new) not in used:
            why = f"{name} must exist only in the database, and {new} only in the models"
            raise wrong_answer("rename", f"{name}:{new}", why, fitting)
    return renames


def full_name(*names: str | None) -> str:
    """Return the names joined by dots, e.g. user.email; an empty one, such as a missing schema, is left out."""
    return ".".join(name for name in names if name)


def _tables(
    _context: MigrationContext, upgrade: ops.UpgradeOps, _renames: Renames, facts: Facts
) -> Iterator[Candidate]:
    """Yield each dropped table with each new table of its schema, as a possible rename."""
    created = [op.to_table() for op in upgrade.ops if isinstance(op, ops.CreateTableOp)]
    for old in [op.to_table() for op in upgrade.ops if isinstance(op, ops.DropTableOp)]:
        name = full_name(old.schema, old.name)
        for new in created:
            if old.schema == new.schema:
                before, after = ([known_column(each) for each in table.columns] for table in (old, new))
                yield Candidate(
                    scope=(old.schema,),
                    old=old.name,
                    new=new.name,
                    names=(name,),
                    question=f"Was {name} renamed to {new.name}?",
                    likely=tables_fit(before, after, facts),
                    likeness=(name_similarity(old.name, new.name),),
                )


def _columns(context: MigrationContext, upgrade: ops.UpgradeOps, renames: Renames, facts: Facts) -> Iterator[Candidate]:
    """Yield each dropped column with each new column of its table, as a possible rename."""
    for changes in table_changes(upgrade):
        table = changes.schema, changes.table_name
        before, after = renames.before(table), full_name(*table)
        added = [op.column for op in changes.ops if isinstance(op, ops.AddColumnOp)]
        for old in [op.to_column() for op in changes.ops if isinstance(op, ops.DropColumnOp)]:
            for new in added:
                same_type = not context.impl.compare_type(old, new)
                yield Candidate(
                    scope=before,
                    old=old.name,
                    new=new.name,
                    names=(f"{after}.{old.name}", full_name(*before, old.name)),
                    question=f"Was {after}.{old.name} renamed to {after}.{new.name}?",
                    likely=columns_fit(known_column(old), known_column(new), facts),
                    likeness=(name_similarity(old.name, new.name), same_type, old.nullable == new.nullable),
                )


def rename_operations(renames: Renames) -> list[ops.MigrateOperation]:
    """Return the operations that rename tables, then columns, and log each rename.

    Keys, CHECKs and sequences of a renamed table or column keep their names.
    """
    found: list[ops.MigrateOperation] = []
    for scope, names in renames.names.items():
        for old, new in names.items():
            if len(scope) == 1:
                log.info("Renaming table %s to %s", full_name(*scope, old), new)
                found.append(_table_renamed(scope[0], old, new))
            else:
                table = renames.after(scope)
                log.info("Renaming column %s to %s", full_name(*table, old), new)
                found.append(PerDialect.of(partial(_column_renamed, table, old, new), table[1]))
    return found


def _table_renamed(schema: str | None, old: str, new: str) -> Lines:
    options = f", schema={schema!r}" if schema else ""
    up, down = (f"op.rename_table({str(a)!r}, {str(b)!r}{options})" for a, b in ((old, new), (new, old)))
    return Lines(up, downgrade=(down,), table_name=new)


def _column_renamed(table: Name, old: str, new: str, facts: Facts) -> Directions:
    up, down = (rename_column_sql(table, *names, facts) for names in ((old, new), (new, old)))
    return [executed(up)], [executed(down)]
