"""op.backfill(): each row changes exactly once, in batches on a server, also if the run is killed and goes on."""

import logging
import re
from collections.abc import Callable
from contextlib import nullcontext
from unittest.mock import patch

import flask_migrate
import pytest
import sqlalchemy as sa

from .. import console
from ..adapters import adapter_of
from ..adapters.mysql.keys import primary_key
from ..errors import MigrationError
from .support import (
    FIRST,
    Project,
    Review,
    ReviewOn,
    Sql,
    is_mariadb,
    levels,
    on_mysql,
    on_postgresql,
    on_servers,
    revision,
    rows,
    wait_until,
)

TABLE = """
number = sa.Column('id', sa.Integer(), primary_key=True, autoincrement=False)
op.create_table('item', number, sa.Column('n', sa.Integer()))
"""
COUNT = "op.backfill('item', {'n': sa.column('n') + 1}, batch_size=3)"
POSITIONS = "_migration_backfill"
KEY = "WHERE version_table = 'alembic_version' AND revision = 'b1' AND direction = 'upgrade'"


def counts(engine: sa.Engine) -> list[tuple[object, ...]]:
    """Return each value of n in the table item, with the number of rows that have it."""
    return rows(engine, "SELECT n, count(*) FROM item GROUP BY n ORDER BY n")


@pytest.fixture
def items(project: Project, sql: Sql) -> Project:
    """Return a project at a revision a1, with ten rows in a table item, whose n is 0."""
    project.write(*revision("a1", FIRST, TABLE))
    project.ok("upgrade")
    sql(*(f"INSERT INTO item VALUES ({number}, 0)" for number in range(1, 11)))
    return project


def test_each_row_once(items: Project, engine: sa.Engine) -> None:
    """Several backfills of an upgrade() and of a downgrade() change each row once, and leave no position. A condition
    in SQL counts as a whole, also with OR and with a comment at its end.
    """
    down = COUNT.replace("3)", "4, where='id = 2 OR id = 9 -- no others')")
    items.write(*revision("b1", "a1", f"{COUNT}\n{COUNT.replace('1}, batch_size=3', '10}, batch_size=5')}", down))
    told = items.ok("upgrade")
    assert [(11, 10)] == counts(engine)
    told += items.ok("downgrade")
    assert [(11, 8), (12, 2)] == counts(engine)
    if engine.dialect.name != "sqlite":
        changed = re.findall(r"Backfill of item: went through 10 rows and changed (.*) in ", told)
        assert ["10", "10", "2"] == changed
    assert not sa.inspect(engine).has_table(POSITIONS)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            "{'name': \"a'b\", 'n': sa.func.lower(sa.column('n'))}, where=sa.table('item', sa.column('n')).c.n > 5",
            "name='a''b', n=lower(n) WHERE item.n > 5",
        ),
        ("{'n': 1}, where=\"line <> 'q'\"", "n=1 WHERE (line <> 'q')"),
    ],
)
def test_sql(project: Project, arguments: str, expected: str) -> None:
    """With --sql it is one UPDATE on one line, with its values in place and in their order."""
    project.write(*revision("a1", FIRST, f"op.backfill('item', {arguments})"))
    assert f"UPDATE item SET {expected};\n" in project.ok("upgrade", f"{FIRST}:a1", "--sql")


MODEL = (
    "type('Item', (sa.orm.declarative_base(),),"
    " {'__tablename__': 'item', 'id': sa.Column(sa.Integer, primary_key=True)})"
)
IS_TABLE = "op.backfill() takes the name of the table as text, such as 'user', not a "


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        *(
            (
                f"op.backfill('item', {{'n': 1}}, batch_size={size})",
                f"the batch_size of op.backfill() is {size}, not an ",
            )
            for size in ("0", "-5", "2.5", "'10'", "True")
        ),
        ("op.backfill(sa.table('item', sa.column('n')), {'n': 1})", f"{IS_TABLE}TableClause"),
        (f"op.backfill({MODEL}, {{'n': 1}})", f"{IS_TABLE}DeclarativeMeta"),
        ("op.backfill('item', {})", "op.backfill() takes a dict with a value for each column, such as {'name': 'x'}"),
        ("op.backfill('item', 'n')", "op.backfill() takes a dict with a value for each column, such as {'name': 'x'}"),
        ("op.backfill('item', {1: 2})", "op.backfill() takes the name of a column as text, such as 'name', not 1"),
        ("op.backfill({'n': 1}, 'item')", f"{IS_TABLE}dict"),
        *(
            (f"op.backfill('item', {{'n': {value}}})", f"a value of op.backfill() is of type {kind}, not SQL, a text")
            for value, kind in (("lambda: 1", "function"), ("object()", "object"))
        ),
        *(
            (f"op.backfill('item', {{'n': 1}}, where={where})", f"the where of op.backfill() is {where}, not SQL such")
            for where in ("''", "{'n': None}")
        ),
        (
            "op.backfill('item', {'n': 1}, where=\"n <> ':x'\")",
            "op.backfill() takes :x for a parameter, which has no value; write \\:x, in a raw string",
        ),
        ("op.backfill('item')", "TypeError: backfill() missing 1 required positional argument: 'values'"),
        ("op.backfill('item', {'n': 1}, size=9)", "TypeError: backfill() got an unexpected keyword argument 'size'"),
        ("op.add_column('item')", "TypeError: add_column() missing 1 required positional argument: 'column'"),
        (
            "with op.batch_alter_table('item') as batch:  batch.drop_column()",
            "TypeError: drop_column() missing 1 required positional argument: 'column_name'",
        ),
    ],
)
def test_wrong_argument(items: Project, engine: sa.Engine, line: str, expected: str) -> None:
    """An argument that cannot be right is refused in the script's line; a review blocks it, with the same words."""
    items.write(*revision("b1", "a1", line))
    place = "migrations/versions/b1.py, line 9"
    assert f"Error: {place}: {expected}" in items.fails("-x", "review=off", "upgrade")
    told = items.fails("upgrade", MIGRATION_REVIEW="enforce")
    assert f"Error: revision b1 fails in line 9: {expected}" in told
    assert [False, False] == [each in told for each in ("safety_assured", "review=warn")]
    assert f"{place}, blocks: revision b1 fails in line 9: {expected}" in items.db("review").stdout
    assert [(0, 10)] == counts(engine)


