"""Rules about rows: what they find beside the pairs of RULES.md, and that the servers do what they claim."""

import json
from textwrap import dedent
from types import SimpleNamespace
from typing import Any, cast

import pytest
import sqlalchemy as sa
from alembic.operations import ops
from sqlalchemy import Engine, text
from sqlalchemy.exc import OperationalError

from ..adapters.products import FACTS
from ..review.known_schema import KnownSchema
from ..review.recorder import Operation
from ..review.rules import RULES, RuleContext
from ..review.rules.registry import WHOLE
from .example.app.extensions import db
from .support import (
    FIRST,
    Operating,
    Project,
    Review,
    ReviewOn,
    Sql,
    found,
    levels,
    on_mysql,
    on_postgresql,
    on_servers,
    revision,
    rows,
)

NEW = "op.create_table('pet', sa.Column('id', sa.Integer(), primary_key=True), sa.Column('name', sa.String(9)))\n"
ADDED = "op.execute('ALTER TABLE pet ADD a INT')\n"
USER = "user = sa.table('user', sa.column('id'), sa.column('email'))\n"


@pytest.mark.parametrize(
    ("up", "expected"),
    [
        ("op.execute('DELETE FROM pet WHERE 1 = 1')", 1),
        ("op.execute('DELETE FROM pet WHERE EXISTS (SELECT 1)')", 1),
        ("op.execute('UPDATE pet SET a = 1 WHERE id = id')", 1),
        ("op.execute('TRUNCATE TABLE pet')", 1),
        ("op.execute('UPDATE pet SET a = 1; DELETE FROM pet')", 2),
        ("op.execute('DELETE FROM user WHERE id IS NOT NULL')", 1),
        ("op.execute('UPDATE user u SET email = 1 WHERE (u.`username` IS NOT NULL);')", 1),
        (USER + "op.execute(user.delete().where(user.c.email.is_not(None)))", 1),
        ("op.backfill('user', {'email': ''}, where='id IS NOT NULL')", 1),
        ("op.execute('DELETE FROM user WHERE bio IS NOT NULL')", 0),
        ("op.add_column('user', sa.Column('bio', sa.Text()))\nop.execute('DELETE FROM user WHERE bio IS NOT NULL')", 0),
        ("op.execute('DELETE FROM user WHERE id IS NOT NULL AND id = 1')", 0),
        ("op.execute('DELETE FROM user WHERE id IN (SELECT a FROM pet WHERE id IS NOT NULL)')", 0),
        ("op.execute('UPDATE user JOIN pet ON a = user.id SET email = 1 WHERE pet.id IS NOT NULL')", 0),
        (USER + "op.execute(user.update().values(email=''))", 1),
        (USER + "op.get_bind().execute(user.delete())", 1),
        (USER + "op.execute(user.update().where(user.c.id == 1).values(email=''))", 0),
        ("op.execute('DELETE FROM pet WHERE name IS NULL')", 0),
        ("op.execute('INSERT INTO pet SELECT * FROM user')", 0),
        (NEW + "op.execute('UPDATE pet SET name = 1')", 0),
        ("op.execute('''-- DELETE FROM pet\nINSERT INTO pet VALUES ('DELETE FROM pet')''')", 0),
    ],
)
def test_unbounded(review: Review, up: str, expected: int) -> None:
    """However it is written; not of a table that the same run makes."""
    assert expected == len(found(review(up, "mysql"), "unbounded-data-change"))


def test_all_rows_of_a_new_column(review: Review) -> None:
    """On SQLite, where other sessions wait for the whole run anyway, only old values matter: a new column has none."""
    up = "op.add_column('pet', sa.Column('a', sa.Integer(), server_default='0', nullable=False))\n"
    up += "op.execute('UPDATE pet SET a = id')"
    for product, expected in (("sqlite", 0), ("postgresql", 1)):
        assert expected == len(found(review(up, product), "unbounded-data-change"))
    assert 1 == len(found(review(up.replace("SET a", "SET b"), "sqlite"), "unbounded-data-change"))


@pytest.mark.parametrize("update", ["op.execute(\"UPDATE pet SET name = 'x'\")", "op.backfill('pet', {'name': 'x'})"])
def test_suggested_backfill_without_null(project: Project, engine: Engine, sql: Sql, update: str) -> None:
    """For a column that is never NULL, it selects the rows that have another value."""
    project.ok("upgrade")
    sql(
        "CREATE TABLE pet (id INTEGER NOT NULL PRIMARY KEY, name VARCHAR(9) NOT NULL)",
        "INSERT INTO pet VALUES (1, 'a')",
    )
    project.write(*revision("b1", FIRST, update, "raise NotImplementedError"))
    (finding,) = json.loads(project.db("review", "--format", "json").stdout)
    line = dedent(finding["instead"].partition("\n")[2])
    assert "IS NOT NULL" not in line
    project.write(*revision("b1", FIRST, line, "raise NotImplementedError"))
    project.ok("upgrade")
    assert [("x",)] == rows(engine, "SELECT name FROM pet")


@on_servers
def test_rows_stay_locked(operating: Operating, backend: str) -> None:
    """Until the transaction ends, other sessions wait for a row that an UPDATE has changed."""
    connection, op = operating
    user = connection.dialect.identifier_preparer.quote("user")
    op.execute(f"UPDATE {user} SET email = 'x'")
    wait = {"mysql": "SET innodb_lock_wait_timeout = 1", "postgresql": "SET lock_timeout = 500"}[backend]
    with db.engine.connect() as other:
        other.execute(text(wait))
        with pytest.raises(OperationalError, match=r"[Ll]ock"):
            other.execute(text(f"UPDATE {user} SET email = 'y' WHERE id = 1"))


