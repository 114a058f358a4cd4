"""Rules about names: they tell what becomes of each in the database, through the project's env.py."""

from collections.abc import Callable

import pytest
import sqlalchemy as sa
from flask_migrate import downgrade, upgrade

from ..adapters.products import FACTS
from .example.app.extensions import db
from .support import FIRST, SERVERS, Operating, Project, Review, ReviewOn, found, on_postgresql, on_sqlite

TABLE = "op.create_table('pet', sa.Column('id', sa.Integer(), primary_key=True), {})"
IN_BATCH = "with op.batch_alter_table('child') as batch_op:\n    batch_op."
CHILD = "CREATE TABLE child (id INT PRIMARY KEY, k INT)"


UNNAMED = [
    (TABLE.format("sa.Column('k', sa.Integer(), sa.ForeignKey('user.id'))"), {"fk_pet_k_user"}),
    (TABLE.format("sa.Column('k', sa.Integer(), unique=True)"), {"uq_pet_k"}),
    (TABLE.format("sa.Column('k', sa.Integer()), sa.ForeignKeyConstraint(['k'], ['user.id'])"), {"fk_pet_k_user"}),
    (TABLE.format("sa.Column('k', sa.Integer()), sa.UniqueConstraint('k')"), {"uq_pet_k"}),
    (TABLE.format("sa.Column('k', sa.Integer()), sa.CheckConstraint('k > 0', name='pos')"), {"ck_pet_pos"}),
    (TABLE.format("sa.CheckConstraint('id > 0')"), None),
    (TABLE.format("sa.Column('k', sa.Integer(), sa.CheckConstraint('k > 0'))"), None),
    (TABLE.format("sa.Column('k', sa.Enum('a', native_enum=False, create_constraint=True))"), None),
    (TABLE.format("sa.Column('k', sa.Enum('a', native_enum=False))"), set()),
    (f"{IN_BATCH}create_unique_constraint(None, ['k'])", {"uq_child_k"}),
    (f"{IN_BATCH}create_foreign_key(None, 'user', ['k'], ['id'])", {"fk_child_k_user"}),
    (f"{IN_BATCH}create_check_constraint(None, sa.text('k > 0'))", None),
    (f"{IN_BATCH}create_check_constraint('pos', sa.text('k > 0'))", {"ck_child_pos"}),
    (f"{IN_BATCH}add_column(sa.Column('u', sa.Integer(), sa.ForeignKey('user.id')))", {"fk_child_u_user"}),
]


@pytest.mark.parametrize(
    ("backend", "script", "named"),
    [
        *(("sqlite", *case) for case in UNNAMED),
        *((server, *case) for server in SERVERS for case in (UNNAMED[3], UNNAMED[5], UNNAMED[-1])),
    ],
    indirect=["backend"],
)
def test_unnamed(review_on: ReviewOn, attempt: Callable[..., list[str]], script: str, named: set[str] | None) -> None:
    """What the naming convention of the project names is none; for a CHECK it cannot, and the revision fails."""
    findings = found(review_on(script, CHILD), "unnamed-constraint")
    assert (named is None) == bool(findings)
    failed = attempt(upgrade)
    if named is None:
        assert ["blocks"] == [finding.level.value for finding in findings]
        assert (
            "the naming convention requires a name for it, so this fails (unnamed-constraint)." in findings[0].message
        )
        assert "requires that constraint is explicitly named" in failed[0]
    else:
        assert ([], named) == (failed, names())


def names() -> set[str | None]:
    """Those of the constraints of pet and child, but for primary keys."""
    inspector = sa.inspect(db.engine)
    return {
        each["name"]
        for table in {"pet", "child"} & set(inspector.get_table_names())
        for kind in ("unique_constraints", "foreign_keys", "check_constraints")
        for each in getattr(inspector, f"get_{kind}")(table)
    }


