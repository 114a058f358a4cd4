"""Rules about enums: what they find beside the pairs of RULES.md, and that PostgreSQL does what they claim."""

from collections.abc import Callable

import pytest
import sqlalchemy as sa
from flask_migrate import downgrade, upgrade
from sqlalchemy.exc import DBAPIError

from .support import FIRST, Operating, Project, Review, found, on_postgresql, revision

PET = "op.create_table('pet', sa.Column('kind', {}))"
DOWN = "op.drop_table('pet')\n{}"
KIND = "sa.Enum('cat', 'dog', name='kind')"


def both(up: str, down: str) -> str:
    """A script with both."""
    return (
        "from sqlalchemy.dialects.postgresql import ENUM\n\n\n"
        f"def upgrade():\n    {up.replace(chr(10), chr(10) + '    ')}\n\n\n"
        f"def downgrade():\n    {down.replace(chr(10), chr(10) + '    ')}\n"
    )


@pytest.mark.parametrize(
    ("up", "down", "expected"),
    [
        (PET.format(KIND), DOWN.format(""), ["kind"]),
        (PET.format("sa.ARRAY(sa.Enum('cat', name='kind'))"), DOWN.format(""), ["kind"]),
        (PET.format("ENUM('cat', name='kind')"), DOWN.format("op.execute('DROP TYPE other')"), ["kind"]),
        (f"{KIND}.create(op.get_bind())", "op.drop_column('user', 'kind')", ["kind"]),
        ("op.execute('CREATE TYPE \"Kind\" AS ENUM (\\'a\\')')", "op.drop_column('user', 'kind')", ["Kind"]),
        (PET.format(KIND), DOWN.format("sa.Enum(name='kind').drop(op.get_bind())"), []),
        (PET.format(KIND), DOWN.format("sa.Enum(name='kind').drop(op.get_bind(), checkfirst=True)"), []),
        (PET.format(KIND), DOWN.format("ENUM(name='kind').drop(op.get_bind(), checkfirst=False)"), []),
        (PET.format(KIND), DOWN.format("op.execute('DROP TYPE IF EXISTS kind')"), []),
        (PET.format(KIND), "pass", []),
        (PET.format("ENUM('cat', name='kind', create_type=False)"), DOWN.format(""), []),
        (PET.format("sa.Enum('cat', name='kind', native_enum=False)"), DOWN.format(""), []),
        ("op.add_column('user', sa.Column('kind', sa.Enum('cat', name='kind')))", "op.drop_column('user', 'kind')", []),
    ],
)
def test_enum_outlives_table(review: Review, up: str, down: str, expected: list[str]) -> None:
    """It is what makes a type, and does not drop it by any of the ways; ADD COLUMN makes none."""
    findings = found(review(both(up, down), "postgresql"), "enum-outlives-table")
    assert expected == [name for name in expected if findings and f"creates enum {name}," in findings[0].message]
    assert len(expected) == len(findings)


@on_postgresql
@pytest.mark.parametrize(
    ("down", "error"), [("", 'type "kind" already exists'), ("sa.Enum(name='kind').drop(op.get_bind())", "")]
)
def test_next_upgrade_fails(
    attempt: Callable[..., list[str]], database: str, project: Project, down: str, error: str
) -> None:
    """Because the type is there; what the rule gives to paste helps."""
    project.write(*revision("a1", FIRST, PET.format(KIND), DOWN.format(down)))
    assert [] == attempt(upgrade)
    assert [] == attempt(downgrade)
    assert (error in "".join(attempt(upgrade)), bool(error)) == (True, bool(error))


@pytest.mark.parametrize(
    ("up", "expected"),
    [
        ("op.execute(\"ALTER TYPE kind RENAME VALUE 'cat' TO 'lion'\")", 1),
        ("op.execute(\"ALTER TYPE kind ADD VALUE 'lion'\")", 0),
        ("op.execute('ALTER TYPE kind RENAME TO old')", 0),
        ("op.execute(\"DELETE FROM pg_enum WHERE enumlabel = 'cat'\")", 1),
        ("op.execute(\"DELETE FROM pg_catalog.pg_enum WHERE enumlabel = 'cat'\")", 1),
        (f"{KIND}.create(op.get_bind())\nop.execute(\"ALTER TYPE kind RENAME VALUE 'cat' TO 'lion'\")", 0),
        (f"op.alter_column('user', 'email', existing_type={KIND}, type_=sa.Enum('dog', name='kind2'))", 1),
        (f"op.alter_column('user', 'email', existing_type={KIND}, type_=sa.Enum('dog', 'cat', 'cow', name='kind'))", 0),
    ],
)
def test_enum_value(review: Review, up: str, expected: int) -> None:
    """A value that is renamed or goes; not one that comes, nor those of a type that the same revision makes."""
    findings = review(up, "postgresql")
    assert expected == len(found(findings, "enum-value"))
    assert [] == found(findings, "change-type")


@on_postgresql
def test_old_value_is_refused(operating: Operating) -> None:
    """Code that writes it fails, at once after the rename."""
    connection, op = operating
    op.execute("CREATE TYPE kind AS ENUM ('cat')")
    op.create_table("pet", sa.Column("kind", sa.Enum("cat", name="kind", create_type=False)))
    op.execute("ALTER TYPE kind RENAME VALUE 'cat' TO 'lion'")
    with pytest.raises(DBAPIError, match="invalid input value for enum"):
        connection.exec_driver_sql("INSERT INTO pet VALUES ('cat')")
    connection.rollback()
