"""Sequences that models take values from: created before their tables. Alembic creates none."""

from alembic.autogenerate.api import AutogenContext
from alembic.operations import ops
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Sequence, inspect

from ..adapters.facts import Facts
from .rendering import Lines, all_ops, sequence_code, sequence_of


class CreateSequence(Lines):
    """CREATE SEQUENCE, and DROP SEQUENCE in the downgrade, on databases that have sequences."""

    def __init__(self, sequence: Sequence) -> None:
        code, condition = sequence_code(sequence), "if op.get_context().dialect.supports_sequences:"
        create, drop = (
            (condition, f"op.execute(sa.schema.{kind}({code}))", "") for kind in ("CreateSequence", "DropSequence")
        )
        super().__init__(*create, downgrade=drop)
        self.sequence = sequence

    def to_diff_tuple(self) -> tuple[str, str]:
        """Return what `flask db check` prints."""
        return "add_sequence", self.sequence.name


def missing_sequences(context: AutogenContext) -> list[CreateSequence]:
    """Return operations that create the sequences that only the models have, if the database supports sequences."""
    assert context.connection is not None
    if not context.dialect.supports_sequences:
        return []
    inspector = inspect(context.connection)
    columns = [column for table in context.table_key_to_table.values() for column in table.columns]
    used = {(found.schema, found.name): found for each in columns if (found := sequence_of(each)) is not None}
    missing = [found for found in used.values() if not inspector.has_sequence(found.name, found.schema)]
    return [CreateSequence(found) for found in missing]


def create_sequences_first(context: MigrationContext, upgrade: ops.UpgradeOps, concerned: list[Facts]) -> None:
    """Create sequences before the tables that use them, for each database concerned."""
    creates: list[ops.MigrateOperation] = [op for op in upgrade.ops if isinstance(op, CreateSequence)]
    rest = [op for op in upgrade.ops if op not in creates]
    columns = [column for op in all_ops(upgrade) if isinstance(op, ops.CreateTableOp) for column in op.columns]
    new = {found.name: found for each in columns if (found := sequence_of(each)) is not None}
    if not context.dialect.supports_sequences and any(facts.sequences for facts in concerned):
        creates += map(CreateSequence, new.values())
    if any(isinstance(op, CreateSequence) and op.sequence.name not in new for op in creates):
        creates.insert(0, Lines("# Existing rows have keys: let the sequence start after them, with start=..."))
    upgrade.ops[:] = [*creates, *rest]