LOG = """
class Item(sa.orm.declarative_base()):
    __tablename__ = 'item'
    key = sa.Column('id', sa.Integer, primary_key=True)
    number = sa.Column('n', sa.Integer, onupdate=99)


item, other = sa.table('item', sa.column('id'), sa.column('n')), sa.table('other', sa.column('id'))
"""


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("{item.c.n: item.c.id * 2}, where=item.c.id == 3", {3: 6}),
        ("{Item.number: Item.key + 1}, where=Item.key.in_([3, 4])", {3: 4, 4: 5}),
        ("{Item.__table__.c.n: Item.number + 5}, where=sa.and_(item.c.id > 8, Item.key < 10)", {9: 5}),
        (
            "{'n': sa.select(sa.func.count()).where(other.c.id < Item.key).scalar_subquery()}, where='id > 8'",
            {9: 2, 10: 3},
        ),
        ("{'n': 1}, where=sa.exists().where(other.c.id == item.c.id)", {1: 1, 2: 1, 9: 1}),
    ],
)
def test_columns_of_a_table(
    items: Project, engine: sa.Engine, sql: Sql, arguments: str, expected: dict[int, int]
) -> None:
    """Columns of a sa.table() or of a model with the table's name are those of the row that changes."""
    sql("CREATE TABLE other (id INTEGER)", "INSERT INTO other VALUES (1), (2), (9)")
    script, text = revision("b1", "a1", f"op.backfill('item', {arguments}, batch_size=3)", more=LOG)
    items.write(script, text)
    items.ok("upgrade")
    assert list(expected.items()) == rows(engine, "SELECT id, n FROM item WHERE n <> 0 ORDER BY id")


ENUM = "import enum\n\n\nclass Mood(enum.Enum):\n    sad = 1\n    ok = 2\n"


@pytest.mark.parametrize(
    "arguments",
    [
        "{'mood': 'ok'}, where=sa.column('mood') == 'sad'",
        "{'mood': sa.literal('ok')}, where=sa.column('mood').in_(['sad', 'ok'])",
        "{'mood': sa.func.coalesce(sa.func.nullif(sa.column('mood'), 'sad'), 'ok')}, where='id < 3'",
        "{'mood': Mood.ok}, where=sa.column('at') < '2026-02-01'",
    ],
)
def test_text_for_an_enum(project: Project, engine: sa.Engine, sql: Sql, arguments: str) -> None:
    """A text in an expression stands for a value of an enum or for a date; a member of an Enum stands for its name."""
    columns = "sa.Column('id', sa.Integer(), primary_key=True), sa.Column('at', sa.Date())"
    enum = "sa.Column('mood', sa.Enum('sad', 'ok', name='mood'))"
    project.write(*revision("a1", FIRST, f"op.create_table('item', {columns}, {enum})"))
    project.ok("upgrade")
    sql("INSERT INTO item (id, mood, at) VALUES (1, 'sad', '2026-01-31'), (2, 'ok', NULL), (3, NULL, '2026-03-01')")
    project.write(*revision("b1", "a1", f"op.backfill('item', {arguments})", more=ENUM))
    project.ok("upgrade")
    assert [("ok",), ("ok",), (None,)] == rows(engine, "SELECT mood FROM item ORDER BY id")


def test_json(project: Project, engine: sa.Engine, sql: Sql) -> None:
    """A dict or a list becomes JSON, also in the SQL that --sql prints."""
    value = {"a": ["it's 5% \\ \n é :x", None, True, 1.5]}
    columns = "sa.Column('id', sa.Integer, primary_key=True), sa.Column('extra', sa.JSON)"
    project.write(*revision("a1", FIRST, f"op.create_table('item', {columns})"))
    project.ok("upgrade")
    sql("INSERT INTO item (id) VALUES (1)")
    project.write(*revision("b1", "a1", f"op.backfill('item', {{'extra': {value!r}}}, where='extra IS NULL')"))
    assert "UPDATE item SET extra='{" in project.ok("upgrade", "a1:b1", "--sql")
    project.ok("upgrade")
    with engine.connect() as connection:
        assert value == connection.scalar(sa.select(sa.column("extra", sa.JSON)).select_from(sa.table("item")))


SMALL = "ALTER TABLE item ADD CONSTRAINT small CHECK (id <> 8 OR n < 1)"


@pytest.fixture
def half_way(items: Project, sql: Sql) -> str:
    """Return what an upgrade says whose backfill, in b1, fails in its third batch, of the rows from 7 on."""
    sql(SMALL)
    items.write(*revision("b1", "a1", COUNT))
    return items.fails("upgrade")


@on_servers
def test_failure(items: Project, engine: sa.Engine, sql: Sql, half_way: str) -> None:
    """A row that makes it fail stops it there; the batches before are committed, and the next run continues."""
    assert re.search(
        r"Error: the backfill of item in upgrade\(\) of revision b1 failed after 6 rows: .*small.*[^.]\.\n"
        "Fix: correct the rows that make it fail, or leave them out with `where`; then run the command again:\n"
        "    flask db upgrade\nThe database is at a1.\n"
        "The backfill of item is committed for the first 6 rows; the next `flask db upgrade` continues.\n$",
        half_way,
    ), half_way
    assert [(0, 4), (1, 6)] == counts(engine)
    assert "backfill  not finished in upgrade() of b1, after 6 rows of item\n" in items.fails("status")
    sql("ALTER TABLE item DROP CONSTRAINT small")
    told = items.ok("upgrade")
    assert "Continuing the backfill of item after 6 rows" in told
    assert "was undone" not in told
    assert [(1, 10)] == counts(engine)
    assert not sa.inspect(engine).has_table(POSITIONS)


@pytest.mark.usefixtures("half_way")
@pytest.mark.parametrize(("way", "expected"), [("UPDATE", [(0, 1), (1, 9)]), ("DELETE", [(0, 1), (1, 3), (2, 6)])])
@on_servers
def test_edited(items: Project, engine: sa.Engine, sql: Sql, way: str, expected: list[tuple[object, ...]]) -> None:
    """A backfill that was edited after it had stopped half-way is refused; the lines that the message names work."""
    items.write(*revision("b1", "a1", COUNT.replace("+ 1", "* 1 + 1").replace("3)", "3, where='id <> 8')")))
    told = items.fails("upgrade")
    assert (
        "the backfill of item in upgrade() of revision b1 was edited after it had stopped half-way.\nFix: undo" in told
    )
    assert [(0, 4), (1, 6)] == counts(engine)
    assert 2 == told.count(f"{KEY} AND number = 1;\n")
    sql(*re.findall(rf"    ({way} .*);", told))
    items.ok("upgrade")
    assert expected == counts(engine)


@on_servers
def test_edited_where(items: Project, engine: sa.Engine, half_way: str) -> None:
    """A backfill that has stopped half-way continues with another `where` and batch_size, as its error says."""
    items.write(*revision("b1", "a1", COUNT.replace("3)", "2, where='id <> 8')")))
    assert "Continuing the backfill of item after 6 rows" in items.ok("upgrade")
    assert [(0, 1), (1, 9)] == counts(engine)


