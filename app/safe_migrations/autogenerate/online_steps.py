"""What is done without keeping others out, and therefore in revisions of its own."""

from collections.abc import Callable, Collection, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

from alembic.operations.ops import (
    AlterColumnOp,
    CreateCheckConstraintOp,
    CreateForeignKeyOp,
    CreateIndexOp,
    CreateTableOp,
    CreateUniqueConstraintOp,
    DropColumnOp,
    DropConstraintOp,
    DropIndexOp,
    ExecuteSQLOp,
    MigrateOperation,
    MigrationScript,
    ModifyTableOps,
)
from sqlalchemy.sql.elements import conv

from ..adapters.facts import Facts
from ..adapters.products import FACTS
from ..review.rules.columns import not_null_check
from ..review.rules.constraints import by_index
from .changes import about, following, ids_after, remove_empty, taken_out, way_back
from .foreign_key_indexes import dropped
from .rendering import AutocommitBlock, PerDatabase
from .uniqueness import replaced

Ways = tuple[Sequence[MigrateOperation], Sequence[MigrateOperation]]
"""What is done on a database, forth and back."""


@dataclass
class Step:
    """A revision of its own."""

    message: str
    ways: Callable[[Facts], Ways]

    def ops(self) -> tuple[list[MigrateOperation], list[MigrateOperation]]:
        """What it does on all databases, forth and back: one operation, or none."""
        found = {product: self.ways(facts()) for product, facts in FACTS.items()}
        up, down = ({product: ways[way] for product, ways in found.items()} for way in (0, 1))
        forth = PerDatabase(up, down)
        return [forth] if any(up.values()) else [], [forth.reverse()] if any(down.values()) else []


def apart(
    script: MigrationScript,
    concerned: Collection[Facts],
    needed: Mapping[str, CreateForeignKeyOp],
    is_partitioned: Callable[[ModifyTableOps], bool],
) -> list[MigrationScript]:
    """``script``, and after it one for each index of a table which is there, two for each unique constraint, one for
    each table whose foreign keys have to come after these, one that lets foreign keys look at old rows, and two for the
    columns of a table that become NOT NULL.

    ``concerned`` are the databases for which it has to be safe, ``needed`` the foreign keys that need an index, by its
    name. A table that ``is_partitioned`` gets its indexes and constraints in ``script``, as on stock: PostgreSQL cannot
    create them concurrently, or NOT VALID.
    """
    assert script.upgrade_ops is not None
    assert script.downgrade_ops is not None
    existing = _of_tables_there(script)
    there = [changes for changes in existing if not is_partitioned(changes)]
    last = [(changes, op) for changes in there for op in replaced(changes) if isinstance(op, DropConstraintOp)]
    steps: list[Step] = []
    index_drops: list[Step] = []
    if any(facts.concurrent_indexes for facts in concerned):
        steps, index_drops = _indexes(script, there, needed)
    if any(facts.constraints_from_indexes for facts in concerned):
        steps += _unique_constraints(script, there)
    for changes, op in last if steps else ():
        steps.append(_constraint_dropped(script, changes, op, needed.get(str(op.constraint_name))))
    steps += index_drops
    if any(facts.unvalidated_constraints for facts in concerned):
        steps += _foreign_keys(script, there, bool(steps))
    if any(facts.not_null_scans for facts in concerned):
        steps += _not_null(script, existing)
    remove_empty(script)
    if steps and script.upgrade_ops.is_empty():
        script.upgrade_ops.ops[:], script.downgrade_ops.ops[:] = steps.pop(0).ops()
    return _chained(script, steps)


def _of_tables_there(script: MigrationScript) -> list[ModifyTableOps]:
    ops = script.upgrade_ops.ops  # type: ignore[union-attr]
    made = {(op.schema, op.table_name) for op in ops if isinstance(op, CreateTableOp)}
    return [op for op in ops if isinstance(op, ModifyTableOps) and (op.schema, op.table_name) not in made]