def test_unnamed_in_definitions(review_on: ReviewOn, attempt: Callable[..., list[str]], backend: str) -> None:
    """What Alembic writes into the definition of a column loses its name."""
    script = "op.add_column('child', sa.Column('u', sa.Integer(), sa.ForeignKey('user.id')), inline_references=True)"
    (finding,) = found(review_on(script, CHILD), "unnamed-constraint")
    consequence = "each database chooses another name, which later revisions have to find out"
    if backend == "sqlite":
        consequence = "later revisions cannot drop it"
    assert (
        f"revision a1 creates a foreign key of child without a name; {consequence} (unnamed-constraint)."
    ) == finding.message
    assert (
        "give it a name:\n    op.create_foreign_key(op.f('fk_child_u_user'), 'child', 'user', ['u'], ['id'])"
    ) == finding.instead
    assert [] == attempt(upgrade)
    assert {"sqlite": {None}, "mysql": {"child_ibfk_1"}, "postgresql": {"child_u_fkey"}}[backend] == names()


def test_unnamed_unique_in_batch(review_on: ReviewOn, attempt: Callable[..., list[str]], backend: str) -> None:
    """SQLite rebuilds the table, and a unique column gets a constraint without a name there; on servers it has one."""
    script = f"{IN_BATCH}add_column(sa.Column('u', sa.Integer(), unique=True))"
    findings = found(review_on(script, CHILD), "unnamed-constraint")
    assert [] == attempt(upgrade)
    if backend == "sqlite":
        assert (
            "give it a name:\n    with op.batch_alter_table('child') as batch_op:\n"
            "        batch_op.create_unique_constraint(batch_op.f('uq_child_u'), ['u'])"
        ) == findings[0].instead
        assert {None} == names()
    else:
        assert ([], {"uq_child_u"}) == (findings, names())