@on_servers
def test_edited_before_the_first_batch(items: Project, engine: sa.Engine, sql: Sql) -> None:
    """If the first batch failed, no rows are committed: the corrected backfill begins."""
    sql("ALTER TABLE item ADD CONSTRAINT low CHECK (id <> 2 OR n < 2)")
    items.write(*revision("b1", "a1", COUNT.replace("+ 1", "+ 10")))
    assert "failed after 0 rows: " in items.fails("upgrade")
    items.write(*revision("b1", "a1", COUNT))
    sql(SMALL)
    assert "failed after 6 rows: " in items.fails("upgrade")
    sql("ALTER TABLE item DROP CONSTRAINT small")
    items.ok("upgrade")
    assert [(1, 10)] == counts(engine)


@on_servers
def test_other_direction(items: Project, engine: sa.Engine, sql: Sql) -> None:
    """After a backfill has stopped half-way, the other direction is refused; both lines that are named work."""
    sql(SMALL)
    items.write(*revision("b1", "a1", COUNT, "op.backfill('item', {'n': 0}, where='n / (8 - id) > -9')"))
    items.fails("upgrade")
    told = items.fails("downgrade")
    assert (
        "Error: the upgrade() of b1 has stopped half-way in the backfill of item, after 6 rows.\n"
        "Instead: finish it before the downgrade; or leave its rows as they are and forget it (DELETE):\n"
        f"    flask db upgrade b1\n    DELETE FROM {POSITIONS} {KEY};\n"
    ) in told
    sql(f"DELETE FROM {POSITIONS} {KEY}", "ALTER TABLE item DROP CONSTRAINT small")
    items.ok("downgrade")
    assert [(0, 4), (1, 6)] == counts(engine)


@on_servers
def test_stamp(items: Project, engine: sa.Engine, half_way: str) -> None:
    """A stamp deletes where a backfill has stopped, and says so: it says that the database is as after that."""
    assert "Forgot the backfill in upgrade() of b1, after 6 rows of item\n" in items.ok("stamp", "b1")
    assert not sa.inspect(engine).has_table(POSITIONS)


@on_servers
def test_nothing_left_of_those_that_are_done(items: Project, engine: sa.Engine) -> None:
    """A later revision that fails, in its first batch too, leaves no table of positions of what is done."""
    items.write(*revision("b1", "a1", COUNT))
    for fails in ("op.execute('nonsense')", COUNT.replace("'n'", "'wrong'", 1)):
        items.write(*revision("c1", "b1", fails))
        assert "database is at b1.\n" in items.fails("-x", "review=off", "upgrade")
        assert not sa.inspect(engine).has_table(POSITIONS)
    assert [(1, 10)] == counts(engine)


@pytest.mark.usefixtures("half_way")
@on_servers
def test_table_of_positions_in_use(items: Project, engine: sa.Engine, sql: Sql) -> None:
    """If another session has a lock on the table of positions, as a backup may, the run ends without waiting long."""
    sql("ALTER TABLE item DROP CONSTRAINT small")
    with engine.connect() as reader:
        reader.execute(sa.text(f"SELECT * FROM {POSITIONS}"))
        items.ok("-x", "lock_timeout=1", "upgrade")
        assert sa.inspect(engine).has_table(POSITIONS)
    items.ok("downgrade", "a1")
    assert not sa.inspect(engine).has_table(POSITIONS)


@on_servers
def test_one_line_for_several(items: Project, sql: Sql) -> None:
    """If several backfills of a revision are committed in part, one line names them all."""
    items.write(*revision("b1", "a1", f"{COUNT}\n{COUNT}"))
    sql(SMALL.replace("n < 1", "n < 2"))
    assert (
        "The database is at a1.\nThe backfill of item is committed for the first 10 rows, that of item is committed for"
        " the first 6 rows; the next `flask db upgrade` continues.\n"
    ) in items.fails("upgrade")


@on_servers
def test_failure_after_it(items: Project, engine: sa.Engine) -> None:
    """A backfill that finished before its revision failed is not called half-way, and does not run again."""
    items.write(*revision("b1", "a1", f"{COUNT}\nop.execute('nonsense')"))
    assert "The backfill of item is committed for the first 10 rows; the next" in items.fails("upgrade")
    assert "backfill  finished, unlike the upgrade() of b1, after 10 rows of item\n" in items.fails("status")
    told = items.fails("downgrade")
    assert "Error: the upgrade() of b1 has stopped after the backfill of item, after 10 rows.\n" in told
    items.write(*revision("b1", "a1", COUNT))
    items.ok("upgrade")
    assert [(1, 10)] == counts(engine)


@on_servers
def test_removed(items: Project, engine: sa.Engine, half_way: str) -> None:
    """If the script no longer has the backfill that stopped half-way, its end deletes the position all the same."""
    items.write(*revision("b1", "a1", "pass"))
    items.ok("upgrade")
    assert "not finished" not in items.ok("status")
    assert not sa.inspect(engine).has_table(POSITIONS)
    items.ok("downgrade")


@on_servers
def test_lock_timeout(items: Project, engine: sa.Engine) -> None:
    """A batch that waits too long for a row is retried alone; the last try names the session that holds the row."""
    items.write(*revision("b1", "a1", COUNT))
    with engine.connect() as holder:
        holder.execute(sa.text("SELECT n FROM item WHERE id = 5 FOR UPDATE"))
        told = items.fails("-x", "lock_timeout=1", "-x", "lock_retries=2", "upgrade")
        holder.rollback()
    assert 1 == told.count("Another session holds a lock; trying again in ")
    assert re.search(r"needs \(session \d+, .*\); gave up after 2 tries of 1 second\.\n", told), told
    assert "The backfill of item is committed for the first 3 rows; the next `flask db upgrade` continues.\n" in told
    items.ok("upgrade")
    assert [(1, 10)] == counts(engine)


DEADLOCK = {
    "mysql": (
        "CREATE TRIGGER deadlock BEFORE UPDATE ON item FOR EACH ROW BEGIN"
        " SET @seen = coalesce(@seen, 0) + 1;"
        " IF @seen = 5 THEN SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = 1213, MESSAGE_TEXT = 'Deadlock found';"
        " END IF; END",
    ),
    "postgresql": (
        "CREATE SEQUENCE seen",
        "CREATE FUNCTION deadlock() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " IF nextval('seen') = 5 THEN RAISE EXCEPTION 'deadlock' USING ERRCODE = '40P01'; END IF; RETURN NEW; END $$",
        "CREATE TRIGGER deadlock BEFORE UPDATE ON item FOR EACH ROW EXECUTE FUNCTION deadlock()",
    ),
}


@on_servers
def test_deadlock(items: Project, engine: sa.Engine, sql: Sql, backend: str) -> None:
    """The batch that the server rolls back for a deadlock is retried as a whole, and no other."""
    sql(*DEADLOCK[backend])
    items.write(*revision("b1", "a1", COUNT))
    told = items.ok("upgrade")
    assert 1 == told.count("trying again in ")
    assert [(1, 10)] == counts(engine)


