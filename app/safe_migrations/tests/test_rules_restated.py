"""What a change of a column takes along on MySQL and MariaDB, which are shown to do so."""

from collections.abc import Callable
from typing import Any, cast

import pytest
import sqlalchemy as sa
from alembic.operations import Operations
from alembic.operations.ops import AlterColumnOp, CreateTableOp, ExecuteSQLOp
from alembic.runtime.migration import MigrationContext
from sqlalchemy.dialects import mysql

from ..adapters.products import FACTS
from ..review.known_schema import KnownSchema
from ..review.recorder import Operation
from ..review.rules import RULES, Problem, RuleContext
from ..review.sql.translation import translate
from .support import is_mariadb

NOW = "CURRENT_TIMESTAMP"
ON_UPDATE = f"{NOW} ON UPDATE {NOW}"
# The column as it is, what is said of it in a change of something else, and what goes.
LOST: dict[str, tuple[Callable[[], sa.Column[Any]], dict[str, Any], str]] = {
    "not null": (lambda: sa.Column("x", sa.String(20), nullable=False), {}, "NOT NULL"),
    "not null, wrong": (
        lambda: sa.Column("x", sa.String(20), nullable=False),
        {"existing_nullable": True},
        "NOT NULL",
    ),
    "default": (
        lambda: sa.Column("x", sa.String(20), server_default="it's"),
        {"existing_nullable": True},
        "DEFAULT",
    ),
    "expression": (
        lambda: sa.Column("x", sa.String(36), server_default=sa.text("(uuid())")),
        {"existing_nullable": True},
        "DEFAULT",
    ),
    "on update": (
        lambda: sa.Column("x", sa.DateTime(), server_default=sa.text(ON_UPDATE)),
        {"existing_nullable": True, "existing_server_default": sa.text(NOW)},
        "ON UPDATE",
    ),
    "comment": (lambda: sa.Column("x", sa.String(20), comment="said"), {"existing_nullable": True}, "COMMENT 'said'"),
    "collation": (
        lambda: sa.Column("x", sa.String(20, collation="utf8mb4_bin")),
        {"existing_nullable": True, "existing_type": sa.String(20)},
        "COLLATE utf8mb4_bin",
    ),
    "auto_increment": (
        lambda: sa.Column("x", sa.Integer(), primary_key=True),
        {"existing_nullable": False},
        "AUTO_INCREMENT",
    ),
    "stored": (
        lambda: sa.Column("x", sa.Integer(), sa.Computed("1 + 1", persisted=True)),
        {"existing_nullable": True},
        "its generation expression",
    ),
}
# What keeps each of them.
KEPT: dict[str, dict[str, Any]] = {
    "not null": {"existing_nullable": False},
    "not null, wrong": {"existing_nullable": False},
    "default": {"existing_server_default": "it's"},
    "expression": {"existing_server_default": sa.text("(uuid())")},
    "on update": {"existing_server_default": sa.text(ON_UPDATE)},
    "comment": {"existing_comment": "said"},
    "collation": {"existing_type": mysql.VARCHAR(20, collation="utf8mb4_bin")},
    "auto_increment": {"autoincrement": True},
}
MYSQL = FACTS["mysql"]()


def change(name: str, **said: Any) -> AlterColumnOp:
    """Says a comment, or NOT NULL where the comment is the question, and what else is given."""
    column = LOST[name][0]()
    said = {"existing_type": column.type, **LOST[name][1], **said}
    modify = {"modify_nullable": False} if name == "comment" else {"modify_comment": "new"}
    return AlterColumnOp("pet", "x", **modify, **said)


def lost(op: AlterColumnOp, tables: KnownSchema, statement: str | None = None) -> str:
    """What the rule says that goes."""
    case = RuleContext(cast(Any, None), "upgrade", Operation(op, 1, statement=statement), tables)
    found = RULES["modify-drops-attributes"].find(op, case)
    assert found is None or isinstance(found, Problem)
    return found.what.partition("does not repeat: ")[2] if found else ""