def test_unnamed_without_convention(review: Review, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the app has no naming convention, each constraint but a primary key needs a name."""
    monkeypatch.setattr(db.metadata, "naming_convention", {})
    script = (
        "op.create_table('pet', sa.Column('id', sa.Integer()), sa.Column('u', sa.Integer(), sa.ForeignKey('user.id')), "
        "sa.PrimaryKeyConstraint('id'), sa.UniqueConstraint('u'), sa.CheckConstraint('u > 0'))\n"
        "op.create_unique_constraint(None, 'pet', ['u', 'id'])"
    )
    assert {
        "give it a name in create_table():\n    sa.ForeignKeyConstraint(['u'], ['user.id'], name=op.f('fk_pet_u'))",
        "give it a name in create_table():\n    sa.UniqueConstraint('u', name=op.f('uq_pet_u'))",
        "give it a name in create_table():\n    sa.CheckConstraint('u > 0', name=op.f('ck_pet_valid'))",
        "give it a name:\n    op.create_unique_constraint(op.f('uq_pet_u_id'), 'pet', ['u', 'id'])",
    } == {finding.instead for finding in found(review(script, "postgresql"), "unnamed-constraint")}


@on_sqlite
@pytest.mark.parametrize(
    ("kind", "batch"), [("unique", False), ("unique", True), ("foreignkey", False), ("check", True)]
)
def test_unnamed_drop(
    review_on: ReviewOn, project: Project, attempt: Callable[..., list[str]], kind: str, batch: bool
) -> None:
    """It always fails, in a downgrade too, and always blocks."""
    made = f"{IN_BATCH}create_unique_constraint(None, ['k'])"
    drop = (
        f"{IN_BATCH}drop_constraint(None, type_='{kind}')" if batch else f"op.drop_constraint(None, 'child', '{kind}')"
    )
    (finding,) = found(review_on(made, CHILD, down=drop), "unnamed-drop")
    assert "blocks" == finding.level
    assert (
        "revision a1 in downgrade() drops a constraint of child without its name, which always fails (unnamed-drop)."
    ) == finding.message
    if kind == "unique":
        assert {
            False: "\n    op.drop_constraint('uq_child_k', 'child', type_='unique')",
            True: "\n    with op.batch_alter_table('child') as batch_op:\n"
            "        batch_op.drop_constraint('uq_child_k', type_='unique')",
        }[batch] == finding.instead.removeprefix(
            "write the name that the constraint has in the database, here and where the constraint is created:"
        )
    assert [] == attempt(upgrade)
    assert [] != attempt(downgrade, revision=FIRST)


PRIMARY_KEY = "op.drop_constraint(None, 'user', type_='primary')"


@pytest.mark.parametrize(
    ("product", "convention", "count"), [("postgresql", True, 0), ("postgresql", False, 1), ("mysql", False, 0)]
)
def test_drop_of_primary_key(
    review: Review, monkeypatch: pytest.MonkeyPatch, product: str, convention: bool, count: int
) -> None:
    """The naming convention names it by its table alone; MySQL and MariaDB need no name."""
    if not convention:
        monkeypatch.setattr(db.metadata, "naming_convention", {})
    assert count == len(found(review(PRIMARY_KEY, product), "unnamed-drop"))


@on_postgresql
def test_drop_of_primary_key_runs(review_on: ReviewOn, attempt: Callable[..., list[str]]) -> None:
    """PostgreSQL drops the one that the convention has named."""
    script = "op.create_table('pet', sa.Column('id', sa.Integer(), primary_key=True))\n"
    assert [] == found(review_on(f"{script}op.drop_constraint(None, 'pet', type_='primary')"), "unnamed-drop")
    assert [] == attempt(upgrade)


LONG = "x" * 65


@pytest.mark.parametrize(
    "up",
    [
        f"op.create_table('{LONG}', sa.Column('id', sa.Integer()))",
        f"op.create_table('pet', sa.Column('{LONG}', sa.Integer()))",
        f"op.create_table('pet', sa.Column('id', sa.Integer()), sa.UniqueConstraint('id', name='{LONG}'))",
        f"op.rename_table('user', '{LONG}')",
        f"op.alter_column('user', 'email', new_column_name='{LONG}')",
        f"op.create_index('{LONG}', 'user', ['email'])",
        f"op.create_check_constraint('{LONG}', 'user', 'id > 0')",
        f"with op.batch_alter_table('user') as batch_op:\n    batch_op.add_column(sa.Column('{LONG}', sa.Integer()))",
    ],
)
def test_long_identifier(review: Review, up: str) -> None:
    """Whatever is named; SQLite takes names of any length."""
    for product in FACTS:
        assert (product != "sqlite") == len(found(review(up, product), "long-identifier"))


@pytest.mark.parametrize(("product", "count"), [("postgresql", 1), ("mysql", 0)])
def test_long_identifier_units(review: Review, product: str, count: int) -> None:
    """PostgreSQL counts bytes up to 63, the others characters up to 64."""
    up = "op.add_column('user', sa.Column('" + "ü" * 32 + "', sa.Integer()))"
    assert count == len(found(review(up, product), "long-identifier"))


@on_postgresql
def test_long_name_is_cut(operating: Operating) -> None:
    """PostgreSQL cuts it, and the models have another name."""
    connection, op = operating
    op.add_column("user", sa.Column(LONG, sa.Integer()))
    assert LONG[:63] == [each["name"] for each in sa.inspect(connection).get_columns("user")][-1]


@pytest.mark.parametrize(
    ("statement", "count"),
    [
        ("ALTER TABLE pet SET SCHEMA other", 1),
        ("ALTER TABLE IF EXISTS shop.pet SET SCHEMA other", 1),
        ("ALTER VIEW pet SET SCHEMA other", 0),
        ("ALTER TABLE pet SET (fillfactor = 70)", 0),
    ],
)
def test_other_schema(review: Review, statement: str, count: int) -> None:
    """A table in another schema has another name for running code."""
    findings = found(review(f"op.execute('{statement}')", "postgresql"), "rename-table")
    assert [True] * count == ["to other.pet, but running code" in each.message for each in findings]