@on_servers
def test_nothing_done(items: Project) -> None:
    """If it fails before its first batch, no note says that changes remain; if the script made some, one does."""
    wrong = COUNT.replace("'n'", "'wrong'", 1)
    items.write(*revision("b1", "a1", wrong))
    told = items.fails("upgrade")
    assert [False, False] == [each in told for each in ("remain", "autocommit block were")]
    assert "The failed revision was rolled back; the database is at a1.\n" in told


@on_postgresql
def test_changes_before(items: Project, engine: sa.Engine) -> None:
    """What a script has changed before its backfill is committed with that; the message says so."""
    before, wrong = "op.execute('INSERT INTO item VALUES (11, 5)')", COUNT.replace("'n'", "'wrong'", 1)
    items.write(*revision("b1", "a1", f"{before}\n{wrong}"))
    told = items.fails("-x", "review=off", "upgrade")
    assert "The failed revision's changes before the backfill were committed and remain.\n" in told
    assert [(0, 10), (5, 1)] == counts(engine)


@on_servers
def test_deadlock_at_the_last_try(items: Project, sql: Sql, backend: str) -> None:
    """After a deadlock, the message says what is committed, and does not ask to correct the rows."""
    sql(*DEADLOCK[backend])
    items.write(*revision("b1", "a1", COUNT))
    told = items.fails("-x", "lock_retries=1", "upgrade")
    assert "correct the rows" not in told
    assert "eadlock" in told
    assert "The backfill of item is committed for the first 3 rows; the next `flask db upgrade` continues.\n" in told
    if backend == "mysql":
        assert "Fix: run the command again, when fewer sessions write to the same tables:\n" in told


REFUSED = {
    "mysql": "UPDATE command denied to user 'x'@'%' for table 'item'",
    "postgresql": "permission denied for table item",
}


@on_servers
def test_missing_right(items: Project, sql: Sql, backend: str) -> None:
    """A right that is missing is named as such, and not as a fault of the rows or of the script."""
    words = REFUSED[backend].replace("'", "''")
    if backend == "mysql":
        sql(
            "CREATE TRIGGER refuse BEFORE UPDATE ON item FOR EACH ROW"
            f" SIGNAL SQLSTATE '42000' SET MYSQL_ERRNO = 1142, MESSAGE_TEXT = '{words}'"
        )
    else:
        sql(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
            f" $$ BEGIN RAISE EXCEPTION '{words}' USING ERRCODE = '42501'; END $$",
            "CREATE TRIGGER refuse BEFORE UPDATE ON item FOR EACH ROW EXECUTE FUNCTION refuse()",
        )
    items.write(*revision("b1", "a1", COUNT))
    assert "Fix: give the user the missing right" in items.fails("upgrade")


@on_servers
@pytest.mark.parametrize("batches", [0, 2])
def test_lost_connection(items: Project, engine: sa.Engine, attempt: Callable[..., list[str]], batches: int) -> None:
    """If the session ends in a batch, the server's own error is raised, and not the one of the rollback after it.

    Its notes name the rows that are committed, and no other change: the next run has nothing to roll back.
    """
    items.write(*revision("b1", "a1", COUNT))
    is_mysql = engine.dialect.name != "postgresql"
    number, end = (
        ("connection_id()", "KILL {}") if is_mysql else ("pg_backend_pid()", "SELECT pg_terminate_backend({})")
    )

    begun: list[str] = []

    def kill(connection: sa.Connection, _cursor: object, statement: str, *_others: object) -> None:
        if statement.startswith("UPDATE item"):
            begun.append(statement)
        if statement.startswith("UPDATE item") and len(begun) > batches:
            session = connection.scalar(sa.text(f"SELECT {number}"))
            with engine.connect() as other:
                other.execute(sa.text(end.format(session)))

    sa.event.listen(sa.Engine, "before_cursor_execute", kill)
    try:
        error, *notes = attempt(flask_migrate.upgrade)
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", kill)
    assert "invalid transaction" not in error
    said = "\n".join([error, *notes])
    assert "Before the connection was lost, the database was at a1." == notes[-1]
    assert [False, False] == [each in said for each in ("remain", "rolls them back")]
    assert bool(batches) == ("committed for at least the first 6 rows; the next `flask db upgrade` continues." in said)
    assert [(0, 10 - 3 * batches), (1, 3 * batches)][: batches + 1] == counts(engine)
    told = items.fails("status")
    assert bool(batches) == ("not finished in upgrade() of b1, after 6 rows of item" in told)
    assert "undoes\n" not in told
    items.ok("upgrade")
    assert [(1, 10)] == counts(engine)


NO_KEY = "op.create_table('bare', sa.Column('n', sa.Integer()))"


@on_servers
def test_without_key(project: Project, engine: sa.Engine, sql: Sql) -> None:
    """Without a primary key, or if that changes, nothing runs; the line that is named works. An empty table passes."""
    project.write(*revision("a1", FIRST, f"{TABLE}\n{NO_KEY}"))
    project.write(*revision("b1", "a1", "op.backfill('bare', {'n': 1})"))
    project.ok("upgrade")
    sql("INSERT INTO bare VALUES (0)", "INSERT INTO item VALUES (1, 0)")
    project.write(*revision("c1", "b1", "op.backfill('bare', {'n': sa.column('n') + 1})"))
    told = project.fails("upgrade")
    assert "Error: bare cannot be changed in batches in the order of its primary key: it has none.\n" in told
    (line,) = re.findall(r"    (op\.execute.*)", told)
    project.write(*revision("c1", "b1", line))
    project.write(*revision("d1", "c1", "op.backfill('item', {'id': sa.column('id') + 1})"))
    assert "primary key: op.backfill() changes id, which is in the primary key.\nInstead: " in project.fails("upgrade")
    assert [(1,)] == rows(engine, "SELECT n FROM bare")


@on_servers
def test_suggested_update_has_the_same_values(project: Project, engine: sa.Engine, sql: Sql) -> None:
    """The line that is named for a table without a primary key keeps spaces, % and : in values, and a comment."""
    value = "50%  :x\n'"
    project.write(*revision("a1", FIRST, "op.create_table('bare', sa.Column('v', sa.String(9)))"))
    project.write(*revision("b1", "a1", f"op.backfill('bare', {{'v': {value!r}}}, where='v IS NULL -- new rows')"))
    project.ok("upgrade", "a1")
    sql("INSERT INTO bare VALUES (NULL), ('kept')")
    (line,) = re.findall(r"    (op\.execute.*)", project.fails("upgrade"))
    project.write(*revision("b1", "a1", line))
    project.ok("upgrade")
    assert [(value,), ("kept",)] == rows(engine, "SELECT v FROM bare ORDER BY v")


