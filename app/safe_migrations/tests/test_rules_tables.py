"""Rules about tables: what they find beside the pairs of RULES.md, and that the servers do what they claim."""

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from .support import Operating, Review

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
    codes = {
        product: len([each for each in review(up, product) if each.code == "long-identifier"])
        for product in ("sqlite", "mysql", "mariadb", "postgresql")
    }
    assert {"sqlite": 0, "mysql": 1, "mariadb": 1, "postgresql": 1} == codes


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("ALTER TABLE pet SET SCHEMA other", ["rename-table"]),
        ("ALTER TABLE IF EXISTS shop.pet SET SCHEMA other", ["rename-table"]),
        ("ALTER VIEW pet SET SCHEMA other", []),
        ("ALTER TABLE pet SET (fillfactor = 70)", []),
    ],
)
def test_other_schema(review: Review, statement: str, expected: list[str]) -> None:
    """A table in another schema has another name for running code."""
    findings = review(f"op.execute('{statement}')", "postgresql")
    assert expected == [each.code for each in findings if "to other.pet, but running code" in each.message]


def test_long_identifier_units(review: Review) -> None:
    """PostgreSQL counts bytes up to 63, the others characters up to 64."""
    up = "op.add_column('user', sa.Column('" + "ü" * 32 + "', sa.Integer()))"
    assert ["long-identifier"] == [each.code for each in review(up, "postgresql")]
    assert [] == [each for each in review(up, "mysql") if each.code == "long-identifier"]


@pytest.mark.parametrize("backend", ["mysql", "postgresql"], indirect=True)
def test_long_name_is_cut_or_refused(backend: str, operating: Operating) -> None:
    """PostgreSQL cuts it, and the models have another name; MySQL and MariaDB refuse it."""
    connection, op = operating
    if backend == "mysql":
        with pytest.raises(DBAPIError, match="1059"):
            op.add_column("user", sa.Column(LONG, sa.Integer()))
    else:
        op.add_column("user", sa.Column(LONG, sa.Integer()))
        assert LONG[:63] == [each["name"] for each in sa.inspect(connection).get_columns("user")][-1]