@pytest.mark.parametrize("backend", ["mysql"], indirect=True)
def test_servers(database: str) -> None:
    """What the rule says is what is gone from SHOW CREATE TABLE; what is said stays."""
    engine = sa.create_engine(database, isolation_level="AUTOCOMMIT")
    product = "mariadb" if is_mariadb(engine.url) else "mysql"
    with engine.connect() as connection:
        made = Operations(MigrationContext.configure(connection))

        def shown() -> str:
            return str(connection.exec_driver_sql("SHOW CREATE TABLE pet").fetchone()[1].splitlines()[1])  # type: ignore[index]

        for name, (column, _said, expected) in LOST.items():
            for said in ({}, KEPT.get(name)):
                if said is None:
                    continue
                made.execute("DROP TABLE IF EXISTS pet")
                table = CreateTableOp("pet", [column()])
                made.invoke(table)
                history = KnownSchema(FACTS[product]())
                history.apply(CreateTableOp("pet", [column()]))
                op = change(name, **said)
                by_database, by_history = lost(op, KnownSchema(FACTS[product](), connection)), lost(op, history)
                before = shown()
                made.invoke(op)
                word = {"its generation expression": "STORED"}.get(expected, expected)
                said_before = word == "STORED" or word in before.replace("STORED", "PERSISTENT")
                assert said_before, (name, before)
                gone = word.lower() not in shown().lower().replace("default null", "")
                assert (name, gone) == (name, not said), (before, shown())
                if said:
                    assert ["", ""] == [by_database, by_history], name
                else:
                    assert expected in by_database, name
                    assert name == "on update" or expected in by_history, name
    engine.dispose()


def test_what_is_not_known() -> None:
    """Without database and history what the script does not say may be lost; what Flask-Migrate writes is enough."""

    def of(**said: Any) -> str:
        return lost(AlterColumnOp("pet", "x", **said), KnownSchema(MYSQL))

    assert "NOT NULL, if the column is NOT NULL" == of(modify_type=sa.Text())
    assert "NOT NULL, if the column is NOT NULL, its type, which Alembic requires" == of(modify_comment="c")
    assert "its type, which Alembic requires" == of(modify_nullable=False)
    assert "" == of(modify_type=sa.Text(), existing_type=sa.String(20), existing_nullable=True)
    assert "" == of(modify_nullable=False, existing_type=sa.String(20))
    assert "" == of(modify_server_default="x"), "ALTER COLUMN SET DEFAULT says nothing of the rest"


def test_words() -> None:
    """The line to paste has the arguments that are missing, as the column has it."""
    tables = KnownSchema(MYSQL)
    tables.apply(CreateTableOp("pet", [sa.Column("x", sa.String(20), nullable=False, server_default="a", comment="c")]))
    op = AlterColumnOp("pet", "x", modify_type=sa.Text())
    expected = Problem(
        "changes pet.x, and the column loses what the script does not repeat: NOT NULL, DEFAULT 'a', COMMENT 'c'",
        "pass to alter_column() what the column has to keep:\n"
        "    existing_nullable=False, existing_server_default=sa.text(\"'a'\"),"
        " existing_comment='c'",
    )
    case = RuleContext(cast(Any, None), "upgrade", Operation(op, 1), tables)
    assert expected == RULES["modify-drops-attributes"].find(op, case)


def test_sql() -> None:
    """MODIFY in SQL says all of a column: what goes is what the column has, and the statement does not say."""
    tables = KnownSchema(MYSQL)
    tables.apply(CreateTableOp("pet", [sa.Column("x", sa.String(20), nullable=False, server_default="a", comment="c")]))

    def of(statement: str, tables: KnownSchema) -> str:
        (found,) = translate(ExecuteSQLOp(statement), "mysql")
        assert isinstance(found.op, AlterColumnOp)
        return lost(found.op, tables, statement=found.statement)

    assert "NOT NULL, DEFAULT 'a', COMMENT 'c'" == of("ALTER TABLE pet MODIFY x VARCHAR(30)", tables)
    assert "" == of("ALTER TABLE pet CHANGE x y VARCHAR(30) NOT NULL DEFAULT 'b' COMMENT 'd'", tables)
    assert "NOT NULL, if the column is NOT NULL" == of("ALTER TABLE pet MODIFY x VARCHAR(30)", KnownSchema(MYSQL))
    assert "" == of("ALTER TABLE pet MODIFY x VARCHAR(30) NOT NULL", KnownSchema(MYSQL))
    assert "" == of("ALTER TABLE pet ALTER COLUMN x SET DEFAULT 'c'", tables)
    assert "" == of("ALTER TABLE pet RENAME COLUMN x TO y", KnownSchema(MYSQL)), "it says nothing but the name"