ODD = "50%  :x\\ \n'"
WORD = "sa.table('word', sa.column('v'))"
SET_NEW = "sa.text('UPDATE word SET v = :new')"


@pytest.mark.parametrize(
    ("up", "expected"),
    [
        ("op.execute('UPDATE word SET v = lower(v)')", ("a ", None)),
        ("op.execute('UPDATE word SET v = rtrim(v)')", ("A", None)),
        ("op.execute(\"UPDATE word SET v = coalesce(v, '1')\")", ("A ", "1")),
        ("op.backfill('word', {'v': sa.func.coalesce(sa.func.rtrim(sa.column('v')), 'x')})", ("A", "x")),
        ("op.execute(\"UPDATE word SET v = CASE WHEN v IS NULL OR v <> v THEN '2' END WHERE 1 = 1\")", (None, "2")),
        (f"op.execute({WORD}.update().values(v={ODD!r}))", ("A ", ODD)),
        (f"op.execute({SET_NEW}.bindparams(new={ODD!r}))", ("A ", ODD)),
        (f"op.get_bind().execute({SET_NEW}, {{'new': {ODD!r}}})", ("A ", ODD)),
        (f"op.backfill('word', {{'v': {ODD!r}}})", ("A ", ODD)),
    ],
)
def test_suggested_backfill_changes_the_same_rows(
    project: Project, engine: sa.Engine, sql: Sql, up: str, expected: tuple[str | None, str | None]
) -> None:
    """The line in place of an UPDATE of all rows changes all rows that this would change, also if only the case, a
    space at the end or NULL differs; those in which a constant would overwrite a value keep it.
    """
    columns = "sa.Column('id', sa.Integer, primary_key=True), sa.Column('v', sa.String(19))"
    project.write(*revision("a1", FIRST, f"op.create_table('word', {columns})"))
    project.ok("upgrade")
    sql("INSERT INTO word VALUES (1, 'A '), (2, NULL)")
    project.write(*revision("b1", "a1", up))
    (line,) = re.findall(r"    (op\.backfill.*)", project.db("review", MIGRATION_REVIEW="enforce").stdout)
    project.write(*revision("b1", "a1", line))
    project.ok("upgrade", MIGRATION_REVIEW="enforce")
    assert list(expected) == [row[0] for row in rows(engine, "SELECT v FROM word ORDER BY id")]


@pytest.mark.parametrize("stock", [True, False])
@on_servers
def test_writer_and_kill(items: Project, engine: sa.Engine, sql: Sql, stock: bool) -> None:
    """The damage: while an UPDATE of all rows runs, a writer of any row waits, and a kill loses all work.

    In batches, only rows of the running batch are locked, and the others are kept.
    """
    if stock:
        items.make_stock()
    items.write(*revision("b1", "a1", "op.execute('UPDATE item SET n = n + 1')" if stock else COUNT))
    source = "information_schema.processlist WHERE db = DATABASE() AND info"
    if engine.dialect.name == "postgresql":
        source = "pg_stat_activity WHERE datname = current_database() AND state = 'active' AND query"
    others = f"SELECT count(*) FROM {source} LIKE 'UPDATE item%'"

    def is_free(number: int) -> bool:
        with engine.connect() as writer:
            try:
                writer.execute(sa.text(f"SELECT n FROM item WHERE id = {number} FOR UPDATE NOWAIT"))
            except sa.exc.OperationalError:
                return False
        return True

    with engine.connect() as holder:
        holder.execute(sa.text("SELECT n FROM item WHERE id = 10 FOR UPDATE"))
        with items.start("flask", "db", "upgrade", MIGRATION_LOCK_TIMEOUT="60") as process:
            wait_until(
                lambda: rows(engine, others) == [(1,)] and (not is_free(1) or counts(engine) == [(0, 1), (1, 9)])
            )
            assert stock != is_free(1)
            process.kill()
            process.communicate()
        holder.rollback()
    wait_until(lambda: rows(engine, others) == [(0,)])
    wait_until(lambda: is_free(1))
    assert ([(0, 10)] if stock else [(0, 1), (1, 9)]) == counts(engine)
    if not stock:
        items.ok("upgrade")
        assert [(1, 10)] == counts(engine)


KILLS = """
import os
import flask_migrate
from sqlalchemy import event
from sqlalchemy.engine import Engine
from wsgi import app


def run(kill_at):
    # Run the upgrade in a child, which kills itself at an event that many after the first BEGIN; return its status.
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    seen = 0

    def happen(statement):
        nonlocal seen
        seen += bool(seen) or statement.startswith("BEGIN")
        if seen > kill_at:
            os.kill(os.getpid(), 9)

    event.listen(Engine, "before_cursor_execute", lambda _connection, _cursor, statement, *_: happen(statement))
    event.listen(Engine, "after_cursor_execute", lambda *_: happen(""))
    with app.app_context():
        flask_migrate.upgrade()
    os._exit(0)


print([run(kill_at) for kill_at in range(22, 42)])
"""


@on_servers
def test_twenty_kills(items: Project, engine: sa.Engine, sql: Sql) -> None:
    """Killed before and after each statement of a batch, and run again each time, it changes each row exactly once."""
    sql(*(f"INSERT INTO item VALUES ({number}, 0)" for number in range(11, 201)))
    items.write(*revision("b1", "a1", COUNT))
    items.write("kills.py", KILLS)
    done = items.run("kills")
    assert f"{[9] * 20}\n" == done.stdout, done.stderr
    assert [0, 1] == [n for n, _ in counts(engine)], "no row was left for the last run"
    items.ok("upgrade")
    assert [(1, 200)] == counts(engine)


@on_postgresql
def test_in_one_transaction(project: Project, engine: sa.Engine) -> None:
    """An empty database is upgraded in one transaction, also by a revision with a backfill of rows of that run."""
    rows_of_run = "op.bulk_insert(sa.table('item', sa.column('id'), sa.column('n')), [{'id': 1, 'n': 0}])"
    project.write(*revision("a1", FIRST, f"{TABLE}\n{rows_of_run}"))
    project.write(*revision("b1", "a1", COUNT))
    project.write(*revision("c1", "b1", f"assert not sa.inspect(op.get_bind()).has_table('{POSITIONS}')"))
    project.ok("upgrade")
    written = "SELECT DISTINCT xmin::text FROM item UNION SELECT xmin::text FROM alembic_version"
    assert 1 == len(rows(engine, written))
    assert [(1, 1)] == counts(engine)