def _indexes(
    script: MigrationScript, there: list[ModifyTableOps], needed: Mapping[str, CreateForeignKeyOp]
) -> tuple[list[Step], list[Step]]:
    """Create new indexes before dropping the ones they replace, unless both have the same name; return the other drops
    for later, because a unique constraint may replace one too.

    Where the table loses a column, what goes stays in the script: that keeps others out as long, and on PostgreSQL an
    index goes with any column that it, its WHERE or an expression names.
    """
    going: dict[tuple[str | None, str], Step] = {}
    coming: dict[tuple[str | None, str], Step] = {}
    for changes in there:
        loses_column = any(isinstance(op, DropColumnOp) for op in changes.ops)
        for op in list(changes.ops):
            if isinstance(op, DropIndexOp) and not loses_column:
                back = taken_out(script, changes, op)
                going[op.schema, str(op.index_name)] = Step(
                    f"Drop index {op.index_name}", _reversed(_created(back, needed.get(str(op.index_name))))
                )
            elif isinstance(op, CreateIndexOp):
                taken_out(script, changes, op)
                ways = _created(op, needed.get(str(op.index_name)))
                coming[op.schema, str(op.index_name)] = Step(f"Create index {op.index_name}", ways)
    steps = []
    for name, step in coming.items():
        steps += [going.pop(name), step] if name in going else [step]
    return steps, list(going.values())


def _constraint_dropped(
    script: MigrationScript, changes: ModifyTableOps, op: DropConstraintOp, key: CreateForeignKeyOp | None
) -> Step:
    back = ModifyTableOps(changes.table_name, [taken_out(script, changes, op)], schema=changes.schema)
    return Step(f"Drop constraint {op.constraint_name}", lambda facts: (dropped(op, key, facts), [back]))


def _created(index: Any, key: CreateForeignKeyOp | None) -> Callable[[Facts], Ways]:
    """An index, concurrently where that is possible, and there outside of a transaction; on the others as ever.

    An autocommit block would end the one transaction that a run has on SQLite, and hide from the journal of MySQL.
    """

    def ways(facts: Facts) -> Ways:
        return _concurrently(index) if facts.concurrent_indexes else ([index], dropped(index, key, facts))

    return ways


def _concurrently(index: CreateIndexOp, if_not_exists: bool = False) -> Ways:
    """Forth and back, outside of a transaction; ``if_not_exists``: a run that was broken off may have made it."""
    create, drop = copy(index), DropIndexOp(conv(str(index.index_name)), index.table_name, schema=index.schema)
    create.kw = {**index.kw, "postgresql_concurrently": True}
    create.if_not_exists = if_not_exists or None
    drop.kw = {"postgresql_concurrently": True}
    return [AutocommitBlock([create])], [AutocommitBlock([drop])]


def _reversed(ways: Callable[[Facts], Ways]) -> Callable[[Facts], Ways]:
    return lambda facts: ways(facts)[::-1]


def _unique_constraints(script: MigrationScript, there: list[ModifyTableOps]) -> list[Step]:
    """Each by an index that was made concurrently, where that is possible."""
    steps = []
    for changes in there:
        for op in [each for each in changes.ops if isinstance(each, CreateUniqueConstraintOp) and each.constraint_name]:
            taken_out(script, changes, op)
            steps += _unique_constraint(changes, op)
    return steps


