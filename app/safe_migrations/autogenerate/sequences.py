"""Sequences that models take values from: created before their tables. Alembic creates none."""

from collections.abc import Iterator
from copy import copy
from typing import Any

from alembic.autogenerate import renderers
from alembic.autogenerate.api import AutogenContext
from alembic.autogenerate.render import render_op
from alembic.operations.ops import AddColumnOp, CreateTableOp, MigrateOperation, MigrationScript
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Column, Sequence, Table, inspect

from ..adapters.facts import Facts
from .rendering import Comment, every

OPTIONS = ("schema", "start", "increment", "minvalue", "maxvalue", "nominvalue", "nomaxvalue", "cycle", "cache")


class CreateSequence(MigrateOperation):
    """CREATE SEQUENCE, on databases that have sequences."""

    def __init__(self, sequence: Sequence) -> None:
        self.sequence = sequence

    def reverse(self) -> "DropSequence":
        """Return the operation that drops the sequence."""
        return DropSequence(self.sequence)

    def to_diff_tuple(self) -> tuple[str, str]:
        """Return what `flask db check` prints."""
        return "add_sequence", self.sequence.name


class DropSequence(CreateSequence):
    """DROP SEQUENCE, on databases that have sequences."""


def missing_sequences(context: AutogenContext) -> list[MigrateOperation]:
    """Return operations that create the sequences that only the models have, if the database supports sequences."""
    assert context.connection is not None
    if not context.dialect.supports_sequences:
        return []
    found, inspector = {}, inspect(context.connection)
    for sequence in _of_tables(context.table_key_to_table.values()):
        if not inspector.has_sequence(sequence.name, sequence.schema):
            found[sequence.schema, sequence.name] = CreateSequence(sequence)
    return list(found.values())


def sequences_first(context: MigrationContext, script: MigrationScript, concerned: list[Facts]) -> None:
    """Create sequences before the tables that use them, and drop them after those, for each database concerned."""
    (upgrade,), (downgrade,) = script.upgrade_ops_list, script.downgrade_ops_list
    creates: list[MigrateOperation] = [op for op in upgrade.ops if isinstance(op, CreateSequence)]
    made = [op.columns for op in every(upgrade) if isinstance(op, CreateTableOp)]
    new = {found.name: found for items in made for each in items if (found := sequence_of(each)) is not None}
    if not context.dialect.supports_sequences and any(facts.sequences for facts in concerned):
        creates += map(CreateSequence, new.values())
    if any(isinstance(op, CreateSequence) and op.sequence.name not in new for op in creates):
        creates.insert(0, Comment("Existing rows have keys: let the sequence start after them, with start=..."))
    upgrade.ops[:] = [*creates, *(op for op in upgrade.ops if not isinstance(op, CreateSequence))]
    rest = [op for op in downgrade.ops if not isinstance(op, DropSequence)]
    downgrade.ops[:] = [*rest, *(op.reverse() for op in creates if isinstance(op, CreateSequence))]


def sequence_of(item: Any) -> Sequence | None:
    """Return the sequence that gives a column its values; None for an optional one, which none of ours needs."""
    found = item.default if isinstance(item, Column) else None
    return found if isinstance(found, Sequence) and not found.optional else None


def _of_tables(tables: Any) -> Iterator[Sequence]:
    for table in tables:
        assert isinstance(table, Table)
        yield from (found for column in table.columns if (found := sequence_of(column)) is not None)


def render_column(column: "Column[Any]", context: AutogenContext) -> str | bool:
    """Return the code of a column with its sequence, without which it would auto-increment; False for any other."""
    sequence = sequence_of(column)
    if sequence is None:
        return False
    plain = copy(column)
    plain.default = None
    (text,) = render_op(context, AddColumnOp("t", plain))
    return f"{text[text.index('sa.Column(') : -2]}, default={_called(sequence)})"


def _called(sequence: Sequence) -> str:
    given = {name: getattr(sequence, name) for name in OPTIONS}
    options = "".join(f", {name}={value!r}" for name, value in given.items() if value is not None)
    return f"sa.Sequence({str(sequence.name)!r}{options})"


@renderers.dispatch_for(CreateSequence)
def _create_sequence(_context: AutogenContext, op: CreateSequence) -> list[str]:
    kind = "DropSequence" if isinstance(op, DropSequence) else "CreateSequence"
    return [
        "if op.get_context().dialect.supports_sequences:",
        f"op.execute(sa.schema.{kind}({_called(op.sequence)}))",
        "",
    ]