# Values of a primary key, by its columns. Those of one key stand in the order of its index.
TEXTS = "''", "'%s'", "':x'", "'a'", "'B'", "'c d'", "'o''x'"
DATES = (
    "1, 'a', '2024-01-01'",
    "1, 'a', '2024-01-02'",
    "1, 'b', '2023-01-01'",
    "2, '', '2020-01-01'",
    "2, 'a', '2020-01-01'",
)
MYSQL_KEYS = {
    "k VARCHAR(20) CHARACTER SET utf8mb4": (*TEXTS, r"'\\'", "'é'", "'😀'"),
    "k VARCHAR(20) CHARACTER SET latin1": (*TEXTS, "'ß'", "'é'"),
    "k VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin": (*TEXTS, "'A'", "'b'"),
    "k CHAR(9) CHARACTER SET cp932": (*TEXTS, "_cp932 X'8790'", "_cp932 X'81E0'", "_cp932 X'879A'"),
    "k VARBINARY(9)": ("X''", "X'00'", "X'0000'", "X'27'", "X'5C'", "X'FF'", "X'FF00'"),
    "k BINARY(2)": ("X'0000'", "X'0001'", "X'2525'", "X'FFFF'"),
    "k BIGINT UNSIGNED": ("1", "9007199254740992", "9007199254740993", "18446744073709551614", "18446744073709551615"),
    "k DECIMAL(30, 20)": ("-1.00000000000000000001", "-1", "0.1", "0.10000000000000000001", "2"),
    "k FLOAT": ("-0.1", "0.1", "0.2", "0.3", "1e30", "16777217"),
    "k DOUBLE": ("-0.1", "0.1", "0.1 + 0.2e0", "0.3", "1e300", "9007199254740993"),
    "k DATETIME(6)": ("'2024-01-01'", "'2024-01-01 00:00:00.000001'", "'2024-01-01 00:00:00.1'", "'9999-12-31'"),
    "k TIMESTAMP(6)": (
        "'2024-10-27 00:30:00'",
        "'2024-10-27 01:30:00'",
        "'2024-10-27 01:30:00.000001'",
        "'2030-01-01'",
    ),
    "k DATE": ("'1000-01-01'", "'2024-02-29'", "'2024-03-01'", "'9999-12-31'"),
    "k TIME(3)": ("'-838:59:59'", "'-00:00:01'", "'00:00:00.001'", "'23:00:00'", "'838:59:59'"),
    "k YEAR": ("1901", "1999", "2024", "2155"),
    "k ENUM('z', 'b', '10', 'a')": ("'z'", "'b'", "'10'", "'a'"),
    "k SET('z', 'b', 'a')": ("'z'", "'b'", "'z,b'", "'a'", "'z,b,a'"),
    "k BIT(40)": ("b'1'", "b'10'", "b'100000001'", "1099511627775"),
    "`k %s` INT, `or:der` VARCHAR(9), c DATE": DATES,
    "a ENUM('z', 'b'), b BINARY(1)": ("'z', X'00'", "'z', X'01'", "'z', X'FF'", "'b', X'00'"),
}
MARIADB_KEYS = {
    "k UUID": tuple(f"'{number}0000000-0000-{8 - number}000-8000-000000000000'" for number in range(1, 8)),
    "k INET6": ("'::1'", "'1::'", "'2001:db8::ff00:42:8329'", "'ffff::'"),
}
POSTGRESQL_KEYS = {
    "k text": (*TEXTS, r"'\'", "'é'", "'😀'"),
    'k text COLLATE "C"': (*TEXTS, "'A'", "'b'"),
    "k char(5)": (*TEXTS, "'ab '"),
    "k bytea": (r"'\x'", r"'\x00'", r"'\x27'", r"'\x5c5c'", r"'\xff'"),
    "k bigint": ("-9223372036854775808", "-1", "9007199254740992", "9007199254740993", "9223372036854775807"),
    "k numeric": ("-1.00000000000000000001", "-1", "0.1", "0.10000000000000000001", "'NaN'"),
    "k real": ("-0.1", "0.1", "0.2", "0.3", "1e30", "'Infinity'"),
    "k double precision": ("-0.1", "0.1", "0.30000000000000004", "0.3", "1e300", "'NaN'"),
    "k timestamptz": (
        *("'-infinity'", "'4000-01-01 BC'", "'2024-10-27 00:30:00+00'", "'2024-10-27 01:30:00+00'"),
        *("'2024-10-27 01:30:00.000001+00'", "'20000-01-01'", "'infinity'"),
    ),
    "k timestamp": ("'4000-01-01 BC'", "'2024-01-02'", "'2024-02-01 00:00:00.000001'", "'infinity'"),
    "k date": ("'4000-01-01 BC'", "'2024-01-02'", "'2024-02-01'", "'infinity'"),
    "k timetz": ("'01:00+02'", "'01:00+00'", "'02:00:00.000001+00'"),
    "k interval": ("'-1 month'", "'1 day 00:00:00.000001'", "'2 months'", "'1 year'"),
    "k uuid": tuple(f"'{number}0000000-0000-4000-8000-000000000000'" for number in range(9)),
    "k inet": ("'0.0.0.0'", "'10.0.0.0/8'", "'10.0.0.0'", "'::1'"),
    "k boolean": ("false", "true"),
    "k mood": ("'sad'", "'ok'", "'Happy''s'"),
    "k int4range": ("'empty'", "'[1,3)'", "'[1,)'"),
    "k caseless": ("'a'", "'B'", "'c'", "'É'"),
    "k positive": ("1", "2", "30"),
    '"k %s" int, "or:der" text, c date': DATES,
}
POSTGRESQL_TYPES = (
    "CREATE TYPE mood AS ENUM ('sad', 'ok', 'Happy''s')",
    "CREATE COLLATION caseless (provider = icu, locale = 'und-u-ks-level2', deterministic = false)",
    "CREATE DOMAIN caseless AS text COLLATE caseless",
    "CREATE DOMAIN positive AS int CHECK (VALUE > 0)",
    # In these, keys as text would be ambiguous.
    "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET DateStyle = ''SQL, DMY''', current_database()); END $$",
    "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET TimeZone = ''Europe/Berlin''', current_database()); END $$",
)