def _unique_constraint(changes: ModifyTableOps, op: CreateUniqueConstraintOp) -> list[Step]:
    """A constraint takes its index along when it goes: the second step back makes that anew, and may be run again."""
    plain, name = ModifyTableOps(changes.table_name, [op], schema=changes.schema), str(op.constraint_name)

    def index_of(facts: Facts) -> CreateIndexOp:
        index, _ = by_index(op, facts)
        index.index_name = conv(name)  # the naming convention adds nothing to it
        return index

    def create(facts: Facts) -> Ways:
        if facts.constraints_from_indexes:
            return _concurrently(index_of(facts))
        return [plain], [plain.reverse()]

    def use(facts: Facts) -> Ways:
        if not facts.constraints_from_indexes:
            return [], []
        add = by_index(op, facts)[1]
        table = facts.quoted(changes.table_name, changes.schema)
        drop = ExecuteSQLOp(f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {facts.quoted(name)}")
        return [ExecuteSQLOp(add)], [drop, *_concurrently(index_of(facts), if_not_exists=True)[0]]

    return [Step(f"Create unique index {name}", create), Step(f"Add constraint {name}", use)]


def _foreign_keys(script: MigrationScript, there: list[ModifyTableOps], after_others: bool) -> list[Step]:
    """Without a look at the rows that are there; one table in each revision, for its lock is let go before the next
    one is asked for. Where nothing has to come before them, such as their indexes, they stay in ``script``. One that is
    there under the same name goes in the same revision.
    """
    added, steps = [], []
    for changes in there:
        keys = [op for op in changes.ops if isinstance(op, CreateForeignKeyOp)]
        for key in keys:
            key.kw["postgresql_not_valid"] = True
        if keys and after_others:
            wanted = {about(key) for key in keys}
            old = [op for op in changes.ops if isinstance(op, DropConstraintOp) and about(op) in wanted]
            forth = ModifyTableOps(changes.table_name, [*old, *keys], schema=changes.schema)
            for op in forth.ops:
                taken_out(script, changes, op)
            steps.append(Step(f"Add foreign keys to {changes.table_name}", _everywhere(forth, forth.reverse())))
        added += keys

    def validate(facts: Facts) -> Ways:
        found = (
            facts.validating(key.source_table, key.kw.get("source_schema"), str(key.constraint_name)) for key in added
        )
        return [ExecuteSQLOp(sql) for sql in found if sql], []

    return [*steps, Step("Validate foreign keys", validate)] if added else []


def _everywhere(up: MigrateOperation, down: MigrateOperation) -> Callable[[Facts], Ways]:
    return lambda _facts: ([up], [down])


def _not_null(script: MigrationScript, there: list[ModifyTableOps]) -> list[Step]:
    """Return the steps of existing columns that become NOT NULL; a type changes before, and not again."""
    steps = []
    for changes in there:
        alters = [op for op in changes.ops if isinstance(op, AlterColumnOp) and op.modify_nullable is False]
        if alters:
            pairs = [_without_type(script, changes, op) for op in alters]
            steps += _not_null_in(changes, *(list(ops) for ops in zip(*pairs, strict=True)))
    return steps


def _without_type(
    script: MigrationScript, changes: ModifyTableOps, op: AlterColumnOp
) -> tuple[AlterColumnOp, AlterColumnOp]:
    """What makes the column NOT NULL, and what takes that back: taken out of the script, where another type stays."""
    if op.modify_type is None:
        back = taken_out(script, changes, op)
        assert isinstance(back, AlterColumnOp)
        return op, back
    kept = {name: getattr(op, name) for name in ("existing_server_default", "existing_comment")}
    nullable: dict[str, Any] = {"existing_nullable": True, "modify_nullable": False}
    type_: dict[str, Any] = {"schema": op.schema, "existing_type": op.modify_type}
    forth = AlterColumnOp(op.table_name, op.column_name, **type_, **kept, **nullable)
    for each in (op, way_back(script, op)[1]):
        if isinstance(each, AlterColumnOp):
            each.modify_nullable, each.existing_nullable = None, True
    back = forth.reverse()
    assert isinstance(back, AlterColumnOp)
    return forth, back


def _not_null_in(changes: ModifyTableOps, alters: list[AlterColumnOp], backs: list[AlterColumnOp]) -> list[Step]:
    """Where all rows are looked at for it while nobody can read them, a CHECK looks at them while everybody can."""
    table, schema = changes.table_name, changes.schema
    forth, back = (ModifyTableOps(table, list(ops), schema=schema) for ops in (alters, backs))

    def checks_on(facts: Facts) -> list[CreateCheckConstraintOp]:
        return [not_null_check(op, facts) for op in alters] if facts.not_null_scans else []

    def check(facts: Facts) -> Ways:
        checks = checks_on(facts)
        return checks, [each.reverse() for each in checks]

    def alter(facts: Facts) -> Ways:
        checks = checks_on(facts)
        validate = [ExecuteSQLOp(str(facts.validating(table, schema, str(each.constraint_name)))) for each in checks]
        drops = [each.reverse() for each in checks]
        return [*validate, forth, *drops], [back, *checks]

    columns = " and ".join(f"{table}.{op.column_name}" for op in alters)
    return [Step(f"Keep NULL out of {columns}", check), Step(f"Make {columns} NOT NULL", alter)]


def _chained(script: MigrationScript, steps: list[Step]) -> list[MigrationScript]:
    scripts = [script]
    for identifier, step in zip(ids_after(str(script.rev_id), len(steps)), steps, strict=True):
        scripts.append(following(scripts[-1], identifier, step.message, *step.ops()))
    return scripts