@pytest.mark.parametrize(
    ("up", "postgresql", "mysql"),
    [
        ("op.execute('UPDATE user SET email = 1 WHERE id = 1')\nop.drop_column('pet', 'name')", 1, 1),
        ("op.drop_column('pet', 'name')\nop.execute('UPDATE user SET email = 1 WHERE id = 1')", 1, 0),
        ("op.execute('ALTER TABLE pet ADD a INT; INSERT INTO pet (a) SELECT id FROM user')", 1, 0),
        ("op.execute('INSERT INTO pet (a) SELECT id FROM user; ALTER TABLE pet ADD a INT')", 1, 1),
        ("op.add_column('pet', sa.Column('a', sa.Integer()))\nop.execute('INSERT INTO pet (a) VALUES (1)')", 0, 0),
        ("op.execute('INSERT INTO pet (a) VALUES (1)')\nop.add_column('pet', sa.Column('a', sa.Integer()))", 0, 1),
        ("op.bulk_insert(sa.table('pet', sa.column('a')), [{'a': 1}])\nop.execute('CREATE VIEW v AS SELECT 1')", 0, 1),
        ("op.execute('DELETE FROM pet WHERE id = 1')\nop.execute('DROP TRIGGER t')", 0, 1),
        (NEW + "op.execute('INSERT INTO pet (id) SELECT id FROM user')", 0, 0),
        (NEW + "op.execute('INSERT INTO pet (id) VALUES (1)')\nop.create_index('ix', 'pet', ['id'])", 0, 0),
        (NEW + "op.execute('UPDATE user SET email = 1 WHERE id = 1')", 0, 0),
        ("op.create_index('ix', 'user', ['id'])\nop.create_index('iy', 'user', ['id'])", 0, 0),
        ("op.execute('UPDATE user SET email = 1 WHERE id = 1')\nop.execute('ANALYZE')", 0, 1),
        (ADDED + "op.execute('UPDATE pet SET a = id WHERE id > 0')\nop.create_index('ix', 'pet', ['a'])", 1, 0),
        (ADDED + "op.execute('UPDATE pet SET a = 1, b = 2 WHERE id > 0')\nop.create_index('ix', 'pet', ['a'])", 1, 1),
    ],
)
def test_backfill(review: Review, up: str, postgresql: int, mysql: int) -> None:
    """On PostgreSQL many rows beside DDL on a table that existed; on MySQL and MariaDB any existing row before DDL."""
    for product, expected in (
        ("postgresql", ["warns"] * postgresql),
        ("mysql", ["blocks"] * mysql),
        ("mariadb", ["blocks"] * mysql),
        ("sqlite", []),
    ):
        assert expected == levels(review(up, product), "backfill-with-ddl")


def test_backfill_in_a_downgrade(review: Review) -> None:
    """A downgrade that changes rows before a DDL statement is reported on MySQL, where that commits them."""
    down = "def upgrade():\n    pass\n\n\ndef downgrade():\n    op.execute('DELETE FROM pet WHERE id = 1')\n"
    for product, expected in (("mysql", ["blocks"]), ("postgresql", [])):
        assert expected == levels(review(down + "    op.drop_column('pet', 'a')", product), "backfill-with-ddl")


def test_backfill_of_a_table_of_an_earlier_revision() -> None:
    """The undo of a revision does not remove the table that an earlier one of the same run created."""
    tables = KnownSchema(FACTS["mysql"]())
    tables.apply(ops.CreateTableOp("pet", [sa.Column("id", sa.Integer())]))
    insert = ops.BulkInsertOp(sa.table("pet", sa.column("id")), [{"id": 1}])
    operations = [Operation(insert, 1), Operation(ops.CreateIndexOp("ix", "pet", ["id"]), 2)]
    revision = cast(Any, SimpleNamespace(upgrade=operations))
    assert RULES["rows-before-ddl"].find(revision, RuleContext(revision, "upgrade", WHOLE, tables))


@on_mysql
def test_backfill_with_side_effects(review_on: ReviewOn) -> None:
    """An UPDATE of an added column changes more where a trigger fires or a column follows updates."""
    up = "op.execute('ALTER TABLE user ADD a INT')\n"
    up += "op.execute('UPDATE user SET a = 1 WHERE id = 1')\nop.create_index('ix', 'user', ['a'])"
    assert [] == found(review_on(up), "backfill-with-ddl")
    trigger = "CREATE TRIGGER t BEFORE UPDATE ON {user} FOR EACH ROW SET NEW.email = 'x'"
    assert ["blocks"] == levels(review_on(up + "  # again", trigger), "backfill-with-ddl")
    follows = "ALTER TABLE {user} ADD at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP"
    assert ["blocks"] == levels(review_on(up + "  # and", "DROP TRIGGER t", follows), "backfill-with-ddl")


@on_postgresql
@pytest.mark.parametrize(("before", "expected"), [([], ["warns"]), (["DELETE FROM {user}"], [])])
def test_backfill_without_rows(review_on: ReviewOn, before: list[str], expected: list[str]) -> None:
    """Nothing has to be waited for where no rows are."""
    up = USER + "op.execute(user.update().where(user.c.id > 0).values(email=''))\n"
    up += "op.add_column('user', sa.Column('age', sa.Integer()))"
    assert expected == levels(review_on(up, *before), "backfill-with-ddl")