@on_servers
def test_keys(project: Project, engine: sa.Engine, sql: Sql) -> None:
    """A walk in batches of two or one changes each row once, whatever the type of the key and its collation."""
    project.ok("upgrade")
    keys: dict[str, tuple[str, ...]] = POSTGRESQL_KEYS
    if engine.dialect.name == "postgresql":
        sql(*POSTGRESQL_TYPES)
        engine.dispose()
    else:
        keys = {**MYSQL_KEYS, **(MARIADB_KEYS if is_mariadb(engine.url) else {})}
    quote, up = engine.dialect.identifier_preparer.quote, []
    with engine.begin() as connection:
        for number, (columns, values) in enumerate(keys.items()):
            names, table = ", ".join(re.findall(r"(?:^|, )(`.*?`|\".*?\"|\w+) \w", columns)), f"my table {number}:"
            create = f"CREATE TABLE {quote(table)} ({columns}, n INT, PRIMARY KEY ({names}))"
            for statement in (create, *(f"INSERT INTO {quote(table)} VALUES ({value}, 0)" for value in values)):
                connection.exec_driver_sql(statement.replace("%", "%%"))
            set_n = [f"{{'n': sa.column('n') + {add}}}, batch_size={size}" for add, size in ((1, 1), (10, 2))]
            up += [f"op.backfill({table!r}, {each})" for each in set_n]
    project.write(*revision("a1", FIRST, "\n".join(up)))
    project.ok("upgrade")
    with engine.connect() as connection:
        tables = {columns: sa.table(f"my table {at}:", sa.column("n")) for at, columns in enumerate(keys)}
        found = {columns: list(connection.scalars(sa.select(table.c.n))) for columns, table in tables.items()}
    assert {columns: [11] * len(values) for columns, values in keys.items()} == found


HANDLERS = "SHOW SESSION STATUS LIKE 'Handler_read%'"


@on_servers
def test_index_of_a_composite_key(engine: sa.Engine) -> None:
    """Both statements of a batch read only its rows, also if all rows have the same value in the key's first column."""
    numbers = " UNION ALL ".join(f"SELECT {number} AS n" for number in range(50))
    with engine.connect() as connection:
        connection.execute(sa.text("CREATE TABLE t (a INT, b INT, c INT, n INT, PRIMARY KEY (a, b, c))"))
        connection.execute(sa.text(f"INSERT INTO t SELECT 1, x.n, y.n, 0 FROM ({numbers}) x, ({numbers}) y"))
        connection.commit()
        adapter, table = adapter_of(engine), sa.table("t", sa.column("n"))
        key = adapter.primary_key(connection, table)
        after, until = adapter.beyond(key, ["1", "20", "49"]), adapter.up_to(key, ["1", "22", "49"])
        texts = sa.select(*(each.text.label(f"text{at}") for at, each in enumerate(key)))
        rest = texts.select_from(table).where(after).order_by(*(each.column for each in key)).offset(99).limit(1)
        rest = rest.with_hint(table, adapter.key_hint) if adapter.key_hint else rest
        statements = rest, table.update().values(n=sa.text("1")).where(after, until)
        connection.exec_driver_sql(adapter.begin_batch)
        for statement in statements:
            if engine.dialect.name == "postgresql":
                compiled = statement.compile(engine, compile_kwargs={"literal_binds": True})
                plan = "\n".join(connection.scalars(sa.text(f"EXPLAIN {compiled}".replace("::", "\\:\\:"))))
                assert re.search(r"Index Cond: .*ROW\(a, b, c\) > ROW\(1, 20, 49\)", plan), plan
                continue
            connection.execute(sa.text("FLUSH STATUS"))
            connection.execute(statement)
            read = {name: int(count) for name, count in connection.execute(sa.text(HANDLERS))}
            assert 99 <= sum(read.values()) < 110, read
        connection.execute(statements[1])
        assert connection.scalar(sa.text("SELECT count(*) FROM t WHERE n = 1")) == 100


@pytest.mark.parametrize(
    ("zone", "system", "is_fixed"),
    [("SYSTEM", "UTC", True), ("SYSTEM", "CET", False), ("+02:00", "CET", True), ("Europe/Berlin", "UTC", False)],
)
def test_ambiguous_times(zone: str, system: str, is_fixed: bool) -> None:
    """A TIMESTAMP in the key is refused on MySQL in a time zone where an hour of autumn comes twice."""

    def execute(sql: str, _parameters: object = None) -> list[tuple[object, ...]]:
        return [(zone, system)] if "time_zone" in sql else [("at", "timestamp", None, None)]

    with nullcontext() if is_fixed else pytest.raises(MigrationError, match=f"of this session, {zone}, two of its"):
        assert ["at"] == [each.column.name for each in primary_key(execute, sa.table("t"))]


@on_mysql
def test_fixed_time_zone(project: Project, sql: Sql, engine: sa.Engine) -> None:
    """The option that the message about a TIMESTAMP in the key names sets the time zone of the run."""
    project.write(*revision("a1", FIRST, "op.execute('CREATE TABLE item (at TIMESTAMP PRIMARY KEY, n VARCHAR(9))')"))
    project.write(*revision("b1", "a1", "op.backfill('item', {'n': sa.text('@@time_zone')})"))
    project.ok("upgrade", "a1")
    sql("INSERT INTO item VALUES ('2024-10-27 01:30:00', '')")
    project.ok(
        "upgrade", DATABASE_URL=f"{project.environ['DATABASE_URL']}&init_command=SET%20time_zone%3D%27%2B00%3A00%27"
    )
    assert [("+00:00", 1)] == counts(engine)


@on_postgresql
def test_hidden_rows(project: Project, sql: Sql, engine: sa.Engine, owner: sa.URL) -> None:
    """A policy that hides rows stops a backfill, which would leave them out and say nothing."""
    project.write(*revision("a1", FIRST, TABLE))
    project.environ["DATABASE_URL"] = owner.render_as_string(hide_password=False)
    project.ok("upgrade")
    sql(
        "INSERT INTO item VALUES (1, 0), (2, 0)",
        "ALTER TABLE item ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
        "CREATE POLICY tenant ON item USING (id = 2)",
    )
    project.write(*revision("b1", "a1", COUNT))
    assert "query would be affected by row-level security policy" in project.fails("upgrade")
    assert [(0, 2)] == counts(engine)


def test_progress(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """The log says how many rows are done, of how many, how fast, and how long the rest takes; 0 is not known."""
    monkeypatch.setattr(console, "REPORTED", 0.0)
    with caplog.at_level(logging.INFO), patch.object(console, "time") as time:
        time.monotonic.side_effect = [0, 10, 30, 40]
        progress = console.RowProgress("Backfill of item", 100, 2100)
        progress.reach(1100)
        progress.total = 0
        progress.reach(2100)
        progress.end(7)
    assert caplog.messages == [
        "Backfill of item: 1100 of about 2100 rows, 100 per second, about 10 seconds left",
        "Backfill of item: 2100 rows, 67 per second",
        "Backfill of item: went through 2000 rows and changed 7 in 40 seconds",
    ]


@on_servers
def test_rehearsal_that_fails(items: Project, engine: sa.Engine, sql: Sql) -> None:
    """The rows and batches of a copy say nothing about the app's database: the script is to be corrected."""
    sql(SMALL)
    items.write(*revision("b1", "a1", COUNT))
    told = items.fails("rehearse")
    assert "Fix: correct the script, for example leave out the rows that make it fail with `where`; then run" in told
    assert [True, False, False] == [each in told for each in ("flask db rehearse", "committed", "flask db upgrade")]
    assert [(0, 10)] == counts(engine)


BACKFILL = "op.backfill('user', {'email': 'x'}, where='email IS NULL')"
NEW_COLUMN = "op.add_column('user', sa.Column('name', sa.String(9)))"
NAME = "op.backfill('user', {'name': 'x'})"
PET = "sa.table('pet', sa.column('a'))"
ALWAYS_TRUE = [
    *("True", "sa.true()", "'true'", "'1 = 1'", "sa.text('1=1')", "sa.literal(1) == 1", "'1 = 1 OR id IS NULL'"),
    *("'id = id'", "sa.column('id') == sa.column('id')", "'id IS NULL OR id IS NOT NULL'", "'EXISTS (SELECT 1)'"),
    "'NOT (id <> id) -- all'",
]


@pytest.mark.parametrize(
    ("up", "expected"),
    [
        (BACKFILL, 0),
        (f"{BACKFILL}\n{BACKFILL}", 0),
        (f"op.execute('SET work_mem = 9999')\n{BACKFILL}\nop.execute('ANALYZE')", 0),
        (f"{NEW_COLUMN}\n{BACKFILL}", 1),
        (f"{BACKFILL}\nop.execute('UPDATE pet SET a = 1 WHERE id = 1')", 1),
        (f"{BACKFILL}\nop.bulk_insert(sa.table('pet', sa.column('a')), [{{'a': 1}}])", 1),
    ],
)
def test_not_alone(review: Review, up: str, expected: int) -> None:
    """On a server it stands alone; what it changes is not reported a second time, as rows beside DDL."""
    for product in ("postgresql", "mysql", "mariadb"):
        found = review(up, product)
        assert ["blocks"] * expected == levels(found, "backfill-not-alone")
        assert "UPDATE" in up or "bulk" in up or [] == levels(found, "backfill-with-ddl")
    assert [] == levels(review(up, "sqlite"), "backfill-not-alone")


def test_not_alone_in_a_downgrade(review: Review) -> None:
    """A downgrade() is held to the same."""
    down = f"def upgrade():\n    {BACKFILL}\n\n\ndef downgrade():\n    {BACKFILL}\n    op.drop_column('user', 'name')\n"
    assert ["blocks"] == levels(review(down, "postgresql"), "backfill-not-alone")


@pytest.mark.parametrize(
    ("up", "expected"),
    [
        (NAME, ["blocks"]),
        (f"{NEW_COLUMN}\n{NAME}", []),
        (f"{NEW_COLUMN}\n{NAME.replace('name', 'email')}", ["blocks"]),
        (f"{NEW_COLUMN}\n{NAME}\n{NAME}", ["blocks"]),
        (BACKFILL, []),
        *((f"op.backfill('user', {{'email': 'x'}}, where={where})", ["blocks"]) for where in ALWAYS_TRUE),
        ("op.backfill('user', {'email': 'x'}, where='EXISTS (SELECT 1 FROM pet)')", []),
    ],
)
def test_overwritten(review: Review, up: str, expected: list[str]) -> None:
    """Without a condition, or with one that is always true, it overwrites values, unless its columns are new and
    nothing has given them values yet.
    """
    for product in ("sqlite", "postgresql", "mysql", "mariadb"):
        assert expected == levels(review(up, product), "unbounded-data-change")


@pytest.mark.parametrize(
    ("up", "line"),
    [
        (
            "op.backfill('user', {'extra': {'a': [1]}, 'other': None})",
            "op.backfill('user', {'extra': {'a': [1]}, 'other': None}, where='extra IS NULL OR other IS NULL')",
        ),
        (
            "op.execute(\"UPDATE pet SET a = b || '!'\")",
            "op.backfill('pet', {'a': sa.text(\"b || '!'\")}, where='a IS NULL')",
        ),
        (
            "op.execute('UPDATE pet SET a = 1 WHERE EXISTS (SELECT 1)')",
            "op.backfill('pet', {'a': sa.text('1')}, where='a IS NULL')",
        ),
        *((f"op.execute({update})", None) for update in ("sa.text('UPDATE pet SET a = :a')", f"{PET}.update()")),
        (f"op.execute({PET}.update().values(a=sa.bindparam('new')))", None),
        (f"op.execute({PET}.delete().where(sa.bindparam('all')))", None),
        (f"op.backfill('user', {{'email': sa.select({PET}.c.a).scalar_subquery()}})", None),
        ("op.backfill('user', {'email': {'a': 1}})", None),
    ],
)
def test_line_for_all_rows(review: Review, up: str, line: str | None) -> None:
    """The suggested line has SQL and values of Python as the script has them; where one is unknown, there is none."""
    for product in ("sqlite", "postgresql", "mysql", "mariadb"):
        (told,) = (each.instead for each in review(up, product) if each.code == "unbounded-data-change")
        assert ([line] if line else []) == [each.strip() for each in told.splitlines()[1:]]


@pytest.mark.parametrize(("value", "expected"), [("b || '!'", ["mysql", "mariadb"]), ("concat(b, '||')", [])])
def test_or_of_mysql(review: Review, value: str, expected: list[str]) -> None:
    """The finding says what || is on MySQL and MariaDB."""
    products = ("sqlite", "postgresql", "mysql", "mariadb")
    told = {each: review(f'op.execute("UPDATE pet SET a = {value}")', each)[0].message for each in products}
    assert expected == [each for each in products if "use concat()" in told[each]]


@on_servers
def test_only_warned_of_where_tables_are_empty(review_on: ReviewOn) -> None:
    """Beside other operations, a backfill of an empty table does nothing; one of a table with rows blocks."""
    up = f"{BACKFILL}\n{NEW_COLUMN}"
    assert ["blocks"] == levels(review_on(up), "backfill-not-alone")
    assert ["warns"] == levels(review_on(up, "DELETE FROM {user}"), "backfill-not-alone")


@on_servers
def test_backup_before_it_stays(items: Project, engine: sa.Engine, sql: Sql) -> None:
    """Tries to continue an unfinished backfill leave the backup from before its first batch, also when one succeeds."""
    sql(SMALL)
    items.environ["MIGRATION_BACKUP_KEEP"] = "1"
    items.write(*revision("b1", "a1", COUNT))
    for _ in range(2):
        items.fails("upgrade", MIGRATION_BACKUP="always")
    unfinished, before = items.ok("backups").splitlines()
    assert [True, False] == ["-a1-unfinished-" in each for each in (unfinished, before)]
    sql("ALTER TABLE item DROP CONSTRAINT small")
    items.ok("upgrade", MIGRATION_BACKUP="always")
    assert before == items.ok("backups").strip()
    items.ok("restore", before.partition("  ")[0], "--yes")
    assert [(0, 10)] == counts(engine)
